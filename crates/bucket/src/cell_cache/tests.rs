//! The cache as a query meets it: right bytes whatever happens to what is held, and no request for what is.

use apiary_core::{Clock, ManualClock, Rng, SeededRng, TxnId};
use apiary_faults::{Fault, FaultStore, MemoryStore, Op, Rule};
use object_store::{ObjectStore, ObjectStoreExt, path::Path as Location};

use super::*;
use crate::{Bucket, Key, sums::with_sums};

const MIB: usize = 1 << 20;

struct Kit {
    memory: MemoryStore,
    faults: FaultStore,
    bucket: Bucket,
    cells: u64,
}

impl Kit {
    fn new() -> Self {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new());
        let memory = MemoryStore::new(Arc::clone(&clock));
        let faults = FaultStore::new(Arc::new(memory.clone()), 1, Arc::clone(&clock));
        let bucket = Bucket::over(Arc::new(faults.clone()), clock, Arc::new(SeededRng::new(1)));
        Self { memory, faults, bucket, cells: 0 }
    }

    /// A cell of about so many bytes that only the bucket holds.
    fn cell(&mut self, bytes: usize) -> (Key, Bytes) {
        self.cells += 1;
        let txn: TxnId = format!("01a1fdb8-70a5-7c94-86c8-{:012x}", self.cells).parse().unwrap();
        let mut file: Vec<u8> = (0..bytes).map(|at| (at * 31 / 7 + at / 1000) as u8).collect();
        file.extend(u32::try_from(bytes.min(1_000)).unwrap().to_le_bytes());
        file.extend(b"PAR1");
        let body = Bytes::from(with_sums(file, &txn, 0).unwrap());
        let key = crate::layout::cell("h/b/f-1", &txn, 0);
        self.memory.set(key.as_str(), Some(body.clone()));
        (key, body)
    }

    fn gets(&self) -> usize {
        self.faults.count(Op::Get, "")
    }

    /// The door of a bucket handle that knows no sums yet, as after a restart.
    fn door(&self, cache: &Arc<CellCache>) -> Arc<dyn ObjectStore> {
        let clock = Arc::clone(self.bucket.clock());
        let bucket = Bucket::over(Arc::new(self.faults.clone()), clock, Arc::new(SeededRng::new(2)));
        bucket.with_cache(Arc::clone(cache)).object_store()
    }
}

fn disk(folder: &std::path::Path, mib: usize) -> Option<CacheDisk> {
    let bytes_max = (mib * MIB) as u64 + 64 * 1024;
    Some(CacheDisk { folder: folder.join("cells"), colony: "c1".into(), bytes_max, free_bytes_min: 0 })
}

/// Footer first, as a reader does, then some ranges; all right.
async fn read(door: &Arc<dyn ObjectStore>, key: &Key, whole: &Bytes) {
    let (path, size) = (Location::from(key.as_str()), whole.len() as u64);
    door.get_range(&path, size.saturating_sub(1_000)..size).await.unwrap();
    let ranges = [0..size.min(10), size / 3..size / 2, size / 2 + 7..size];
    let got = door.get_ranges(&path, &ranges).await.unwrap();
    for (range, got) in ranges.iter().zip(got) {
        assert!(got == whole.slice(range.start as usize..range.end as usize), "{range:?}");
    }
}

#[tokio::test]
async fn the_second_read_makes_no_request_from_memory_from_disk_and_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut kit = Kit::new();
    let cells = [kit.cell(200), kit.cell(3 * MIB), kit.cell(20 * MIB + 5)];
    for (memory, has_disk) in [(64 * MIB, false), (0, true), (64 * MIB, true), (2 * MIB, true)] {
        let folder = folder.path().join(format!("{memory}-{has_disk}"));
        let open = || CellCache::open(memory as u64, disk(&folder, 100).filter(|_| has_disk));
        let mut cache = open();
        for (key, whole) in &cells {
            read(&kit.door(&cache), key, whole).await;
        }
        cache.settled().await;
        kit.faults.forget_calls();
        for restart in [false, true] {
            if restart && has_disk {
                cache = open();
            }
            for (key, whole) in &cells {
                read(&kit.door(&cache), key, whole).await;
            }
        }
        assert_eq!(kit.faults.calls().len(), 0, "{memory} bytes of memory, disk {has_disk}");
    }
}

