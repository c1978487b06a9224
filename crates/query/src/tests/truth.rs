//! Pruning never changes an answer: random conditions on a frame give the rows that DataFusion finds in the same
//! rows held in memory, where nothing is pruned.

use std::sync::Arc;

use apiary_core::{Rng, SeededRng};
use datafusion::{
    arrow::{
        array::{
            ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array, RecordBatch, StringArray,
            TimestampMicrosecondArray, TimestampNanosecondArray, UInt64Array,
        },
        datatypes::{DataType, Field, Schema},
    },
    datasource::MemTable,
    prelude::SessionContext,
};

use super::kit::{Colony, lines, session};

const CELLS: i64 = 12;
const ROWS: i64 = 20;
const CONDITIONS: usize = 160;

/// `WHERE` conditions tried beside the random ones: what is easily got wrong.
const HARD: [&str; 27] = [
    "f > 1e300",
    "f >= 'NaN'::double",
    "f = 'NaN'::double",
    "f <> 'NaN'::double",
    "NOT (f < 5)",
    "f = 0.0",
    "f = -0.0",
    "f < 0.0 AND f > -1",
    "f >= 0.0 AND f <= 0.0",
    "id = 9007199254740993",
    "id > 9007199254740992 AND id < 9007199254740994",
    "id IN (1, 2, 3, 9007199254740993, 9007199254741005, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22)",
    "CAST(id AS DOUBLE) = 9007199254740992.0",
    "s LIKE 'cell 03 %'",
    "s NOT LIKE 'cell%'",
    "s >= 'cell 11 zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz'",
    "s = upper(s)",
    "b AND u > 18446744073709551000",
    "NOT b",
    "region = 'north' OR region = 'söuth'",
    "region NOT IN ('north', 'söuth', 'x')",
    "f IS NULL OR s IS NULL",
    "upper(region) = 'NORTH' AND id > 9007199254741000",
    "region || s LIKE 'northcell%' OR region IS NULL",
    "CASE WHEN region = 'east' THEN NULL ELSE region > 'o' END",
    "region < 'o' AND region <> 'east' OR region = 'nowhere'",
    "length(region) IN (4, 5, NULL)",
];

fn batch(cell: i64, rng: &SeededRng) -> RecordBatch {
    let of = |n: u64| i64::try_from(rng.below(n)).unwrap();
    let rows: Vec<i64> = (0..ROWS).collect();
    let some = |value: i64| (rng.below(9) > 0).then_some(value);
    let base = cell * 10;
    let float = |i: &i64| match (cell % 4, rng.below(8)) {
        (0, 0) => Some(f64::NAN),
        (0, 1) => Some(-f64::NAN),
        (1, 0) => Some(-0.0),
        (1, 1) => Some(0.0),
        (2, 0) => Some(f64::INFINITY),
        (_, 2) => None,
        _ => Some((base + i % 7) as f64 / 2.0),
    };
    let text = |i: &i64| match rng.below(7) {
        0 => None,
        1 => Some(format!("cell {cell:02} {}", "zü".repeat(40 + usize::try_from(*i).unwrap()))),
        _ => Some(format!("cell {cell:02} row {}", i % 5)),
    };
    let region = ["north", "söuth", "east"][usize::try_from(cell % 3).unwrap()];
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(rows.iter().map(|i| some((1 << 53) + base + i)).collect::<Int64Array>())),
        ("f", Arc::new(rows.iter().map(float).collect::<Float64Array>())),
        ("s", Arc::new(rows.iter().map(text).collect::<StringArray>())),
        ("d", Arc::new(rows.iter().map(|_| some(20_000 + base + of(10)).map(|d| d as i32)).collect::<Date32Array>())),
        (
            "ts",
            Arc::new(rows.iter().map(|_| some((base + of(10)) * 3_600_000_001)).collect::<TimestampMicrosecondArray>()),
        ),
        ("ns", Arc::new(rows.iter().map(|_| some((base + of(10)) * 1_000)).collect::<TimestampNanosecondArray>())),
        ("dec", Arc::new(decimals(rows.iter().map(|_| some((base + of(10)) * 7 - 300))))),
        ("b", Arc::new(rows.iter().map(|_| some(of(2)).map(|b| b == 1 && cell > 4)).collect::<BooleanArray>())),
        (
            "u",
            Arc::new(
                rows.iter().map(|_| some(of(10)).map(|u| u64::MAX - 200 + (base + u) as u64)).collect::<UInt64Array>(),
            ),
        ),
        ("region", Arc::new(StringArray::from(vec![region; rows.len()]))),
    ];
    let fields: Vec<_> =
        columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.into_iter().map(|(_, array)| array).collect()).unwrap()
}

fn decimals(values: impl Iterator<Item = Option<i64>>) -> Decimal128Array {
    values.map(|value| value.map(i128::from)).collect::<Decimal128Array>().with_precision_and_scale(12, 2).unwrap()
}

/// A literal near the values of a column.
fn literal(column: &str, rng: &SeededRng) -> String {
    let n = i64::try_from(rng.below(150)).unwrap() - 10;
    match column {
        "id" => format!("{}", (1i64 << 53) + n),
        "f" => format!("{}", n as f64 / 2.0),
        "s" => format!("'cell {:02} row {}'", n.rem_euclid(13), n.rem_euclid(6)),
        "d" => format!("arrow_cast({}, 'Date32')", 20_000 + n),
        "ts" => format!("arrow_cast({}, 'Timestamp(µs)')", n * 3_600_000_001),
        "ns" => format!("arrow_cast({}, 'Timestamp(ns)')", n * 1_000),
        "dec" => format!("{}", (n * 7 - 300) as f64 / 100.0),
        "b" => format!("{}", n % 2 == 0),
        "u" => format!("{}", u64::MAX - 200 + n.rem_euclid(150) as u64),
        _ => format!("'{}'", ["north", "söuth", "east", "west"][usize::try_from(n.rem_euclid(4)).unwrap()]),
    }
}

