//! The bounds of one Arrow array, type by type.
//!
//! NaN has no place among bounds: DataFusion sorts it above infinity, others below everything, JSON cannot write it.
//! One NaN and both bounds are unknown. Infinities cannot be written either. A zero as a bound is written with the
//! sign that lies further out and counts as inexact where that changes it, because some compare -0.0 and 0.0 as
//! equal and some do not.

use apiary_core::StatValue;
use arrow::{
    array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray},
    compute,
    datatypes::{self as t, DataType, TimeUnit},
};

use super::bounds::{Bound, Bounds};
use crate::Result;

/// The bounds and NULL count of `array`; bounds of types without an order are unknown.
pub(super) fn bounds_of(array: &ArrayRef) -> Result<Bounds> {
    // A dictionary or a run keeps its NULLs among its values, where the plain count does not look.
    let nulls = array.logical_null_count() as u64;
    if array.len() as u64 == nulls {
        return Ok(Bounds { nulls, ..Bounds::default() });
    }
    let (min, max) = match array.data_type() {
        DataType::Float16 => {
            let wide = compute::cast(array, &DataType::Float32)?;
            floats(wide.as_primitive::<t::Float32Type>())
        }
        DataType::Float32 => floats(array.as_primitive::<t::Float32Type>()),
        DataType::Float64 => floats(array.as_primitive::<t::Float64Type>()),
        DataType::Date64 => scaled_down(primitive::<t::Date64Type>(array), 86_400_000, |days| {
            i32::try_from(days).ok().map(StatValue::Date)
        }),
        DataType::Timestamp(unit, _) => timestamps(array, *unit),
        DataType::Utf8 => {
            let texts = array.as_string::<i32>();
            ends((compute::min_string(texts), compute::max_string(texts)), |s| Some(StatValue::Text(s.to_owned())))
        }
        DataType::LargeUtf8 => {
            let texts = array.as_string::<i64>();
            ends((compute::min_string(texts), compute::max_string(texts)), |s| Some(StatValue::Text(s.to_owned())))
        }
        DataType::Utf8View => {
            let texts = array.as_string_view();
            let found = (compute::min_string_view(texts), compute::max_string_view(texts));
            ends(found, |s| Some(StatValue::Text(s.to_owned())))
        }
        DataType::Boolean => {
            let flags = array.as_boolean();
            ends((compute::min_boolean(flags), compute::max_boolean(flags)), |b| Some(StatValue::Bool(b)))
        }
        _ => whole_numbers(array),
    };
    Ok(Bounds { min, max, nulls })
}

/// Integers, days and decimals: types whose smallest and largest value are bounds as they are.
fn whole_numbers(array: &ArrayRef) -> (Bound, Bound) {
    let int = |v: i64| Some(StatValue::Int(v));
    let uint = |v: u64| Some(StatValue::UInt(v));
    let decimal = |p: u8, s: i8| move |value: i128| Some(StatValue::Decimal { value, precision: p, scale: s });
    match array.data_type() {
        DataType::Int8 => ends(primitive::<t::Int8Type>(array), |v| int(v.into())),
        DataType::Int16 => ends(primitive::<t::Int16Type>(array), |v| int(v.into())),
        DataType::Int32 => ends(primitive::<t::Int32Type>(array), |v| int(v.into())),
        DataType::Int64 => ends(primitive::<t::Int64Type>(array), int),
        DataType::UInt8 => ends(primitive::<t::UInt8Type>(array), |v| uint(v.into())),
        DataType::UInt16 => ends(primitive::<t::UInt16Type>(array), |v| uint(v.into())),
        DataType::UInt32 => ends(primitive::<t::UInt32Type>(array), |v| uint(v.into())),
        DataType::UInt64 => ends(primitive::<t::UInt64Type>(array), uint),
        DataType::Date32 => ends(primitive::<t::Date32Type>(array), |v| Some(StatValue::Date(v))),
        DataType::Decimal32(p, s) => ends(primitive::<t::Decimal32Type>(array), |v| decimal(*p, *s)(v.into())),
        DataType::Decimal64(p, s) => ends(primitive::<t::Decimal64Type>(array), |v| decimal(*p, *s)(v.into())),
        DataType::Decimal128(p, s) => ends(primitive::<t::Decimal128Type>(array), decimal(*p, *s)),
        DataType::Decimal256(p, s) => {
            ends(primitive::<t::Decimal256Type>(array), |v| v.to_i128().and_then(decimal(*p, *s)))
        }
        _ => (Bound::Unknown, Bound::Unknown),
    }
}

