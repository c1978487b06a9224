//! What EXPLAIN shows, made from plain values: nothing here plans, and no cell is read for it.

mod text;

use std::sync::Arc;

use datafusion::arrow::array::{RecordBatch, StringArray};
use serde::{Deserialize, Serialize};

use crate::{QueryError, QueryStats, Result, ScanReport};

/// Everything that EXPLAIN says. Stages are those of the board; a local plan has none.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ExplainReport {
    /// local or board.
    pub way: String,
    /// Why that way.
    pub why: String,
    /// Live workers that may take tasks; 0 for a local plan.
    pub workers: usize,
    /// One per scan of a frame.
    pub scans: Vec<ScanReport>,
    /// The stages in the order in which they run.
    pub stages: Vec<StageReport>,
    /// The physical plan, for VERBOSE.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub plan: Option<String>,
    /// What it cost, for ANALYZE.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub analyze: Option<AnalyzeReport>,
}

/// One stage of a plan on the board.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StageReport {
    /// Its number, from 1.
    pub stage: usize,
    /// How many tasks it has.
    pub tasks: usize,
    /// Its work as SQL, for reading only.
    pub sql: String,
    /// Where its rows go: `hash(region) into 4`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub distribute: Option<String>,
    /// Which nodes are meant to do it.
    pub placement: Vec<NodeShare>,
    /// Why those.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
}

/// A node's part of a stage.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeShare {
    /// The node.
    pub node: String,
    /// Tasks that it is to do.
    pub tasks: usize,
    /// Cells that it holds already, if that is known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cached: Option<usize>,
    /// Cells that it must fetch, if that is known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub to_fetch: Option<usize>,
}

/// What a query cost.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AnalyzeReport {
    /// The whole.
    pub stats: QueryStats,
    /// By stage and node.
    pub runs: Vec<StageRun>,
    /// Microseconds in which no task of the query ran anywhere.
    pub coordination_us: u64,
}

/// What one node did for one stage.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageRun {
    /// The stage.
    pub stage: usize,
    /// The node.
    pub node: String,
    /// Tasks that it finished first.
    pub tasks: usize,
    /// Attempts that it made, the lost ones too.
    pub attempts: usize,
    /// Rows that it gave on.
    pub rows: u64,
    /// Microseconds from publishing to claiming, all tasks together; so the next ones.
    pub waiting_us: u64,
    /// Fetching input.
    pub fetching_us: u64,
    /// Computing.
    pub computing_us: u64,
    /// Writing output.
    pub writing_us: u64,
    /// GETs.
    pub get_requests: u64,
    /// Bytes that they fetched.
    pub bytes_read: u64,
    /// Bytes of cells that its cache had.
    #[serde(default)]
    pub bytes_cached: u64,
    /// The largest memory of a task.
    pub memory_peak_bytes: u64,
    /// What a task may use.
    pub memory_budget_bytes: u64,
}

impl ExplainReport {
    /// The report as people read it.
    #[must_use]
    pub fn text(&self) -> String {
        text::render(self)
    }

    /// The report as JSON, indented; field names are those of this type and stay.
    #[must_use]
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// One column `plan`: a row for each line, or one row of JSON.
    pub fn batch(&self, json: bool) -> Result<RecordBatch> {
        let rows = if json { vec![self.json()] } else { self.text().lines().map(str::to_owned).collect() };
        let column = Arc::new(StringArray::from(rows));
        RecordBatch::try_from_iter_with_nullable([("plan", column as _, false)])
            .map_err(|error| QueryError::from(datafusion::error::DataFusionError::from(error)))
    }
}

#[cfg(test)]
mod tests;
