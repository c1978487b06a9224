//! A machine that reads one wrong bit of a log's newest entry, and goes on to write: each bit once, for both logs. It is
//! told that the entry is damaged, or what it writes next can be read by all others.

use std::sync::Arc;

use apiary_bucket::{Bucket, layout};
use apiary_core::{Clock, ErrorKind, FramePath, ManualClock, SeededRng, TxnId, Version};
use apiary_faults::MemoryStore;
use apiary_ledger::{CommitOutcome, FrameRecord, Frames, LedgerError, Registry, Transaction};
use bytes::Bytes;

use super::target::Target;

/// Wrong answers that are shown.
const SHOWN_MAX: usize = 8;

/// A store with one frame, and the clock of all who work on it.
struct Scene {
    clock: ManualClock,
    memory: MemoryStore,
    frame: Arc<FrameRecord>,
}

impl Scene {
    async fn new(clock: ManualClock) -> Self {
        let memory = MemoryStore::new(Arc::new(clock.clone()));
        let bucket = machine(&clock, &memory);
        let frame = Target::Set.make(&Registry::new(bucket.clone())).await;
        let scene = Self { clock, memory, frame };
        scene.append(&bucket).await.unwrap();
        scene
    }

    async fn append(&self, bucket: &Bucket) -> Result<(), LedgerError> {
        let frames = Frames::new(bucket.clone());
        let base = frames.snapshot(&self.frame).await?;
        let id = TxnId::new(bucket.clock().as_ref(), bucket.rng().as_ref());
        let (cell, _) = Target::Set.cell(&self.frame, id, 0, &[1]);
        let told = frames.commit(&self.frame, base, Transaction::append(id, "maker", vec![cell])).await?;
        assert!(matches!(told, CommitOutcome::Committed { .. }), "{told:?}");
        Ok(())
    }

    /// Has a machine read `key` with each of its bits wrong once, and write; says what came of it where that is wrong.
    async fn flip_each_bit<W>(&self, key: &str, write: impl Fn(MemoryStore, Bytes) -> W) -> Vec<String>
    where
        W: Future<Output = Result<(), String>>,
    {
        let whole = self.memory.body(key).unwrap();
        let mut wrong = Vec::new();
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let store = self.memory.fork();
            store.set(key, Some(flipped.into()));
            if let Err(why) = write(store, whole.clone()).await {
                let near = &whole[(bit / 8).saturating_sub(8)..whole.len().min(bit / 8 + 8)];
                wrong.push(format!("bit {} of the byte in the middle of '{}': {why}", bit % 8, near.escape_ascii()));
            }
        }
        wrong
    }
}

/// One machine: its own caches over the store.
fn machine(clock: &ManualClock, memory: &MemoryStore) -> Bucket {
    let shared: Arc<dyn Clock> = Arc::new(clock.clone());
    Bucket::over(Arc::new(memory.clone()), shared, Arc::new(SeededRng::new(memory.keys("").len() as u64)))
}

/// What a machine may be told that read a wrong bit.
fn is_damage(error: &LedgerError) -> Result<(), String> {
    if error.kind() == ErrorKind::Corrupt { Ok(()) } else { Err(format!("it is told: {error}")) }
}

fn assert_none(wrong: &[String]) {
    let shown = wrong[..wrong.len().min(SHOWN_MAX)].join("\n  ");
    assert!(wrong.is_empty(), "{} bits:\n  {shown}", wrong.len());
}

fn block(test: impl AsyncFnOnce(Scene)) {
    let clock = ManualClock::new();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(clock.run(async { test(Scene::new(clock.clone()).await).await }));
}

#[test]
fn a_writer_that_reads_a_wrong_bit_of_a_frames_log_leaves_one_that_can_be_read() {
    block(async |scene| {
        let key = layout::ledger_entry(&scene.frame.folder, Version(1)).to_string();
        let (scene, key) = (&scene, key.as_str());
        let write = |store: MemoryStore, whole: Bytes| async move {
            let bucket = machine(&scene.clock, &store);
            let frames = Frames::new(bucket.clone());
            let base = match frames.snapshot(&scene.frame).await {
                Ok(base) => base,
                Err(error) => return is_damage(&error),
            };
            store.set(key, Some(whole));
            let id = TxnId::new(bucket.clock().as_ref(), bucket.rng().as_ref());
            let (cell, _) = Target::Set.cell(&scene.frame, id, 0, &[1]);
            let told = frames.commit(&scene.frame, base, Transaction::append(id, "maker", vec![cell])).await;
            let seen = Frames::new(machine(&scene.clock, &store)).snapshot(&scene.frame).await;
            let cells = if told.is_ok() { 2 } else { 1 };
            match seen {
                Ok(seen) if seen.cells.len() == cells => Ok(()),
                Ok(seen) => Err(format!("others see {} cells after {told:?}", seen.cells.len())),
                Err(error) => Err(format!("no one can read it any more after {told:?}: {error}")),
            }
        };
        assert_none(&scene.flip_each_bit(key, write).await);
    });
}

#[test]
fn a_writer_that_reads_a_wrong_bit_of_the_registry_leaves_one_that_can_be_read() {
    block(async |scene| {
        let keys = scene.memory.keys("_apiary/registry/");
        let (scene, key) = (&scene, keys.last().unwrap().as_str());
        let write = |store: MemoryStore, whole: Bytes| async move {
            let registry = Registry::new(machine(&scene.clock, &store));
            if let Err(error) = registry.namespace().await {
                return is_damage(&error);
            }
            store.set(key, Some(whole));
            let path: FramePath = "sim.main.other".parse().unwrap();
            let told = registry.create_frame(&path, &Target::Set.spec()).await;
            match Registry::new(machine(&scene.clock, &store)).namespace().await {
                Ok(names) if names.frame("sim", "main", "other").is_ok() == told.is_ok() => Ok(()),
                Ok(_) => Err(format!("others see other names after {told:?}")),
                Err(error) => Err(format!("no one can read it any more after {told:?}: {error}")),
            }
        };
        assert_none(&scene.flip_each_bit(key, write).await);
    });
}
