//! The commit protocol over stores that lie, and snapshots as others extend them: rows exactly once.

mod aged;
mod checkpoints;
mod cleanup;
mod faulty;
mod lab;
mod matrix;
mod scribe;
mod together;
mod told;

use std::collections::{BTreeMap, HashSet};

use apiary_core::{CellStats, ColumnStats, ErrorKind, SeededRng, StatValue};
use arrow::datatypes::{DataType, Field, Schema};

use self::faulty::{Fault, Faulty, QuickClock};
use super::*;
use crate::{CellFacts, CellId, CommitOutcome, FrameSpec, IdempotencyKey, Registry, Transaction};

fn over(faulty: &Faulty) -> Bucket {
    Bucket::over(Arc::new(faulty.clone()), Arc::new(QuickClock::default()), Arc::new(SeededRng::new(7)))
}

pub(super) async fn make(bucket: &Bucket) -> Arc<FrameRecord> {
    let registry = Registry::new(bucket.clone());
    let path: apiary_core::FramePath = "h.b.f".parse().unwrap();
    registry.create_hive(&path.hive).await.unwrap();
    registry.create_box(&path.hive, &path.box_name).await.unwrap();
    let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]));
    registry.create_frame(&path, &FrameSpec { schema, partition_by: vec![] }).await.unwrap();
    registry.namespace().await.unwrap().frame("h", "b", "f").unwrap()
}

fn append(frame: &FrameRecord, id: TxnId, rows: u64) -> Transaction {
    append_many(frame, id, rows, 1)
}

fn append_many(frame: &FrameRecord, id: TxnId, rows: u64, cells: u32) -> Transaction {
    let bound = Some(StatValue::Int(1));
    let n = ColumnStats { min: bound.clone(), max: bound, null_count: Some(0), min_exact: true, max_exact: true };
    let cell = |cell: u32| CellFacts {
        folder: frame.folder.clone(),
        id: CellId { txn: id, n: cell },
        size_bytes: 10,
        partition_values: vec![],
        stats: CellStats { rows, columns: BTreeMap::from([("n".to_owned(), n.clone())]) },
        sha256: "00".repeat(32),
        modified_ms: 1,
    };
    Transaction::append(id, "n", (0..cells).map(|n| cell(n).pack().unwrap()).collect())
}

fn id(seed: u64) -> TxnId {
    TxnId::new(&QuickClock::default(), &SeededRng::new(seed))
}

async fn cold(bucket: &Bucket, frame: &FrameRecord) -> Arc<Snapshot> {
    Frames::new(bucket.clone()).snapshot(frame).await.unwrap()
}

#[tokio::test]
async fn an_append_is_seen_by_everyone() {
    let bucket = Bucket::in_memory();
    let frame = make(&bucket).await;
    let frames = Frames::new(bucket.clone());
    let base = frames.snapshot(&frame).await.unwrap();
    assert_eq!((base.version, base.rows()), (Version(0), 0));
    let outcome = frames.commit(&frame, base, append(&frame, id(1), 5)).await.unwrap();
    assert_eq!(outcome, CommitOutcome::Committed { version: Version(1), retries: 0 });
    let (warm, cold) = (frames.snapshot(&frame).await.unwrap(), cold(&bucket, &frame).await);
    assert_eq!((warm.rows(), warm.bytes(), &warm.cells), (5, 10, &cold.cells));
    assert_eq!((&warm.head, &warm.schema), (&cold.head, &cold.schema));
}

#[tokio::test]
async fn a_warm_frame_costs_one_get() {
    let bucket = Bucket::in_memory();
    let frame = make(&bucket).await;
    let frames = Frames::new(bucket.clone());
    let base = frames.snapshot(&frame).await.unwrap();
    let before = bucket.counters().snapshot();
    frames.commit(&frame, base, append(&frame, id(1), 5)).await.unwrap();
    let committed = bucket.counters().snapshot();
    // A look at the slot, the put, and a look for the fence.
    assert_eq!((committed.gets - before.gets, committed.puts - before.puts), (2, 1));
    assert_eq!(frames.snapshot(&frame).await.unwrap().rows(), 5);
    let after = bucket.counters().snapshot();
    assert_eq!((after.gets - committed.gets, after.lists - before.lists), (1, 0));
}

