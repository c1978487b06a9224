//! A compactor from its caller's side: over a channel inside the process, on a bucket in memory.

use std::sync::Arc;

use apiary_bucket::Bucket;
use apiary_core::{Clock, ErrorKind, FramePath, ManualClock, SeededRng};
use apiary_faults::MemoryStore;
use apiary_ingest::{AppendOptions, Ingest, IngestSettings};
use apiary_ledger::{FrameSpec, Frames, Registry};
use apiary_node::{Listener, Node, NodeSettings, Role};
use apiary_proto::Client;
use apiary_swarm::behaviour::temperature::Regime;
use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use futures::stream;
use tokio_util::sync::CancellationToken;

use crate::care::{Care, plan::Schedule};

fn rows(from: i64) -> RecordBatch {
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(from..from + 10));
    RecordBatch::try_from_iter_with_nullable([("n", numbers, true)]).unwrap()
}

#[tokio::test]
async fn small_cells_are_merged_when_asked_and_no_row_is_lost() {
    let (bucket, folder) = (Bucket::in_memory(), tempfile::tempdir().unwrap());
    let (registry, frames) = (Registry::new(bucket.clone()), Frames::new(bucket.clone()));
    let path = FramePath::new("demo", "numbers", "small").unwrap();
    registry.create_hive(&path.hive).await.unwrap();
    registry.create_box(&path.hive, &path.box_name).await.unwrap();
    let spec = FrameSpec { schema: rows(0).schema(), partition_by: Vec::new() };
    registry.create_frame(&path, &spec).await.unwrap();
    let settings = IngestSettings { chamber_bytes: 256 << 20, node: "test".to_owned() };
    let ingest = Ingest::new(bucket.clone(), registry.clone(), frames.clone(), settings);
    for n in 0..9 {
        let options = AppendOptions { idempotency_key: None, principal: "test".to_owned() };
        ingest.append(&path, rows(0).schema(), stream::iter([Ok(rows(n * 10))]), options).await.unwrap();
    }

    let settings = NodeSettings { roles: vec![Role::Compactor], ..NodeSettings::new(bucket.uri(), folder.path()) };
    let node = Node::join(bucket.clone(), settings).await.unwrap();
    let (listener, channel) = Listener::memory();
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(crate::run(node, listener, shutdown.clone()));
    let client = Client::over(channel);
    let merged = client.compact(&path).await.unwrap();
    assert_eq!((merged.cells_before, merged.cells_after, merged.groups_skipped), (9, 1, 0));
    let nowhere = FramePath::new("demo", "numbers", "smal").unwrap();
    assert_eq!(client.compact(&nowhere).await.unwrap_err().kind, ErrorKind::NotFound);

    let namespace = registry.namespace().await.unwrap();
    let record = namespace.frame("demo", "numbers", "small").unwrap();
    let snapshot = frames.snapshot(&record).await.unwrap();
    assert_eq!((snapshot.rows(), snapshot.cells.len()), (90, 1));
    drop(client);
    shutdown.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn care_of_an_idle_colony_costs_few_requests() {
    let (clock, folder) = (ManualClock::new(), tempfile::tempdir().unwrap());
    let memory = MemoryStore::new(Arc::new(clock.clone()));
    let bucket = Bucket::over(Arc::new(memory), Arc::new(clock.clone()), Arc::new(SeededRng::new(1)));
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
