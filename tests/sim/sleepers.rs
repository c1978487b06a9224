//! Those who slept while the log was cleaned under them, one story each: a reader whose two requests lie on both sides
//! of a cleanup, writers that wake with an ancient base. A frame of some more versions than an epoch has, all of them
//! old, and one machine that cleans.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{Arc, OnceLock},
    task::Poll,
    time::Duration,
};

use apiary_bucket::{Bucket, layout};
use apiary_core::{Clock, ErrorKind, ManualClock, SeededRng, TxnId, Version};
use apiary_faults::{Call, Fault, FaultStore, MemoryStore, Op, Outcome, Rule};
use apiary_ledger::{CommitOutcome, FrameRecord, Frames, IdempotencyKey, Registry, Snapshot, Transaction};
use bytes::Bytes;

use super::{target::Target, world::RETENTION};

/// Versions of the frame as it is made: the last slots of the first epoch are free.
const MADE: u64 = 1_019;

/// The slot that writers go for who know the frame as it is made.
const SLOT: u64 = MADE + 1;

/// Versions when the first epoch is cleaned away.
const VERSIONS: u64 = 1_030;

type Objects = (FrameRecord, Vec<(String, Bytes)>);

/// The frame, made once, as objects.
fn objects() -> &'static Objects {
    static OBJECTS: OnceLock<Objects> = OnceLock::new();
    OBJECTS.get_or_init(|| {
        let clock = ManualClock::new();
        let memory = MemoryStore::new(Arc::new(clock.clone()));
        let bucket = Bucket::over(Arc::new(memory.clone()), Arc::new(clock), Arc::new(SeededRng::new(1)));
        let made = async {
            let frame = Target::Set.make(&Registry::new(bucket.clone())).await;
            let frames = Frames::new(bucket.clone());
            for version in 1..=MADE {
                let base = frames.snapshot(&frame).await.unwrap();
                let txn = append(&bucket, &frame, version as i64, None);
                frames.commit(&frame, base, txn).await.unwrap();
            }
            (*frame).clone()
        };
        let frame = tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(made);
        let keys = memory.keys("");
        (frame, keys.iter().map(|key| (key.clone(), memory.body(key).unwrap())).collect())
    })
}

fn append(bucket: &Bucket, frame: &FrameRecord, row: i64, key: Option<&str>) -> Transaction {
    let id = TxnId::new(bucket.clock().as_ref(), bucket.rng().as_ref());
    let (cell, _) = Target::Set.cell(frame, id, 0, &[row]);
    let idem = key.map(|key| IdempotencyKey { scope: "me".into(), key: key.into(), digest: "d".into() });
    Transaction::append(id, "sleeper", vec![cell]).with_idem(idem)
}

/// The old frame in a store of its own.
struct Scene {
    clock: ManualClock,
    memory: MemoryStore,
    store: FaultStore,
    frame: FrameRecord,
}

impl Scene {
    fn new() -> Self {
        let (frame, objects) = objects();
        let clock = ManualClock::new();
        let memory = MemoryStore::new(Arc::new(clock.clone()));
        objects.iter().for_each(|(key, body)| memory.set(key, Some(body.clone())));
        let store = FaultStore::new(Arc::new(memory.clone()), 1, Arc::new(clock.clone()));
        Self { clock, memory, store, frame: frame.clone() }
    }

    fn machine(&self, seed: u64) -> (Bucket, Frames) {
        let (store, clock) = (Arc::new(self.store.clone()), Arc::new(self.clock.clone()));
        let bucket = Bucket::over(store, clock, Arc::new(SeededRng::new(seed)));
        (bucket.clone(), Frames::new(bucket))
    }

    fn entry(&self, version: u64) -> String {
        layout::ledger_entry(&self.frame.folder, Version(version)).to_string()
    }

    /// A machine that knows the frame as it was made.
    async fn sleeper(&self, seed: u64) -> (Bucket, Frames, Arc<Snapshot>) {
        let (bucket, frames) = self.machine(seed);
        let known = frames.snapshot(&self.frame).await.unwrap();
        assert_eq!(known.version, Version(MADE));
        (bucket, frames, known)
    }

    /// Others go on up to [`VERSIONS`].
    async fn grow(&self) {
        let (bucket, frames) = self.machine(97);
        loop {
            let base = frames.snapshot(&self.frame).await.unwrap();
            if base.version >= Version(VERSIONS) {
                return;
            }
            frames.commit(&self.frame, base, append(&bucket, &self.frame, 7, None)).await.unwrap();
        }
    }

    /// Weeks pass, and there is a checkpoint that is old enough.
    async fn grow_old(&self) -> Frames {
        self.grow().await;
        let (_, frames) = self.machine(99);
        self.clock.advance(RETENTION);
        frames.checkpoint(&self.frame).await.unwrap();
        self.clock.advance(RETENTION * 2);
        frames
    }

    /// And the first epoch is cleaned away.
    async fn clean(&self) {
        let frames = self.grow_old().await;
        let report = frames.clean_log(&self.frame, RETENTION).await.unwrap();
        assert!(report.entries > 1_000 && self.memory.body(&self.entry(SLOT)).is_none(), "{report:?}");
    }

