//! A small frame, entry by entry and as a snapshot, for tests of what reads them.

use std::sync::Arc;

use apiary_core::{CellStats, ColumnStats, FrameId, StatValue, SystemClock, SystemRng, TxnId};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::{
    CellEntry, CellFacts, CellId, FrameSpec, Scope, Snapshot, Transaction, entry,
    header::{Head, Place},
    log::Read,
    replay::Replay,
};

pub(crate) fn frame_schema() -> Schema {
    Schema::new(vec![
        Field::new("region", DataType::Utf8, true),
        Field::new("temp", DataType::Float64, true),
        Field::new("at", DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())), true),
        Field::new("n", DataType::UInt64, false),
    ])
}

/// Three entries: the frame is made, it gets a cell, the cell leaves.
pub(crate) fn entries() -> [Bytes; 3] {
    let place = |after: &Snapshot| Place::after(Some(&after.head), Some(after.version), 0);
    let spec = FrameSpec { schema: Arc::new(frame_schema()), partition_by: vec!["region".into()] };
    let (txn, frame) = (TxnId::new(&SystemClock, &SystemRng), FrameId::random(&SystemRng));
    let made = entry::create(&Place::after(None, None, 1_750_000_000_000), txn, "pi-1", &frame, &spec).unwrap();
    let empty = snapshot(std::slice::from_ref(&made));
    let append = Transaction::append(txn, "pi-1", vec![cell(txn)]);
    let added = entry::commit(&place(&empty), &spec.schema, &append, &[]).unwrap();
    let full = snapshot(&[made.clone(), added.clone()]);
    let all: Vec<_> = full.cells.iter().map(Arc::clone).collect();
    let overwrite = Transaction::overwrite(TxnId::new(&SystemClock, &SystemRng), "pi-1", Vec::new(), Scope::All);
    let gone = entry::commit(&place(&full), &spec.schema, &overwrite, &all).unwrap();
    [made, added, gone]
}

fn cell(txn: TxnId) -> CellEntry {
    let column = |min, max, max_exact| ColumnStats {
        min: Some(min),
        max: Some(max),
        null_count: Some(1),
        min_exact: true,
        max_exact,
    };
    let text = |text: &str| StatValue::Text(text.to_owned());
    let columns = [
        ("region", column(text("EU"), text("EU"), true)),
        ("temp", column(StatValue::Float(-1.5), StatValue::Float(7.25), false)),
        ("at", column(StatValue::Timestamp(-1), StatValue::Timestamp(1_750_000_000_000_000), false)),
        ("n", column(StatValue::UInt(1), StatValue::UInt(u64::MAX), true)),
    ];
    let columns = columns.map(|(name, stats)| (name.to_owned(), stats)).into();
    let facts = CellFacts {
        folder: "folder".into(),
        id: CellId { txn, n: 0 },
        size_bytes: 4711,
        partition_values: vec![("region".into(), Some("EU".into()))],
        stats: CellStats { rows: 2, columns },
        sha256: "cd".repeat(32),
        modified_ms: 1_750_000_000_000,
    };
    facts.pack().unwrap()
}

/// The frame after some entries from its first on.
pub(crate) fn snapshot(entries: &[Bytes]) -> Snapshot {
    let mut replay = Replay::new("folder");
    for bytes in entries {
        let entry = entry::decode("the object", bytes).unwrap();
        let sha256 = hex::encode(Sha256::digest(bytes));
        let head = Head { version: entry.header.v, sha256, timestamp_ms: entry.timestamp_ms };
        replay.take("the object", &Read { entry, head, bytes: bytes.len() as u64 }).unwrap();
    }
    replay.finish().unwrap()
}
