//! A frame in a bucket in memory, with a store and machines whose clocks go by hand.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use apiary_bucket::{Bucket, layout};
use apiary_core::{
    CellStats, Clock, ColumnStats, ManualClock, QueryId, SeededRng, StatValue, SystemClock, TxnId, Version,
};
use apiary_faults::{FaultStore, MemoryStore};
use arrow::datatypes::{DataType, Field, Schema};
use futures::TryStreamExt;
use object_store::ObjectStore;

use super::super::{VacuumOptions, VacuumReport, doom::Notice, report::Total};
use crate::{
    CellFacts, CellId, CommitOutcome, FrameRecord, FrameSpec, Frames, Kind, Registry, Result, Snapshot, Transaction,
    entry,
};

pub(super) const HOUR: Duration = Duration::from_secs(3600);
pub(super) const DAY: Duration = Duration::from_secs(24 * 3600);

/// Everything a test needs. Clones share the store and the clock, each has its own view of the ledger.
#[derive(Clone)]
pub(super) struct World {
    pub(super) clock: ManualClock,
    pub(super) memory: MemoryStore,
    pub(super) faults: FaultStore,
    pub(super) bucket: Bucket,
    pub(super) frames: Frames,
    pub(super) frame: Arc<FrameRecord>,
}

/// The id of transaction `n`.
pub(super) fn txn(n: u64) -> TxnId {
    TxnId::new(&ManualClock::new(), &SeededRng::new(n))
}

impl World {
    pub(super) async fn new() -> Self {
        Self::seeded(7).await
    }

