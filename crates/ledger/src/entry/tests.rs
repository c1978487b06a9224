//! Entries as bytes: what is written reads back, what was damaged is named, and the golden text stays as it is.

use std::{collections::BTreeMap, sync::Arc};

use apiary_core::{CellStats, ColumnStats, FrameId, StatValue, TxnId, Version};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use proptest::prelude::*;

use super::*;
use crate::{CellEntry, CellFacts, CellId, FrameSpec, IdempotencyKey, LedgerError, Transaction, header::Place};

const FOLDER: &str = "h/b/f-0123abcd";

fn txn_id() -> TxnId {
    "0192d3a4-0000-7000-8000-000000000001".parse().unwrap()
}

fn place() -> Place {
    Place { slot: Version(3), base: Some(Version(1)), prev: Some("ab".repeat(32)), timestamp_ms: 1_750_000_000_123 }
}

fn schema() -> SchemaRef {
    let utc = Some("UTC".into());
    Arc::new(Schema::new(vec![
        Field::new("bool", DataType::Boolean, true),
        Field::new("int", DataType::Int64, true),
        Field::new("uint", DataType::UInt64, true),
        Field::new("float", DataType::Float64, true),
        Field::new("decimal", DataType::Decimal128(38, 10), true),
        Field::new("text", DataType::Utf8, true),
        Field::new("date", DataType::Date32, true),
        Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, utc), true),
        Field::new("plain", DataType::Timestamp(TimeUnit::Microsecond, None), true),
        Field::new("region", DataType::Utf8, false),
    ]))
}

fn cell(stats: CellStats) -> CellEntry {
    let facts = CellFacts {
        folder: FOLDER.into(),
        id: CellId { txn: txn_id(), n: 0 },
        size_bytes: 4711,
        partition_values: vec![("region".into(), Some("EU".into()))],
        stats,
        sha256: "cd".repeat(32),
        modified_ms: 1_750_000_000_000,
    };
    facts.pack().unwrap()
}

fn read(add: &Add) -> Result<CellEntry, String> {
    CellReader::new(FOLDER, &schema(), &["region".to_owned()]).read(add)
}

fn exact(min: StatValue, max: StatValue, nulls: u64) -> ColumnStats {
    ColumnStats { min: Some(min), max: Some(max), null_count: Some(nulls), min_exact: true, max_exact: true }
}

/// Bounds in order, of a column of the schema above.
fn any_bounds() -> impl Strategy<Value = (&'static str, StatValue, StatValue)> {
    let us = -62_135_596_800_000_000i64..253_402_300_800_000_000;
    let digits = 10i128.pow(38);
    let decimal = |value| StatValue::Decimal { value, precision: 38, scale: 10 };
    let values = prop_oneof![
        (any::<bool>(), any::<bool>()).prop_map(|(a, b)| ("bool", StatValue::Bool(a), StatValue::Bool(b))),
        (any::<i64>(), any::<i64>()).prop_map(|(a, b)| ("int", StatValue::Int(a), StatValue::Int(b))),
        (any::<u64>(), any::<u64>()).prop_map(|(a, b)| ("uint", StatValue::UInt(a), StatValue::UInt(b))),
        (proptest::num::f64::NORMAL | proptest::num::f64::SUBNORMAL, any::<i32>()).prop_map(|(a, b)| (
            "float",
            StatValue::Float(a),
            StatValue::Float(f64::from(b) / 7.0)
        )),
        (1 - digits..digits, 1 - digits..digits).prop_map(move |(a, b)| ("decimal", decimal(a), decimal(b))),
        (".*", ".*").prop_map(|(a, b)| ("text", StatValue::Text(a), StatValue::Text(b))),
        (-719_162i32..2_932_896, -719_162i32..2_932_896).prop_map(|(a, b)| (
            "date",
            StatValue::Date(a),
            StatValue::Date(b)
        )),
        (us.clone(), us.clone()).prop_map(|(a, b)| ("at", StatValue::Timestamp(a), StatValue::Timestamp(b))),
        (us.clone(), us).prop_map(|(a, b)| ("plain", StatValue::Timestamp(a), StatValue::Timestamp(b))),
    ];
    values.prop_map(
        |(name, a, b)| if a.compare(&b).is_some_and(std::cmp::Ordering::is_gt) { (name, b, a) } else { (name, a, b) },
    )
}

