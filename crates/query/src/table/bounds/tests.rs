//! Bounds of cells as DataFusion reads them.

use std::collections::HashSet;

use super::*;

fn bound(value: StatValue, data_type: DataType, end: End) -> Option<(ScalarValue, bool)> {
    scalar(&value, &data_type, end).map(|bound| (bound.value, bound.exact))
}

fn utf8(min: &str, max: &str, exact: bool) -> ColumnBounds {
    let bound = |text: &str| Some(Bound { value: ScalarValue::from(text), exact });
    ColumnBounds { min: bound(min), max: bound(max), null_count: Some(0) }
}

#[test]
fn large_integers_keep_every_digit() {
    let big = (1i64 << 53) + 1;
    let value = bound(StatValue::Int(big), DataType::Int64, End::Max).unwrap();
    assert_eq!(value, (ScalarValue::Int64(Some(big)), true));
    assert_eq!(
        bound(StatValue::UInt(u64::MAX), DataType::UInt64, End::Max).unwrap().0,
        ScalarValue::UInt64(Some(u64::MAX))
    );
    assert_eq!(bound(StatValue::Int(300), DataType::Int8, End::Max), None);
}

#[test]
fn a_zero_bound_encloses_both_zeros_and_answers_nothing() {
    let (low, exact) = bound(StatValue::Float(0.0), DataType::Float64, End::Min).unwrap();
    assert!(!exact && matches!(low, ScalarValue::Float64(Some(zero)) if zero.is_sign_negative()));
    let (high, exact) = bound(StatValue::Float(-0.0), DataType::Float32, End::Max).unwrap();
    assert!(!exact && matches!(high, ScalarValue::Float32(Some(zero)) if zero.is_sign_positive()));
}

#[test]
fn a_float_bound_that_does_not_fit_is_left_out() {
    assert_eq!(bound(StatValue::Float(f64::NAN), DataType::Float64, End::Max), None);
    assert_eq!(bound(StatValue::Float(0.1), DataType::Float32, End::Max), None);
    assert_eq!(
        bound(StatValue::Float(0.5), DataType::Float32, End::Max),
        Some((ScalarValue::Float32(Some(0.5)), true))
    );
}

#[test]
fn timestamps_round_outward_in_coarse_units() {
    let second = DataType::Timestamp(TimeUnit::Second, None);
    let at = |us, end| bound(StatValue::Timestamp(us), second.clone(), end).unwrap();
    assert_eq!(at(-1, End::Min), (ScalarValue::TimestampSecond(Some(-1), None), false));
    assert_eq!(at(-1, End::Max), (ScalarValue::TimestampSecond(Some(0), None), false));
    assert_eq!(at(2_000_000, End::Max), (ScalarValue::TimestampSecond(Some(2), None), true));
    let nano = DataType::Timestamp(TimeUnit::Nanosecond, None);
    assert_eq!(bound(StatValue::Timestamp(i64::MAX), nano, End::Max), None);
}

#[test]
fn decimals_of_another_scale_are_left_out() {
    let value = StatValue::Decimal { value: 1234, precision: 9, scale: 2 };
    let same = bound(value.clone(), DataType::Decimal128(15, 2), End::Min);
    assert_eq!(same, Some((ScalarValue::Decimal128(Some(1234), 15, 2), true)));
    assert_eq!(bound(value, DataType::Decimal128(15, 3), End::Min), None);
}

#[test]
fn a_long_list_prunes_by_range_and_by_single_values() {
    let list = |values: &[&str]| values.iter().map(|value| ScalarValue::from(*value)).collect::<HashSet<_>>();
    assert_eq!(only_or_never(&utf8("c", "f", true), &list(&["a", "b", "g"])), Some(false));
    assert_eq!(only_or_never(&utf8("c", "f", true), &list(&["a", "d"])), None);
    assert_eq!(only_or_never(&utf8("c", "c", true), &list(&["a", "c"])), Some(true));
    assert_eq!(only_or_never(&utf8("c", "c", false), &list(&["a", "c"])), None);
    let with_null = HashSet::from([ScalarValue::from("a"), ScalarValue::Utf8(None)]);
    assert_eq!(only_or_never(&utf8("c", "f", true), &with_null), None);
}
