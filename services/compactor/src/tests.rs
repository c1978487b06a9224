//! A compactor from its caller's side: over a channel inside the process, on a bucket in memory.

use std::sync::Arc;

use apiary_bucket::{Bucket, Key, layout};
use apiary_core::{Clock, ErrorKind, FramePath, ManualClock, SeededRng};
use apiary_faults::MemoryStore;
use apiary_ingest::{AppendOptions, Ingest, IngestSettings};
use apiary_ledger::{FrameSpec, Frames, Registry};
use apiary_node::{Listener, Node, NodeSettings, Role};
use apiary_proto::{
    Client,
    v1::{VacuumReport, VacuumRequest},
};
use apiary_swarm::{ColonyFormat, behaviour::temperature::Regime};
use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use futures::stream;
use tokio_util::sync::CancellationToken;

use crate::care::{Care, plan::Schedule};

fn rows(from: i64) -> RecordBatch {
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(from..from + 10));
    RecordBatch::try_from_iter_with_nullable([("n", numbers, true)]).unwrap()
}

/// A bucket of frames with some small cells each.
async fn bucket_of(paths: &[&FramePath], appends: i64) -> (Bucket, Registry, Frames) {
    let bucket = Bucket::in_memory();
    // What holds a colony says so before it holds anything else.
    ColonyFormat::load_or_create(&bucket).await.unwrap();
    let (registry, frames) = (Registry::new(bucket.clone()), Frames::new(bucket.clone()));
    let settings = IngestSettings { chamber_bytes: 256 << 20, node: "test".to_owned() };
    let ingest = Ingest::new(bucket.clone(), registry.clone(), frames.clone(), settings);
    for path in paths {
        registry.create_hive(&path.hive).await.unwrap();
        registry.create_box(&path.hive, &path.box_name).await.unwrap();
        let spec = FrameSpec { schema: rows(0).schema(), partition_by: Vec::new() };
        registry.create_frame(path, &spec).await.unwrap();
        for n in 0..appends {
            let options = AppendOptions { idempotency_key: None, principal: "test".to_owned() };
            ingest.append(path, rows(0).schema(), stream::iter([Ok(rows(n * 10))]), options).await.unwrap();
        }
    }
    (bucket, registry, frames)
}

