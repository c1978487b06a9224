//! The ledger's statistics as DataFusion compares them: each bound in the type of its column, never narrower than
//! the truth.
//!
//! A bound that cannot be said in the column's type is left out. DataFusion orders floats totally (-0.0 below 0.0,
//! NaN above all), statistics do not; so a zero bound is widened to the zero that encloses both and stops being exact,
//! and whoever writes statistics leaves bounds out where there is a NaN.

use std::sync::Arc;

use apiary_core::{ColumnStats, StatValue};
use apiary_ledger::{CellEntry, partition_text};
use datafusion::{
    arrow::datatypes::{DataType, Field, TimeUnit, i256},
    common::ScalarValue,
};

const DAY_MS: i64 = 86_400_000;

/// Which end a bound is of; rounding goes outward.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Min,
    Max,
}

/// One bound, and whether it is itself a value of the column.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bound {
    pub(super) value: ScalarValue,
    pub(super) exact: bool,
}

/// What is known of one column of one cell.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct ColumnBounds {
    pub(super) min: Option<Bound>,
    pub(super) max: Option<Bound>,
    pub(super) null_count: Option<u64>,
}

/// The bounds of `field` in `cell`. A column that parts the frame has one value, exactly.
pub(super) fn of_column(cell: &CellEntry, field: &Field) -> ColumnBounds {
    match cell.partition_value(field.name()) {
        Some(text) => of_partition(text, field.data_type(), cell.rows),
        None => cell.column(field.name()).map_or_else(ColumnBounds::default, |stats| of_stats(&stats, field)),
    }
}

pub(super) fn of_stats(stats: &ColumnStats, field: &Field) -> ColumnBounds {
    let bound = |value: &Option<StatValue>, end, exact: bool| {
        let bound = scalar(value.as_ref()?, field.data_type(), end)?;
        Some(Bound { exact: bound.exact && exact, ..bound })
    };
    ColumnBounds {
        min: bound(&stats.min, End::Min, stats.min_exact),
        max: bound(&stats.max, End::Max, stats.max_exact),
        null_count: stats.null_count,
    }
}

/// Whether a column of floats has values and no bounds, as it is with a NaN among them.
pub(super) fn may_hold_nan(cell: &CellEntry, field: &Field) -> bool {
    let bounds = of_column(cell, field);
    let only_nulls = bounds.null_count == Some(cell.rows);
    !only_nulls && (bounds.min.is_none() || bounds.max.is_none())
}

pub(super) fn of_partition(text: Option<&str>, data_type: &DataType, rows: u64) -> ColumnBounds {
    let Some(text) = text else { return ColumnBounds { null_count: Some(rows), ..ColumnBounds::default() } };
    let Ok(value) = partition_text::from_text("", text, data_type) else { return ColumnBounds::default() };
    ColumnBounds {
        min: scalar(&value, data_type, End::Min),
        max: scalar(&value, data_type, End::Max),
        null_count: Some(0),
    }
}

/// `value` in `data_type`, rounded outward where it does not fit.
pub(super) fn scalar(value: &StatValue, data_type: &DataType, end: End) -> Option<Bound> {
    use StatValue as S;
    let exactly = |value: ScalarValue| Some(Bound { value, exact: true });
    match (value, data_type) {
        (S::Bool(v), DataType::Boolean) => exactly(ScalarValue::Boolean(Some(*v))),
        (S::Int(v), _) => exactly(integer(i128::from(*v), data_type)?),
        (S::UInt(v), _) => exactly(integer(i128::from(*v), data_type)?),
        (S::Float(v), _) => float(*v, data_type, end),
        (S::Decimal { value, scale, .. }, _) => exactly(decimal(*value, *scale, data_type)?),
        (S::Text(v), _) => exactly(text(v, data_type)?),
        (S::Date(v), DataType::Date32) => exactly(ScalarValue::Date32(Some(*v))),
        (S::Date(v), DataType::Date64) => {
            // Days, where the column may hold hours: the day's last moment bounds it from above.
            let start = i64::from(*v).checked_mul(DAY_MS)?;
            let moment = if end == End::Min { start } else { start.checked_add(DAY_MS - 1)? };
            Some(Bound { value: ScalarValue::Date64(Some(moment)), exact: false })
        }
        (S::Timestamp(v), DataType::Timestamp(unit, zone)) => timestamp(*v, *unit, zone.clone(), end),
        _ => None,
    }
}