    pub(super) async fn seeded(seed: u64) -> Self {
        let clock = ManualClock::new();
        let memory = MemoryStore::new(Arc::new(clock.clone()));
        let faults = FaultStore::new(Arc::new(memory.clone()), seed, Arc::new(clock.clone()));
        let bucket = Bucket::over(Arc::new(faults.clone()), Arc::new(clock.clone()), Arc::new(SeededRng::new(seed)));
        let registry = Registry::new(bucket.clone());
        let path: apiary_core::FramePath = "h.b.f".parse().unwrap();
        registry.create_hive(&path.hive).await.unwrap();
        registry.create_box(&path.hive, &path.box_name).await.unwrap();
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]));
        registry.create_frame(&path, &FrameSpec { schema, partition_by: vec![] }).await.unwrap();
        let frame = registry.namespace().await.unwrap().frame("h", "b", "f").unwrap();
        Self { frames: Frames::new(bucket.clone()), clock, memory, faults, bucket, frame }
    }

    /// Another machine, whose clock is off by `by_ms`, and which knows nothing yet.
    pub(super) fn elsewhere(&self, by_ms: i64) -> Self {
        let clock = self.clock.skewed(by_ms);
        let rng = Arc::new(SeededRng::new(self.bucket.rng().next_u64()));
        let bucket = Bucket::over(Arc::new(self.faults.clone()), Arc::new(clock.clone()), rng);
        Self { frames: Frames::new(bucket.clone()), bucket, clock, ..self.clone() }
    }

    /// The same bucket as it is now, to try what could happen next.
    pub(super) fn fork(&self) -> Self {
        let memory = self.memory.fork();
        let faults = FaultStore::new(Arc::new(memory.clone()), 1, Arc::new(self.clock.clone()));
        let rng = Arc::new(SeededRng::new(self.bucket.rng().next_u64()));
        let bucket = Bucket::over(Arc::new(faults.clone()), Arc::new(self.clock.clone()), rng);
        Self { frames: Frames::new(bucket.clone()), memory, faults, bucket, ..self.clone() }
    }

    pub(super) fn query(&self) -> QueryId {
        QueryId::new(&SystemClock, self.bucket.rng().as_ref())
    }

    /// What time it is by the store's clock, the same as everybody's in here.
    pub(super) fn now(&self) -> i64 {
        self.clock.wall_ms()
    }

    pub(super) async fn snapshot(&self) -> Arc<Snapshot> {
        self.frames.snapshot(&self.frame).await.unwrap()
    }

    /// Rows as a reader who knows nothing finds them; every cell of the version is there.
    pub(super) async fn rows(&self) -> u64 {
        let snapshot = Frames::new(self.bucket.clone()).snapshot(&self.frame).await.unwrap();
        let there = self.cells();
        for cell in &snapshot.cells {
            assert!(
                there.contains(&cell.path()),
                "version {} names '{}', which is gone",
                snapshot.version,
                cell.path()
            );
        }
        snapshot.rows()
    }

    pub(super) async fn put_raw(&self, path: &str) {
        let key = layout::in_folder(&self.frame.folder, path).unwrap();
        self.bucket.put(&key, "0123456789".into()).await.unwrap();
    }

    /// Uploads one more cell of a transaction.
    pub(super) async fn put_cell(&self, id: TxnId, n: usize) {
        self.put_raw(&layout::cell_path(&id, n)).await;
    }

    /// A transaction of one cell of `rows` rows that replaces `removes`; its cell is not uploaded.
    pub(super) fn made(&self, id: TxnId, rows: u64, kind: Kind, removes: Vec<String>) -> Transaction {
        let bound = Some(StatValue::Int(1));
        let n = ColumnStats { min: bound.clone(), max: bound, null_count: Some(0), min_exact: true, max_exact: true };
        let facts = CellFacts {
            folder: self.frame.folder.clone(),
            id: CellId { txn: id, n: 0 },
            size_bytes: 10,
            partition_values: vec![],
            stats: CellStats { rows, columns: BTreeMap::from([("n".to_owned(), n)]) },
            sha256: "00".repeat(32),
            modified_ms: 1,
        };
        let cell = facts.pack().unwrap();
        match kind {
            Kind::Compaction => Transaction::compaction(id, "n", vec![cell], removes),
            _ => Transaction::append(id, "n", vec![cell]),
        }
    }

    /// A transaction of one row whose cell is uploaded, and nothing more. Its base must have been read before.
    pub(super) async fn upload(&self, n: u64) -> Transaction {
        self.put_cell(txn(n), 0).await;
        self.made(txn(n), 1, Kind::Append, vec![])
    }

    /// Commits against the frame as it was created.
    pub(super) async fn commit(&self, txn: Transaction) -> CommitOutcome {
        let base = self.at(0).await;
        self.frames.commit(&self.frame, base, txn).await.unwrap()
    }

    /// The frame at one version, as somebody knows it who read nothing since.
    pub(super) async fn at(&self, version: u64) -> Arc<Snapshot> {
        let log = self.frames.log(&self.frame);
        let (mut at, mut replay) = (None, crate::replay::Replay::new(&self.frame.folder));
        for v in 0..=version {
            let key = layout::ledger_entry(&self.frame.folder, Version(v));
            let read = log.admit(at.as_ref(), &self.memory.body(key.as_ref()).unwrap()).unwrap();
            replay.take(key.as_ref(), &read).unwrap();
            at = Some(read.head);
        }
        Arc::new(replay.finish().unwrap())
    }

    /// Appends a row as transaction `n`, which is committed.
    pub(super) async fn append(&self, n: u64) -> TxnId {
        let base = self.snapshot().await;
        let txn = self.upload(n).await;
        let id = txn.id;
        let outcome = self.frames.commit(&self.frame, base, txn).await.unwrap();
        assert!(matches!(outcome, CommitOutcome::Committed { .. }), "{outcome:?}");
        id
    }

    /// Merges the cells of transactions of one row each into one cell.
    pub(super) async fn merge(&self, n: u64, of: &[u64]) {
        let base = self.snapshot().await;
        self.put_cell(txn(n), 0).await;
        let removes = of.iter().map(|n| layout::cell_path(&txn(*n), 0)).collect();
        let merge = self.made(txn(n), of.len() as u64, Kind::Compaction, removes);
        let outcome = self.frames.commit(&self.frame, base, merge).await.unwrap();
        assert!(matches!(outcome, CommitOutcome::Committed { .. }), "{outcome:?}");
    }

    /// Gives a slot away in the name of `id`.
    pub(super) async fn seal(&self, id: TxnId) {
        let base = self.snapshot().await;
        let place = crate::header::Place::after(Some(&base.head), None, self.now());
        let body = entry::seal(&place, &[id], "n").unwrap();
        let key = layout::ledger_entry(&self.frame.folder, base.version.next());
        self.bucket.put_if_absent_decided(&key, body).await.unwrap();
    }

    /// Dooms `id` and does not delete.
    pub(super) async fn doom(&self, id: TxnId) {
        let base = self.snapshot().await;
        let mut notice = Notice::opening(txn(9_000), "n", BTreeSet::from([id]), Total::default());
        notice.commit(&self.frames.log(&self.frame), base.head.clone()).await.unwrap();
    }

    pub(super) async fn vacuum(&self, run: bool) -> Result<VacuumReport> {
        self.vacuum_with(&VacuumOptions { run, ..VacuumOptions::default() }).await
    }

    pub(super) async fn vacuum_with(&self, options: &VacuumOptions) -> Result<VacuumReport> {
        self.frames.vacuum(&self.frame, options).await
    }

    /// Paths of all files in the frame's folder of cells.
    pub(super) fn cells(&self) -> BTreeSet<String> {
        let folder = format!("{}/", self.frame.folder);
        let keys = self.memory.keys(&layout::cells_prefix(&self.frame.folder));
        keys.iter().map(|key| key.strip_prefix(&folder).unwrap().to_owned()).collect()
    }

    pub(super) fn entry_key(&self, version: u64) -> String {
        layout::ledger_entry(&self.frame.folder, Version(version)).to_string()
    }

    pub(super) fn entry(&self, version: u64) -> String {
        String::from_utf8(self.memory.body(&self.entry_key(version)).unwrap().to_vec()).unwrap()
    }

    /// Checks, from the objects alone, that every version that was current within `retention` has all its cells.
    pub(super) async fn whole(&self, retention: Duration) {
        Oracle::default().whole(self, retention).await;
    }
}

