//! Writes a frame's ledger entry by entry, without the protocol: long and odd histories, fast.

use std::collections::{BTreeMap, HashMap};

use apiary_bucket::{Bucket, layout};
use apiary_core::{CellStats, ColumnStats, FrameId, FramePath, Rng, SeededRng, StatValue, TxnId, Version};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use serde_json::json;

use super::super::FrameLog;
use crate::{
    CellEntry, CellFacts, CellId, FrameRecord, FrameSpec, IdempotencyKey, Snapshot, Transaction, delta_schema, entry,
    header::Place,
    log::{Log, LogKind},
    replay::Replay,
};
use bytes::Bytes;
use std::sync::Arc;

/// A frame and the state that its ledger must come to.
#[derive(Debug)]
pub(in crate::frames) struct Scribe {
    pub(in crate::frames) bucket: Bucket,
    pub(in crate::frames) frame: FrameRecord,
    pub(in crate::frames) now: Arc<Snapshot>,
    /// The frame at each version, from the first entry on.
    pub(in crate::frames) history: Vec<Arc<Snapshot>>,
    rng: SeededRng,
}

pub(in crate::frames) fn schema(columns: u64) -> SchemaRef {
    let mut fields = vec![Field::new("n", DataType::Int64, true), Field::new("day", DataType::Date32, true)];
    fields.extend((2..columns).map(|i| Field::new(format!("t{i}"), DataType::Utf8, true)));
    Arc::new(Schema::new(fields))
}

impl Scribe {
    /// A frame with its version 0.
    pub(in crate::frames) async fn begin(bucket: &Bucket, seed: u64) -> Self {
        let rng = SeededRng::new(seed);
        let (path, id) = (FramePath::new("h", "b", "f").unwrap(), FrameId::random(&rng));
        let frame = FrameRecord { folder: layout::frame_folder(&path, &id), path, id };
        let spec = FrameSpec { schema: schema(3), partition_by: vec!["day".to_owned()] };
        let place = Place::after(None, None, bucket.clock().wall_ms());
        let txn = TxnId::new(bucket.clock().as_ref(), &rng);
        let body = entry::create(&place, txn, "scribe", &frame.id, &spec).unwrap();
        let log = log(bucket, &frame);
        let read = log.admit(None, &body).unwrap();
        let mut replay = Replay::new(&frame.folder);
        replay.take("first", &read).unwrap();
        bucket.put(&log.kind.key(Version(0)), body).await.unwrap();
        let now = Arc::new(replay.finish().unwrap());
        Self { bucket: bucket.clone(), frame, history: vec![Arc::clone(&now)], now, rng }
    }

    /// Writes so many entries of every kind.
    pub(in crate::frames) async fn write(&mut self, entries: u64) -> &mut Self {
        for _ in 0..entries {
            let body = self.next();
            self.put(body).await;
        }
        self
    }

    /// Writes so many entries that change little.
    pub(in crate::frames) async fn write_small(&mut self, entries: u64) {
        for n in 0..entries {
            let place = self.place();
            let body = if n % 50 == 0 { self.append(&place) } else { entry::seal(&place, &[self.id()], "s").unwrap() };
            self.put(body).await;
        }
    }

    /// Another writer, who knows what this one knows now and nothing later.
    pub(in crate::frames) fn fork(&self) -> Self {
        let (bucket, frame, now) = (self.bucket.clone(), self.frame.clone(), Arc::clone(&self.now));
        Self { bucket, frame, history: self.history.clone(), now, rng: SeededRng::new(self.rng.next_u64()) }
    }

    fn place(&self) -> Place {
        Place::after(Some(&self.now.head), Some(self.now.version), self.bucket.clock().wall_ms())
    }

    /// Writes the entry that comes next.
    pub(in crate::frames) async fn put(&mut self, body: Bytes) {
        let body = crate::sum::summed(body.into());
        let log = log(&self.bucket, &self.frame);
        let read = log.admit(Some(&self.now.head), &body).unwrap();
        let mut replay = Replay::after(&self.now);
        replay.take("next", &read).unwrap();
        self.bucket.put(&log.kind.key(read.head.version), body).await.unwrap();
        self.now = Arc::new(replay.finish().unwrap());
        self.history.push(Arc::clone(&self.now));
    }

    fn next(&self) -> Bytes {
        let place = self.place();
        match self.rng.below(20) {
            0 if self.now.schema.fields().len() < 9 => self.widen(&place),
            1 => entry::seal(&place, &[self.id()], "scribe").unwrap(),
            2..=5 if self.now.cells.len() > 4 => self.merge(&place),
            _ => self.append(&place),
        }
    }

    fn id(&self) -> TxnId {
        TxnId::new(self.bucket.clock().as_ref(), &self.rng)
    }