#[tokio::test]
async fn every_range_is_what_it_is_without_a_cache_and_the_bounds_hold() {
    let folder = tempfile::tempdir().unwrap();
    let mut kit = Kit::new();
    let cells: Vec<_> = [0, 700, MIB - 1, MIB, 5 * MIB + 3, 12 * MIB].map(|bytes| kit.cell(bytes)).into();
    let cache = CellCache::open(3 * MIB as u64, disk(folder.path(), 7));
    let rng = SeededRng::new(4);
    let mut door = kit.door(&cache);
    for step in 0..400 {
        let (key, whole) = &cells[rng.below(cells.len() as u64) as usize];
        let (path, size) = (Location::from(key.as_str()), whole.len() as u64);
        let ranges: Vec<_> = (0..=rng.below(4))
            .map(|_| rng.below(size))
            .map(|start| start..(start + 1 + rng.below(3 * MIB as u64)).min(size))
            .collect();
        let got = door.get_ranges(&path, &ranges).await.unwrap();
        for (range, got) in ranges.iter().zip(got) {
            assert!(got == whole.slice(range.start as usize..range.end as usize), "step {step}: {range:?} of {size}");
        }
        if step % 50 == 49 {
            door = kit.door(&cache);
            assert!(door.get_range(&path, size..size + 1).await.is_err());
            assert!(door.get(&path).await.unwrap().bytes().await.unwrap() == *whole);
            cache.settled().await;
        }
        let holds = cache.holds();
        assert!(holds.memory_bytes <= 3 * MIB as u64 && holds.disk_bytes <= (7 * MIB + 64 * 1024) as u64);
    }
    let on_disk = CellCache::held_in(&folder.path().join("cells"));
    assert_eq!(on_disk, cache.holds().disk_bytes, "what is on the disk is what is counted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_block_that_goes_and_one_that_comes_again_at_once_are_counted_right() {
    let folder = tempfile::tempdir().unwrap();
    let mut kit = Kit::new();
    let cells: Arc<Vec<_>> = Arc::new((0..30).map(|n| kit.cell(if n < 5 { MIB } else { n })).collect());
    let cache = CellCache::open(0, disk(folder.path(), 3));
    let readers = (0..4).map(|seed| {
        let (door, cells, rng) = (kit.door(&cache), Arc::clone(&cells), SeededRng::new(seed));
        tokio::spawn(async move {
            for _ in 0..600 {
                let (key, whole) = &cells[rng.below(cells.len() as u64) as usize];
                let got = door.get_range(&Location::from(key.as_str()), 0..whole.len() as u64).await.unwrap();
                assert!(got == *whole);
            }
        })
    });
    for reader in futures::future::join_all(readers).await {
        reader.unwrap();
    }
    cache.settled().await;
    let holds = cache.holds().disk_bytes;
    assert!(holds > 2 * MIB as u64, "{holds}");
    assert_eq!(CellCache::held_in(&folder.path().join("cells")), holds, "what is on the disk is what is counted");
}

#[tokio::test]
async fn two_who_want_the_same_block_make_one_request() {
    let mut kit = Kit::new();
    let (key, whole) = kit.cell(600_000);
    let cache = CellCache::open(8 * MIB as u64, None);
    let (door, path) = (kit.door(&cache), Location::from(key.as_str()));
    let reads = (0..20).map(|n| {
        let (door, path) = (Arc::clone(&door), path.clone());
        tokio::spawn(async move { door.get_range(&path, n * 1000..n * 1000 + 900).await.unwrap() })
    });
    for (n, read) in futures::future::join_all(reads).await.into_iter().enumerate() {
        assert!(read.unwrap() == whole.slice(n * 1000..n * 1000 + 900));
    }
    assert_eq!(kit.gets(), 1);
}

#[tokio::test]
async fn who_began_a_fetch_and_left_holds_up_nobody() {
    let mut kit = Kit::new();
    let (key, whole) = kit.cell(600_000);
    let cache = CellCache::open(8 * MIB as u64, None);
    let (door, path) = (kit.door(&cache), Location::from(key.as_str()));
    let mut began = Box::pin(door.get_range(&path, 0..10));
    assert!(futures::poll!(&mut began).is_pending());
    // Neither polled again nor dropped yet.
    assert!(door.get_range(&path, 5..10).await.unwrap() == whole.slice(5..10));
    drop(began);
    assert_eq!(kit.gets(), 1);
}

#[tokio::test]
async fn a_fetch_that_fails_is_an_error_for_one_and_another_try_for_the_rest() {
    let mut kit = Kit::new();
    let (key, whole) = kit.cell(600_000);
    let cache = CellCache::open(8 * MIB as u64, None);
    kit.faults.script(Rule::on(Op::Get, Fault::Unavailable));
    let (door, path) = (kit.door(&cache), Location::from(key.as_str()));
    let (a, b) = futures::join!(door.get_range(&path, 0..10), door.get_range(&path, 0..10));
    assert!(a.is_err() != b.is_err(), "{a:?} {b:?}");
    assert!(a.or(b).unwrap() == whole.slice(..10));
    kit.faults.script(Rule::on(Op::Get, Fault::Unavailable));
    door.get_range(&path, 0..10).await.unwrap();
}

#[tokio::test]
async fn whatever_happens_to_the_files_the_rows_are_right() {
    let mut kit = Kit::new();
    let cells = [kit.cell(400), kit.cell(3 * MIB + 9)];
    type Harm = fn(&std::path::Path);
    let harms: [(&str, Harm); 6] = [
        ("a bit flips", |file| {
            let mut bytes = std::fs::read(file).unwrap();
            let at = bytes.len() / 2;
            bytes[at] ^= 4;
            std::fs::write(file, bytes).unwrap();
        }),
        ("cut off", |file| {
            let bytes = std::fs::read(file).unwrap();
            std::fs::write(file, &bytes[..bytes.len() / 2]).unwrap();
        }),
        ("emptied", |file| std::fs::write(file, b"").unwrap()),
        ("gone", |file| std::fs::remove_file(file).unwrap()),
        ("zeros of the same length", |file| {
            std::fs::write(file, vec![0; std::fs::metadata(file).unwrap().len() as usize]).unwrap();
        }),
        ("a folder in its place", |file| {
            std::fs::remove_file(file).unwrap();
            std::fs::create_dir(file).unwrap();
        }),
    ];
    for (what, harm) in harms {
        for restart_after in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let mut cache = CellCache::open(0, disk(folder.path(), 50));
            for (key, whole) in &cells {
                read(&kit.door(&cache), key, whole).await;
            }
            cache.settled().await;
            let root = folder.path().join("cells");
            let files: Vec<_> =
                std::fs::read_dir(&root).unwrap().flatten().filter(|below| below.path().is_dir()).collect();
            let files: Vec<_> =
                files.iter().flat_map(|below| std::fs::read_dir(below.path()).unwrap().flatten()).collect();
            assert!(files.len() >= 5, "{what}");
            files.iter().for_each(|file| harm(&file.path()));
            if restart_after {
                cache = CellCache::open(0, disk(folder.path(), 50));
            }
            for (key, whole) in &cells {
                read(&kit.door(&cache), key, whole).await;
            }
            kit.faults.forget_calls();
            cache.settled().await;
            for (key, whole) in &cells {
                read(&kit.door(&cache), key, whole).await;
            }
            let is_folder = what.starts_with("a folder") && !restart_after;
            assert!(kit.gets() == 0 || is_folder, "{what}: it is not held again");
        }
    }
}