fn any_stats() -> impl Strategy<Value = CellStats> {
    let column = (any_bounds(), any::<[bool; 5]>(), 0u64..1000).prop_map(|((name, min, max), keep, nulls)| {
        let (min, max) = (keep[0].then_some(min), keep[1].then_some(max));
        // A bound that is absent is never exact.
        let (min_exact, max_exact) = (keep[2] && min.is_some(), keep[3] && max.is_some());
        let null_count = (keep[4] || (min.is_none() && max.is_none())).then_some(nulls);
        (name.to_owned(), ColumnStats { min, max, null_count, min_exact, max_exact })
    });
    prop::collection::vec(column, 0..12)
        .prop_map(|columns| CellStats { rows: 1000, columns: columns.into_iter().collect::<BTreeMap<_, _>>() })
}

fn round_trip(cell: &CellEntry) -> CellEntry {
    let add = stats::add_of(cell, &schema(), true).unwrap();
    let add: Add = serde_json::from_str(&serde_json::to_string(&add).unwrap()).unwrap();
    read(&add).unwrap()
}

proptest! {
    #[test]
    fn a_cell_reads_back_to_the_last_digit(stats in any_stats()) {
        let cell = cell(stats);
        prop_assert_eq!(round_trip(&cell), cell);
    }

    #[test]
    fn damage_is_an_error_and_never_a_panic(at in 0usize..900, to in any::<u8>()) {
        let mut body = append().to_vec();
        let at = at % body.len();
        body[at] = to;
        if let Ok(entry) = decode("o", &body) {
            for add in &entry.adds {
                let _ = read(add);
            }
        }
    }
}

#[test]
fn bounds_that_json_cannot_hold_are_left_out() {
    let columns = BTreeMap::from([
        ("float".to_owned(), exact(StatValue::Float(f64::NEG_INFINITY), StatValue::Float(1.0), 0)),
        ("date".to_owned(), exact(StatValue::Date(0), StatValue::Date(i32::MAX), 0)),
    ]);
    let back = round_trip(&cell(CellStats { rows: 9, columns })).stats().columns;
    assert_eq!((&back["float"].min, back["float"].min_exact), (&None, false));
    assert_eq!((&back["float"].max, back["float"].max_exact), (&Some(StatValue::Float(1.0)), true));
    assert_eq!((&back["date"].max, back["date"].max_exact), (&None, false));
}

fn transaction() -> Transaction {
    let decimal = |value| StatValue::Decimal { value, precision: 38, scale: 10 };
    let loose = ColumnStats { max_exact: false, ..exact(StatValue::Text("a".into()), StatValue::Text("b".into()), 1) };
    let columns = BTreeMap::from([
        ("int".to_owned(), exact(StatValue::Int(-1), StatValue::Int(7), 0)),
        ("decimal".to_owned(), exact(decimal(-5), decimal(10i128.pow(37)), 0)),
        ("plain".to_owned(), exact(StatValue::Timestamp(0), StatValue::Timestamp(1), 0)),
        ("text".to_owned(), loose),
    ]);
    let idem = IdempotencyKey { scope: "me".into(), key: "k1".into(), digest: "d1".into() };
    Transaction::append(txn_id(), "pi-1", vec![cell(CellStats { rows: 2, columns })]).with_idem(Some(idem))
}

fn append() -> bytes::Bytes {
    commit(&place(), &schema(), &transaction(), &[]).unwrap()
}

