//! How many rows a cell has, as an entry says it: all that a history needs of a cell's statistics, so that reading
//! them takes no schema.

use serde::{Deserialize, Serialize};

use super::{Add, Remove};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Counts {
    num_records: u64,
}

/// The statistics of a cell that leaves: its rows, nothing else.
pub(super) fn of_rows(rows: u64) -> Option<String> {
    serde_json::to_string(&Counts { num_records: rows }).ok()
}

fn rows(stats: Option<&String>) -> Option<u64> {
    serde_json::from_str::<Counts>(stats?).ok().map(|counts| counts.num_records)
}

/// The rows of a cell that joins.
pub(crate) fn rows_added(add: &Add) -> Option<u64> {
    rows(add.stats.as_ref())
}

/// The rows of a cell that leaves.
pub(crate) fn rows_removed(remove: &Remove) -> Option<u64> {
    rows(remove.stats.as_ref())
}
