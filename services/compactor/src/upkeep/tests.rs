//! Upkeep over days that pass in a moment: what is due is done, and what is idle costs next to nothing.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use apiary_bucket::Bucket;
use apiary_core::{CellStats, Clock, FramePath, ManualClock, SeededRng, TxnId, Version};
use apiary_faults::MemoryStore;
use apiary_ledger::{CellFacts, CellId, FrameSpec, Transaction};
use arrow::datatypes::{DataType, Field, Schema};

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

struct World {
    clock: ManualClock,
    bucket: Bucket,
    registry: Registry,
}

impl World {
    fn new() -> Self {
        let clock = ManualClock::new();
        let store = MemoryStore::new(Arc::new(clock.clone()));
        let bucket = Bucket::over(Arc::new(store), Arc::new(clock.clone()), Arc::new(SeededRng::new(3)));
        Self { clock, registry: Registry::new(bucket.clone()), bucket }
    }

    async fn frame(&self, name: &str) -> Arc<FrameRecord> {
        let path = FramePath::new("h", "b", name).unwrap();
        self.registry.create_hive(&path.hive).await.unwrap();
        self.registry.create_box(&path.hive, &path.box_name).await.unwrap();
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]));
        self.registry.create_frame(&path, &FrameSpec { schema, partition_by: vec![] }).await.unwrap();
        self.registry.namespace().await.unwrap().frame("h", "b", name).unwrap()
    }

    /// Commits so many appends of a cell that nobody opens.
    async fn write(&self, frame: &FrameRecord, entries: u64) {
        let frames = Frames::new(self.bucket.clone());
        for _ in 0..entries {
            self.append(&frames, frame, 1).await;
        }
    }

    /// One entry of so many cells that nobody opens.
    async fn append(&self, frames: &Frames, frame: &FrameRecord, cells: u32) {
        let base = frames.snapshot(frame).await.unwrap();
        let id = TxnId::new(&self.clock, self.bucket.rng().as_ref());
        let rng = self.bucket.rng();
        let cell = |n| CellFacts {
            folder: frame.folder.clone(),
            id: CellId { txn: id, n },
            size_bytes: 10,
            partition_values: vec![],
            stats: CellStats { rows: 1, ..CellStats::default() },
            sha256: (0..4).map(|_| format!("{:016x}", rng.next_u64())).collect(),
            modified_ms: 1,
        };
        let adds = (0..cells).map(|n| cell(n).pack().unwrap()).collect();
        frames.commit(frame, base, Transaction::append(id, "test", adds)).await.unwrap();
    }

    fn upkeep(&self) -> Upkeep {
        let (bucket, bees) = (self.bucket.clone(), BeePool::new(1).unwrap());
        Upkeep::new(bucket.clone(), Registry::new(bucket), bees, CancellationToken::new())
    }

    /// Lets compactors work for so long.
    async fn pass(&self, compactors: &mut [Option<Upkeep>], time: Duration) {
        let work = futures::future::join_all(compactors.iter_mut().filter_map(Option::take).map(Upkeep::run));
        let wait = self.clock.sleep(time);
        self.clock
            .run(async {
                tokio::select! { _ = work => {}, () = wait => {} }
            })
            .await;
    }

    async fn look(&self, frame: &FrameRecord) -> LogLook {
        Frames::new(self.bucket.clone()).look(frame, None).await.unwrap()
    }
}

#[tokio::test]
async fn a_tail_of_fifty_gets_its_checkpoint_and_ten_wait_ten_minutes() {
    let world = World::new();
    let (long, some, few) = (world.frame("long").await, world.frame("some").await, world.frame("few").await);
    world.write(&long, 60).await;
    world.write(&some, 12).await;
    world.write(&few, 5).await;
    world.pass(&mut [Some(world.upkeep())], Duration::from_secs(300)).await;
    assert_eq!(world.look(&long).await.checkpoint, Some(Version(60)));
    assert_eq!(world.look(&some).await, LogLook { checkpoint: None, ..world.look(&some).await });
    world.pass(&mut [Some(world.upkeep())], Duration::from_secs(1500)).await;
    assert_eq!(world.look(&some).await.checkpoint, Some(Version(12)));
    assert_eq!((world.look(&few).await.checkpoint, world.look(&few).await.entries), (None, 6));
}