/// The smallest and largest value of a primitive array.
fn primitive<T>(array: &ArrayRef) -> (Option<T::Native>, Option<T::Native>)
where
    T: ArrowPrimitiveType,
    T::Native: arrow::array::ArrowNativeTypeOp,
{
    let values = array.as_primitive::<T>();
    (compute::min(values), compute::max(values))
}

/// Bounds from the two ends of a column; an end that does not fit a [`StatValue`] is unknown.
fn ends<V>((min, max): (Option<V>, Option<V>), value: impl Fn(V) -> Option<StatValue>) -> (Bound, Bound) {
    let bound = |end: Option<V>| end.and_then(&value).map_or(Bound::Unknown, Bound::exact);
    (bound(min), bound(max))
}

fn timestamps(array: &ArrayRef, unit: TimeUnit) -> (Bound, Bound) {
    let micros = |v: i64| Some(StatValue::Timestamp(v));
    match unit {
        TimeUnit::Second => {
            ends(primitive::<t::TimestampSecondType>(array), |v| v.checked_mul(1_000_000).and_then(micros))
        }
        TimeUnit::Millisecond => {
            ends(primitive::<t::TimestampMillisecondType>(array), |v| v.checked_mul(1_000).and_then(micros))
        }
        TimeUnit::Microsecond => ends(primitive::<t::TimestampMicrosecondType>(array), micros),
        TimeUnit::Nanosecond => scaled_down(primitive::<t::TimestampNanosecondType>(array), 1_000, micros),
    }
}

/// Bounds in a coarser unit: the minimum rounded down, the maximum up, inexact where that changed them.
fn scaled_down(
    (min, max): (Option<i64>, Option<i64>),
    step: i64,
    value: impl Fn(i64) -> Option<StatValue>,
) -> (Bound, Bound) {
    let bound = |end: Option<i64>, up: bool| {
        let Some(end) = end else { return Bound::Unknown };
        let (coarse, rest) = (end.div_euclid(step), end.rem_euclid(step));
        let coarse = coarse + i64::from(up && rest != 0);
        value(coarse).map_or(Bound::Unknown, |value| Bound::Known { value, exact: rest == 0 })
    };
    (bound(min, false), bound(max, true))
}

fn floats<T>(array: &PrimitiveArray<T>) -> (Bound, Bound)
where
    T: ArrowPrimitiveType,
    T::Native: Into<f64>,
{
    let mut range: Option<(f64, f64)> = None;
    let mut widen = |value: f64| {
        let (low, high) = range.unwrap_or((value, value));
        let low = if value.total_cmp(&low).is_lt() { value } else { low };
        let high = if value.total_cmp(&high).is_gt() { value } else { high };
        range = Some((low, high));
    };
    // Under total order a NaN is always one of the two ends, whatever its sign: no need to look for it in the loop.
    if array.null_count() == 0 {
        array.values().iter().for_each(|value| widen((*value).into()));
    } else {
        array.iter().flatten().for_each(|value| widen(value.into()));
    }
    match range {
        Some((low, high)) if !low.is_nan() && !high.is_nan() => (float_bound(low, -0.0), float_bound(high, 0.0)),
        _ => (Bound::Unknown, Bound::Unknown),
    }
}

fn float_bound(end: f64, outer_zero: f64) -> Bound {
    if end.is_infinite() {
        return Bound::Unknown;
    }
    let value = if end == 0.0 { outer_zero } else { end };
    Bound::Known { value: StatValue::Float(value), exact: value.to_bits() == end.to_bits() }
}