    /// The commit of a machine that freezes as soon as its create was sent, and wakes when the log is cleaned.
    async fn frozen_commit(&self, base: Arc<Snapshot>, frames: &Frames, txn: Transaction, answered: bool) -> Told {
        let slot = self.entry(SLOT);
        let is_sent = |call: &Call| {
            call.op == Op::Create && call.key == slot && (call.outcome != Outcome::Unanswered || !answered)
        };
        self.store.forget_calls();
        self.store.latency(Duration::from_millis(2));
        let mut commit = pin!(frames.commit(&self.frame, base, txn));
        let sent = poll_fn(|context| match commit.as_mut().poll(context) {
            Poll::Ready(told) => Poll::Ready(Some(told)),
            Poll::Pending if self.store.calls().iter().any(is_sent) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        });
        if let Some(told) = sent.await {
            return told;
        }
        self.store.latency(Duration::ZERO);
        self.clean().await;
        commit.await
    }

    async fn truth(&self) -> Arc<Snapshot> {
        self.store.calm();
        self.store.land_late().await;
        self.machine(98).1.snapshot(&self.frame).await.unwrap()
    }

    /// How often the sleeper's transaction is in the log, for who never saw the frame before.
    async fn times(&self, id: TxnId) -> usize {
        let truth = self.truth().await;
        assert_eq!((truth.version, truth.cells.len() as u64), (Version(VERSIONS), VERSIONS));
        truth.cells.iter().filter(|cell| cell.path() == layout::cell_path(&id, 0)).count()
    }
}

type Told = apiary_ledger::Result<CommitOutcome>;

fn block<T>(scene: &Scene, work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(scene.clock.run(work))
}

fn is_acknowledged(told: &Told) -> bool {
    matches!(told, Ok(CommitOutcome::Committed { .. } | CommitOutcome::AlreadyApplied { .. }))
}

fn is_unknown(told: &Told) -> bool {
    matches!(told, Err(error) if error.kind() == ErrorKind::OutcomeUnknown)
}

#[test]
fn a_reader_that_slept_over_a_cleanup_sees_all_there_is() {
    let scene = Scene::new();
    block(&scene, async {
        let (_, frames, _) = scene.sleeper(1).await;
        scene.clean().await;
        let seen = frames.snapshot(&scene.frame).await.unwrap();
        assert_eq!((seen.version, seen.cells.len() as u64), (Version(VERSIONS), VERSIONS));
    });
}

#[test]
fn a_reader_whose_requests_lie_on_both_sides_of_a_cleanup_sees_all_there_is() {
    let scene = Scene::new();
    block(&scene, async {
        let (_, frames, _) = scene.sleeper(1).await;
        let cleaner = scene.grow_old().await;
        // The reader's look at the next slot takes a while; its look for the fence is answered at once.
        let slow = Fault::Slow(Duration::from_secs(40));
        scene.store.script(Rule::on(Op::Get, slow).keys(&scene.entry(SLOT)));
        let clean = async {
            scene.clock.sleep(Duration::from_secs(1)).await;
            cleaner.clean_log(&scene.frame, RETENTION).await.unwrap()
        };
        let (seen, report) = tokio::join!(frames.snapshot(&scene.frame), clean);
        assert!(report.entries > 1_000, "{report:?}");
        let seen = seen.unwrap();
        assert_eq!((seen.version, seen.cells.len() as u64), (Version(VERSIONS), VERSIONS));
    });
}

#[test]
fn a_writer_that_slept_over_a_cleanup_is_not_told_that_it_committed() {
    let scene = Scene::new();
    block(&scene, async {
        let (bucket, frames, base) = scene.sleeper(1).await;
        scene.clean().await;
        let txn = append(&bucket, &scene.frame, -1, None);
        let id = txn.id;
        let told = frames.commit(&scene.frame, base, txn).await;
        assert!(!is_acknowledged(&told), "{told:?}");
        assert_eq!(scene.times(id).await, 0);
    });
}

/// A commit that meets this on its create and freezes, before or after the answer; and what it is told weeks later.
fn frozen_with(fault: Option<Fault>, answered: bool) -> (Told, usize) {
    let scene = Scene::new();
    block(&scene, async {
        let (bucket, frames, base) = scene.sleeper(1).await;
        let txn = append(&bucket, &scene.frame, -1, Some("key"));
        let id = txn.id;
        if let Some(fault) = fault {
            scene.store.script(Rule::on(Op::Create, fault).keys(&scene.entry(SLOT)));
        }
        let told = scene.frozen_commit(base, &frames, txn, answered).await;
        (told, scene.times(id).await)
    })
}

#[test]
fn a_writer_whose_put_landed_before_it_froze_is_not_told_that_it_failed() {
    let (told, times) = frozen_with(Some(Fault::AppliedThenTimeout), true);
    assert_eq!(times, 1);
    // Behind a fence a version is told that holds the rows, not the one that they came with.
    let right = |version: Version| (SLOT..=VERSIONS).contains(&version.0);
    let right = matches!(told, Ok(CommitOutcome::Committed { version, .. }) if right(version)) || is_unknown(&told);
    assert!(right, "{told:?}");
}

#[test]
fn a_writer_whose_put_was_lost_before_it_froze_is_not_told_that_it_committed() {
    let (told, times) = frozen_with(Some(Fault::Error), true);
    assert_eq!(times, 0);
    assert!(!is_acknowledged(&told), "{told:?}");
}

#[test]
fn a_writer_whose_put_lands_below_a_fence_is_not_told_that_it_committed() {
    let (told, times) = frozen_with(Some(Fault::Late(RETENTION * 2)), true);
    assert_eq!(times, 0);
    assert!(!is_acknowledged(&told), "{told:?}");
}

#[test]
fn a_writer_that_froze_before_its_put_arrived_is_not_told_that_it_committed() {
    let (told, times) = frozen_with(None, false);
    assert_eq!(times, 0);
    assert!(!is_acknowledged(&told), "{told:?}");
}