#[tokio::test]
async fn whatever_the_store_answers_rows_are_there_once() {
    for faults in [
        vec![Fault::AppliedThenError],
        vec![Fault::AppliedThenExists],
        vec![Fault::BareConflict],
        vec![Fault::Lost],
        vec![Fault::Lost, Fault::BareConflict, Fault::AppliedThenError],
        vec![Fault::BareConflict; 5],
    ] {
        let store = Faulty::default();
        let bucket = over(&store);
        let frame = make(&bucket).await;
        let frames = Frames::new(bucket.clone());
        let base = frames.snapshot(&frame).await.unwrap();
        store.script(faults.clone());
        let outcome = frames.commit(&frame, base, append(&frame, id(1), 5)).await.unwrap();
        assert_eq!(outcome, CommitOutcome::Committed { version: Version(1), retries: 0 }, "{faults:?}");
        assert_eq!(cold(&bucket, &frame).await.rows(), 5, "{faults:?}");
    }
}

#[tokio::test]
async fn the_same_bytes_are_sent_after_an_ambiguous_answer() {
    let store = Faulty::default();
    let bucket = over(&store);
    let frame = make(&bucket).await;
    let frames = Frames::new(bucket.clone());
    let base = frames.snapshot(&frame).await.unwrap();
    store.script(vec![Fault::Lost, Fault::BareConflict]);
    let already = store.sent().len();
    frames.commit(&frame, base, append(&frame, id(1), 5)).await.unwrap();
    let sent = store.sent().split_off(already);
    assert_eq!(sent.len(), 3);
    assert!(sent.iter().all(|one| *one == sent[0]));
}

#[tokio::test]
async fn a_store_that_never_decides_ends_in_a_seal_and_a_late_put_loses() {
    let store = Faulty::default();
    let bucket = over(&store);
    let frame = make(&bucket).await;
    let frames = Frames::new(bucket.clone());
    let base = frames.snapshot(&frame).await.unwrap();
    // As many as the protocol sends; the seal after them arrives.
    store.script(vec![Fault::Lost; 12]);
    let outcome = frames.commit(&frame, Arc::clone(&base), append(&frame, id(1), 5)).await.unwrap();
    assert!(matches!(outcome, CommitOutcome::Aborted { .. }), "{outcome:?}");
    assert!(outcome.cells_are_garbage());
    store.release_lost().await;
    let after = cold(&bucket, &frame).await;
    assert_eq!((after.version, after.rows()), (Version(1), 0));
    // A sealed id stays dead, whoever comes back with it.
    let again = frames.commit(&frame, base, append(&frame, id(1), 5)).await.unwrap();
    assert!(matches!(again, CommitOutcome::Aborted { .. }));
    let outcome = frames.commit(&frame, after, append(&frame, id(2), 5)).await.unwrap();
    assert_eq!(outcome, CommitOutcome::Committed { version: Version(2), retries: 0 });
}

#[tokio::test]
async fn a_store_that_is_gone_leaves_the_outcome_unknown_and_coming_back_decides_it() {
    let store = Faulty::default();
    let bucket = over(&store);
    let frame = make(&bucket).await;
    let frames = Frames::new(bucket.clone());
    let base = frames.snapshot(&frame).await.unwrap();
    store.script(vec![Fault::Lost; 40]);
    let error = frames.commit(&frame, Arc::clone(&base), append(&frame, id(1), 5)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown);
    assert!(error.to_string().contains("00000000000000000001.json"), "{error}");
    store.script(vec![]);
    // The first put arrives after all.
    store.release_lost().await;
    let again = frames.commit(&frame, base, append(&frame, id(1), 5)).await.unwrap();
    assert_eq!(again, CommitOutcome::Committed { version: Version(1), retries: 0 });
    assert_eq!(cold(&bucket, &frame).await.rows(), 5);
}

