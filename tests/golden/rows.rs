//! Rows of every type, made from their numbers.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int8Array,
        Int16Array, Int32Array, Int64Array, Int64Builder, ListBuilder, RecordBatch, StringArray, StructArray,
        TimestampMicrosecondArray, TimestampNanosecondArray, UInt8Array, UInt16Array, UInt32Array, UInt64Array,
    },
    datatypes::{DataType, Field},
};

/// Some rows that follow each other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub(super) from: i64,
    pub(super) count: i64,
}

impl Part {
    pub(super) fn batch(self) -> RecordBatch {
        let columns = columns(&(self.from..self.from + self.count).collect::<Vec<i64>>());
        let fields = columns.into_iter().map(|(name, column)| (name, column, true));
        RecordBatch::try_from_iter_with_nullable(fields).unwrap()
    }
}

fn columns(rows: &[i64]) -> Vec<(&'static str, ArrayRef)> {
    // Every seventh value is NULL, in each column another one.
    let known = |row: i64, column: i64| (row + column) % 7 != 0;
    macro_rules! column {
        ($array:ty, $column:expr, $value:expr) => {
            Arc::new(<$array>::from_iter(rows.iter().map(|row| known(*row, $column).then(|| $value(*row))))) as ArrayRef
        };
    }
    let text = |row: i64| match row % 5 {
        0 => String::new(),
        1 => format!("row {row}: Zürich, 東京, 🐝"),
        2 => "\u{10ffff}".repeat(20),
        _ => format!("{row} is a long text that is cut somewhere in its middle, {}", "and goes on ".repeat(6)),
    };
    let float = |row: i64| match row % 9 {
        0 => -0.0,
        1 => 0.0,
        8 if row > 20 => f64::NAN,
        _ => row as f64 / 7.0,
    };
    let mut lists = ListBuilder::new(Int64Builder::new());
    for row in rows {
        (0..row % 3).for_each(|n| lists.values().append_value(row * 10 + n));
        lists.append(row % 4 != 0);
    }
    let pair: ArrayRef = {
        let a = column!(Int32Array, 1, |row: i64| row as i32);
        let b = column!(StringArray, 2, |row: i64| format!("b{row}"));
        let field = |name: &str, data_type| Arc::new(Field::new(name, data_type, true));
        Arc::new(StructArray::from(vec![(field("a", DataType::Int32), a), (field("b", DataType::Utf8), b)]))
    };
    let decimals = Decimal128Array::from_iter(
        rows.iter().map(|row| known(*row, 12).then(|| i128::from(*row) * 10i128.pow(27) - 5)),
    );
    let at = TimestampMicrosecondArray::from_iter(
        rows.iter().map(|row| known(*row, 15).then(|| 1_750_000_000_000_001 + row * 86_399_000_001)),
    );
    let fine = TimestampNanosecondArray::from_iter(
        rows.iter().map(|row| known(*row, 17).then(|| 1_750_000_000_000_000_000 + row * 1_000)),
    );
    vec![
        ("flag", column!(BooleanArray, 1, |row: i64| row % 3 == 0)),
        ("i8", column!(Int8Array, 2, |row: i64| (row % 256 - 128) as i8)),
        ("i16", column!(Int16Array, 3, |row: i64| (row * 31) as i16)),
        ("i32", column!(Int32Array, 4, |row: i64| i32::MIN + row as i32)),
        ("i64", column!(Int64Array, 5, |row: i64| (1i64 << 53) + row)),
        ("u8", column!(UInt8Array, 6, |row: i64| row as u8)),
        ("u16", column!(UInt16Array, 7, |row: i64| u16::MAX - (row % 1000) as u16)),
        ("u32", column!(UInt32Array, 8, |row: i64| u32::MAX - row as u32)),
        ("u64", column!(UInt64Array, 9, |row: i64| u64::MAX - row as u64)),
        ("f32", column!(Float32Array, 10, |row: i64| row as f32 / 3.0)),
        ("f64", column!(Float64Array, 11, float)),
        ("price", Arc::new(decimals.with_precision_and_scale(38, 10).unwrap())),
        ("text", column!(StringArray, 13, text)),
        ("raw", column!(BinaryArray, 14, |row: i64| row.to_be_bytes().to_vec())),
        ("day", column!(Date32Array, 16, |row: i64| (row * 37 - 5000) as i32)),
        ("at", Arc::new(at.with_timezone("UTC"))),
        ("plain", column!(TimestampMicrosecondArray, 18, |row: i64| row * 1_000_003 - 77)),
        ("fine", Arc::new(fine.with_timezone("UTC"))),
        ("list", Arc::new(lists.finish())),
        ("pair", pair),
        ("nothing", arrow::array::new_null_array(&DataType::Int64, rows.len())),
        (
            "region",
            Arc::new(StringArray::from_iter(
                rows.iter().map(|row| Some(["EU", "Übersee / a=b%", "US"][*row as usize % 3])),
            )),
        ),
    ]
}