#[tokio::test]
async fn two_compactors_write_one_checkpoint_and_clean_one_log() {
    let world = World::new();
    let frame = world.frame("busy").await;
    world.write(&frame, 1_100).await;
    world.pass(&mut [Some(world.upkeep()), Some(world.upkeep())], HOUR).await;
    assert_eq!(world.look(&frame).await.checkpoint, Some(Version(1_100)));
    world.clock.advance(8 * 24 * HOUR);
    world.pass(&mut [Some(world.upkeep()), Some(world.upkeep())], 2 * HOUR).await;
    let kept = world.bucket.list(&format!("{}/_delta_log", frame.folder), None, 10_000).await.unwrap();
    // Versions 1 024 to 1 100, the checkpoint, its checksum, the hint.
    assert_eq!(kept.len(), 77 + 3);
    assert_eq!(Frames::new(world.bucket.clone()).snapshot(&frame).await.unwrap().version, Version(1_100));
}

#[tokio::test]
async fn an_idle_compactor_asks_little_however_many_frames_there_are() {
    for frames in [3, 300] {
        let world = World::new();
        for n in 0..frames {
            world.frame(&format!("f{n}")).await;
        }
        let (hours, counted) = (Arc::new(Mutex::new(Vec::new())), world.bucket.counters());
        let clerk = async {
            for _ in 0..12 {
                let asked = counted.snapshot();
                hours.lock().unwrap().push(asked.gets + asked.puts + asked.lists + asked.deletes);
                world.clock.sleep(HOUR).await;
            }
        };
        let upkeep = world.upkeep().run();
        world
            .clock
            .run(async {
                tokio::select! { () = upkeep => {}, () = clerk => {} }
            })
            .await;
        let hours = hours.lock().unwrap();
        let each: Vec<u64> = hours.windows(2).map(|two| two[1] - two[0]).collect();
        println!("{frames} frames: {each:?} requests in each hour");
        // Two requests for the first look at each frame, one for the second, and one for its name; then a GET for the names every two
        // minutes, 90 looks an hour, and the store's clock.
        assert!(each[0] <= 4 * frames + 40 + 90 + 64, "{each:?}");
        assert!(each[2..].iter().all(|each| *each <= 31 + 91 + 3), "{each:?}");
    }
}

#[tokio::test]
async fn a_hot_frame_keeps_few_copies_of_itself_and_every_version_stays_readable() {
    let world = World::new();
    let frame = world.frame("hot").await;
    // Large enough that fifty entries weigh less than a copy of all.
    world.append(&Frames::new(world.bucket.clone()), &frame, 10_000).await;
    let hot = async {
        for _ in 0..20 {
            world.write(&frame, 50).await;
            world.clock.sleep(Duration::from_secs(120)).await;
        }
    };
    let upkeep = world.upkeep().run();
    world
        .clock
        .run(async {
            tokio::select! { () = upkeep => {}, () = hot => {} }
        })
        .await;
    let log = world.bucket.list(&format!("{}/_delta_log", frame.folder), None, 10_000).await.unwrap();
    let sizes = |end: &str| -> Vec<u64> {
        log.iter().filter(|object| object.key.ends_with(end)).map(|object| object.size).collect()
    };
    let (of_copies, entries) = (sizes(".parquet"), sizes(".json").iter().sum::<u64>());
    let (copies, copied) = (of_copies.len(), of_copies.iter().sum::<u64>());
    let largest = of_copies.into_iter().max().unwrap_or_default();
    println!("{copies} copies of {copied} bytes beside entries of {entries} bytes");
    assert_eq!(copies, sizes(".crc").len());
    assert!((5..=10).contains(&copies) && copied <= entries + 4 * largest, "{copies} copies, {copied} bytes");
    let frames = Frames::new(world.bucket.clone());
    let newest = frames.snapshot(&frame).await.unwrap().version;
    for version in (1..=newest.0).step_by(97).map(Version) {
        let seen = frames.snapshot_at(&frame, version).await.unwrap();
        assert_eq!(seen.cells.len() as u64, 9_999 + version.0);
    }
    assert!(Frames::new(world.bucket.clone()).verify(&frame).await.unwrap().0.problems.iter().all(|problem| {
        // The cells of this test were never written.
        problem.what == "it is missing" && problem.object.contains("/cells/")
    }));
    // The newest three never go, whoever asks.
    let checkpoints = log.iter().filter(|object| object.key.ends_with(".crc"));
    let last = checkpoints.filter_map(|object| object.key.rsplit('/').next()?.split('.').next()?.parse().ok()).max();
    for version in last.iter().copied().map(Version) {
        assert!(!frames.thin_checkpoint(&frame, version).await.unwrap());
    }
}
