//! `apiary cells`: the cells that make up a frame's newest version, as the ledger knows them.

use std::sync::Arc;

use apiary_core::units;
use apiary_proto::v1::{Cell, ColumnBounds};
use arrow::{
    array::{ArrayRef, RecordBatch, StringArray, UInt64Array},
    error::ArrowError,
};
use serde_json::json;

use crate::{
    args::{CellsArgs, ShownAs},
    connection::Connection,
    embedded::Leave,
    failure::CliError,
    format::{Format, ResultWriter, TableLayout},
    terminal::Terminal,
};

/// Columns whose bounds a table shows: more would not fit a screen.
const BOUNDS_SHOWN_MAX: usize = 3;

/// Rows of a table on a terminal.
const ROWS_SHOWN_MAX: usize = 40;

/// Runs the command.
pub(crate) async fn run(args: &CellsArgs, terminal: &Terminal) -> Result<(), CliError> {
    let connection = Connection::open(&args.target, Leave::Nothing).await?;
    let found = connection.client().cells(&args.frame).await;
    connection.close().await;
    let (version, cells) = found?;
    match args.format {
        ShownAs::Json => terminal.line(as_json(version, &cells)),
        ShownAs::Table => {
            print(&cells, terminal)?;
            let sum = |of: fn(&Cell) -> u64| cells.iter().map(of).sum::<u64>();
            terminal.note(format_args!(
                "version {version} · {} · {} · {}",
                units::counted(cells.len() as u64, "cell"),
                units::counted(sum(|cell| cell.rows), "row"),
                units::bytes(sum(|cell| cell.bytes))
            ));
        }
    }
    Ok(())
}

fn print(cells: &[Cell], terminal: &Terminal) -> Result<(), ArrowError> {
    let text =
        |value: fn(&Cell) -> String| -> ArrayRef { Arc::new(StringArray::from_iter_values(cells.iter().map(value))) };
    let rows = UInt64Array::from_iter_values(cells.iter().map(|cell| cell.rows));
    let batch = RecordBatch::try_from_iter([
        ("path", text(|cell| cell.path.clone())),
        ("partition", text(partition)),
        ("rows", Arc::new(rows) as ArrayRef),
        ("bytes", text(|cell| units::bytes(cell.bytes))),
        ("bounds", text(bounds)),
    ])?;
    let layout = TableLayout { width: terminal.width(), rows: terminal.out_is_terminal().then_some(ROWS_SHOWN_MAX) };
    let mut writer = ResultWriter::begin(Format::Table, terminal.rows(), &batch.schema(), layout)?;
    writer.write(&batch)?;
    writer.finish()
}

fn partition(cell: &Cell) -> String {
    let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "NULL".to_owned());
    let parts = cell.partition.iter().map(|part| format!("{}={}", part.column, value(&part.value)));
    parts.collect::<Vec<_>>().join(", ")
}

/// The bounds of the first columns that part nothing: a partition column's are one value, and stand beside.
fn bounds(cell: &Cell) -> String {
    let parts = |bounds: &&ColumnBounds| !cell.partition.iter().any(|part| part.column == bounds.column);
    let known = cell.bounds.iter().filter(parts).filter(|bounds| bounds.min.is_some() || bounds.max.is_some());
    let side = |bound: &Option<String>| bound.clone().unwrap_or_else(|| "?".to_owned());
    let shown = known.map(|bounds| format!("{} {}…{}", bounds.column, side(&bounds.min), side(&bounds.max)));
    shown.take(BOUNDS_SHOWN_MAX).collect::<Vec<_>>().join(" · ")
}

fn as_json(version: u64, cells: &[Cell]) -> serde_json::Value {
    let bound = |bounds: &ColumnBounds| {
        let told = json!({
            "min": bounds.min, "max": bounds.max, "nulls": bounds.nulls,
            "min_exact": bounds.min_exact, "max_exact": bounds.max_exact,
        });
        (bounds.column.clone(), told)
    };
    let cell = |cell: &Cell| {
        let partition = cell.partition.iter().map(|part| (part.column.clone(), json!(part.value)));
        json!({
            "path": cell.path,
            "partition": partition.collect::<serde_json::Map<_, _>>(),
            "rows": cell.rows,
            "bytes": cell.bytes,
            "sha256": cell.sha256,
            "written_ms": cell.written_ms,
            "bounds": cell.bounds.iter().map(bound).collect::<serde_json::Map<_, _>>(),
        })
    };
    json!({ "version": version, "cells": cells.iter().map(cell).collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use apiary_proto::v1::PartitionValue;

    use super::*;

    #[test]
    fn a_cell_reads_as_one_line() {
        let bounds = |column: &str, min: Option<&str>, max: Option<&str>| ColumnBounds {
            column: column.to_owned(),
            min: min.map(str::to_owned),
            max: max.map(str::to_owned),
            ..ColumnBounds::default()
        };
        let cell = Cell {
            partition: vec![
                PartitionValue { column: "region".to_owned(), value: Some("north".to_owned()) },
                PartitionValue { column: "day".to_owned(), value: None },
            ],
            bounds: vec![
                bounds("region", Some("north"), Some("north")),
                bounds("id", Some("1"), Some("90")),
                bounds("blob", None, None),
                bounds("temp", None, Some("4.5")),
            ],
            ..Cell::default()
        };
        assert_eq!(partition(&cell), "region=north, day=NULL");
        assert_eq!(super::bounds(&cell), "id 1…90 · temp ?…4.5");
    }
}