#[tokio::test]
async fn a_stranger_in_the_folder_is_shown_out_and_another_colonys_cells_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut kit = Kit::new();
    let (key, whole) = kit.cell(MIB);
    let cache = CellCache::open(0, disk(folder.path(), 50));
    read(&kit.door(&cache), &key, &whole).await;
    cache.settled().await;
    let root = folder.path().join("cells");
    std::fs::write(root.join("notes.txt"), "mine").unwrap();
    std::fs::create_dir_all(root.join("zz/deep")).unwrap();
    let held = cache.holds().disk_bytes;
    assert!(held > MIB as u64);
    assert_eq!(CellCache::open(0, disk(folder.path(), 50)).holds().disk_bytes, held);
    assert!(!root.join("notes.txt").exists());
    let other = disk(folder.path(), 50).map(|disk| CacheDisk { colony: "c2".into(), ..disk });
    assert_eq!(CellCache::open(0, other).holds().disk_bytes, 0);
    std::fs::write(root.join("about"), "torn").unwrap();
    assert_eq!(CellCache::open(0, disk(folder.path(), 50)).holds().disk_bytes, 0);
    // A file where the folder should be: no disk then, and no error.
    std::fs::remove_dir_all(&root).unwrap();
    std::fs::write(&root, "a file").unwrap();
    let without = CellCache::open(8 * MIB as u64, disk(folder.path(), 50));
    read(&kit.door(&without), &key, &whole).await;
}

