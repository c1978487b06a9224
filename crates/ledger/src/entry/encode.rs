//! From a transaction to the bytes of an entry. What is written here is read back by `decode` before it is sent.

use std::{collections::BTreeMap, sync::Arc};

use apiary_core::{FrameId, TxnId};
use arrow::datatypes::Schema;
use bytes::Bytes;
use serde_json::json;

use super::{
    Metadata, Protocol, Remove,
    actions::{Action, CommitInfo, Format, Txn},
    counts, stats,
};
use crate::{
    CellEntry, FrameSpec, Kind, LedgerError, Result, Transaction, delta_schema,
    header::{Idem, Place, TxnRecord},
    snapshot::About,
    sum::summed,
};

/// Where an entry keeps the exact Arrow schema.
pub(crate) const ARROW_SCHEMA: &str = "apiary.arrow_schema";

/// Where an entry keeps the frame's id.
pub(crate) const FRAME_ID: &str = "apiary.frame_id";

/// A frame's version 0.
pub(crate) fn create(place: &Place, id: TxnId, node: &str, frame: &FrameId, spec: &FrameSpec) -> Result<Bytes> {
    let record = TxnRecord { id, kind: "create".to_owned(), add: 0, remove: 0, idem: None, digest: None };
    let by = json!(spec.partition_by).to_string();
    let parameters = BTreeMap::from([("partitionBy".to_owned(), by)]);
    let info = commit_info(place, node, vec![record], "CREATE TABLE", parameters);
    let metadata = Metadata {
        // Delta wants a uuid; the transaction's is as unique as any.
        id: id.to_string(),
        format: Format { provider: "parquet".to_owned(), options: BTreeMap::new() },
        schema_string: delta_schema::schema_string(&spec.schema)?,
        partition_columns: spec.partition_by.clone(),
        configuration: configuration(frame, delta_schema::exact_to_text(&spec.schema)?),
        created_time: place.timestamp_ms,
    };
    let protocol = Protocol::of_frame(delta_schema::has_plain_timestamp(&spec.schema));
    let mut out = Vec::new();
    write(&mut out, &Action::CommitInfo(&info))?;
    write(&mut out, &Action::Protocol(&protocol))?;
    write(&mut out, &Action::MetaData(&metadata))?;
    Ok(summed(out))
}

/// Others' tools clean a table without being writers of it: some look at no feature before they delete entries that
/// are a month old. They obey the table's own word on how long to wait.
const FOR_EVER: &str = "interval 36500 days";

/// What a frame says of itself to Apiary and to other engines.
fn configuration(frame: &FrameId, schema: String) -> BTreeMap<String, String> {
    let said = [
        (ARROW_SCHEMA, schema),
        (FRAME_ID, frame.to_string()),
        ("delta.deletedFileRetentionDuration", FOR_EVER.to_owned()),
        ("delta.enableExpiredLogCleanup", "false".to_owned()),
        ("delta.enableInCommitTimestamps", "true".to_owned()),
        ("delta.logRetentionDuration", FOR_EVER.to_owned()),
    ];
    said.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// One transaction of an entry.
#[derive(Debug)]
pub(crate) struct Part<'a> {
    pub(crate) txn: &'a Transaction,
    /// The cells that leave with it.
    pub(crate) removed: Vec<&'a CellEntry>,
    /// Its `add` lines, see [`add_lines`].
    pub(crate) adds: &'a [u8],
    /// What the frame is from now on, if it changes that.
    pub(crate) about: Option<About>,
}

/// The `add` lines of a transaction: they are the same wherever its entry goes.
pub(crate) fn add_lines(txn: &Transaction, schema: &Schema) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    for cell in &txn.adds {
        write(&mut out, &Action::Add(&stats::add_of(cell, schema, changes_data(txn)).map_err(unwritable)?))?;
    }
    Ok(out)
}

/// An entry that commits one transaction. `removed` are the cells that leave with it.
pub(crate) fn commit(place: &Place, schema: &Schema, txn: &Transaction, removed: &[Arc<CellEntry>]) -> Result<Bytes> {
    let adds = add_lines(txn, schema)?;
    let removed = removed.iter().map(AsRef::as_ref).collect();
    commit_all(place, &[Part { txn, removed, adds: &adds, about: None }])
}

