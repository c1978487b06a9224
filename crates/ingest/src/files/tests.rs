//! Files as people have them: good, strange and broken.

use std::{fs, sync::Arc};

use apiary_cell::{CellOptions, encode_cell};
use apiary_core::ErrorKind;
use arrow::{
    array::{AsArray, Int64Array, RecordBatch},
    compute::concat_batches,
    datatypes::Int64Type,
};
use tempfile::TempDir;

use super::*;

/// A file of this name and content.
fn file(name: &str, content: impl AsRef<[u8]>) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, content).unwrap();
    (folder, path)
}

fn read(path: &Path, options: &ReadOptions) -> Result<RecordBatch> {
    let source = FileSource::open(path, options)?;
    let schema = Arc::clone(&source.schema);
    let batches = source.collect::<Result<Vec<_>>>()?;
    Ok(concat_batches(&schema, &batches).unwrap())
}

fn types(batch: &RecordBatch) -> Vec<DataType> {
    batch.schema().fields().iter().map(|field| field.data_type().clone()).collect()
}

#[test]
fn csv_columns_get_sane_types_and_empty_fields_are_null() {
    let text = "id,temp,ok,day,ts,name,nothing\n1,2.5,true,2026-01-02,2026-01-02 03:04:05,a,\n2,,false,,,\"b, c\",\n";
    let (_folder, path) = file("x.csv", text);
    let batch = read(&path, &ReadOptions::default()).unwrap();
    let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
    let wanted = [
        DataType::Int64,
        DataType::Float64,
        DataType::Boolean,
        DataType::Date32,
        micros,
        DataType::Utf8,
        DataType::Utf8,
    ];
    assert_eq!(types(&batch), wanted);
    assert_eq!(batch.columns().iter().map(|c| c.null_count()).collect::<Vec<_>>(), [0, 1, 0, 1, 1, 0, 2]);
    assert_eq!(batch.column(5).as_string::<i32>().value(1), "b, c");
}

#[test]
fn csv_meant_for_a_frame_is_read_in_its_types() {
    let (_folder, path) = file("x.tsv", "ID\tzip\n1\t01234\n");
    let frame = Schema::new(vec![
        Field::new("id", DataType::Int32, false),
        Field::new("zip", DataType::Utf8, true),
        Field::new("unused", DataType::Utf8, true),
    ]);
    let options = ReadOptions { like: Some(Arc::new(frame)), ..ReadOptions::default() };
    let batch = read(&path, &options).unwrap();
    assert_eq!(types(&batch), [DataType::Int32, DataType::Utf8]);
    assert_eq!(batch.column(1).as_string::<i32>().value(0), "01234");
}

#[test]
fn json_lines_keep_every_key() {
    let (_folder, path) = file("x.jsonl", "{\"a\":1,\"b\":\"x\"}\n{\"a\":2.5}\n{\"b\":null,\"l\":[1,2]}\n");
    let batch = read(&path, &ReadOptions::default()).unwrap();
    assert_eq!(types(&batch)[..2], [DataType::Float64, DataType::Utf8]);
    assert_eq!((batch.num_rows(), batch.column(1).null_count()), (3, 2));
}

fn parquet_bytes(rows: i64) -> Vec<u8> {
    let column: arrow::array::ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
    let batch = RecordBatch::try_from_iter([("n", column)]).unwrap();
    encode_cell(&batch.schema(), &[batch], &CellOptions::default()).unwrap().bytes.to_vec()
}

#[tokio::test]
async fn parquet_tells_its_rows_and_streams() {
    use futures::TryStreamExt;
    let (_folder, path) = file("x.parquet", parquet_bytes(40_000));
    let source = FileSource::open(&path, &ReadOptions::default()).unwrap();
    assert_eq!(source.rows, Some(40_000));
    let batches: Vec<RecordBatch> = source.into_stream().try_collect().await.unwrap();
    let sum: i64 = batches.iter().flat_map(|b| b.column(0).as_primitive::<Int64Type>().values().to_vec()).sum();
    assert_eq!(sum, (0..40_000).sum::<i64>());
}

#[test]
fn a_broken_file_is_an_error_that_names_it_and_says_what_to_do() {
    let whole = parquet_bytes(40_000);
    let mut scribbled = whole.clone();
    scribbled[100..9_000].fill(0xff);
    let table: [(&str, Vec<u8>, &str); 10] = [
        ("short.parquet", whole[..whole.len() / 2].to_vec(), "Parquet"),
        ("empty.parquet", Vec::new(), "Parquet"),
        ("text.parquet", b"a,b\n1,2\n".to_vec(), "Parquet"),
        ("scribbled.parquet", scribbled, "Parquet"),
        ("empty.csv", Vec::new(), "header"),
        ("twice.csv", b"a,A\n1,2\n".to_vec(), "twice"),
        ("ragged.csv", b"a,b\n1,2\n3\n".to_vec(), "CSV"),
        ("late.csv", format!("a\n{}x\n", "1\n".repeat(GUESS_ROWS + 1)).into_bytes(), "CSV"),
        ("list.jsonl", b"[1,2]\n".to_vec(), "JSON"),
        ("cut.jsonl", b"{\"a\":1}\n{\"a\":".to_vec(), "JSON"),
    ];
    for (name, content, word) in table {
        let (_folder, path) = file(name, content);
        let error = read(&path, &ReadOptions::default()).unwrap_err();
        let message = error.to_string();
        assert!(message.contains(name) && message.contains(word), "{message}");
        assert!(error.hint().is_some() && error.kind() == ErrorKind::Corrupt, "{message}");
    }
}

#[test]
fn a_value_that_does_not_fit_is_named_with_its_row_and_column() {
    // The types are guessed from the first rows; this one is behind them, in a later batch.
    let mut rows = "id,temp\n".to_owned();
    (0..GUESS_ROWS).for_each(|i| rows.push_str(&format!("{i},1.5\n")));
    let (_folder, path) = file("late.csv", rows + "0,warm\n");
    let error = read(&path, &ReadOptions::default()).unwrap_err().to_string();
    let told = format!("row {} after the header: 'warm' in column 'temp' is not of type Float64", GUESS_ROWS + 1);
    assert!(error.contains(&told), "{error}");
}

#[test]
fn a_file_that_is_not_there_or_not_known_is_named() {
    let missing = FileSource::open(Path::new("/nowhere/x.csv"), &ReadOptions::default()).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    let (_folder, path) = file("x.xlsx", "");
    let unknown = FileSource::open(&path, &ReadOptions::default()).unwrap_err();
    assert!(unknown.to_string().contains("x.xlsx") && unknown.hint().is_some());
    let folder = FileSource::open(&path, &ReadOptions { format: Some(FileFormat::Csv), ..ReadOptions::default() });
    assert!(folder.is_err(), "an empty file has no header");
}

#[test]
fn a_quote_that_never_closes_swallows_no_rows() {
    let (_folder, path) = file("x.csv", "a,b\n1,\"abc\n2,d\n");
    let error = read(&path, &ReadOptions::default()).unwrap_err();
    assert!(error.to_string().contains("the quote that opens in line 2 never closes"), "{error}");
}

#[test]
fn a_json_array_is_refused_in_a_few_words() {
    let (_folder, path) = file("x.json", format!("\n [{}{{}}]", r#"{"id":1},"#.repeat(10_000)));
    let error = read(&path, &ReadOptions::default()).unwrap_err();
    assert!(error.to_string().len() < 200 && error.to_string().contains("one array"), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("jq")));
}
