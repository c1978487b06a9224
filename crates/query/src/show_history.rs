//! The answer of `SHOW HISTORY`: a frame's newest versions, as rows.

use std::sync::Arc;

use apiary_ledger::HistoryEntry;
use datafusion::arrow::{
    array::{ArrayRef, RecordBatch, StringArray, TimestampMillisecondArray, UInt64Array},
    error::ArrowError,
};

use crate::{FrameRef, Planner, QueryError, Result, Session, names};

/// Versions that are shown unless the statement says otherwise.
pub(crate) const LIMIT_DEFAULT: u64 = 20;

/// Most versions that one statement shows.
pub(crate) const LIMIT_MAX: u64 = 10_000;

impl Planner {
    /// Answers `SHOW HISTORY`. Two GETs while warm, and one for each version shown.
    pub(crate) async fn show_history(&self, frame: &FrameRef, limit: u64, session: &Session) -> Result<RecordBatch> {
        let namespace = self.registry.namespace().await?;
        let record = names::resolve(frame, session, &namespace, "")?;
        let history = self.frames.history(&record, limit.min(LIMIT_MAX)).await?;
        rows(&history.entries)
    }
}

/// One row for each entry.
pub(crate) fn rows(entries: &[HistoryEntry]) -> Result<RecordBatch> {
    let text = |of: fn(&HistoryEntry) -> &String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(entries.iter().map(of)))
    };
    let number =
        |of: fn(&HistoryEntry) -> u64| -> ArrayRef { Arc::new(UInt64Array::from_iter_values(entries.iter().map(of))) };
    let maybe = |of: fn(&HistoryEntry) -> Option<u64>| -> ArrayRef {
        Arc::new(entries.iter().map(of).collect::<UInt64Array>())
    };
    let times = TimestampMillisecondArray::from_iter_values(entries.iter().map(|entry| entry.committed_ms));
    let times: ArrayRef = Arc::new(times.with_timezone("UTC"));
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("version", number(|entry| entry.version.0), false),
        ("time", times, false),
        ("operation", text(|entry| &entry.operation), false),
        ("node", text(|entry| &entry.node), false),
        ("transactions", number(|entry| entry.transactions), false),
        ("rows_added", maybe(|entry| entry.added.rows), true),
        ("rows_removed", maybe(|entry| entry.removed.rows), true),
        ("cells_added", number(|entry| entry.added.cells), false),
        ("cells_removed", number(|entry| entry.removed.cells), false),
        ("bytes_added", number(|entry| entry.added.bytes), false),
        ("bytes_removed", number(|entry| entry.removed.bytes), false),
    ]);
    batch.map_err(|error: ArrowError| QueryError::from(datafusion::error::DataFusionError::from(error)))
}