#[test]
fn the_golden_append() {
    let text = String::from_utf8(append().to_vec()).unwrap();
    let version = env!("CARGO_PKG_VERSION");
    let expected = format!(
        concat!(
            r#"{{"commitInfo":{{"timestamp":1750000000123,"inCommitTimestamp":1750000000123,"operation":"WRITE","operationParameters":{{"mode":"Append"}},"isBlindAppend":true,"engineInfo":"apiary/{version}","txnId":"{id}","apiary":{{"format":1,"v":3,"base":1,"prev":"{prev}","node":"pi-1","txns":[{{"id":"{id}","kind":"append","add":1,"idem":{{"scope":"me","key":"k1"}},"digest":"d1"}}]}}}}}}"#,
            "\n",
            r#"{{"txn":{{"appId":"[\"apiary\",\"me\",\"k1\",\"d1\"]","version":3,"lastUpdated":1750000000123}}}}"#,
            "\n",
            r#"{{"add":{{"path":"cells/{id}-00.parquet","partitionValues":{{"region":"EU"}},"size":4711,"modificationTime":1750000000000,"dataChange":true,"stats":"{{\"numRecords\":2,\"minValues\":{{\"decimal\":-0.0000000005,\"int\":-1,\"plain\":\"1970-01-01T00:00:00.000000\",\"text\":\"a\"}},\"maxValues\":{{\"decimal\":1000000000000000000000000000.0000000000,\"int\":7,\"plain\":\"1970-01-01T00:00:00.000001\",\"text\":\"b\"}},\"nullCount\":{{\"decimal\":0,\"int\":0,\"plain\":0,\"text\":1}}}}","tags":{{"apiary.inexact":"{{\"text\":\"max\"}}","apiary.sha256":"{sha}"}}}}}}"#,
            "\n",
        ),
        version = version,
        id = txn_id(),
        prev = "ab".repeat(32),
        sha = "cd".repeat(32),
    );
    assert_eq!(crate::sum::unsummed(&text), expected);
}

