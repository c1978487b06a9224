//! Bounds against a naive scan, and the values that break naive bounds.

use std::sync::Arc;

use arrow::{
    array::*,
    datatypes::{Field, Schema, TimeUnit},
};
use proptest::prelude::*;

use super::*;

fn stats_of(batches: &[ArrayRef]) -> ColumnStats {
    let field = Field::new("x", batches[0].data_type().clone(), true);
    let schema = Arc::new(Schema::new(vec![field]));
    let mut builder = StatsBuilder::new(&schema);
    for column in batches {
        builder.update(&RecordBatch::try_new(Arc::clone(&schema), vec![Arc::clone(column)]).unwrap()).unwrap();
    }
    builder.finish().columns.remove("x").unwrap()
}

fn floats_of(values: &[f64]) -> ColumnStats {
    stats_of(&[Arc::new(Float64Array::from(values.to_vec()))])
}

#[test]
fn one_nan_of_either_sign_leaves_both_bounds_out() {
    for nan in [f64::NAN, -f64::NAN] {
        let stats = floats_of(&[1.0, nan, 3.0]);
        assert_eq!(stats, ColumnStats { null_count: Some(0), ..ColumnStats::default() });
        let parts: Vec<ArrayRef> =
            vec![Arc::new(Float64Array::from(vec![1.0])), Arc::new(Float64Array::from(vec![nan]))];
        assert_eq!(stats_of(&parts).max, None, "a NaN in a later batch");
    }
}

#[test]
fn nulls_among_the_values_of_a_dictionary_or_of_runs_are_counted() {
    let values: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None]));
    let dictionary = DictionaryArray::new(Int32Array::from(vec![Some(0), Some(1), None, Some(1)]), Arc::clone(&values));
    assert_eq!(stats_of(&[Arc::new(dictionary)]).null_count, Some(3));
    let runs = RunArray::try_new(&Int32Array::from(vec![2, 5]), &values).unwrap();
    assert_eq!(stats_of(&[Arc::new(runs)]).null_count, Some(3));
}

#[test]
fn an_infinity_leaves_out_its_own_bound() {
    let stats = floats_of(&[1.0, f64::INFINITY]);
    assert_eq!((stats.min, stats.max), (Some(StatValue::Float(1.0)), None));
}

#[test]
fn a_zero_bound_lies_outside_both_zeros_and_is_inexact_where_moved() {
    let stats = floats_of(&[0.0]);
    assert!(matches!(stats.min, Some(StatValue::Float(zero)) if zero.is_sign_negative()) && !stats.min_exact);
    assert!(matches!(stats.max, Some(StatValue::Float(zero)) if zero.is_sign_positive()) && stats.max_exact);
    let stats = floats_of(&[-0.0]);
    assert!(stats.min_exact && !stats.max_exact);
}

#[test]
fn a_batch_of_nulls_takes_nothing_away() {
    let parts: Vec<ArrayRef> =
        vec![Arc::new(Int32Array::from(vec![None, None])), Arc::new(Int32Array::from(vec![Some(7), None]))];
    let stats = stats_of(&parts);
    assert_eq!((stats.min, stats.max, stats.null_count), (Some(StatValue::Int(7)), Some(StatValue::Int(7)), Some(3)));
}

#[test]
fn nanoseconds_round_outwards() {
    let zoned = |v: Vec<i64>| Arc::new(TimestampNanosecondArray::from(v).with_timezone("UTC")) as ArrayRef;
    let stats = stats_of(&[zoned(vec![-1, 1])]);
    assert_eq!((stats.min, stats.max), (Some(StatValue::Timestamp(-1)), Some(StatValue::Timestamp(1))));
    assert!(!stats.min_exact && !stats.max_exact);
    assert!(stats_of(&[zoned(vec![2000])]).min_exact);
}

#[test]
fn seconds_beyond_microseconds_have_no_bound() {
    let stats = stats_of(&[Arc::new(TimestampSecondArray::from(vec![1, i64::MAX])) as ArrayRef]);
    assert_eq!((stats.min, stats.max), (Some(StatValue::Timestamp(1_000_000)), None));
}

#[test]
fn every_orderable_type_has_bounds_and_the_others_a_null_count() {
    let ordered: Vec<ArrayRef> = vec![
        Arc::new(Int8Array::from(vec![1])),
        Arc::new(UInt64Array::from(vec![u64::MAX])),
        Arc::new(BooleanArray::from(vec![true])),
        Arc::new(LargeStringArray::from(vec!["a"])),
        Arc::new(StringViewArray::from(vec!["a"])),
        Arc::new(Date32Array::from(vec![1])),
        Arc::new(TimestampMillisecondArray::from(vec![1])),
        Arc::new(Decimal32Array::from(vec![1])),
        Arc::new(Decimal64Array::from(vec![1])),
        Arc::new(Decimal128Array::from(vec![i128::MAX])),
        Arc::new(Decimal256Array::from(vec![arrow::datatypes::i256::from(5)])),
    ];
    for column in ordered {
        let stats = stats_of(&[Arc::clone(&column)]);
        assert!(stats.min.is_some() && stats.min == stats.max && stats.min_exact, "{}", column.data_type());
    }
    let other: ArrayRef = Arc::new(BinaryArray::from_opt_vec(vec![Some(b"x"), None]));
    assert_eq!(stats_of(&[other]), ColumnStats { null_count: Some(1), ..ColumnStats::default() });
    let wide = arrow::datatypes::i256::MAX;
    assert_eq!(stats_of(&[Arc::new(Decimal256Array::from(vec![wide])) as ArrayRef]).max, None);
}

