//! A bucket with one of everything that a bucket of this format holds.

use std::sync::Arc;

use apiary_bucket::{Bucket, layout};
use apiary_cell::{CellFormat, CellWriter, GroupEncoder, partition};
use apiary_core::{Clock, ErrorKind, FramePath, NodeId, SeededRng, StatValue, SystemClock, TxnId};
use apiary_faults::{Fault, FaultStore, MemoryStore, Op, Rule};
use apiary_ledger::{
    CellEntry, CellFacts, CellId, CommitOutcome, FrameRecord, FrameSpec, PartitionValues, Scope, Transaction,
    delta_schema, partition_text,
};
use apiary_swarm::{Bees, ColonyFormat, Heartbeat, Strain, heartbeat};
use arrow::{array::RecordBatch, datatypes::SchemaRef};

use super::{Colony, rows::Part};

/// Every type, parted by a column, with a seal, a compaction, an overwritten partition and a checkpoint.
pub(super) const TYPES: &str = "Golden.main.types";
/// Not parted, overwritten as a whole; it and its box were renamed.
pub(super) const PLAIN: &str = "Golden.zweite Box.Plain, née old";
/// Dropped.
const GONE: &str = "Golden.main.gone";

/// Keys that were used: where, with what rows, in which version.
pub(super) const KEYS: [(&str, Part, &str, u64); 3] = [
    (TYPES, Part { from: 0, count: 12 }, "first key", 1),
    (TYPES, Part { from: 12, count: 12 }, "Schlüssel \"2\" \\ 🐝", 2),
    (TYPES, Part { from: 36, count: 5 }, "behind the checkpoint", 9),
];

/// Puts of one entry that fail before its slot is sealed.
const SENDS: usize = 12;

pub(super) async fn bucket() -> MemoryStore {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let memory = MemoryStore::new(Arc::clone(&clock));
    let faults = FaultStore::new(Arc::new(memory.clone()), 1, Arc::clone(&clock));
    let colony = Colony::over(Bucket::over(Arc::new(faults.clone()), clock, Arc::new(SeededRng::new(1))));
    ColonyFormat::load_or_create(&colony.bucket).await.unwrap();
    beat(&colony).await;
    types(&colony, &faults).await;
    plain(&colony).await;
    gone(&colony).await;
    memory
}

async fn types(colony: &Colony, faults: &FaultStore) {
    let record = create(colony, TYPES, &["region"]).await;
    let [(_, first, first_key, _), (_, second, second_key, _), (_, last, last_key, _)] = KEYS;
    colony.append(TYPES, first, Some(first_key)).await.unwrap();
    colony.append(TYPES, second, Some(second_key)).await.unwrap();
    // A store that never takes the entry: its slot is given away.
    faults.script(Rule::on(Op::Create, Fault::Error).keys("_delta_log/").times(SENDS));
    let aborted = colony.append(TYPES, Part { from: 900, count: 9 }, Some("aborted")).await.unwrap_err();
    assert_eq!((aborted.kind(), faults.rules_left()), (ErrorKind::Storage, 0), "{aborted}");
    colony.append(TYPES, Part { from: 24, count: 12 }, None).await.unwrap();
    colony.ingest.compact(&TYPES.parse().unwrap()).await.unwrap();
    let scope = vec![("region".to_owned(), Some("US".to_owned()))];
    overwrite(colony, &record, Part { from: 100, count: 6 }, Scope::Partitions(vec![scope.clone()]), &scope).await;
    colony.frames.checkpoint(&record).await.unwrap();
    colony.append(TYPES, last, Some(last_key)).await.unwrap();
}

async fn plain(colony: &Colony) {
    let old = "Golden.old box.old";
    let record = create(colony, old, &[]).await;
    for n in 0..3 {
        colony.append(old, Part { from: n * 10, count: 10 }, None).await.unwrap();
    }
    colony.frames.checkpoint(&record).await.unwrap();
    overwrite(colony, &record, Part { from: 200, count: 11 }, Scope::All, &vec![]).await;
    colony.append(old, Part { from: 300, count: 4 }, Some("plain")).await.unwrap();
    let [from, to]: [FramePath; 2] = [old, PLAIN].map(|path| path.parse().unwrap());
    colony.registry.rename_box(&from.hive, &from.box_name, &to.box_name).await.unwrap();
    let halfway = FramePath { frame: from.frame, ..to.clone() };
    colony.registry.rename_frame(&halfway, &to).await.unwrap();
}

