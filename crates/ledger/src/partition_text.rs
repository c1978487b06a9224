//! Partition values as Delta writes them: text, whatever the column's type. The empty text means NULL to Delta, so a
//! frame refuses it as a value.
//!
//! | type | text |
//! |---|---|
//! | boolean | `true`, `false` |
//! | integers, decimals | `-7`, `12.50` |
//! | text | as it is |
//! | date | `2026-11-20` |
//! | timestamp | `2026-11-20T13:41:57.000000Z` |
//! | timestamp without zone | `2026-11-20 13:41:57.000000` |

use apiary_core::StatValue;
use arrow::{
    array::{Array, ArrayRef, new_null_array},
    datatypes::DataType,
};

use crate::{
    LedgerError, Result, text,
    value::{self, ValueClass},
};

/// A value as text. `column` names it in errors.
pub fn to_text(column: &str, value: &StatValue, data_type: &DataType) -> Result<String> {
    let refuse = |why: &str| Err(LedgerError::PartitionValue { column: column.to_owned(), why: why.to_owned() });
    let found = match (value, ValueClass::of(data_type)) {
        (StatValue::Bool(value), Some(ValueClass::Bool)) => Some(value.to_string()),
        (StatValue::Int(value), Some(ValueClass::Int)) => Some(value.to_string()),
        (StatValue::UInt(value), Some(ValueClass::UInt)) => Some(value.to_string()),
        (StatValue::Decimal { value, scale, .. }, Some(ValueClass::Decimal(_, s))) if *scale == s => {
            text::decimal(*value, s)
        }
        (StatValue::Text(value), Some(ValueClass::Text)) if value.is_empty() => {
            return refuse("the empty text means NULL to readers of Delta; write another word, such as 'none'");
        }
        (StatValue::Text(value), Some(ValueClass::Text)) => Some(value.clone()),
        (StatValue::Date(days), Some(ValueClass::Date)) => text::date(*days),
        (StatValue::Timestamp(us), Some(ValueClass::Timestamp { utc: true })) => {
            text::timestamp(*us, 'T').map(|text| text + "Z")
        }
        (StatValue::Timestamp(us), Some(ValueClass::Timestamp { utc: false })) => text::timestamp(*us, ' '),
        _ => return refuse(&format!("{value:?} is no value of a partition column of type {data_type}")),
    };
    found.map_or_else(|| refuse("dates and timestamps must lie in the years 1 to 9999"), Ok)
}

/// Reads [`to_text`] back.
pub fn from_text(column: &str, text: &str, data_type: &DataType) -> Result<StatValue> {
    let found = match ValueClass::of(data_type) {
        Some(ValueClass::Bool) => text.parse().ok().map(StatValue::Bool),
        Some(ValueClass::Int) => text.parse().ok().map(StatValue::Int),
        Some(ValueClass::UInt) => text.parse().ok().map(StatValue::UInt),
        Some(ValueClass::Decimal(precision, scale)) => {
            text::parse_decimal(text, precision, scale).map(|value| StatValue::Decimal { value, precision, scale })
        }
        Some(ValueClass::Text) => (!text.is_empty()).then(|| StatValue::Text(text.to_owned())),
        Some(ValueClass::Date) => text::parse_date(text).map(StatValue::Date),
        Some(ValueClass::Timestamp { utc: true }) => {
            text.strip_suffix('Z').and_then(|text| text::parse_timestamp(text, 'T')).map(StatValue::Timestamp)
        }
        Some(ValueClass::Timestamp { utc: false }) => text::parse_timestamp(text, ' ').map(StatValue::Timestamp),
        Some(ValueClass::Float) | None => None,
    };
    let why = || format!("'{text}' is no partition value of type {data_type}");
    found.ok_or_else(|| LedgerError::PartitionValue { column: column.to_owned(), why: why() })
}

/// The text of one row of an array, or `None` if it is NULL.
pub fn text_of(column: &str, array: &dyn Array, row: usize) -> Result<Option<String>> {
    value::read(array, row)?.map(|value| to_text(column, &value, array.data_type())).transpose()
}

/// An array of one row with the value of a partition text; `None` is NULL.
pub fn array_of(column: &str, text: Option<&str>, data_type: &DataType) -> Result<ArrayRef> {
    match text {
        None => Ok(new_null_array(data_type, 1)),
        Some(text) => value::array(&from_text(column, text, data_type)?, data_type),
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::TimeUnit;
    use proptest::prelude::*;

    use super::*;

    fn any_value() -> impl Strategy<Value = (StatValue, DataType)> {
        let us = -62_135_596_800_000_000i64..253_402_300_800_000_000;
        let zoned = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let plain = DataType::Timestamp(TimeUnit::Microsecond, None);
        prop_oneof![
            any::<bool>().prop_map(|v| (StatValue::Bool(v), DataType::Boolean)),
            any::<i64>().prop_map(|v| (StatValue::Int(v), DataType::Int64)),
            any::<u64>().prop_map(|v| (StatValue::UInt(v), DataType::UInt64)),
            ".+".prop_map(|v| (StatValue::Text(v), DataType::Utf8)),
            (-719_162i32..2_932_896).prop_map(|v| (StatValue::Date(v), DataType::Date32)),
            us.clone().prop_map(move |v| (StatValue::Timestamp(v), zoned.clone())),
            us.prop_map(move |v| (StatValue::Timestamp(v), plain.clone())),
            (-999_999_999i128..1_000_000_000, 0i8..9).prop_map(|(value, scale)| {
                (StatValue::Decimal { value, precision: 9, scale }, DataType::Decimal128(9, scale))
            }),
        ]
    }

    proptest! {
        #[test]
        fn a_partition_value_reads_back((value, data_type) in any_value()) {
            let text = to_text("c", &value, &data_type).unwrap();
            prop_assert_eq!(from_text("c", &text, &data_type).unwrap(), value);
            let array = array_of("c", Some(&text), &data_type).unwrap();
            prop_assert_eq!(text_of("c", &array, 0).unwrap(), Some(text));
        }
    }

    #[test]
    fn the_empty_text_is_refused_with_its_reason() {
        let error = to_text("region", &StatValue::Text(String::new()), &DataType::Utf8).unwrap_err();
        assert!(error.to_string().contains("'region'") && error.to_string().contains("NULL"), "{error}");
    }

    #[test]
    fn null_is_no_text() {
        let array = array_of("c", None, &DataType::Int32).unwrap();
        assert_eq!(text_of("c", &array, 0).unwrap(), None);
    }
}
