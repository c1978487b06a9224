//! What a bucket holds, in words: every line is something that a reader of that bucket relies on.

use std::fmt::Write;

use apiary_cell::{read_cell, sha256_hex};
use apiary_core::Version;
use apiary_ledger::{CellEntry, FrameRecord, Snapshot};
use apiary_swarm::{ColonyFormat, heartbeat};
use arrow::{
    array::RecordBatch,
    util::display::{ArrayFormatter, FormatOptions},
};

use super::Colony;

/// The whole bucket.
pub(super) async fn bucket(colony: &Colony) -> String {
    let mut out = String::new();
    for listed in colony.bucket.list("", None, 10_000).await.unwrap() {
        let key = apiary_bucket::Key::parse(&listed.key).unwrap();
        let body = colony.bucket.get(&key).await.unwrap().unwrap();
        writeln!(out, "object {key}: {} bytes, {}", body.len(), sha256_hex(&body)).unwrap();
    }
    let format = ColonyFormat::load_or_create(&colony.bucket).await.unwrap();
    writeln!(out, "colony {}, format {}, features {:?}", format.cluster, format.format, format.features).unwrap();
    for seen in heartbeat::read_all(&colony.bucket).await.unwrap() {
        let said = seen.heartbeat;
        let (node, life, counter, every_s) = (said.node, said.incarnation, said.counter, said.interval_s);
        writeln!(
            out,
            "node {node}, life {life}, beat {counter}, every {every_s} s, {:?}, {:?}",
            said.roles, said.address
        )
        .unwrap();
        let (busy, total, chamber, heat) = (said.bees.busy, said.bees.total, said.chamber_bytes, said.temperature);
        writeln!(out, "  {busy} of {total} bees, chamber {chamber}, temperature {heat}, cores {}", said.cores).unwrap();
    }
    let names = colony.registry.namespace().await.unwrap();
    for hive in names.hives() {
        writeln!(out, "hive {hive}").unwrap();
    }
    for record in names.all_frames() {
        frame(&mut out, colony, &record).await;
    }
    out
}

async fn frame(out: &mut String, colony: &Colony, record: &FrameRecord) {
    writeln!(out, "\nframe {} in {}", record.path, record.folder).unwrap();
    let newest = colony.frames.snapshot(record).await.unwrap();
    for field in newest.schema.fields() {
        writeln!(out, "column {}: {}, NULL {}", field.name(), field.data_type(), field.is_nullable()).unwrap();
    }
    let tail = newest.tail();
    writeln!(out, "parted by {:?}; checkpoint {:?} and {} entries", newest.partition_by, tail.checkpoint, tail.entries)
        .unwrap();
    for entry in colony.frames.history(record, 100).await.unwrap().entries {
        let (version, at, what, node) = (entry.version, entry.committed_ms, entry.operation, entry.node);
        let moved = |moved: apiary_ledger::Moved| format!("{:?} rows in {} cells", moved.rows, moved.cells);
        let (added, removed) = (moved(entry.added), moved(entry.removed));
        writeln!(out, "history {version} at {at}: {what} by {node}, added {added}, removed {removed}").unwrap();
    }
    let report = colony.ingest.verify(&record.path, true).await.unwrap();
    assert!(report.is_clean(), "{report:?}");
    let (entries, checkpoints, cells, rows) = (report.entries, report.checkpoints, report.cells_opened, report.rows);
    writeln!(out, "whole: {entries} entries, {checkpoints} checkpoints, {cells} cells with {rows} rows").unwrap();
    for version in 0..=newest.version.0 {
        let then = colony.frames.snapshot_at(record, Version(version)).await.unwrap();
        snapshot(out, colony, &then, version == newest.version.0).await;
    }
}

async fn snapshot(out: &mut String, colony: &Colony, snapshot: &Snapshot, whole: bool) {
    let (version, rows, bytes, at) = (snapshot.version, snapshot.rows(), snapshot.bytes(), snapshot.committed_ms());
    writeln!(out, "version {version}: {rows} rows, {bytes} bytes, {} cells, at {at}", snapshot.cells.len()).unwrap();
    let mut lines = Vec::new();
    for cell in &snapshot.cells {
        if whole {
            told(out, cell);
        }
        let body = colony.bucket.get(&cell.key()).await.unwrap().unwrap();
        assert_eq!(sha256_hex(&body), cell.sha256());
        for batch in read_cell(body, 1000).unwrap().1 {
            lines.extend(rows_of(&batch.unwrap()));
        }
    }
    lines.sort_unstable();
    // Older versions by their sum: what their rows are is told by the newest.
    if whole {
        lines.iter().for_each(|line| writeln!(out, "row {line}").unwrap());
    }
    writeln!(out, "rows of version {version}: {}", sha256_hex(lines.join("\n").as_bytes())).unwrap();
}

fn told(out: &mut String, cell: &CellEntry) {
    let (path, values) = (cell.path(), cell.partition_values());
    writeln!(out, "cell {path}: {} rows, {} bytes, {values:?}, {}", cell.rows, cell.size_bytes, cell.sha256()).unwrap();
    for (name, column) in cell.stats().columns {
        let (low, high) = (if column.min_exact { "=" } else { "~" }, if column.max_exact { "=" } else { "~" });
        writeln!(out, "  {name}: {low} {:?}, {high} {:?}, NULLs {:?}", column.min, column.max, column.null_count)
            .unwrap();
    }
}

fn rows_of(batch: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::default().with_null("NULL");
    let columns: Vec<ArrayFormatter<'_>> =
        batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
    let row = |row: usize| columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join(" | ");
    (0..batch.num_rows()).map(row).collect()
}