#[tokio::test]
async fn a_smaller_budget_takes_the_oldest_away_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let mut kit = Kit::new();
    let cache = CellCache::open(0, disk(folder.path(), 50));
    for _ in 0..5 {
        let (key, whole) = kit.cell(3 * MIB);
        read(&kit.door(&cache), &key, &whole).await;
    }
    cache.settled().await;
    let held = CellCache::open(0, disk(folder.path(), 6)).holds().disk_bytes;
    assert!(held <= (6 * MIB + 64 * 1024) as u64 && held > 4 * MIB as u64, "{held}");
    assert_eq!(CellCache::held_in(&folder.path().join("cells")), held);
}

#[tokio::test]
async fn a_full_disk_part_takes_only_what_is_fetched_a_second_time() {
    let folder = tempfile::tempdir().unwrap();
    let mut kit = Kit::new();
    // Room for one of the two, in memory and on the disk.
    let cache = CellCache::open(MIB as u64, disk(folder.path(), 1));
    let cells = [kit.cell(MIB - 5_000), kit.cell(MIB - 5_000)];
    let mut gets = Vec::new();
    for which in [0, 1, 0, 1, 0, 1] {
        let path = Location::from(cells[which].0.as_str());
        kit.bucket.with_cache(Arc::clone(&cache)).object_store().get_range(&path, 0..9).await.unwrap();
        cache.settled().await;
        gets.push(kit.gets());
    }
    assert_eq!(gets, [1, 2, 2, 3, 4, 4], "the first stays until the second was fetched twice, and then gives way");
}

#[tokio::test]
async fn a_damaged_block_that_was_cached_does_not_outlive_the_damage() {
    let mut kit = Kit::new();
    let (key, whole) = kit.cell(2 * MIB);
    let cache = CellCache::open(8 * MIB as u64, None);
    let mut broken = whole.to_vec();
    broken[70_000] ^= 1;
    kit.memory.set(key.as_str(), Some(broken.into()));
    let (door, path) = (kit.door(&cache), Location::from(key.as_str()));
    for _ in 0..2 {
        let error = door.get_range(&path, 0..100_000).await.unwrap_err().to_string();
        assert!(error.contains(crate::DAMAGED) && error.contains(key.as_str()), "{error}");
        door.get_ranges(&path, &[0..5, 69_000..80_000]).await.unwrap_err();
    }
    kit.memory.set(key.as_str(), Some(whole.clone()));
    read(&door, &key, &whole).await;
}

#[tokio::test]
async fn what_a_node_writes_it_need_not_fetch() {
    let folder = tempfile::tempdir().unwrap();
    let mut kit = Kit::new();
    let (key, whole) = kit.cell(3 * MIB);
    kit.memory.set(key.as_str(), None);
    for disk in [None, disk(folder.path(), 50)] {
        let cache = CellCache::open(16 * MIB as u64, disk);
        let bucket = kit.bucket.with_cache(Arc::clone(&cache));
        bucket.put(&key, whole.clone()).await.unwrap();
        kit.faults.forget_calls();
        read(&kit.door(&cache), &key, &whole).await;
        assert_eq!(kit.faults.calls().len(), 0);
        bucket.put(&crate::layout::probe("n", 1), whole.clone()).await.unwrap();
        assert!(cache.digest().holds(key.as_str()));
    }
}

#[tokio::test]
async fn requests_and_hits_are_counted_for_who_made_them() {
    let mut kit = Kit::new();
    let (key, whole) = kit.cell(2 * MIB);
    let cached = kit.bucket.with_cache(CellCache::open(8 * MIB as u64, None));
    let counted = || cached.with_counters(Arc::default());
    let (first, second) = (counted(), counted());
    read(&first.object_store(), &key, &whole).await;
    read(&second.object_store(), &key, &whole).await;
    let (first, second) = (first.counters().snapshot(), second.counters().snapshot());
    assert_eq!((first.gets, first.bytes_read), (2, whole.len() as u64));
    assert_eq!((second.gets, second.bytes_read), (0, 0));
    assert!(second.hits >= 3 && second.bytes_hit >= whole.len() as u64, "{second:?}");
}

#[tokio::test]
async fn a_disk_that_others_fill_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let mut kit = Kit::new();
    let (key, whole) = kit.cell(2 * MIB);
    let tight = disk(folder.path(), 50).map(|disk| CacheDisk { free_bytes_min: u64::MAX / 2, ..disk });
    let cache = CellCache::open(0, tight);
    read(&kit.door(&cache), &key, &whole).await;
    cache.settled().await;
    assert_eq!(cache.holds().disk_bytes, 0);
}
