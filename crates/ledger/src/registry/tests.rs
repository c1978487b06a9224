//! Creating, dropping and renaming: once, identical or not, by many at once, and with a crash at every step.

mod crash;
mod drop;
mod mortal;
mod rename;
mod storm;
mod together;

use std::sync::Arc;

use apiary_core::{BoxName, CellStats, ColumnStats, ErrorKind, FramePath, HiveName, SeededRng, SystemClock};
use arrow::datatypes::{DataType, Field, Schema};

use super::*;
use crate::{CellFacts, CellId, FrameRecord, FrameSpec, Frames, Snapshot, Transaction, registry_entry::Thing};

fn hive(name: &str) -> HiveName {
    HiveName::new(name).unwrap()
}

fn in_box(name: &str) -> BoxName {
    BoxName::new(name).unwrap()
}

fn at(path: &str) -> FramePath {
    path.parse().unwrap()
}

fn plain() -> FrameSpec {
    spec(DataType::Int64, &[])
}

/// What a second process, which knows nothing yet, finds under a name.
async fn find(bucket: &Bucket, path: &str) -> Result<Arc<Snapshot>> {
    let path = at(path);
    let names = Registry::new(bucket.clone()).namespace().await?;
    let record = names.frame(path.hive.as_str(), path.box_name.as_str(), path.frame.as_str())?;
    Frames::new(bucket.clone()).snapshot(&record).await
}

/// A colony with these hives, boxes and frames.
async fn colony(bucket: &Bucket, paths: &[&str]) -> Registry {
    let registry = Registry::new(bucket.clone());
    for path in paths {
        match path.split('.').collect::<Vec<_>>()[..] {
            [name] => registry.create_hive(&hive(name)).await,
            [of, name] => registry.create_box(&hive(of), &in_box(name)).await,
            _ => registry.create_frame(&at(path), &plain()).await,
        }
        .unwrap();
    }
    registry
}

/// An append of some rows that needs no cell of its own in the bucket.
fn append(frame: &FrameRecord, seed: u64) -> Transaction {
    let id = TxnId::new(&SystemClock, &SeededRng::new(seed));
    let column = ColumnStats { null_count: Some(3), ..ColumnStats::default() };
    let columns = ["n", "r"].map(|name| (name.to_owned(), column.clone()));
    let facts = CellFacts {
        folder: frame.folder.clone(),
        id: CellId { txn: id, n: 0 },
        size_bytes: 10,
        partition_values: vec![],
        stats: CellStats { rows: 3, columns: columns.into() },
        sha256: "00".repeat(32),
        modified_ms: 1,
    };
    Transaction::append(id, "n", vec![facts.pack().unwrap()])
}

/// The folders that have a ledger.
async fn folders(bucket: &Bucket) -> Vec<String> {
    let listed = bucket.list("", None, 10_000).await.unwrap();
    let version_0 = "/_delta_log/00000000000000000000.json";
    listed.iter().filter_map(|listed| listed.key.strip_suffix(version_0).map(str::to_owned)).collect()
}

fn spec(data_type: DataType, by: &[&str]) -> FrameSpec {
    let fields = vec![Field::new("n", data_type, true), Field::new("r", DataType::Utf8, true)];
    let partition_by = by.iter().map(|name| (*name).to_owned()).collect();
    FrameSpec { schema: Arc::new(Schema::new(fields)), partition_by }
}

async fn registry() -> (Registry, FramePath) {
    let registry = Registry::new(Bucket::in_memory());
    let path: FramePath = "Hive.box.frame".parse().unwrap();
    assert!(registry.create_hive(&path.hive).await.unwrap());
    assert!(registry.create_box(&path.hive, &path.box_name).await.unwrap());
    (registry, path)
}

#[tokio::test]
async fn creating_again_what_is_identical_changes_nothing() {
    let (registry, path) = registry().await;
    let spec = spec(DataType::Int64, &["r"]);
    assert!(registry.create_frame(&path, &spec).await.unwrap());
    let before = registry.namespace().await.unwrap().version;
    assert!(!registry.create_hive(&path.hive).await.unwrap());
    assert!(!registry.create_box(&path.hive, &path.box_name).await.unwrap());
    assert!(!registry.create_frame(&path, &spec).await.unwrap());
    // Another node, which knows nothing yet.
    let other = Registry::new(registry.log.bucket.clone());
    assert!(!other.create_frame(&path, &spec).await.unwrap());
    assert_eq!(other.namespace().await.unwrap().version, before);
}