fn atom(rng: &SeededRng) -> String {
    let columns = ["id", "f", "s", "d", "ts", "ns", "dec", "b", "u", "region"];
    let column = columns[usize::try_from(rng.below(10)).unwrap()];
    let value = || literal(column, rng);
    match rng.below(10) {
        0 => format!("{column} IS NULL"),
        1 => format!("{column} IS NOT NULL"),
        2 => format!("{column} IN ({}, {}, {}, {})", value(), value(), value(), value()),
        3 => format!("{column} NOT IN ({}, {})", value(), value()),
        4 => format!("{column} BETWEEN {} AND {}", value(), value()),
        5 if column == "s" => format!("s LIKE 'cell {:02}%'", rng.below(13)),
        6 if column == "s" => format!("s NOT LIKE 'cell {:02}%'", rng.below(13)),
        _ => {
            let op = ["=", "<>", "<", "<=", ">", ">="][usize::try_from(rng.below(6)).unwrap()];
            format!("{column} {op} {}", value())
        }
    }
}

fn condition(rng: &SeededRng, depth: u32) -> String {
    match rng.below(5) {
        0 | 1 if depth > 0 => format!("({} AND {})", condition(rng, depth - 1), condition(rng, depth - 1)),
        2 if depth > 0 => format!("({} OR {})", condition(rng, depth - 1), condition(rng, depth - 1)),
        3 if depth > 0 => format!("NOT ({})", condition(rng, depth - 1)),
        _ => atom(rng),
    }
}

async fn both() -> (Colony, SessionContext) {
    let rng = SeededRng::new(7);
    let batches: Vec<_> = (0..CELLS).map(|cell| batch(cell, &rng)).collect();
    let colony = Colony::new();
    colony.frame("h.b.t", &["region"], &batches).await;
    let plain = SessionContext::new();
    let table = MemTable::try_new(batches[0].schema(), vec![batches]).unwrap();
    plain.register_table("t", Arc::new(table)).unwrap();
    (colony, plain)
}

async fn plain_lines(plain: &SessionContext, sql: &str) -> Vec<String> {
    let frame = plain.sql(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    lines(&frame.collect().await.unwrap_or_else(|error| panic!("{sql}: {error}")))
}

#[tokio::test]
async fn pruned_answers_equal_unpruned_answers() {
    let (colony, plain) = both().await;
    let rng = SeededRng::new(42);
    let random = (0..CONDITIONS).map(|_| condition(&rng, 2));
    let (mut pruned, mut asked) = (0, 0);
    for condition in HARD.iter().map(|hard| (*hard).to_owned()).chain(random) {
        let sql = format!("SELECT * FROM t WHERE {condition}");
        let (planned, batches) =
            colony.ask(&sql, &session("h", "b")).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert_eq!(lines(&batches), plain_lines(&plain, &sql).await, "{sql}\n{:#?}", planned.scans);
        pruned += planned.cells_total() - planned.cells_kept();
        asked += planned.cells_total();
    }
    assert!(pruned * 4 > asked, "only {pruned} of {asked} cells were pruned: the test has no teeth");
}

#[tokio::test]
async fn what_statistics_answer_is_what_the_rows_say() {
    let (colony, plain) = both().await;
    let columns = ["id", "f", "s", "d", "ts", "ns", "dec", "b", "u", "region"];
    for column in columns {
        for filter in ["", "WHERE region = 'north'", "WHERE region = 'nowhere'", "WHERE id > 9007199254741050"] {
            let sql = format!("SELECT count(*), count({column}), min({column}), max({column}) FROM t {filter}");
            let (_, batches) = colony.ask(&sql, &session("h", "b")).await.unwrap();
            assert_eq!(lines(&batches), plain_lines(&plain, &sql).await, "{sql}");
        }
        for order in ["ASC", "DESC", "ASC NULLS FIRST", "DESC NULLS LAST"] {
            let sql = format!("SELECT {column} FROM t ORDER BY {column} {order} LIMIT 3");
            let (_, batches) = colony.ask(&sql, &session("h", "b")).await.unwrap();
            assert_eq!(lines(&batches), plain_lines(&plain, &sql).await, "{sql}");
        }
    }
    let (planned, _) = colony.ask("SELECT count(*), min(id), max(d) FROM t", &session("h", "b")).await.unwrap();
    assert_eq!(planned.cells_kept(), 0);
    assert!(planned.scans[0].answered_by_ledger);
}

#[tokio::test]
async fn exact_types_come_back_from_what_cells_hold() {
    let (colony, _) = both().await;
    let planned = colony.plan("SELECT ns, u, dec FROM t", &session("h", "b")).await.unwrap();
    let types: Vec<_> = planned.schema.fields().iter().map(|field| field.data_type().clone()).collect();
    let nanos = DataType::Timestamp(datafusion::arrow::datatypes::TimeUnit::Nanosecond, None);
    assert_eq!(types, [nanos, DataType::UInt64, DataType::Decimal128(12, 2)]);
}