/// A compactor on a bucket, while `work` talks to it.
async fn with_compactor<F: Future<Output = ()>>(bucket: &Bucket, work: impl FnOnce(Client) -> F) {
    let folder = tempfile::tempdir().unwrap();
    let settings = NodeSettings { roles: vec![Role::Compactor], ..NodeSettings::new(bucket.uri(), folder.path()) };
    let node = Node::join(bucket.clone(), settings).await.unwrap();
    let (listener, channel) = Listener::memory();
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(crate::run(node, listener, shutdown.clone()));
    work(Client::over(channel)).await;
    shutdown.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn small_cells_are_merged_when_asked_and_no_row_is_lost() {
    let path = FramePath::new("demo", "numbers", "small").unwrap();
    let (bucket, registry, frames) = bucket_of(&[&path], 9).await;
    with_compactor(&bucket, |client| async move {
        let merged = client.compact(&path).await.unwrap();
        assert_eq!((merged.cells_before, merged.cells_after, merged.groups_skipped), (9, 1, 0));
        let nowhere = FramePath::new("demo", "numbers", "smal").unwrap();
        assert_eq!(client.compact(&nowhere).await.unwrap_err().kind, ErrorKind::NotFound);
    })
    .await;
    let namespace = registry.namespace().await.unwrap();
    let record = namespace.frame("demo", "numbers", "small").unwrap();
    let snapshot = frames.snapshot(&record).await.unwrap();
    assert_eq!((snapshot.rows(), snapshot.cells.len()), (90, 1));
}

#[tokio::test]
async fn a_vacuum_of_the_bucket_goes_on_with_the_frames_that_are_whole_and_tells_of_the_others() {
    let paths = ["a", "lost", "torn", "z"].map(|name| FramePath::new("demo", "numbers", name).unwrap());
    let (bucket, registry, frames) = bucket_of(&paths.each_ref(), 1).await;
    let names = registry.namespace().await.unwrap();
    let record = |name| names.frame("demo", "numbers", name).unwrap();
    for object in bucket.list(&layout::ledger_prefix(&record("lost").folder), None, 100).await.unwrap() {
        bucket.delete(&Key::parse(&object.key).unwrap()).await.unwrap();
    }
    bucket.delete(&frames.snapshot(&record("torn")).await.unwrap().cells[0].key()).await.unwrap();
    with_compactor(&bucket, |client| async move {
        let mut told = Vec::new();
        let request = VacuumRequest { run: true, ..VacuumRequest::default() };
        client.vacuum(request, |report| told.push(report)).await.unwrap();
        let of = |name: &str| {
            let is = |report: &&VacuumReport| report.frame.as_ref().is_some_and(|frame| frame.frame == name);
            told.iter().find(is).unwrap()
        };
        assert_eq!(told.len(), 5, "four frames and the rest of the bucket");
        for whole in ["a", "z"] {
            assert!(of(whole).refused.is_empty() && of(whole).current_files == 1, "{told:?}");
        }
        assert!(of("lost").refused.contains("the whole ledger"), "{told:?}");
        assert!(of("torn").refused.contains("1 cell of version 1 is missing"), "{told:?}");
        assert!(told[4].frame.is_none() && told[4].refused.is_empty(), "{told:?}");
    })
    .await;
}

#[tokio::test]
async fn care_of_an_idle_colony_costs_few_requests() {
    let (clock, folder) = (ManualClock::new(), tempfile::tempdir().unwrap());
    let memory = MemoryStore::new(Arc::new(clock.clone()));
    let bucket = Bucket::over(Arc::new(memory), Arc::new(clock.clone()), Arc::new(SeededRng::new(1)));
    clock.run(ColonyFormat::load_or_create(&bucket)).await.unwrap();
    let (registry, frames) = (Registry::new(bucket.clone()), Frames::new(bucket.clone()));
    let settings = IngestSettings { chamber_bytes: 256 << 20, node: "test".to_owned() };
    let ingest = Ingest::new(bucket.clone(), registry.clone(), frames.clone(), settings);
    for n in 0..10 {
        let path = FramePath::new("main", "main", &format!("f{n}")).unwrap();
        let spec = FrameSpec { schema: rows(0).schema(), partition_by: Vec::new() };
        clock.run(registry.create_frame(&path, &spec)).await.unwrap();
        let options = AppendOptions { idempotency_key: None, principal: "test".to_owned() };
        let append = ingest.append(&path, rows(0).schema(), stream::iter([Ok(rows(0))]), options);
        // Encoding is done on other threads: time must not run away from them.
        append.await.unwrap();
    }
    let settings = NodeSettings { roles: vec![Role::Compactor], ..NodeSettings::new(bucket.uri(), folder.path()) };
    let node = clock.run(Node::join(bucket.clone(), settings)).await.unwrap();
    let care = Care { node, registry, frames };
    let mut schedule = Schedule::new(clock.monotonic());
    for day in 0..3 {
        let before = bucket.counters().snapshot();
        // Once every five minutes.
        for _ in 0..288 {
            clock.advance(std::time::Duration::from_secs(300));
            clock.run(care.look(&mut schedule, Regime::Cold)).await;
        }
        let after = bucket.counters().snapshot();
        let of_kind = [
            after.gets - before.gets,
            after.puts - before.puts,
            after.lists - before.lists,
            after.deletes - before.deletes,
        ];
        println!("day {day}: {of_kind:?} GETs, PUTs, LISTs, DELETEs");
        assert!(of_kind.iter().sum::<u64>() <= 150, "{of_kind:?}");
        assert!(of_kind[2] >= 10, "each frame is looked at");
    }
}