#[tokio::test]
async fn creating_again_what_differs_names_the_difference() {
    let (registry, path) = registry().await;
    registry.create_frame(&path, &spec(DataType::Int64, &["r"])).await.unwrap();
    for (spec, word) in
        [(spec(DataType::Int32, &["r"]), "'n' is Int64, not Int32"), (spec(DataType::Int64, &[]), "partitioned")]
    {
        let error = registry.create_frame(&path, &spec).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        assert!(error.to_string().contains(word), "{error}");
    }
    let error = registry.create_hive(&HiveName::new("HIVE").unwrap()).await.unwrap_err();
    assert!(error.to_string().contains("spelled 'Hive'"), "{error}");
}

#[tokio::test]
async fn a_frame_needs_its_box_and_a_box_its_hive() {
    let (registry, _) = registry().await;
    let path: FramePath = "hive.bax.frame".parse().unwrap();
    let error = registry.create_frame(&path, &spec(DataType::Int64, &[])).await.unwrap_err();
    assert_eq!((error.kind(), error.hint().as_deref()), (ErrorKind::NotFound, Some("did you mean 'box'?")));
    let error = registry.create_box(&HiveName::new("none").unwrap(), &path.box_name).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn of_many_who_create_the_same_frame_one_does() {
    let (registry, path) = registry().await;
    let spec = spec(DataType::Int64, &[]);
    let create = |_| {
        let registry = Registry::new(registry.log.bucket.clone());
        let (path, spec) = (path.clone(), spec.clone());
        async move { registry.create_frame(&path, &spec).await.unwrap() }
    };
    let created = futures::future::join_all((0..8).map(create)).await;
    assert_eq!(created.iter().filter(|created| **created).count(), 1);
    assert_eq!(registry.namespace().await.unwrap().all_frames().len(), 1);
}

#[tokio::test]
async fn who_loses_the_race_for_a_frame_leaves_no_folder() {
    let bucket = Bucket::in_memory();
    colony(&bucket, &["h", "h.b"]).await;
    // Requests that take their time, so that all have looked before one of them writes.
    let clock = apiary_core::ManualClock::new();
    let created = (0..4).map(|node| {
        let store = apiary_faults::FaultStore::new(bucket.object_store(), node, Arc::new(clock.clone()));
        store.latency(std::time::Duration::from_millis(5 + node));
        let (clock, rng) = (Arc::new(clock.clone()), Arc::new(SeededRng::new(node)));
        let registry = Registry::new(Bucket::over(Arc::new(store), clock, rng));
        async move { registry.create_frame(&at("h.b.f"), &plain()).await }
    });
    let created = clock.run(futures::future::join_all(created)).await;
    assert_eq!(created.iter().filter(|created| matches!(created, Ok(true))).count(), 1);
    assert_eq!(folders(&bucket).await.len(), 1, "{created:?}");
}

#[tokio::test]
async fn the_default_hive_and_boxes_need_no_making() {
    let bucket = Bucket::in_memory();
    let registry = Registry::new(bucket.clone());
    assert!(registry.create_frame(&at("main.main.t"), &plain()).await.unwrap());
    assert!(!registry.create_frame(&at("Main.MAIN.t"), &plain()).await.unwrap());
    // One entry made all three.
    assert_eq!(registry.namespace().await.unwrap().version, Some(Version(0)));
    assert!(registry.create_box(&hive("MAIN"), &in_box("b")).await.unwrap());
    registry.create_hive(&hive("h")).await.unwrap();
    assert!(registry.create_frame(&at("h.Main.t"), &plain()).await.unwrap());
    let error = registry.create_frame(&at("main.none.t"), &plain()).await.unwrap_err();
    assert_eq!(error.to_string(), "there is no box 'main.none'");
    let error = registry.create_frame(&at("none.main.t"), &plain()).await.unwrap_err();
    assert_eq!(error.to_string(), "there is no hive 'none'");
    assert_eq!(folders(&bucket).await.len(), 2);
}

#[tokio::test]
async fn a_warm_registry_costs_one_get() {
    let bucket = Bucket::in_memory();
    let registry = colony(&bucket, &["a", "a.b", "a.b.c", "d"]).await;
    registry.rename_hive(&hive("d"), &hive("e")).await.unwrap();
    let before = bucket.counters().snapshot();
    assert_eq!(registry.namespace().await.unwrap().hives().len(), 2);
    let after = bucket.counters().snapshot();
    assert_eq!((after.gets - before.gets, after.lists - before.lists), (1, 0));
    Registry::new(bucket.clone()).namespace().await.unwrap();
    let cold = bucket.counters().snapshot();
    assert_eq!((cold.gets - after.gets, cold.lists - after.lists), (6, 1), "five entries and the end");
}

#[tokio::test]
async fn a_colony_without_names_has_none() {
    let names = Registry::new(Bucket::in_memory()).namespace().await.unwrap();
    assert_eq!((names.version, names.hives().len()), (None, 0));
}