fn integer(value: i128, data_type: &DataType) -> Option<ScalarValue> {
    Some(match data_type {
        DataType::Int8 => ScalarValue::Int8(Some(value.try_into().ok()?)),
        DataType::Int16 => ScalarValue::Int16(Some(value.try_into().ok()?)),
        DataType::Int32 => ScalarValue::Int32(Some(value.try_into().ok()?)),
        DataType::Int64 => ScalarValue::Int64(Some(value.try_into().ok()?)),
        DataType::UInt8 => ScalarValue::UInt8(Some(value.try_into().ok()?)),
        DataType::UInt16 => ScalarValue::UInt16(Some(value.try_into().ok()?)),
        DataType::UInt32 => ScalarValue::UInt32(Some(value.try_into().ok()?)),
        DataType::UInt64 => ScalarValue::UInt64(Some(value.try_into().ok()?)),
        _ => return None,
    })
}

fn float(value: f64, data_type: &DataType, end: End) -> Option<Bound> {
    if value.is_nan() {
        return None;
    }
    let zero = value == 0.0;
    let value = match (zero, end) {
        (true, End::Min) => -0.0,
        (true, End::Max) => 0.0,
        _ => value,
    };
    let value = match data_type {
        DataType::Float64 => ScalarValue::Float64(Some(value)),
        // A bound that came from the column is one of its values; anything else is not ours to round.
        DataType::Float32 if f64::from(value as f32) == value => ScalarValue::Float32(Some(value as f32)),
        _ => return None,
    };
    Some(Bound { value, exact: !zero })
}

fn decimal(value: i128, scale: i8, data_type: &DataType) -> Option<ScalarValue> {
    Some(match data_type {
        DataType::Decimal32(p, s) if *s == scale => ScalarValue::Decimal32(Some(value.try_into().ok()?), *p, *s),
        DataType::Decimal64(p, s) if *s == scale => ScalarValue::Decimal64(Some(value.try_into().ok()?), *p, *s),
        DataType::Decimal128(p, s) if *s == scale => ScalarValue::Decimal128(Some(value), *p, *s),
        DataType::Decimal256(p, s) if *s == scale => ScalarValue::Decimal256(Some(i256::from_i128(value)), *p, *s),
        _ => return None,
    })
}

fn text(value: &str, data_type: &DataType) -> Option<ScalarValue> {
    Some(match data_type {
        DataType::Utf8 => ScalarValue::Utf8(Some(value.to_owned())),
        DataType::LargeUtf8 => ScalarValue::LargeUtf8(Some(value.to_owned())),
        DataType::Utf8View => ScalarValue::Utf8View(Some(value.to_owned())),
        DataType::Dictionary(key, of) => ScalarValue::Dictionary(key.clone(), Box::new(text(value, of)?)),
        _ => return None,
    })
}

fn timestamp(micros: i64, unit: TimeUnit, zone: Option<Arc<str>>, end: End) -> Option<Bound> {
    let coarser = |factor: i64| {
        let floor = micros.div_euclid(factor);
        let exact = micros.rem_euclid(factor) == 0;
        Some((if exact || end == End::Min { floor } else { floor.checked_add(1)? }, exact))
    };
    let (value, exact) = match unit {
        TimeUnit::Second => coarser(1_000_000)?,
        TimeUnit::Millisecond => coarser(1_000)?,
        TimeUnit::Microsecond => (micros, true),
        TimeUnit::Nanosecond => (micros.checked_mul(1_000)?, true),
    };
    let value = Some(value);
    let value = match unit {
        TimeUnit::Second => ScalarValue::TimestampSecond(value, zone),
        TimeUnit::Millisecond => ScalarValue::TimestampMillisecond(value, zone),
        TimeUnit::Microsecond => ScalarValue::TimestampMicrosecond(value, zone),
        TimeUnit::Nanosecond => ScalarValue::TimestampNanosecond(value, zone),
    };
    Some(Bound { value, exact })
}

/// Whether a column holds only values of the list (`true`), none of them (`false`), or it cannot be told: the plain
/// words for what `columns` does for all cells at once.
#[cfg(test)]
pub(super) fn only_or_never(bounds: &ColumnBounds, values: &std::collections::HashSet<ScalarValue>) -> Option<bool> {
    let (min, max) = (bounds.min.as_ref()?, bounds.max.as_ref()?);
    if min.exact && max.exact && min.value == max.value && values.contains(&min.value) {
        return Some(true);
    }
    // One value that cannot be compared, NULL among them, and nothing is known.
    let inside = |value: &ScalarValue| {
        let (low, high) = (value.partial_cmp(&min.value)?, value.partial_cmp(&max.value)?);
        Some(low.is_ge() && high.is_le())
    };
    for value in values {
        if value.is_null() || inside(value)? {
            return None;
        }
    }
    Some(false)
}

#[cfg(test)]
mod tests;
