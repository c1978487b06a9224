//! Splitting keeps every row and mixes no partitions.

use std::sync::Arc;

use arrow::{
    array::{AsArray, Int32Array, RecordBatch, StringArray},
    datatypes::{DataType, Field, Int32Type, Schema},
};
use proptest::prelude::*;

use super::*;

fn batch(regions: Vec<Option<&str>>, days: Vec<i32>) -> RecordBatch {
    let fields = vec![Field::new("region", DataType::Utf8, true), Field::new("day", DataType::Date32, true)];
    let days = arrow::compute::cast(&Int32Array::from(days), &DataType::Date32).unwrap();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), vec![Arc::new(StringArray::from(regions)), days]).unwrap()
}

fn by(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn partitions_come_in_order_of_appearance_with_typed_values() {
    let batch = batch(vec![Some("b"), Some("a"), Some("b")], vec![1, 1, 2]);
    let parts = split(&batch, &by(&["region"])).unwrap();
    let shown: Vec<_> = parts.iter().map(|(values, rows)| (values.clone(), rows.num_rows())).collect();
    let text = |s: &str| vec![StatValue::Text(s.to_owned())];
    assert_eq!(shown, [(text("b"), 2), (text("a"), 1)]);
    let both = split(&batch, &by(&["day", "region"])).unwrap();
    assert_eq!(both[2].0, [StatValue::Date(2), StatValue::Text("b".to_owned())]);
}

#[test]
fn a_null_and_an_empty_text_are_refused_with_the_column_and_a_fix() {
    let null = split(&batch(vec![Some("a"), None], vec![1, 1]), &by(&["region"])).unwrap_err();
    assert_eq!(null.to_string(), "partition column 'region' has a NULL in row 2");
    let empty = split(&batch(vec![Some("a"), Some("")], vec![1, 1]), &by(&["region"])).unwrap_err();
    assert_eq!(empty.to_string(), "partition column 'region' has an empty text in row 2");
    assert!([null, empty].iter().all(|e| e.hint().is_some_and(|hint| hint.contains("region"))));
}

#[test]
fn a_column_that_is_not_there_is_named() {
    let error = split(&batch(vec![Some("a")], vec![1]), &by(&["nope"])).unwrap_err();
    assert!(error.to_string().contains("'nope'"), "{error}");
}

#[test]
fn without_partitions_the_batch_stays_whole() {
    let whole = batch(vec![None], vec![1]);
    assert_eq!(split(&whole, &[]).unwrap(), [(vec![], whole.clone())]);
    assert!(split(&whole.slice(0, 0), &[]).unwrap().is_empty());
}

proptest! {
    #[test]
    fn no_row_is_lost_doubled_or_misplaced(rows in proptest::collection::vec((0u8..4, 0i32..3), 0..200)) {
        let regions: Vec<String> = rows.iter().map(|(r, _)| format!("r{r}")).collect();
        let days: Vec<i32> = rows.iter().map(|(_, d)| *d).collect();
        let batch = batch(regions.iter().map(|r| Some(r.as_str())).collect(), days);
        let mut seen = Vec::new();
        for (values, part) in split(&batch, &by(&["region", "day"])).unwrap() {
            let regions = part.column(0).as_string::<i32>();
            let days = arrow::compute::cast(part.column(1), &DataType::Int32).unwrap();
            for row in 0..part.num_rows() {
                let (region, day) = (regions.value(row), days.as_primitive::<Int32Type>().value(row));
                prop_assert_eq!(&values, &vec![StatValue::Text(region.to_owned()), StatValue::Date(day)]);
                seen.push((region.to_owned(), day));
            }
        }
        let mut all: Vec<_> = rows.iter().map(|(r, d)| (format!("r{r}"), *d)).collect();
        all.sort();
        seen.sort();
        prop_assert_eq!(seen, all);
    }
}
