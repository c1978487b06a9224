//! The corruption corpus: every kind of stored object, cut at every 64th byte and with 500 bits flipped, one at a time.
//! What is read then is what was read before, or an error that names the object: never a panic, never other rows.
//!
//! Cells have their own corpus, in `crates/query/src/tests/damage.rs`, where rows are read.

use std::{fmt::Debug, sync::Arc};

use apiary_bucket::{Bucket, layout};
use apiary_core::{Clock, FramePath, Incarnation, ManualClock, NodeId, QueryId, Rng, SeededRng, Version};
use apiary_faults::MemoryStore;
use apiary_ingest::{AppendOptions, Ingest, IngestSettings};
use apiary_ledger::{FrameRecord, FrameSpec, Frames, Registry};
use apiary_swarm::{
    Bees, Board, ColonyFormat, ColonySecret, Heartbeat, Strain, TaskId,
    board::{ClaimRecord, DoneRecord, InlineFile, QueryRecord, TaskObject},
    heartbeat,
};
use arrow::{
    array::{ArrayRef, Float64Array, RecordBatch, StringArray},
    datatypes::SchemaRef,
};
use bytes::Bytes;
use futures::stream;

const FLIPS: usize = 500;

struct World {
    clock: Arc<dyn Clock>,
    store: MemoryStore,
}

impl World {
    fn new() -> Self {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new());
        Self { store: MemoryStore::new(Arc::clone(&clock)), clock }
    }

    fn over(&self, store: &MemoryStore) -> Bucket {
        Bucket::over(Arc::new(store.clone()), Arc::clone(&self.clock), Arc::new(SeededRng::new(5)))
    }

    /// Reads the world once for each damaged body of `key`. Returns how often it read the same, and how often an error.
    async fn damage<T: PartialEq + Debug>(
        &self,
        key: &str,
        read: impl AsyncFn(Bucket) -> Result<T, String>,
    ) -> (usize, usize) {
        let whole = self.store.body(key).unwrap_or_else(|| panic!("there is no '{key}'"));
        let expected = read(self.over(&self.store)).await.unwrap();
        let (mut same, mut named) = (0, 0);
        for (how, body) in damaged(&whole) {
            let store = self.store.fork();
            store.set(key, Some(body));
            match read(self.over(&store)).await {
                Ok(found) => {
                    assert_eq!(found, expected, "'{key}' {how}");
                    same += 1;
                }
                Err(error) => {
                    // A flipped bit in the name of an entry's sum is noticed by the entry after it.
                    let chain = error.contains("does not follow the entry before it: one of the two was changed");
                    assert!(error.contains(key) || chain, "'{key}' {how}: {error}");
                    named += 1;
                }
            }
        }
        eprintln!("{key}: {same} read the same, {named} errors");
        (same, named)
    }
}

/// Every damaged body, and how it was damaged.
fn damaged(whole: &Bytes) -> Vec<(String, Bytes)> {
    let rng = SeededRng::new(whole.len() as u64);
    let mut bodies: Vec<_> =
        (0..whole.len()).step_by(64).map(|end| (format!("cut at {end}"), whole.slice(..end))).collect();
    for _ in 0..FLIPS {
        let (at, bit) = (rng.below(whole.len() as u64) as usize, rng.below(8));
        let mut body = whole.to_vec();
        body[at] ^= 1 << bit;
        bodies.push((format!("bit {bit} of byte {at}"), body.into()));
    }
    bodies
}