async fn gone(colony: &Colony) {
    create(colony, GONE, &["region"]).await;
    colony.append(GONE, Part { from: 0, count: 3 }, None).await.unwrap();
    colony.registry.drop_frame(&GONE.parse().unwrap(), None).await.unwrap();
}

async fn create(colony: &Colony, path: &str, by: &[&str]) -> Arc<FrameRecord> {
    let name: FramePath = path.parse().unwrap();
    colony.registry.create_hive(&name.hive).await.unwrap();
    colony.registry.create_box(&name.hive, &name.box_name).await.unwrap();
    let schema = Part { from: 0, count: 1 }.batch().schema();
    let partition_by = by.iter().map(|name| (*name).to_owned()).collect();
    colony.registry.create_frame(&name, &FrameSpec { schema, partition_by }).await.unwrap();
    colony.record(path).await
}

/// Puts some rows in place of what a scope holds: those that belong to the partition, if there is one.
async fn overwrite(colony: &Colony, record: &FrameRecord, part: Part, scope: Scope, only: &PartitionValues) {
    let base = colony.frames.snapshot(record).await.unwrap();
    let txn = TxnId::new(colony.bucket.clock().as_ref(), colony.bucket.rng().as_ref());
    let mut cells = Vec::new();
    for (values, rows) in partition::split(&part.batch(), &base.partition_by).unwrap() {
        let text = |(name, value): (&String, &StatValue)| {
            let field = base.schema.field_with_name(name).unwrap();
            (name.clone(), Some(partition_text::to_text(name, value, field.data_type()).unwrap()))
        };
        let values: PartitionValues = base.partition_by.iter().zip(&values).map(text).collect();
        if values == *only {
            let id = CellId { txn, n: cells.len() as u32 };
            cells.push(upload(colony, record, id, values, &base.schema, &rows).await);
        }
    }
    let outcome =
        colony.frames.commit(record, base, Transaction::overwrite(txn, "golden", cells, scope)).await.unwrap();
    assert!(matches!(outcome, CommitOutcome::Committed { .. }), "{outcome:?}");
}

async fn upload(
    colony: &Colony,
    record: &FrameRecord,
    id: CellId,
    partition_values: PartitionValues,
    schema: &SchemaRef,
    rows: &RecordBatch,
) -> CellEntry {
    let format = CellFormat::new(schema, &delta_schema::storage_schema(schema).unwrap());
    let mut writer = CellWriter::new(&format).unwrap();
    writer.append(GroupEncoder::new(&format).unwrap().encode(std::slice::from_ref(rows)).unwrap()).unwrap();
    let cell = writer.finish(&id.txn, id.n as usize).unwrap();
    colony.bucket.put(&layout::cell(&record.folder, &id.txn, id.n as usize), cell.bytes.clone()).await.unwrap();
    let facts = CellFacts {
        folder: record.folder.clone(),
        id,
        size_bytes: cell.bytes.len() as u64,
        partition_values,
        stats: cell.stats,
        sha256: cell.sha256,
        modified_ms: colony.bucket.clock().wall_ms(),
    };
    facts.pack().unwrap()
}

async fn beat(colony: &Colony) {
    let said = Heartbeat {
        format: Heartbeat::FORMAT,
        node: NodeId::new("golden-1").unwrap(),
        incarnation: apiary_core::Incarnation::new(colony.bucket.clock().as_ref(), colony.bucket.rng().as_ref()),
        counter: 7,
        interval_s: 2.5,
        roles: vec!["coordinator".to_owned(), "worker".to_owned()],
        address: Some("127.0.0.1:7401".to_owned()),
        version: "0.1.0".to_owned(),
        features: vec!["one".to_owned()],
        cores: 4,
        memory_bytes: 8 << 30,
        bees: Bees { total: 3, busy: 1 },
        chamber_bytes: 1 << 30,
        strain: Strain { bees: 0.25, memory: 0.5, queue: 2 },
        temperature: 0.4,
        leaving: false,
        cached: String::new(),
    };
    heartbeat::beat(&colony.bucket, &said).await.unwrap();
}
