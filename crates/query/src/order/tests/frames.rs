//! TPC-H at scale 1 as the ledger sees it: rows, ranges, and not one cell.

use apiary_core::{ColumnStats, StatValue};
use datafusion::arrow::datatypes::{DataType, Field, Schema};

use crate::tests::kit::Colony;

/// Frame, rows, and columns with their least and greatest value; a word for a text, a date for a date, `d` before the
/// cents of a decimal.
const FRAMES: [(&str, u64, &str); 8] = [
    ("region", 5, "r_regionkey 0 4, r_name AFRICA MIDDLE"),
    ("nation", 25, "n_nationkey 0 24, n_name ALGERIA VIETNAM, n_regionkey 0 4"),
    (
        "supplier",
        10_000,
        "s_suppkey 1 10000, s_name S1 S9, s_address a z, s_nationkey 0 24, s_phone 1-1 3-3, s_acctbal d-99822 d999972, \
         s_comment a z",
    ),
    (
        "customer",
        150_000,
        "c_custkey 1 150000, c_name C1 C9, c_address a z, c_nationkey 0 24, c_phone 1-1 3-3, c_acctbal d-99999 d999999, \
         c_mktsegment AUTO MACH, c_comment a z",
    ),
    (
        "part",
        200_000,
        "p_partkey 1 200000, p_name almond yellow, p_mfgr M#1 M#5, p_brand B#1 B#5, p_type ECO STA, p_size 1 50, \
         p_container JUMBO WRAP, p_retailprice d90100 d209899, p_comment a z",
    ),
    (
        "partsupp",
        800_000,
        "ps_partkey 1 200000, ps_suppkey 1 10000, ps_availqty 1 9999, ps_supplycost d100 d100000, ps_comment a z",
    ),
    (
        "orders",
        1_500_000,
        "o_orderkey 1 6000000, o_custkey 1 149999, o_orderstatus F P, o_totalprice d85791 d55528516, \
         o_orderdate 1992-01-01 1998-08-02, o_orderpriority 1-URGENT 5-LOW, o_clerk C1 C9, o_shippriority 0 0, \
         o_comment a z",
    ),
    (
        "lineitem",
        6_001_215,
        "l_orderkey 1 6000000, l_partkey 1 200000, l_suppkey 1 10000, l_linenumber 1 7, l_quantity d100 d5000, \
         l_extendedprice d90100 d10494950, l_discount d0 d10, l_tax d0 d8, l_returnflag A R, l_linestatus F O, \
         l_shipdate 1992-01-02 1998-12-01, l_commitdate 1992-01-31 1998-10-31, l_receiptdate 1992-01-04 1998-12-31, \
         l_shipinstruct COLLECT TAKE, l_shipmode AIR TRUCK, l_comment a z",
    ),
];

fn value(text: &str) -> (DataType, StatValue) {
    let days = |text: &str| {
        let date = chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
        i32::try_from((date - chrono::NaiveDate::default()).num_days()).ok()
    };
    if let Ok(number) = text.parse() {
        (DataType::Int64, StatValue::Int(number))
    } else if let Some(cents) = text.strip_prefix('d').and_then(|cents| cents.parse().ok()) {
        (DataType::Decimal128(15, 2), StatValue::Decimal { value: cents, precision: 15, scale: 2 })
    } else if let Some(days) = days(text) {
        (DataType::Date32, StatValue::Date(days))
    } else {
        (DataType::Utf8, StatValue::Text(text.to_owned()))
    }
}

pub(super) async fn tpch(colony: &Colony) {
    for (name, rows, columns) in FRAMES {
        let mut fields = Vec::new();
        let mut stats = std::collections::BTreeMap::new();
        for column in columns.split(", ") {
            let words: Vec<&str> = column.split_whitespace().collect();
            let ((data_type, min), (_, max)) = (value(words[1]), value(words[2]));
            fields.push(Field::new(words[0], data_type, true));
            let bounds =
                ColumnStats { min: Some(min), max: Some(max), null_count: Some(0), min_exact: true, max_exact: true };
            stats.insert(words[0].to_owned(), bounds);
        }
        colony.hollow(&format!("tpch.main.{name}"), Schema::new(fields), rows, stats).await;
    }
}
