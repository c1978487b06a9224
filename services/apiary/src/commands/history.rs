//! `apiary history`: the newest versions of a frame, as its ledger tells them.

use std::sync::Arc;

use apiary_core::units;
use apiary_proto::v1::{HistoryEntry, HistoryResponse};
use arrow::{
    array::{ArrayRef, RecordBatch, StringArray, TimestampMillisecondArray, UInt64Array},
    error::ArrowError,
};
use serde_json::json;

use crate::{
    args::{HistoryArgs, ShownAs},
    connection::Connection,
    embedded::Leave,
    failure::CliError,
    format::{Format, ResultWriter, TableLayout},
    terminal::Terminal,
};

/// Runs the command.
pub(crate) async fn run(args: &HistoryArgs, terminal: &Terminal) -> Result<(), CliError> {
    let connection = Connection::open(&args.target, Leave::Nothing).await?;
    let history = connection.client().history(&args.frame, args.limit).await;
    connection.close().await;
    let history = history?;
    match args.format {
        ShownAs::Json => terminal.line(as_json(&history)),
        ShownAs::Table => {
            print(&history, terminal)?;
            if history.older_cleaned {
                terminal.note("what came before was cleaned away; a checkpoint stands for it");
            }
        }
    }
    Ok(())
}

fn print(history: &HistoryResponse, terminal: &Terminal) -> Result<(), ArrowError> {
    let entries = &history.entries;
    let text = |value: &dyn Fn(&HistoryEntry) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(entries.iter().map(value)))
    };
    let number = |value: fn(&HistoryEntry) -> u64| -> ArrayRef {
        Arc::new(UInt64Array::from_iter_values(entries.iter().map(value)))
    };
    let times = TimestampMillisecondArray::from_iter_values(entries.iter().map(|entry| entry.committed_ms));
    let batch = RecordBatch::try_from_iter([
        ("version", number(|entry| entry.version)),
        ("time (UTC)", Arc::new(times) as ArrayRef),
        ("operation", text(&|entry| entry.operation.clone())),
        ("node", text(&|entry| entry.node.clone())),
        ("transactions", number(|entry| entry.transactions)),
        ("rows", text(&|entry| moved(entry.rows_added, entry.rows_removed, units::count))),
        ("cells", text(&|entry| moved(Some(entry.cells_added), Some(entry.cells_removed), units::count))),
        ("bytes", text(&|entry| moved(Some(entry.bytes_added), Some(entry.bytes_removed), units::bytes))),
    ])?;
    let layout = TableLayout { width: terminal.width(), rows: None };
    let mut writer = ResultWriter::begin(Format::Table, terminal.rows(), &batch.schema(), layout)?;
    writer.write(&batch)?;
    writer.finish()
}

/// `+10 -3`, with what is nothing left out.
fn moved(added: Option<u64>, removed: Option<u64>, shown: fn(u64) -> String) -> String {
    let part = |sign: char, n: Option<u64>| match n {
        Some(0) => None,
        Some(n) => Some(format!("{sign}{}", shown(n))),
        None => Some(format!("{sign}?")),
    };
    let parts: Vec<String> = [part('+', added), part('-', removed)].into_iter().flatten().collect();
    parts.join(" ")
}

fn as_json(history: &HistoryResponse) -> serde_json::Value {
    let entry = |entry: &HistoryEntry| {
        json!({
            "version": entry.version,
            "committed_ms": entry.committed_ms,
            "operation": entry.operation,
            "node": entry.node,
            "transactions": entry.transactions,
            "rows_added": entry.rows_added,
            "rows_removed": entry.rows_removed,
            "cells_added": entry.cells_added,
            "cells_removed": entry.cells_removed,
            "bytes_added": entry.bytes_added,
            "bytes_removed": entry.bytes_removed,
        })
    };
    json!({
        "entries": history.entries.iter().map(entry).collect::<Vec<_>>(),
        "older_cleaned": history.older_cleaned,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moved_reads_as_plus_and_minus() {
        assert_eq!(moved(Some(1200), Some(0), units::count), "+1 200");
        assert_eq!(moved(Some(30), Some(30), units::count), "+30 -30");
        assert_eq!(moved(Some(0), None, units::count), "-?");
        assert_eq!(moved(Some(0), Some(0), units::bytes), "");
    }
}