/// What each entry of a frame adds and removes, kept so that it is read once.
#[derive(Default)]
pub(super) struct Oracle {
    entries: Vec<(Vec<String>, Vec<String>)>,
}

impl Oracle {
    fn learn(&mut self, world: &World) {
        for v in self.entries.len() as u64.. {
            let key = world.entry_key(v);
            let Some(body) = world.memory.body(&key) else { return };
            let entry = entry::decode(&key, &body).unwrap();
            let adds = entry.adds.iter().map(|add| add.path.clone()).collect();
            self.entries.push((adds, entry.removes.iter().map(|remove| remove.path.clone()).collect()));
        }
    }

    /// Checks, from the objects alone, that every version that was current within `retention` has all its cells.
    pub(super) async fn whole(&mut self, world: &World, retention: Duration) {
        self.learn(world);
        let (now, there) = (world.now(), world.cells());
        let prefix = object_store::path::Path::parse(&world.frame.folder).unwrap();
        let listed: Vec<_> = world.memory.list(Some(&prefix)).try_collect().await.unwrap();
        let written: BTreeMap<String, i64> =
            listed.into_iter().map(|meta| (meta.location.to_string(), meta.last_modified.timestamp_millis())).collect();
        let retention = i64::try_from(retention.as_millis()).unwrap();
        let mut cells: BTreeSet<&str> = BTreeSet::new();
        for (v, (adds, removes)) in self.entries.iter().enumerate() {
            for remove in removes {
                assert!(cells.remove(remove.as_str()), "version {v} removes '{remove}', which is not there");
            }
            cells.extend(adds.iter().map(String::as_str));
            // It ends with the next entry, if there is one.
            let ended = written.get(&world.entry_key(v as u64 + 1));
            if ended.is_none_or(|ended| now - ended < retention) {
                let gone: Vec<_> = cells.iter().filter(|path| !there.contains(**path)).collect();
                assert!(gone.is_empty(), "version {v} has lost {gone:?}");
            }
        }
    }
}
