//! Vacuum against appends, merges, readers, sleeping writers and other vacuums, in random interleavings: at every
//! moment every version within retention has all its cells, and every acknowledged row is there.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use apiary_core::{Clock, Rng, SeededRng};
use apiary_faults::{Fault, Rates};

use super::world::{DAY, HOUR, Oracle, World};
use crate::{
    CommitOutcome, Kind,
    vacuum::{Pin, PinnedVersion, Pins, RETENTION},
};

/// One run of the world.
struct Race {
    world: World,
    next: AtomicU64,
    acknowledged: AtomicU64,
    over: AtomicBool,
}

/// What happened, to see that something did.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Seen {
    committed: u64,
    aborted: u64,
    merged: u64,
    deleted: u64,
    reads: u64,
}

impl Race {
    fn over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    async fn wait(&self, rng: &SeededRng, most: Duration) {
        let most = u64::try_from(most.as_millis()).unwrap();
        self.world.clock.sleep(Duration::from_millis(rng.below(most))).await;
    }

    /// Appends; now and then it sleeps between its upload and its commit for longer than anybody waits.
    async fn write(&self, seed: u64, seen: &mut Seen) {
        let (world, rng) = (self.world.elsewhere(0), SeededRng::new(seed));
        while !self.over() {
            let base = world.snapshot().await;
            let n = self.next.fetch_add(1, Ordering::SeqCst);
            let txn = world.upload(n).await;
            let sleeps = rng.below(4) == 0;
            self.wait(&rng, if sleeps { 12 * DAY } else { HOUR }).await;
            match world.frames.commit(&world.frame, base, txn).await.unwrap() {
                CommitOutcome::Committed { .. } => {
                    self.acknowledged.fetch_add(1, Ordering::SeqCst);
                    seen.committed += 1;
                }
                CommitOutcome::Aborted { .. } => seen.aborted += 1,
                CommitOutcome::Conflict { .. } => {}
                other => panic!("{other:?}"),
            }
            self.wait(&rng, DAY).await;
        }
    }

    /// Merges all cells into one.
    async fn merge(&self, seed: u64, seen: &mut Seen) {
        let (world, rng) = (self.world.elsewhere(0), SeededRng::new(seed));
        while !self.over() {
            self.wait(&rng, 3 * DAY).await;
            let base = world.snapshot().await;
            if base.cells.len() < 2 {
                continue;
            }
            let n = self.next.fetch_add(1, Ordering::SeqCst);
            world.put_cell(super::world::txn(n), 0).await;
            let removes = base.cells.iter().map(|cell| cell.path()).collect();
            let txn = world.made(super::world::txn(n), base.rows(), Kind::Compaction, removes);
            self.wait(&rng, if rng.below(8) == 0 { 12 * DAY } else { HOUR }).await;
            let outcome = world.frames.commit(&world.frame, base, txn).await.unwrap();
            seen.merged += u64::from(matches!(outcome, CommitOutcome::Committed { .. }));
        }
    }

    async fn vacuum(&self, seed: u64, seen: &mut Seen) {
        let (world, rng) = (self.world.elsewhere(0), SeededRng::new(seed));
        while !self.over() {
            self.wait(&rng, 2 * DAY).await;
            // Losing to others every time is no fault.
            if let Ok(report) = world.vacuum(true).await {
                seen.deleted += report.goes.files;
            }
        }
    }

    /// Reads a snapshot for longer and longer; what it has for more than a minute it pins.
    async fn read(&self, seed: u64, seen: &mut Seen) {
        let (world, rng) = (self.world.elsewhere(0), SeededRng::new(seed));
        let pins = Pins::new(world.bucket.clone());
        while !self.over() {
            let snapshot = world.snapshot().await;
            let frames = vec![PinnedVersion { folder: world.frame.folder.clone(), version: snapshot.version }];
            let pin = Pin::new(world.query(), "n".to_owned(), frames);
            world.clock.sleep(Duration::from_secs(60)).await;
            for _ in 0..rng.below(8) {
                pins.hold(&pin).await.unwrap();
                self.wait(&rng, 3 * DAY).await;
            }
            let there = world.cells();
            let gone = snapshot.cells.iter().find(|cell| !there.contains(&cell.path()));
            assert!(gone.is_none(), "{} read version {} and misses {gone:?}", pin.query, snapshot.version);
            pins.release(&pin.query).await.unwrap();
            seen.reads += 1;
        }
    }

    /// Looks at everything, often.
    async fn watch(&self, days: u32) {
        let mut oracle = Oracle::default();
        for _ in 0..days * 8 {
            self.world.clock.sleep(3 * HOUR).await;
            oracle.whole(&self.world, RETENTION).await;
        }
        self.over.store(true, Ordering::SeqCst);
    }
}

async fn run(seed: u64, days: u32) -> Seen {
    let world = World::seeded(seed).await;
    let delays = [(200, 1), (200, 40), (100, 2_000), (20, 100_000)];
    let slow = |rates: Rates, (per_mille, ms)| rates.with(per_mille, Fault::Slow(Duration::from_millis(ms)));
    world.faults.deal(Some(delays.into_iter().fold(Rates::default(), slow)));
    let race = Arc::new(Race {
        world: world.clone(),
        next: AtomicU64::new(1),
        acknowledged: AtomicU64::new(0),
        over: AtomicBool::new(false),
    });
    let mut seen = [Seen::default(); 8];
    let [a, b, c, d, e, f, g, h] = &mut seen;
    let all = async {
        tokio::join!(
            race.watch(days),
            race.write(seed * 10, a),
            race.write(seed * 10 + 1, b),
            race.write(seed * 10 + 2, c),
            race.merge(seed * 10 + 3, d),
            race.vacuum(seed * 10 + 4, e),
            race.vacuum(seed * 10 + 5, f),
            race.read(seed * 10 + 6, g),
            race.read(seed * 10 + 7, h),
        )
    };
    world.clock.run(all).await;
    world.faults.calm();
    world.whole(RETENTION).await;
    assert_eq!(world.rows().await, race.acknowledged.load(Ordering::SeqCst), "seed {seed}");
    seen.into_iter().fold(Seen::default(), |a, b| Seen {
        committed: a.committed + b.committed,
        aborted: a.aborted + b.aborted,
        merged: a.merged + b.merged,
        deleted: a.deleted + b.deleted,
        reads: a.reads + b.reads,
    })
}

#[tokio::test]
async fn every_version_within_retention_is_whole_whoever_works_at_once() {
    let mut all = Seen::default();
    let seeds = std::env::var("APIARY_SIM_SEEDS").ok().and_then(|seeds| seeds.parse::<u64>().ok());
    // Each takes some seconds; the variable asks for more than every run has time for.
    for seed in 1..=seeds.map_or(2, |seeds| (seeds / 20).max(2)) {
        let seen = run(seed, 50).await;
        println!("seed {seed}: {seen:?}");
        all.aborted += seen.aborted;
        all.deleted += seen.deleted;
        all.merged += seen.merged;
    }
    // It counts only if everything happened.
    assert!(all.aborted > 3 && all.deleted > 100 && all.merged > 10, "{all:?}");
}

#[tokio::test]
async fn the_same_seed_gives_the_same_race() {
    assert_eq!(run(1, 15).await, run(1, 15).await);
}