fn batch(n: i64) -> RecordBatch {
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("region", Arc::new(StringArray::from(vec!["north", "süd"]))),
        ("temp", Arc::new(Float64Array::from(vec![n as f64 + 0.5, -1.0]))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

/// A frame with six appends, a checkpoint, and three more.
async fn frame(world: &World) -> FrameRecord {
    let bucket = world.over(&world.store);
    let (registry, frames) = (Registry::new(bucket.clone()), Frames::new(bucket.clone()));
    let path: FramePath = "Wetter.daten.temperatur".parse().unwrap();
    registry.create_hive(&path.hive).await.unwrap();
    registry.create_box(&path.hive, &path.box_name).await.unwrap();
    let schema: SchemaRef = batch(0).schema();
    let spec = FrameSpec { schema: Arc::clone(&schema), partition_by: vec!["region".to_owned()] };
    registry.create_frame(&path, &spec).await.unwrap();
    let settings = IngestSettings { chamber_bytes: 64 << 20, node: "pi-1".to_owned() };
    let ingest = Ingest::new(bucket, registry.clone(), frames.clone(), settings);
    let append = async |n: i64| {
        let options = AppendOptions { idempotency_key: Some(format!("key {n}")), principal: "me".to_owned() };
        ingest.append(&path, Arc::clone(&schema), stream::iter([Ok(batch(n))]), options).await.unwrap();
    };
    for n in 0..6 {
        append(n).await;
    }
    let record = registry.namespace().await.unwrap().frame("Wetter", "daten", "temperatur").unwrap();
    frames.checkpoint(&record).await.unwrap();
    for n in 6..9 {
        append(n).await;
    }
    (*record).clone()
}

/// Everything that a query takes from a snapshot.
async fn snapshot(bucket: Bucket, record: &FrameRecord) -> Result<Vec<String>, String> {
    let snapshot = Frames::new(bucket).snapshot(record).await.map_err(|error| error.to_string())?;
    let cell = |cell: &Arc<apiary_ledger::CellEntry>| {
        format!("{} {} {:?} {}", cell.key(), cell.size_bytes, cell.facts(), cell.sha256())
    };
    let mut seen: Vec<String> = snapshot.cells.iter().map(cell).collect();
    seen.sort();
    seen.push(format!("{:?} {:?} {:?}", snapshot.version, snapshot.schema, snapshot.partition_by));
    Ok(seen)
}

#[tokio::test]
async fn a_damaged_ledger_gives_the_same_cells_or_an_error_that_names_the_entry() {
    let world = World::new();
    let record = frame(&world).await;
    let read = async |bucket| snapshot(bucket, &record).await;
    let head = layout::ledger_entry(&record.folder, Version(9));
    let (same, named) = world.damage(head.as_str(), read).await;
    assert!(named > FLIPS * 9 / 10, "the newest entry is read, and only its checksum can tell: {same} {named}");
    for version in [7, 8] {
        world.damage(layout::ledger_entry(&record.folder, Version(version)).as_str(), read).await;
    }
    // Without the checkpoint every entry is read, from the first on.
    for kind in [layout::checkpoint, layout::checksum] {
        world.store.set(kind(&record.folder, Version(6)).as_str(), None);
    }
    world.store.set(layout::last_checkpoint(&record.folder).as_str(), None);
    for version in [0, 1, 6] {
        let (_, named) = world.damage(layout::ledger_entry(&record.folder, Version(version)).as_str(), read).await;
        assert!(named > FLIPS * 9 / 10, "version {version}: {named}");
    }
}

#[tokio::test]
async fn a_damaged_checkpoint_checksum_or_hint_costs_time_and_never_truth() {
    let world = World::new();
    let record = frame(&world).await;
    let read = async |bucket| snapshot(bucket, &record).await;
    for kind in [layout::checkpoint, layout::checksum] {
        let key = kind(&record.folder, Version(6));
        let (_, named) = world.damage(key.as_str(), read).await;
        assert_eq!(named, 0, "{key}: the entries are all there");
    }
    let (_, named) = world.damage(layout::last_checkpoint(&record.folder).as_str(), read).await;
    assert_eq!(named, 0);
}

#[tokio::test]
async fn a_damaged_registry_gives_the_same_names_or_an_error_that_names_the_entry() {
    let world = World::new();
    frame(&world).await;
    let read = async |bucket| {
        let names = Registry::new(bucket).namespace().await.map_err(|error| error.to_string())?;
        // All but the hash of the newest entry, which a flipped bit in the name of its sum changes and nothing else.
        Ok(format!("{names:?}").split_once("hives: ").map(|(_, names)| names.to_owned()))
    };
    for version in 0..3 {
        let key = layout::registry(Version(version));
        if world.store.body(key.as_str()).is_some() {
            let (same, named) = world.damage(key.as_str(), read).await;
            assert!(named > FLIPS * 8 / 10, "{same} {named}");
        }
    }
}

#[tokio::test]
async fn damaged_objects_of_the_colony_harm_nobody() {
    let world = World::new();
    let bucket = world.over(&world.store);
    ColonyFormat::load_or_create(&bucket).await.unwrap();
    ColonySecret::load_or_create(&bucket).await.unwrap();
    let node = NodeId::new("pi-1").unwrap();
    let beat = Heartbeat {
        format: Heartbeat::FORMAT,
        node: node.clone(),
        incarnation: Incarnation::new(world.clock.as_ref(), &SeededRng::new(1)),
        counter: 7,
        interval_s: 10.0,
        roles: vec!["worker".into()],
        address: Some("127.0.0.1:7420".into()),
        version: "0.1.0".into(),
        features: vec![],
        cores: 2,
        memory_bytes: 1 << 30,
        bees: Bees { total: 2, busy: 1 },
        chamber_bytes: 256 << 20,
        strain: Strain::default(),
        temperature: 0.25,
        leaving: false,
        cached: String::new(),
    };
    heartbeat::beat(&bucket, &beat).await.unwrap();
    // A heartbeat decides nothing but who is asked first: any reading that is no panic will do.
    let key = layout::node(&node);
    for (_, body) in damaged(&world.store.body(key.as_str()).unwrap()) {
        let store = world.store.fork();
        store.set(key.as_str(), Some(body));
        let bucket = world.over(&store);
        let seen = heartbeat::read_all(&bucket).await.unwrap();
        assert!(seen.len() <= 1);
        assert_eq!(heartbeat::clocks(&bucket).await.unwrap().len(), 1);
        if let Err(error) = heartbeat::read(&bucket, &node).await {
            assert!(error.to_string().contains(key.as_str()), "{error}");
        }
    }
    // The format and the secret decide who belongs together: each is itself or an error, or another's by one flipped
    // digit, which then no node of the colony shares.
    for key in [layout::format(), layout::secret()] {
        for (how, body) in damaged(&world.store.body(key.as_str()).unwrap()) {
            let store = world.store.fork();
            store.set(key.as_str(), Some(body));
            let bucket = world.over(&store);
            let error = match key == layout::format() {
                true => ColonyFormat::look(&bucket).await.err(),
                false => ColonySecret::look(&bucket).await.err(),
            };
            let text = error.map(|error| error.to_string());
            assert!(text.iter().all(|text| text.contains(key.as_str()) || text.contains("feature")), "{how}: {text:?}");
        }
    }
}

#[tokio::test]
async fn a_damaged_plan_or_result_on_the_board_is_itself_or_an_error_that_names_it() {
    let world = World::new();
    let bucket = world.over(&world.store);
    let board = Board::new(bucket.clone());
    let query = QueryId::new(world.clock.as_ref(), &SeededRng::new(2));
    let life = Incarnation::new(world.clock.as_ref(), &SeededRng::new(1));
    let node = NodeId::new("pi-1").unwrap();
    let plan: Bytes = (0..900u32).map(|i| (i * i) as u8).collect();
    board.open_query(&QueryRecord::new(query, "SELECT 1", "ada", "55.2"), plan.clone()).await.unwrap();
    let id = TaskId::new(query, 1, 0);
    let task = TaskObject {
        plan: plan.clone(),
        engine_version: "55.2".into(),
        timeout_ms: 1_000,
        ..TaskObject::of(id.attempt(1))
    };
    board.publish_task(&task).await.unwrap();
    let mut done = DoneRecord::of(1, "nonce-of-pi-1", &node, life);
    done.inline.push(InlineFile { file: "data.arrow".into(), body: plan });
    board.mark_done(&id, &done).await.unwrap();
    board.claim(&id.attempt(1), &ClaimRecord::new(node.clone(), life, "nonce-of-pi-1")).await.unwrap();

    let text = |error: apiary_swarm::SwarmError| error.to_string();
    let (_, named) = world
        .damage(layout::stages(&query).as_str(), async |b| Board::new(b).read_stages(&query).await.map_err(text))
        .await;
    assert!(named > FLIPS, "{named}");
    let (_, named) = world
        .damage(layout::task(&query, 1, 0, 1).as_str(), async |b| {
            Board::new(b).read_task(&id.attempt(1)).await.map_err(text)
        })
        .await;
    assert!(named > FLIPS, "{named}");
    let (_, named) = world
        .damage(layout::done(&query, 1, 0).as_str(), async |b| Board::new(b).read_done(&id).await.map_err(text))
        .await;
    assert!(named > FLIPS, "{named}");
    // A claim and a question decide nothing about rows: no reading of them may panic, and errors name them.
    for key in [layout::claim(&query, 1, 0, 1), layout::query(&query)] {
        for (how, body) in damaged(&world.store.body(key.as_str()).unwrap()) {
            let store = world.store.fork();
            store.set(key.as_str(), Some(body));
            let board = Board::new(world.over(&store));
            let claim = board.read_claim(&id.attempt(1)).await.err();
            let question = board.read_query(&query).await.err();
            for error in claim.into_iter().chain(question) {
                assert!(error.to_string().contains(key.as_str()), "{key} {how}: {error}");
            }
        }
    }
}
