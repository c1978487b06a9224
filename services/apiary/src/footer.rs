//! The one line under every result, from the figures as they come over the wire.

use apiary_proto::v1::QueryStats;

/// `37 rows · 0.42 s · 3 of 118 cells · 14 GETs · 6.1 MB · 2 nodes`: the wording is the query crate's.
#[must_use]
pub fn footer(stats: &QueryStats) -> String {
    apiary_query::footer(&apiary_query::QueryStats {
        rows: stats.rows,
        elapsed_us: stats.elapsed_us,
        cells_read: stats.cells_read,
        cells_total: stats.cells_total,
        get_requests: stats.get_requests,
        bytes_read: stats.bytes_read,
        nodes: stats.nodes,
        execution: stats.execution.clone(),
        execution_reason: stats.execution_reason.clone(),
        stages: stats.stages,
        tasks: stats.tasks,
        retries: stats.retries,
        bytes_cached: stats.bytes_cached,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_of_the_wire_arrives_in_the_line() {
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
    }
}
