//! The one line under every result.

use std::time::Duration;

use apiary_core::units;
use serde::{Deserialize, Serialize};

/// What a query came to. The fields are those of the wire's `QueryStats`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryStats {
    /// Rows of the result.
    pub rows: u64,
    /// Microseconds from the request to the last row.
    pub elapsed_us: u64,
    /// Cells left after pruning.
    pub cells_read: u64,
    /// Cells in the frames that the query reads.
    pub cells_total: u64,
    /// GETs that cells cost, on every node together.
    pub get_requests: u64,
    /// Bytes that they fetched.
    pub bytes_read: u64,
    /// Bytes of cells that the nodes' caches had.
    pub bytes_cached: u64,
    /// Nodes that did work, 1 for a local plan.
    pub nodes: u32,
    /// local or board.
    pub execution: String,
    /// Why that way.
    pub execution_reason: String,
    /// Stages of the plan.
    pub stages: u32,
    /// Tasks of the plan.
    pub tasks: u32,
    /// Attempts beyond the first.
    pub retries: u32,
}

/// `37 rows · 0.42 s · 3 of 118 cells · 14 GETs · 6.1 MB · 2 nodes`. Cells, requests and bytes are left out where
/// the query reads no frame, and retries where there were none.
#[must_use]
pub fn footer(stats: &QueryStats) -> String {
    let mut parts = vec![units::counted(stats.rows, "row"), units::duration(Duration::from_micros(stats.elapsed_us))];
    if stats.cells_total > 0 {
        parts.push(format!("{} of {}", units::count(stats.cells_read), units::counted(stats.cells_total, "cell")));
        parts.push(units::counted(stats.get_requests, "GET"));
        parts.push(units::bytes(stats.bytes_read));
        if stats.bytes_cached > 0 {
            parts.push(format!("{} cached", units::bytes(stats.bytes_cached)));
        }
    }
    parts.push(units::counted(u64::from(stats.nodes.max(1)), "node"));
    match stats.retries {
        0 => {}
        1 => parts.push("1 retry".to_owned()),
        more => parts.push(format!("{more} retries")),
    }
    parts.join(" · ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_footer_reads_as_one_line() {
        let stats = QueryStats {
            rows: 37,
            elapsed_us: 420_000,
            cells_read: 3,
            cells_total: 118,
            get_requests: 14,
            bytes_read: 6_100_000,
            nodes: 2,
            ..QueryStats::default()
        };
        assert_eq!(footer(&stats), "37 rows · 0.42 s · 3 of 118 cells · 14 GETs · 6.1 MB · 2 nodes");
        let cached = QueryStats { get_requests: 0, bytes_read: 0, bytes_cached: 6_100_000, ..stats.clone() };
        assert_eq!(footer(&cached), "37 rows · 0.42 s · 3 of 118 cells · 0 GETs · 0 B · 6.1 MB cached · 2 nodes");
        let retried = QueryStats { retries: 1, ..stats };
        assert!(footer(&retried).ends_with("2 nodes · 1 retry"));
    }

    #[test]
    fn a_query_without_a_frame_has_a_short_footer() {
        let stats = QueryStats { rows: 1, elapsed_us: 800, ..QueryStats::default() };
        assert_eq!(footer(&stats), "1 row · 800 µs · 1 node");
    }
}
