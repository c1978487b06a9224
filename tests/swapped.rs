//! A whole cell in another's place: each is undamaged in itself, and its place is wrong. Rows are never given.
//!
//! Swapped are cells of one size, so that nothing but what stands in them can tell.

use std::sync::Arc;

use apiary_bucket::{Bucket, Key, layout};
use apiary_core::{Clock, ErrorKind, FramePath, ManualClock, SeededRng};
use apiary_faults::MemoryStore;
use apiary_ingest::{AppendOptions, Ingest, IngestSettings};
use apiary_ledger::{Frames, Registry};
use apiary_query::{Planner, QueryError, Session, Statement, gather, local_config, parse};
use arrow::{
    array::{ArrayRef, Int64Array, RecordBatch, StringArray},
    util::pretty::pretty_format_batches,
};
use futures::{TryStreamExt, stream};

struct Colony {
    memory: MemoryStore,
    bucket: Bucket,
    registry: Registry,
    frames: Frames,
    ingest: Ingest,
}

fn colony() -> Colony {
    colony_of(7)
}

fn colony_of(seed: u64) -> Colony {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new());
    let memory = MemoryStore::new(Arc::clone(&clock));
    let bucket = Bucket::over(Arc::new(memory.clone()), clock, Arc::new(SeededRng::new(seed)));
    let (registry, frames) = (Registry::new(bucket.clone()), Frames::new(bucket.clone()));
    let settings = IngestSettings { chamber_bytes: 64 << 20, node: "pi-1".to_owned() };
    let ingest = Ingest::new(bucket.clone(), registry.clone(), frames.clone(), settings);
    Colony { memory, bucket, registry, frames, ingest }
}