#[tokio::test]
async fn a_request_is_done_once_under_its_key() {
    let bucket = Bucket::in_memory();
    let frame = make(&bucket).await;
    let frames = Frames::new(bucket.clone());
    let base = frames.snapshot(&frame).await.unwrap();
    let keyed = |seed: u64, digest: &str| Transaction {
        idem: Some(IdempotencyKey { scope: "me".into(), key: "k".into(), digest: digest.into() }),
        ..append(&frame, id(seed), 5)
    };
    frames.commit(&frame, Arc::clone(&base), keyed(1, "d")).await.unwrap();
    let newest = frames.snapshot(&frame).await.unwrap();
    // Both where the base knows the key, and where it is met on the way.
    for base in [base, newest, cold(&bucket, &frame).await] {
        let outcome = frames.commit(&frame, Arc::clone(&base), keyed(2, "d")).await.unwrap();
        assert_eq!(outcome, CommitOutcome::AlreadyApplied { version: Version(1), may_be_own: false });
        let error = frames.commit(&frame, base, keyed(3, "other")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::KeyReused);
    }
    assert_eq!(cold(&bucket, &frame).await.rows(), 5);
}

#[tokio::test]
async fn a_compaction_passes_appends_and_yields_to_another_compaction() {
    let bucket = Bucket::in_memory();
    let frame = make(&bucket).await;
    let frames = Frames::new(bucket.clone());
    for seed in 1..=4 {
        let base = frames.snapshot(&frame).await.unwrap();
        frames.commit(&frame, base, append(&frame, id(seed), seed)).await.unwrap();
    }
    let base = frames.snapshot(&frame).await.unwrap();
    let compact = |seed: u64, cells: std::ops::Range<usize>| Transaction {
        kind: crate::Kind::Compaction,
        removes: base.cells.iter().take(cells.end).skip(cells.start).map(|cell| cell.path()).collect(),
        ..append(&frame, id(seed), base.cells.iter().take(cells.end).skip(cells.start).map(|cell| cell.rows).sum())
    };
    frames.commit(&frame, Arc::clone(&base), append(&frame, id(5), 5)).await.unwrap();
    let done = frames.commit(&frame, Arc::clone(&base), compact(6, 0..2)).await.unwrap();
    assert!(matches!(done, CommitOutcome::Committed { version: Version(6), .. }), "{done:?}");
    let late = frames.commit(&frame, Arc::clone(&base), compact(7, 1..3)).await.unwrap();
    assert!(matches!(late, CommitOutcome::Conflict { version: Version(6), .. }), "{late:?}");
    let other = frames.commit(&frame, Arc::clone(&base), compact(8, 2..4)).await.unwrap();
    assert!(matches!(other, CommitOutcome::Committed { .. }), "{other:?}");
    let (warm, cold) = (frames.snapshot(&frame).await.unwrap(), cold(&bucket, &frame).await);
    assert_eq!((warm.rows(), warm.cells.len(), &warm.cells), (15, 3, &cold.cells));
}

#[tokio::test]
async fn a_transaction_that_contradicts_itself_is_refused_before_it_is_written() {
    let bucket = Bucket::in_memory();
    let frame = make(&bucket).await;
    let frames = Frames::new(bucket.clone());
    let base = frames.snapshot(&frame).await.unwrap();
    let good = append(&frame, id(1), 5);
    let mut foreign = good.clone();
    foreign.id = id(2);
    let mut misplaced = good.clone();
    misplaced.adds[0] = CellFacts { folder: "elsewhere".into(), ..good.adds[0].facts() }.pack().unwrap();
    let empty = Transaction { adds: vec![], ..good.clone() };
    let vanished = Transaction { kind: crate::Kind::Compaction, removes: vec!["cells/x".into()], ..good.clone() };
    let rows_lost = Transaction { kind: crate::Kind::Compaction, ..good };
    for bad in [foreign, misplaced, empty, vanished, rows_lost] {
        let error = frames.commit(&frame, Arc::clone(&base), bad).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    }
    assert_eq!(cold(&bucket, &frame).await.version, Version(0));
}