/// An entry that commits transactions, in their order: their records, and then the actions of each.
pub(crate) fn commit_all(place: &Place, parts: &[Part<'_>]) -> Result<Bytes> {
    let Some(first) = parts.first() else { return Err(LedgerError::Internal("an entry without a part".to_owned())) };
    let (operation, parameters) = words(first.txn);
    let records = parts.iter().map(record_of).collect();
    let mut info = commit_info(place, &first.txn.node, records, operation, parameters);
    info.is_blind_append = parts.iter().all(|part| part.txn.is_blind_append());
    info.apiary.doomed = parts.iter().flat_map(|part| part.txn.doomed.iter().copied()).collect();
    let mut out = Vec::new();
    write(&mut out, &Action::CommitInfo(&info))?;
    for part in parts {
        if let Some(about) = &part.about {
            write(&mut out, &Action::Protocol(&about.protocol))?;
            write(&mut out, &Action::MetaData(&about.metadata))?;
        }
        if let Some(idem) = &part.txn.idem {
            let app_id = json!(["apiary", idem.scope, idem.key, idem.digest]).to_string();
            let txn = Txn { app_id, version: place.slot.0, last_updated: place.timestamp_ms };
            write(&mut out, &Action::Txn(&txn))?;
        }
        for cell in &part.removed {
            write(&mut out, &Action::Remove(&remove_of(cell, place.timestamp_ms, changes_data(part.txn))))?;
        }
        out.extend_from_slice(part.adds);
    }
    Ok(summed(out))
}

fn record_of(part: &Part<'_>) -> TxnRecord {
    let txn = part.txn;
    TxnRecord {
        id: txn.id,
        kind: txn.kind.as_str().to_owned(),
        add: txn.adds.len() as u64,
        remove: part.removed.len() as u64,
        idem: txn.idem.as_ref().map(Idem::of),
        digest: txn.idem.as_ref().map(|idem| idem.digest.clone()),
    }
}

/// Whether its cells hold other rows than those in whose place they come.
fn changes_data(txn: &Transaction) -> bool {
    txn.kind != Kind::Compaction
}

/// What a transaction is called among Delta's readers.
fn words(txn: &Transaction) -> (&'static str, BTreeMap<String, String>) {
    let mode = |mode: &str| BTreeMap::from([("mode".to_owned(), mode.to_owned())]);
    let (operation, mut parameters) = match txn.kind {
        Kind::Append => ("WRITE", mode("Append")),
        Kind::Overwrite => ("WRITE", mode("Overwrite")),
        Kind::Rewrite => ("UPDATE", BTreeMap::new()),
        Kind::Compaction => ("OPTIMIZE", BTreeMap::new()),
        Kind::Schema => ("CHANGE COLUMN", BTreeMap::new()),
        Kind::Properties => ("SET TBLPROPERTIES", BTreeMap::new()),
        Kind::Drop => ("DROP TABLE", BTreeMap::new()),
        Kind::Vacuum => ("VACUUM", BTreeMap::new()),
    };
    parameters.extend(txn.notes.clone());
    (operation, parameters)
}

/// An entry that decides a slot by giving it away: these transactions will never be committed.
pub(crate) fn seal(place: &Place, ids: &[TxnId], node: &str) -> Result<Bytes> {
    let mut info = commit_info(place, node, Vec::new(), "SEAL", BTreeMap::new());
    info.apiary.sealed.extend_from_slice(ids);
    let mut out = Vec::new();
    write(&mut out, &Action::CommitInfo(&info))?;
    Ok(summed(out))
}

fn commit_info(
    place: &Place,
    node: &str,
    txns: Vec<TxnRecord>,
    operation: &str,
    operation_parameters: BTreeMap<String, String>,
) -> CommitInfo {
    CommitInfo {
        timestamp: place.timestamp_ms,
        in_commit_timestamp: place.timestamp_ms,
        operation: operation.to_owned(),
        operation_parameters,
        is_blind_append: false,
        engine_info: concat!("apiary/", env!("CARGO_PKG_VERSION")).to_owned(),
        txn_id: txns.first().map(|txn| txn.id.to_string()).unwrap_or_default(),
        apiary: place.header(node, txns),
    }
}

fn remove_of(cell: &CellEntry, now_ms: i64, data_change: bool) -> Remove {
    Remove {
        path: cell.path(),
        deletion_timestamp: now_ms,
        data_change,
        extended_file_metadata: true,
        partition_values: cell.partition_values().into_iter().collect(),
        size: cell.size_bytes,
        stats: counts::of_rows(cell.rows),
    }
}

fn write(out: &mut Vec<u8>, action: &Action<'_>) -> Result<()> {
    serde_json::to_writer(&mut *out, action).map_err(unwritable)?;
    out.push(b'\n');
    Ok(())
}

fn unwritable(error: serde_json::Error) -> LedgerError {
    LedgerError::Internal(format!("an entry could not be written as JSON: {error}"))
}