fn batch(region: &str, n: i64) -> RecordBatch {
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("region", Arc::new(StringArray::from(vec![region; 3]))),
        ("n", Arc::new(Int64Array::from(vec![n, n + 1, n + 2]))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

impl Colony {
    async fn create(&self, frame: &str, by: &[&str]) {
        let path: FramePath = frame.parse().unwrap();
        self.registry.create_hive(&path.hive).await.unwrap();
        self.registry.create_box(&path.hive, &path.box_name).await.unwrap();
        let partition_by = by.iter().map(|name| (*name).to_owned()).collect();
        let spec = apiary_ledger::FrameSpec { schema: batch("x", 0).schema(), partition_by };
        self.registry.create_frame(&path, &spec).await.unwrap();
    }

    async fn append(&self, frame: &str, rows: RecordBatch) {
        let options = AppendOptions { idempotency_key: None, principal: "me".to_owned() };
        let schema = rows.schema();
        self.ingest.append(&frame.parse().unwrap(), schema, stream::iter([Ok(rows)]), options).await.unwrap();
    }

    /// The keys of a frame's cells, in the order of their making.
    async fn cells(&self, frame: &str) -> Vec<Key> {
        let path: FramePath = frame.parse().unwrap();
        let names = self.registry.namespace().await.unwrap();
        let record = names.frame(path.hive.as_str(), path.box_name.as_str(), path.frame.as_str()).unwrap();
        let snapshot = self.frames.snapshot(&record).await.unwrap();
        let mut cells: Vec<_> = snapshot.cells.iter().map(|cell| cell.key()).collect();
        cells.sort();
        cells
    }

    /// Every statement is an error that names one of the two, once they have changed places; and right before that.
    async fn cannot_be_swapped(&self, one: &Key, other: &Key, statements: &[&str]) {
        for sql in statements {
            ask(&self.bucket, sql).await.unwrap();
        }
        let store = self.memory.fork();
        let [here, there] = [one, other].map(|key| self.memory.body(key.as_str()).unwrap());
        assert_ne!(here, there);
        assert_eq!(here.len(), there.len(), "only what stands in them may tell them apart");
        store.set(one.as_str(), Some(there));
        store.set(other.as_str(), Some(here));
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new());
        let swapped = Bucket::over(Arc::new(store), clock, Arc::new(SeededRng::new(8)));
        for sql in statements {
            let error = ask(&swapped, sql).await.expect_err(sql);
            let text = error.to_string();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{sql}: {text}");
            assert!(text.contains(one.as_str()) || text.contains(other.as_str()), "{sql}: {text}");
            assert!(text.contains("is damaged: ") && text.contains("another cell"), "{sql}: {text}");
        }
    }
}

/// What a colony that never saw these objects before answers.
async fn ask(bucket: &Bucket, sql: &str) -> Result<String, QueryError> {
    let (registry, frames) = (Registry::new(bucket.clone()), Frames::new(bucket.clone()));
    let planner = Planner::new(bucket.clone(), registry, frames)?;
    let Statement::Query(query) = parse(sql)? else { panic!("{sql} is no query") };
    let pinned = planner.pin(&query, &Session::from_parts("h", "b", [])?).await?;
    let planned = pinned.plan(local_config(2), planner.runtime()).await?;
    let batches: Vec<RecordBatch> = gather(std::sync::Arc::clone(&planned.physical), planned.ctx.task_ctx())?
        .try_collect()
        .await
        .map_err(QueryError::from)?;
    Ok(pretty_format_batches(&batches).unwrap().to_string())
}

#[tokio::test]
async fn cells_of_one_frame_cannot_change_places() {
    let colony = colony();
    colony.create("h.b.t", &[]).await;
    colony.append("h.b.t", batch("north", 100)).await;
    colony.append("h.b.t", batch("south", 200)).await;
    let [one, other] = &colony.cells("h.b.t").await[..] else { panic!("two cells") };
    let statements = ["SELECT * FROM t", "SELECT region FROM t WHERE n >= 200", "SELECT n FROM t LIMIT 1"];
    colony.cannot_be_swapped(one, other, &statements).await;
}

#[tokio::test]
async fn cells_of_one_write_cannot_change_places() {
    let colony = colony();
    colony.create("h.b.t", &["region"]).await;
    let rows = arrow::compute::concat_batches(&batch("x", 0).schema(), &[batch("a", 100), batch("b", 200)]).unwrap();
    colony.append("h.b.t", rows).await;
    let [one, other] = &colony.cells("h.b.t").await[..] else { panic!("two cells") };
    colony.cannot_be_swapped(one, other, &["SELECT * FROM t", "SELECT sum(n) FROM t WHERE region = 'a'"]).await;
}

#[tokio::test]
async fn cells_of_two_frames_cannot_change_places() {
    let colony = colony();
    for (frame, n) in [("h.b.t", 100), ("h.b.u", 200)] {
        colony.create(frame, &[]).await;
        colony.append(frame, batch("north", n)).await;
    }
    let (one, other) = (&colony.cells("h.b.t").await[0], &colony.cells("h.b.u").await[0]);
    colony.cannot_be_swapped(one, other, &["SELECT * FROM t", "SELECT sum(n) FROM u"]).await;
}

#[tokio::test]
async fn merged_cells_cannot_change_places() {
    let colony = colony();
    colony.create("h.b.t", &["region"]).await;
    for n in [100, 103] {
        colony.append("h.b.t", batch("a", n)).await;
        colony.append("h.b.t", batch("b", n + 100)).await;
    }
    colony.ingest.compact(&"h.b.t".parse().unwrap()).await.unwrap();
    let [one, other] = &colony.cells("h.b.t").await[..] else { panic!("two cells") };
    colony.cannot_be_swapped(one, other, &["SELECT * FROM t", "SELECT max(n) FROM t WHERE n > 1"]).await;
}

#[tokio::test]
async fn a_cell_of_an_attempt_that_was_given_up_cannot_take_the_place_of_the_next_ones() {
    let colony = colony();
    colony.create("h.b.t", &[]).await;
    colony.append("h.b.t", batch("north", 100)).await;
    let [one] = &colony.cells("h.b.t").await[..] else { panic!("one cell") };
    // The same request, sent again: another transaction, whose cell was uploaded and never committed.
    let given_up = colony_of(70);
    given_up.create("h.b.t", &[]).await;
    given_up.append("h.b.t", batch("north", 200)).await;
    let left = given_up.memory.body(given_up.cells("h.b.t").await[0].as_str()).unwrap();
    let rng = SeededRng::new(99);
    let txn = apiary_core::TxnId::new(&ManualClock::new(), &rng);
    let (folder, _) = one.as_str().split_once("/cells/").unwrap();
    let orphan = layout::cell(folder, &txn, 0);
    colony.memory.set(orphan.as_str(), Some(left));
    colony.cannot_be_swapped(one, &orphan, &["SELECT * FROM t", "SELECT n FROM t WHERE n > 100"]).await;
}
