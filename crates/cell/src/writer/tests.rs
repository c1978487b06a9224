//! Cells as Parquet readers see them.

use std::sync::Arc;

use arrow::{
    array::{Float64Array, Int64Array, RecordBatch, StringArray},
    compute::concat_batches,
    datatypes::{DataType, Field, Schema},
};
use parquet::{
    arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder},
    basic::Compression,
};
use proptest::prelude::*;

use super::*;
use crate::read_cell;

fn txn() -> TxnId {
    TxnId::new(&apiary_core::ManualClock::new(), &apiary_core::SeededRng::new(1))
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("n", DataType::Int64, false),
        Field::new("name", DataType::Utf8, true),
        Field::new("x", DataType::Float64, true),
    ]))
}

fn batch(from: i64, rows: usize) -> RecordBatch {
    let numbers: Vec<i64> = (from..).take(rows).collect();
    let names = StringArray::from_iter(numbers.iter().map(|n| (n % 3 != 0).then(|| format!("name {}", n % 7))));
    let xs = Float64Array::from_iter(numbers.iter().map(|n| Some(*n as f64 / 3.0)));
    let columns: Vec<arrow::array::ArrayRef> = vec![Arc::new(Int64Array::from(numbers)), Arc::new(names), Arc::new(xs)];
    RecordBatch::try_new(schema(), columns).unwrap()
}

fn small() -> CellOptions {
    CellOptions { row_group_rows_max: 100, page_rows_max: 10 }
}

#[test]
fn a_cell_is_lz4_raw_with_a_page_index_and_even_row_groups() {
    let cell = encode_cell(&schema(), &[batch(0, 250)], &small()).unwrap();
    let options = ArrowReaderOptions::new().with_page_index_policy(parquet::file::metadata::PageIndexPolicy::Required);
    let file = ParquetRecordBatchReaderBuilder::try_new_with_options(cell.bytes.clone(), options).unwrap();
    let groups = file.metadata().row_groups();
    assert_eq!(groups.iter().map(|g| g.num_rows()).collect::<Vec<_>>(), [84, 84, 82]);
    assert!(groups.iter().flat_map(|g| g.columns()).all(|c| c.compression() == Compression::LZ4_RAW));
    let pages = file.metadata().offset_index().unwrap();
    assert!(pages[0][0].page_locations().len() > 1, "several pages in a column of a row group");
    assert!(groups[0].column(0).statistics().is_some_and(|s| s.min_is_exact()));
    assert_eq!((cell.rows, cell.stats.rows, cell.sha256), (250, 250, sha256_hex(&cell.bytes)));
}

#[test]
fn groups_encoded_apart_make_the_same_cell_as_together() {
    let format = CellFormat::plain(&schema(), &small());
    let encoder = GroupEncoder::new(&format).unwrap();
    let mut writer = CellWriter::new(&format).unwrap();
    let groups: Vec<_> =
        [batch(0, 100), batch(100, 50)].iter().map(|b| encoder.encode(std::slice::from_ref(b)).unwrap()).collect();
    let encoded: u64 = groups.iter().map(EncodedGroup::bytes).sum();
    for group in groups {
        writer.append(group).unwrap();
    }
    assert!(writer.encoded_bytes() >= encoded && encoded > 0);
    let cell = writer.finish(&txn(), 0).unwrap();
    let (_, rows) = read_cell(cell.bytes, 64).unwrap();
    let rows: Vec<_> = rows.map(|b| b.unwrap()).collect();
    assert_eq!(concat_batches(&schema(), &rows).unwrap(), batch(0, 150));
}

#[test]
fn a_cell_is_stored_in_its_storage_types_and_counted_in_its_exact_ones() {
    let exact = Arc::new(Schema::new(vec![Field::new("u", DataType::UInt64, true)]));
    let storage = Arc::new(Schema::new(vec![Field::new("u", DataType::Decimal128(20, 0), true)]));
    let numbers: arrow::array::ArrayRef = Arc::new(arrow::array::UInt64Array::from(vec![u64::MAX]));
    let rows = RecordBatch::try_new(Arc::clone(&exact), vec![numbers]).unwrap();
    let format = CellFormat::new(&exact, &storage);
    let mut writer = CellWriter::new(&format).unwrap();
    writer.append(GroupEncoder::new(&format).unwrap().encode(&[rows]).unwrap()).unwrap();
    let cell = writer.finish(&txn(), 0).unwrap();
    assert_eq!(cell.stats.columns["u"].max, Some(apiary_core::StatValue::UInt(u64::MAX)));
    assert_eq!(read_cell(cell.bytes, 10).unwrap().0, storage);
}

#[test]
fn an_empty_cell_is_still_a_cell() {
    let cell = encode_cell(&schema(), &[], &CellOptions::default()).unwrap();
    assert_eq!((cell.rows, read_cell(cell.bytes, 10).unwrap().1.count()), (0, 0));
}

#[test]
fn a_cell_cut_short_is_corrupt() {
    let cell = encode_cell(&schema(), &[batch(0, 10)], &small()).unwrap();
    let error = read_cell(cell.bytes.slice(0..cell.bytes.len() - 5), 10).unwrap_err();
    assert_eq!(error.kind(), apiary_core::ErrorKind::Corrupt);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn whatever_the_cuts_the_rows_come_back_in_order(sizes in proptest::collection::vec(0usize..70, 0..8)) {
        let mut from = 0;
        let mut batches = Vec::new();
        for rows in sizes {
            batches.push(batch(from, rows));
            from += rows as i64;
        }
        let cell = encode_cell(&schema(), &batches, &small()).unwrap();
        let read: Vec<_> = read_cell(cell.bytes, 33).unwrap().1.map(|b| b.unwrap()).collect();
        prop_assert_eq!(concat_batches(&schema(), &read).unwrap(), batch(0, from as usize));
    }
}
