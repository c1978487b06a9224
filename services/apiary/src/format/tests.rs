//! What each format looks like, to the letter.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int64Array, ListArray, StringArray,
        TimestampMicrosecondArray,
    },
    datatypes::Int32Type,
};

use super::*;

fn sample() -> RecordBatch {
    let decimals = Decimal128Array::from(vec![Some(1250), None, Some(-7)]).with_precision_and_scale(10, 2).unwrap();
    RecordBatch::try_from_iter([
        ("region", Arc::new(StringArray::from(vec![Some("north"), Some("a \"b\", c"), None])) as ArrayRef),
        ("rows", Arc::new(Int64Array::from(vec![Some(12), Some(1_234_567), None]))),
        ("temp", Arc::new(Float64Array::from(vec![Some(1.5), None, Some(-40.25)]))),
        ("price", Arc::new(decimals)),
        ("ok", Arc::new(BooleanArray::from(vec![Some(true), Some(false), None]))),
        ("at", Arc::new(TimestampMicrosecondArray::from(vec![Some(1_793_491_200_000_000), None, Some(1)]))),
    ])
    .unwrap()
}

fn written(format: Format, batches: &[RecordBatch], layout: TableLayout) -> String {
    let mut out = Vec::new();
    let mut writer = ResultWriter::begin(format, &mut out, &batches[0].schema(), layout).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.finish().unwrap();
    String::from_utf8(out).unwrap()
}

fn plain(format: Format) -> String {
    written(format, &[sample()], TableLayout::default())
}

#[track_caller]
fn check(actual: &str, expected: &str) {
    assert_eq!(actual.trim(), expected.trim(), "\n--- actual ---\n{actual}");
}

#[test]
fn a_table_aligns_numbers_to_the_right_and_shows_null() {
    check(
        &plain(Format::Table),
        r#"
┌──────────┬─────────┬────────┬───────┬───────┬────────────────────────────┐
│ region   ┆    rows ┆   temp ┆ price ┆ ok    ┆ at                         │
╞══════════╪═════════╪════════╪═══════╪═══════╪════════════════════════════╡
│ north    ┆      12 ┆    1.5 ┆ 12.50 ┆ true  ┆ 2026-11-01 00:00:00        │
│ a "b", c ┆ 1234567 ┆   NULL ┆  NULL ┆ false ┆ NULL                       │
│ NULL     ┆    NULL ┆ -40.25 ┆ -0.07 ┆ NULL  ┆ 1970-01-01 00:00:00.000001 │
└──────────┴─────────┴────────┴───────┴───────┴────────────────────────────┘
"#,
    );
}

#[test]
fn csv_quotes_what_needs_it() {
    check(
        &plain(Format::Csv),
        "
region,rows,temp,price,ok,at
north,12,1.5,12.50,true,2026-11-01T00:00:00
\"a \"\"b\"\", c\",1234567,,,false,
,,-40.25,-0.07,,1970-01-01T00:00:00.000001
",
    );
}

#[test]
fn json_is_one_array_with_every_column_in_every_object() {
    let value: serde_json::Value = serde_json::from_str(&plain(Format::Json)).unwrap();
    assert_eq!(value[0]["region"], "north");
    assert_eq!(value[1]["rows"], 1_234_567);
    assert_eq!(value[2]["rows"], serde_json::Value::Null);
    assert_eq!(value.as_array().unwrap().len(), 3);
    assert!(value[2].as_object().unwrap().contains_key("ok"));
}

#[test]
fn jsonl_is_one_object_a_line() {
    let text = plain(Format::Jsonl);
    assert_eq!(text.lines().count(), 3);
    assert!(text.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()));
}

#[test]
fn an_empty_result_still_has_its_shape() {
    let empty = [sample().slice(0, 0)];
    let layout = TableLayout::default();
    check(&written(Format::Csv, &empty, layout), "region,rows,temp,price,ok,at");
    check(&written(Format::Json, &empty, layout), "[]");
    check(&written(Format::Jsonl, &empty, layout), "");
    assert_eq!(written(Format::Table, &empty, layout).lines().count(), 4);
}

#[test]
fn a_long_table_leaves_out_its_middle_and_says_so() {
    let batch = |from: i64| {
        RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from_iter_values(from..from + 50)) as ArrayRef)])
            .unwrap()
    };
    let layout = TableLayout { width: None, rows: Some(4) };
    check(
        &written(Format::Table, &[batch(0), batch(50)], layout),
        "
┌────┐
│  n │
╞════╡
│  0 │
│  1 │
│  … │
│ 98 │
│ 99 │
└────┘
4 of 100 rows shown
",
    );
}

#[test]
fn the_tail_reaches_back_over_small_batches() {
    let batches: Vec<_> = (0..5)
        .map(|n| RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from(vec![n])) as ArrayRef)]).unwrap())
        .collect();
    let text = written(Format::Table, &batches, TableLayout { width: None, rows: Some(4) });
    for (shown, row) in [(true, "│ 0 │"), (true, "│ 1 │"), (false, "│ 2 │"), (true, "│ 3 │"), (true, "│ 4 │")]
    {
        assert_eq!(text.contains(row), shown, "{row} in\n{text}");
    }
}

#[test]
fn a_narrow_screen_cuts_texts_with_a_sign() {
    let batch = RecordBatch::try_from_iter([
        ("n", Arc::new(Int64Array::from(vec![1_000_000])) as ArrayRef),
        ("text", Arc::new(StringArray::from(vec!["the quick brown fox\njumps over the lazy dog"]))),
    ])
    .unwrap();
    check(
        &written(Format::Table, &[batch], TableLayout { width: Some(36), rows: None }),
        "
┌─────────┬────────────────────────┐
│       n ┆ text                   │
╞═════════╪════════════════════════╡
│ 1000000 ┆ the quick brown fox↵j… │
└─────────┴────────────────────────┘
",
    );
}

#[test]
fn nested_values_are_text_in_csv_and_nested_in_json() {
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None]), None]);
    let batch = RecordBatch::try_from_iter([("list", Arc::new(lists) as ArrayRef)]).unwrap();
    check(&written(Format::Csv, std::slice::from_ref(&batch), TableLayout::default()), "list\n\"[1, ]\"\n\"\"");
    check(&written(Format::Json, &[batch], TableLayout::default()), r#"[{"list":[1,null]},{"list":null}]"#);
}

#[test]
fn the_ending_of_a_file_names_its_format() {
    for (name, format) in [("a.csv", Some(Format::Csv)), ("b.JSON", Some(Format::Json)), ("c.parquet", None)] {
        assert_eq!(Format::of_file(Path::new(name)), format);
    }
}
