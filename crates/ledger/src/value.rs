//! Single values: which Arrow types have an order that the ledger knows, and the way between one value in an Arrow
//! array and a [`StatValue`]. How a value is written stands in `partition_text` and in `entry`.

use std::sync::Arc;

use apiary_core::StatValue;
use arrow::{
    array::{
        Array, ArrayRef, AsArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array, StringArray,
        TimestampMicrosecondArray, UInt64Array,
    },
    compute::cast,
    datatypes::{
        DataType, Date32Type, Decimal128Type, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType, UInt64Type,
    },
};

use crate::{LedgerError, Result};

/// The types that have an order, as [`StatValue`] parts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueClass {
    /// Booleans.
    Bool,
    /// Signed integers.
    Int,
    /// Unsigned integers.
    UInt,
    /// Floats.
    Float,
    /// Decimals of at most 38 digits, with this precision and scale.
    Decimal(u8, i8),
    /// Text.
    Text,
    /// Dates.
    Date,
    /// Timestamps, in UTC or without a zone.
    Timestamp {
        /// Whether the column has a zone.
        utc: bool,
    },
}

impl ValueClass {
    /// The class of a column, or `None` if its type has no order that the ledger knows: binary, times, durations and
    /// everything nested.
    #[must_use]
    pub fn of(data_type: &DataType) -> Option<Self> {
        match data_type {
            DataType::Boolean => Some(Self::Bool),
            DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => Some(Self::Int),
            DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 => Some(Self::UInt),
            DataType::Float16 | DataType::Float32 | DataType::Float64 => Some(Self::Float),
            DataType::Decimal32(p, s) | DataType::Decimal64(p, s) | DataType::Decimal128(p, s) => {
                Some(Self::Decimal(*p, *s))
            }
            DataType::Decimal256(p, s) if *p <= 38 => Some(Self::Decimal(*p, *s)),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Some(Self::Text),
            DataType::Date32 | DataType::Date64 => Some(Self::Date),
            DataType::Timestamp(_, zone) => Some(Self::Timestamp { utc: zone.is_some() }),
            DataType::Dictionary(_, values) => Self::of(values),
            DataType::RunEndEncoded(_, values) => Self::of(values.data_type()),
            _ => None,
        }
    }

    /// Whether a column of this class may part a frame: all but floats, whose equality surprises.
    #[must_use]
    pub fn can_partition(self) -> bool {
        self != Self::Float
    }

    /// The Arrow type in which a value of this class is read and made.
    fn canonical(self) -> DataType {
        match self {
            Self::Bool => DataType::Boolean,
            Self::Int => DataType::Int64,
            Self::UInt => DataType::UInt64,
            Self::Float => DataType::Float64,
            Self::Decimal(precision, scale) => DataType::Decimal128(precision, scale),
            Self::Text => DataType::Utf8,
            Self::Date => DataType::Date32,
            Self::Timestamp { utc } => DataType::Timestamp(TimeUnit::Microsecond, utc.then(|| "UTC".into())),
        }
    }
}

/// The value in one row of an array, or `None` if it is NULL. An error if the type has no order.
pub fn read(array: &dyn Array, row: usize) -> Result<Option<StatValue>> {
    let Some(class) = ValueClass::of(array.data_type()) else {
        return Err(LedgerError::Schema(format!("values of type {} have no order", array.data_type())));
    };
    let one = cast(&array.slice(row, 1), &class.canonical()).map_err(not_castable)?;
    if one.is_null(0) {
        return Ok(None);
    }
    Ok(Some(match class {
        ValueClass::Bool => StatValue::Bool(one.as_boolean().value(0)),
        ValueClass::Int => StatValue::Int(one.as_primitive::<Int64Type>().value(0)),
        ValueClass::UInt => StatValue::UInt(one.as_primitive::<UInt64Type>().value(0)),
        ValueClass::Float => StatValue::Float(one.as_primitive::<Float64Type>().value(0)),
        ValueClass::Decimal(precision, scale) => {
            StatValue::Decimal { value: one.as_primitive::<Decimal128Type>().value(0), precision, scale }
        }
        ValueClass::Text => StatValue::Text(one.as_string::<i32>().value(0).to_owned()),
        ValueClass::Date => StatValue::Date(one.as_primitive::<Date32Type>().value(0)),
        ValueClass::Timestamp { .. } => StatValue::Timestamp(one.as_primitive::<TimestampMicrosecondType>().value(0)),
    }))
}

/// An array of one row that holds `value` in the type `to`. An error if the value does not fit the type.
pub fn array(value: &StatValue, to: &DataType) -> Result<ArrayRef> {
    let one: ArrayRef = match value {
        StatValue::Bool(value) => Arc::new(BooleanArray::from(vec![*value])),
        StatValue::Int(value) => Arc::new(Int64Array::from(vec![*value])),
        StatValue::UInt(value) => Arc::new(UInt64Array::from(vec![*value])),
        StatValue::Float(value) => Arc::new(Float64Array::from(vec![*value])),
        StatValue::Decimal { value, precision, scale } => {
            let array = Decimal128Array::from(vec![*value]).with_precision_and_scale(*precision, *scale);
            Arc::new(array.map_err(not_castable)?)
        }
        StatValue::Text(value) => Arc::new(StringArray::from(vec![value.as_str()])),
        StatValue::Date(value) => Arc::new(Date32Array::from(vec![*value])),
        StatValue::Timestamp(value) => {
            let zone = matches!(ValueClass::of(to), Some(ValueClass::Timestamp { utc: true }));
            let array = TimestampMicrosecondArray::from(vec![*value]);
            Arc::new(if zone { array.with_timezone("UTC") } else { array })
        }
    };
    let one = cast(&one, to).map_err(not_castable)?;
    // A cast that does not fit answers NULL.
    if one.is_null(0) { Err(LedgerError::Schema(format!("{value:?} does not fit {to}"))) } else { Ok(one) }
}

fn not_castable(error: arrow::error::ArrowError) -> LedgerError {
    LedgerError::Schema(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_reads_back_from_every_type_it_fits() {
        let utc = || Some("+02:00".into());
        let cases = [
            (StatValue::Bool(true), DataType::Boolean),
            (StatValue::Int(-7), DataType::Int8),
            (StatValue::UInt(u64::MAX), DataType::UInt64),
            (StatValue::Float(0.5), DataType::Float32),
            (StatValue::Text("bü".into()), DataType::Utf8View),
            (StatValue::Text("x".into()), DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))),
            (StatValue::Date(-1), DataType::Date64),
            (StatValue::Timestamp(-1_000_000), DataType::Timestamp(TimeUnit::Second, None)),
            (StatValue::Timestamp(1), DataType::Timestamp(TimeUnit::Nanosecond, utc())),
            (StatValue::Decimal { value: -12345, precision: 9, scale: 2 }, DataType::Decimal128(9, 2)),
        ];
        for (value, to) in cases {
            let made = array(&value, &to).unwrap();
            assert_eq!(made.data_type(), &to);
            assert_eq!(read(&made, 0).unwrap(), Some(value));
        }
    }

    #[test]
    fn a_value_that_does_not_fit_is_an_error() {
        assert!(array(&StatValue::Int(300), &DataType::Int8).is_err());
    }
}