    fn append(&self, place: &Place) -> Bytes {
        let id = self.id();
        let adds = (0..=self.rng.below(3)).map(|n| self.cell(&id, usize::try_from(n).unwrap(), 10)).collect();
        let key = || IdempotencyKey { scope: "me\"'".into(), key: place.slot.to_string(), digest: "d".into() };
        let idem = (self.rng.below(2) == 0).then(key);
        let txn = Transaction::append(id, "scribe", adds).with_idem(idem);
        entry::commit(place, &self.now.schema, &txn, &[]).unwrap()
    }

    fn merge(&self, place: &Place) -> Bytes {
        let id = self.id();
        let removed: Vec<_> = self.now.cells.iter().skip(1).take(2).map(Arc::clone).collect();
        let rows = removed.iter().map(|cell| cell.rows).sum();
        let adds = vec![self.cell(&id, 0, rows)];
        let removes = removed.iter().map(|cell| cell.path()).collect();
        let txn = Transaction::compaction(id, "scribe", adds, removes);
        entry::commit(place, &self.now.schema, &txn, &removed).unwrap()
    }

    /// An entry with one more column and a property.
    fn widen(&self, place: &Place) -> Bytes {
        let columns = self.now.schema.fields().len() as u64 + 1;
        let schema = schema(columns);
        let mut metadata = self.now.about.metadata.clone();
        metadata.schema_string = delta_schema::schema_string(&schema).unwrap();
        metadata.configuration.insert(entry::ARROW_SCHEMA.into(), delta_schema::exact_to_text(&schema).unwrap());
        metadata.configuration.insert("own.columns".into(), columns.to_string());
        let sealed = entry::seal(place, &[self.id()], "scribe").unwrap();
        [sealed.as_ref(), json!({"metaData": metadata}).to_string().as_bytes(), b"\n"].concat().into()
    }

    /// A cell with bounds of every kind: exact, not exact, missing.
    fn cell(&self, id: &TxnId, n: usize, rows: u64) -> CellEntry {
        let number = i64::try_from(self.rng.below(1000)).unwrap();
        let mut columns = BTreeMap::new();
        for field in self.now.schema.fields().iter().filter(|field| field.name() != "day") {
            let (min, max) = match field.data_type() {
                DataType::Int64 => (StatValue::Int(number), StatValue::Int(number + 5)),
                _ => (StatValue::Text(format!("ä{number}")), StatValue::Text(format!("ö\"{number}"))),
            };
            let stats = ColumnStats {
                min: (self.rng.below(4) > 0).then_some(min),
                max: Some(max),
                null_count: (self.rng.below(3) > 0).then(|| self.rng.below(rows)),
                min_exact: false,
                max_exact: self.rng.below(2) == 0,
            };
            columns.insert(field.name().clone(), ColumnStats { min_exact: stats.min.is_some(), ..stats });
        }
        let day = ["2026-11-20", "2026-11-21"][usize::try_from(self.rng.below(2)).unwrap()];
        let facts = CellFacts {
            folder: self.frame.folder.clone(),
            id: CellId { txn: *id, n: u32::try_from(n).unwrap() },
            size_bytes: 1000 + self.rng.below(1000),
            partition_values: vec![("day".to_owned(), (self.rng.below(5) > 0).then(|| day.to_owned()))],
            stats: CellStats { rows, columns },
            sha256: format!("{:064x}", self.rng.next_u64()),
            modified_ms: 1,
        };
        facts.pack().unwrap()
    }
}

pub(in crate::frames) fn log(bucket: &Bucket, frame: &FrameRecord) -> Log<FrameLog> {
    Log::new(bucket.clone(), FrameLog { folder: frame.folder.clone(), id: frame.id.clone() })
}

/// Everything below a frame's folder, by key.
pub(in crate::frames) async fn objects(bucket: &Bucket, frame: &FrameRecord) -> HashMap<String, Bytes> {
    let mut found = HashMap::new();
    for object in bucket.list(&frame.folder, None, 100_000).await.unwrap() {
        let body = bucket.get(&apiary_bucket::Key::parse(&object.key).unwrap()).await.unwrap();
        found.insert(object.key, body.unwrap());
    }
    found
}

/// Whether two snapshots say the same of a frame.
pub(in crate::frames) fn assert_same(a: &Arc<Snapshot>, b: &Arc<Snapshot>) {
    crate::checkpoint::same(a, b).unwrap_or_else(|why| panic!("{why}: versions {} and {}", a.version, b.version));
    // Said again, in case that comparison looks away.
    assert_eq!((a.version, &a.schema, &a.partition_by, a.rows()), (b.version, &b.schema, &b.partition_by, b.rows()));
    assert_eq!(a.cells, b.cells);
}