#[test]
fn the_golden_version_zero() {
    let fields = vec![Field::new("n", DataType::Int64, true), Field::new("r", DataType::Utf8, false)];
    let spec = FrameSpec { schema: Arc::new(Schema::new(fields)), partition_by: vec!["r".into()] };
    let id = FrameId::try_from("0123abcd".to_owned()).unwrap();
    let body = create(&Place::after(None, None, 1_750_000_000_000), txn_id(), "pi-1", &id, &spec).unwrap();
    let text = String::from_utf8(body.to_vec()).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(text.ends_with('\n') && lines.len() == 3);
    let info = format!(
        r#"{{"commitInfo":{{"timestamp":1750000000000,"inCommitTimestamp":1750000000000,"operation":"CREATE TABLE","operationParameters":{{"partitionBy":"[\"r\"]"}},"isBlindAppend":false,"engineInfo":"apiary/{}","txnId":"{id}","apiary":{{"format":1,"v":0,"node":"pi-1","txns":[{{"id":"{id}","kind":"create","add":0}}]}}}}}}"#,
        env!("CARGO_PKG_VERSION"),
        id = txn_id()
    );
    assert_eq!(crate::sum::unsummed(&text).lines().next(), Some(info.as_str()));
    assert_eq!(
        lines[1],
        r#"{"protocol":{"minReaderVersion":1,"minWriterVersion":7,"writerFeatures":["inCommitTimestamp","domainMetadata","apiary-v1"]}}"#
    );
    let (before, after) = lines[2].split_once(r#""apiary.arrow_schema":""#).unwrap();
    assert_eq!(
        before,
        format!(
            r#"{{"metaData":{{"id":"{}","format":{{"provider":"parquet","options":{{}}}},"schemaString":"{{\"type\":\"struct\",\"fields\":[{{\"name\":\"n\",\"type\":\"long\",\"nullable\":true,\"metadata\":{{}}}},{{\"name\":\"r\",\"type\":\"string\",\"nullable\":false,\"metadata\":{{}}}}]}}","partitionColumns":["r"],"configuration":{{"#,
            txn_id()
        )
    );
    assert_eq!(
        after.split_once('"').unwrap().1,
        r#","apiary.frame_id":"0123abcd","delta.deletedFileRetentionDuration":"interval 36500 days","delta.enableExpiredLogCleanup":"false","delta.enableInCommitTimestamps":"true","delta.logRetentionDuration":"interval 36500 days"},"createdTime":1750000000000}}"#
    );
}

#[test]
fn a_plain_timestamp_asks_for_its_reader_feature() {
    let protocol = serde_json::to_string(&Protocol::of_frame(true)).unwrap();
    assert_eq!(
        protocol,
        r#"{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["timestampNtz"],"writerFeatures":["inCommitTimestamp","domainMetadata","apiary-v1","timestampNtz"]}"#
    );
}

/// The error of a body that was changed by `change`.
fn damaged(change: impl Fn(String) -> String) -> LedgerError {
    let body = change(String::from_utf8(append().to_vec()).unwrap());
    decode("h/b/f/_delta_log/3.json", body.as_bytes()).unwrap_err()
}

#[test]
fn what_was_damaged_is_named() {
    type Change = Box<dyn Fn(String) -> String>;
    let cases: [(&str, Change); 7] = [
        ("last newline", Box::new(|body| body.trim_end().to_owned())),
        ("twice", Box::new(|body| body.replacen(r#""size":4711"#, r#""size":4711,"size":4712"#, 1))),
        ("line 4", Box::new(|body| body + "x\n")),
        ("line 3", Box::new(|body| body.trim_end().to_owned() + "{}\n")),
        ("empty", Box::new(|_| String::new())),
        ("count other cells", Box::new(|body| body.lines().take(2).map(|line| line.to_owned() + "\n").collect())),
        ("not 'commitInfo'", Box::new(|body| body.lines().skip(1).map(|line| line.to_owned() + "\n").collect())),
    ];
    for (word, change) in cases {
        let error = damaged(change).to_string();
        assert!(error.contains(word) && error.contains("_delta_log/3.json"), "{word}: {error}");
    }
}

#[test]
fn what_a_newer_program_must_be_understood_for_refuses_and_the_rest_is_ignored() {
    let feature = |name: &str| {
        let protocol = serde_json::to_string(&Protocol::of_frame(false)).unwrap().replace("domainMetadata", name);
        let body = String::from_utf8(append().to_vec()).unwrap() + &format!("{{\"protocol\":{protocol}}}\n");
        decode("o", body.as_bytes())
    };
    assert!(matches!(feature("apiary-v2"), Err(LedgerError::Newer { .. })));
    assert!(feature("domainMetadata").is_ok());
    let text = String::from_utf8(append().to_vec()).unwrap();
    let more = text.replacen(r#""size":"#, r#""colour":"blue","size":"#, 1) + "{\"honey\":{}}\n";
    assert_eq!(decode("o", more.as_bytes()).unwrap(), decode("o", text.as_bytes()).unwrap());
}

#[test]
fn a_cell_that_contradicts_its_frame_is_refused() {
    let entry = decode("o", &append()).unwrap();
    let read = |change: &dyn Fn(&mut Add)| {
        let mut add = entry.adds[0].clone();
        change(&mut add);
        read(&add)
    };
    assert!(read(&|_| {}).is_ok());
    assert!(read(&|add| add.path = "../../x.parquet".into()).is_err());
    assert!(read(&|add| add.partition_values.clear()).is_err());
    assert!(read(&|add| add.stats = None).is_err());
    assert!(read(&|add| add.stats = Some(r#"{"numRecords":1,"minValues":{"int":1.5}}"#.into())).is_err());
    assert!(read(&|add| add.stats = Some(r#"{"numRecords":1,"nullCount":{"int":2}}"#.into())).is_err());
    let upside_down = r#"{"numRecords":1,"minValues":{"int":5},"maxValues":{"int":4}}"#;
    assert!(read(&|add| add.stats = Some(upside_down.into())).is_err());
    // Delta's NULL.
    assert_eq!(
        read(&|add| drop(add.partition_values.insert("region".into(), Some(String::new()))))
            .unwrap()
            .partition_values(),
        [("region".to_owned(), None)]
    );
}