#[test]
fn a_scalar_is_the_value_of_its_row() {
    let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None]));
    assert_eq!(scalar_at(&texts, 0).unwrap(), Some(StatValue::Text("a".to_owned())));
    assert_eq!(scalar_at(&texts, 1).unwrap(), None);
    let nanos = cast_to_nanos(1);
    assert_eq!(scalar_at(&nanos, 0).unwrap(), None, "half a microsecond is no exact value");
}

fn cast_to_nanos(value: i64) -> ArrayRef {
    let column: ArrayRef = Arc::new(Int64Array::from(vec![value]));
    arrow::compute::cast(&column, &DataType::Timestamp(TimeUnit::Nanosecond, None)).unwrap()
}

/// Cuts a column at `at` to see that merged statistics are those of the whole.
fn in_two(column: ArrayRef, at: usize) -> Vec<ArrayRef> {
    let at = at.min(column.len());
    vec![column.slice(0, at), column.slice(at, column.len() - at)]
}

proptest! {
    #[test]
    fn integer_bounds_are_those_of_a_naive_scan(values: Vec<Option<i64>>, at in 0usize..20) {
        let stats = stats_of(&in_two(Arc::new(Int64Array::from(values.clone())), at));
        prop_assert_eq!(stats.min, values.iter().flatten().min().map(|v| StatValue::Int(*v)));
        prop_assert_eq!(stats.max, values.iter().flatten().max().map(|v| StatValue::Int(*v)));
        prop_assert_eq!(stats.null_count, Some(values.iter().filter(|v| v.is_none()).count() as u64));
    }

    #[test]
    fn float_bounds_hold_every_value_by_either_order(bits: Vec<Option<u64>>, at in 0usize..20) {
        let values: Vec<Option<f64>> = bits.into_iter().map(|b| b.map(f64::from_bits)).collect();
        let stats = stats_of(&in_two(Arc::new(Float64Array::from(values.clone())), at));
        let seen: Vec<f64> = values.into_iter().flatten().collect();
        if seen.iter().any(|v| v.is_nan()) {
            prop_assert_eq!((stats.min, stats.max), (None, None));
        } else {
            for value in seen {
                if let Some(StatValue::Float(min)) = stats.min {
                    prop_assert!(min <= value && min.total_cmp(&value).is_le());
                }
                if let Some(StatValue::Float(max)) = stats.max {
                    prop_assert!(max >= value && max.total_cmp(&value).is_ge());
                }
            }
        }
    }

    #[test]
    fn text_bounds_hold_every_text_and_are_short(values: Vec<Option<String>>, at in 0usize..20, long in 0usize..40) {
        let values: Vec<Option<String>> = values.into_iter().map(|v| v.map(|v| v.repeat(1 + long))).collect();
        let stats = stats_of(&in_two(Arc::new(StringArray::from(values.clone())), at));
        for value in values.iter().flatten() {
            if let Some(StatValue::Text(min)) = &stats.min {
                prop_assert!(min.as_bytes() <= value.as_bytes() && min.len() <= BOUND_BYTES_MAX);
            }
            if let Some(StatValue::Text(max)) = &stats.max {
                prop_assert!(max.as_bytes() >= value.as_bytes() && max.len() <= BOUND_BYTES_MAX);
            }
        }
        let exact = |v: Option<&String>| v.map(|v| StatValue::Text(v.clone()));
        if stats.min_exact { prop_assert_eq!(stats.min, exact(values.iter().flatten().min())); }
        if stats.max_exact { prop_assert_eq!(stats.max, exact(values.iter().flatten().max())); }
    }

    #[test]
    fn nanosecond_bounds_hold_every_instant(values: Vec<Option<i64>>) {
        let stats = stats_of(&[Arc::new(TimestampNanosecondArray::from(values.clone())) as ArrayRef]);
        for value in values.into_iter().flatten() {
            let Some(StatValue::Timestamp(min)) = stats.min else { panic!("no minimum") };
            let Some(StatValue::Timestamp(max)) = stats.max else { panic!("no maximum") };
            prop_assert!(i128::from(min) * 1000 <= i128::from(value) && i128::from(value) <= i128::from(max) * 1000);
        }
    }
}