#[tokio::test]
async fn a_cell_that_nobody_could_read_back_is_refused_before_it_is_written() {
    let bucket = Bucket::in_memory();
    let frame = make(&bucket).await;
    let frames = Frames::new(bucket.clone());
    let base = frames.snapshot(&frame).await.unwrap();
    let mut bad = append(&frame, id(1), 5);
    let mut facts = bad.adds[0].facts();
    facts.stats.columns.get_mut("n").unwrap().min = Some(StatValue::Int(2));
    bad.adds[0] = facts.pack().unwrap();
    let error = frames.commit(&frame, Arc::clone(&base), bad).await.unwrap_err();
    assert!(error.to_string().contains("contradict"), "{error}");
    let good = append(&frame, id(2), 5);
    frames.commit(&frame, base, good).await.unwrap();
    assert_eq!(cold(&bucket, &frame).await.rows(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_writers_of_fifty_appends_each_lose_nothing() {
    let store = Faulty::default();
    let bucket = over(&store);
    let frame = make(&bucket).await;
    let write = |writer: u64| {
        // Their own caches, as in two processes.
        let (frames, frame) = (Frames::new(bucket.clone()), Arc::clone(&frame));
        async move {
            for n in 0..50 {
                loop {
                    let base = frames.snapshot(&frame).await.unwrap();
                    let txn = append(&frame, id(writer * 1_000_000 + n), 1);
                    match frames.commit(&frame, base, txn).await.unwrap() {
                        CommitOutcome::Committed { .. } => break,
                        CommitOutcome::Conflict { .. } => {}
                        other => panic!("{other:?}"),
                    }
                }
            }
        }
    };
    store.script(
        (0..60).map(|n| [Fault::None, Fault::AppliedThenExists, Fault::BareConflict, Fault::Lost][n % 4]).collect(),
    );
    let (a, b) = tokio::join!(tokio::spawn(write(1)), tokio::spawn(write(2)));
    a.unwrap();
    b.unwrap();
    let after = cold(&bucket, &frame).await;
    let paths: HashSet<CellId> = after.cells.iter().map(|cell| cell.id).collect();
    assert_eq!((after.rows(), paths.len()), (100, 100));
}

#[tokio::test]
async fn an_entry_that_was_changed_breaks_the_chain() {
    let store = Faulty::default();
    let bucket = over(&store);
    let frame = make(&bucket).await;
    let frames = Frames::new(bucket.clone());
    for seed in 1..=2 {
        let base = frames.snapshot(&frame).await.unwrap();
        frames.commit(&frame, base, append(&frame, id(seed), 1)).await.unwrap();
    }
    let key = layout::ledger_entry(&frame.folder, Version(1));
    let body = bucket.get(&key).await.unwrap().unwrap();
    let changed = String::from_utf8(body.to_vec()).unwrap().replace("\"size\":10", "\"size\":11");
    bucket.put(&key, changed.clone().into()).await.unwrap();
    let error = Frames::new(bucket.clone()).snapshot(&frame).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("00000000000000000001.json"), "its own checksum tells: {error}");
    // Who changes it and its checksum breaks the chain.
    bucket.put(&key, crate::sum::summed(changed.into())).await.unwrap();
    let error = Frames::new(bucket.clone()).snapshot(&frame).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("00000000000000000002.json"), "{error}");
    // Another name for the same bytes is noticed, too; and so is a hole.
    let late = layout::ledger_entry(&frame.folder, Version(3));
    bucket.put(&late, body).await.unwrap();
    assert_eq!(frames.snapshot(&frame).await.unwrap_err().kind(), ErrorKind::Corrupt);
    bucket.delete(&key).await.unwrap();
    let hole = Frames::new(bucket).snapshot(&frame).await.unwrap_err().to_string();
    assert!(hole.contains("missing"), "{hole}");
}

#[tokio::test]
async fn a_long_ledger_is_read_by_list_and_many_gets() {
    let bucket = Bucket::in_memory();
    let frame = make(&bucket).await;
    let frames = Frames::new(bucket.clone());
    let stale = Frames::new(bucket.clone());
    stale.snapshot(&frame).await.unwrap();
    for seed in 1..=40 {
        let base = frames.snapshot(&frame).await.unwrap();
        frames.commit(&frame, base, append(&frame, id(seed), 1)).await.unwrap();
    }
    for (reader, lists) in [(Frames::new(bucket.clone()), 1), (stale, 1)] {
        let before = bucket.counters().snapshot();
        let snapshot = reader.snapshot(&frame).await.unwrap();
        assert_eq!((snapshot.version, snapshot.rows()), (Version(40), 40));
        let after = bucket.counters().snapshot();
        assert_eq!(after.lists - before.lists, lists);
        assert!(after.gets - before.gets <= 43);
    }
}
