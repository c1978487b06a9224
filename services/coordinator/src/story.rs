//! What a frame tells of itself, for `CatalogService`: its history and its cells, as messages. No cell is opened.

use apiary_core::{FramePath, StatValue, Version};
use apiary_ledger::{CellEntry, HistoryEntry, Snapshot, partition_text};
use apiary_proto::v1;
use arrow::datatypes::{DataType, Schema};

use crate::{Result, state::State};

/// Versions that are told unless the client says otherwise.
const HISTORY_DEFAULT: u32 = 20;

/// Most versions that one answer tells.
const HISTORY_MAX: u32 = 10_000;

/// Cells in one message.
const CELLS_AT_ONCE: usize = 1_000;

/// Characters of a bound that are told.
const BOUND_CHARS_MAX: usize = 64;

/// The newest versions of a frame. Warm 2 GETs, and 1 for each version.
pub(crate) async fn history(state: &State, path: &FramePath, limit: u32) -> Result<v1::HistoryResponse> {
    let limit = if limit == 0 { HISTORY_DEFAULT } else { limit.min(HISTORY_MAX) };
    let namespace = state.registry.namespace().await?;
    let record = namespace.frame(path.hive.as_str(), path.box_name.as_str(), path.frame.as_str())?;
    let history = state.frames.history(&record, u64::from(limit)).await?;
    let entries = history.entries.into_iter().map(entry).collect();
    Ok(v1::HistoryResponse { entries, older_cleaned: history.older_cleaned })
}

fn entry(told: HistoryEntry) -> v1::HistoryEntry {
    let Version(version) = told.version;
    v1::HistoryEntry {
        version,
        committed_ms: told.committed_ms,
        operation: told.operation,
        node: told.node,
        transactions: told.transactions,
        rows_added: told.added.rows,
        rows_removed: told.removed.rows,
        cells_added: told.added.cells,
        cells_removed: told.removed.cells,
        bytes_added: told.added.bytes,
        bytes_removed: told.removed.bytes,
    }
}

/// The cells of a frame's newest version, some in each message; at least one message. Warm 2 GETs.
pub(crate) async fn cells(
    state: &State,
    path: &FramePath,
) -> Result<impl Iterator<Item = v1::CellsResponse> + Send + use<>> {
    let namespace = state.registry.namespace().await?;
    let record = namespace.frame(path.hive.as_str(), path.box_name.as_str(), path.frame.as_str())?;
    let snapshot = state.frames.snapshot(&record).await?;
    let messages = snapshot.cells.len().div_ceil(CELLS_AT_ONCE).max(1);
    Ok((0..messages).map(move |n| message(&snapshot, n)))
}

fn message(snapshot: &Snapshot, n: usize) -> v1::CellsResponse {
    let Version(version) = snapshot.version;
    let cells = snapshot.cells.iter().skip(n * CELLS_AT_ONCE).take(CELLS_AT_ONCE);
    v1::CellsResponse { version, cells: cells.map(|one| cell(&snapshot.schema, one)).collect() }
}

fn cell(schema: &Schema, cell: &CellEntry) -> v1::Cell {
    let partition = cell.partition_values().into_iter();
    let bounds = schema.fields().iter().filter_map(|field| {
        let known = cell.column(field.name())?;
        let text = |bound: &Option<StatValue>| shown(field.name(), bound.as_ref()?, field.data_type());
        Some(v1::ColumnBounds {
            column: field.name().clone(),
            min: text(&known.min),
            max: text(&known.max),
            nulls: known.null_count,
            min_exact: known.min_exact,
            max_exact: known.max_exact,
        })
    });
    v1::Cell {
        path: cell.path(),
        partition: partition.map(|(column, value)| v1::PartitionValue { column, value }).collect(),
        rows: cell.rows,
        bytes: cell.size_bytes,
        sha256: cell.sha256(),
        written_ms: cell.modified_ms,
        bounds: bounds.collect(),
    }
}

/// A bound as people read it.
fn shown(column: &str, bound: &StatValue, data_type: &DataType) -> Option<String> {
    let text = match bound {
        StatValue::Float(value) => value.to_string(),
        StatValue::Text(text) => text.clone(),
        other => partition_text::to_text(column, other, data_type).ok()?,
    };
    if text.chars().count() <= BOUND_CHARS_MAX {
        return Some(text);
    }
    Some(text.chars().take(BOUND_CHARS_MAX - 1).chain(['…']).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_text_that_people_read_and_not_long() {
        let of = |bound, data_type| shown("c", &bound, &data_type).unwrap();
        assert_eq!(of(StatValue::Float(1.5), DataType::Float64), "1.5");
        assert_eq!(of(StatValue::Date(0), DataType::Date32), "1970-01-01");
        assert_eq!(of(StatValue::Text(String::new()), DataType::Utf8), "");
        let long = of(StatValue::Text("ä".repeat(100)), DataType::Utf8);
        assert_eq!((long.chars().count(), long.chars().last()), (64, Some('…')));
    }
}
