//! Chambers: the sealed budget that one task runs in. A memory pool, a scratch folder with a limit, a cancellation
//! token; what goes over the budget spills or fails alone, and dropping the chamber ends what still runs in it.
//!
//! A scratch folder serves one chamber after another: few tasks spill, and a file system that makes and deletes a folder
//! for each of hundreds a second spends more time on that than on small tasks (ADR 0014).

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use datafusion::execution::{
    disk_manager::{DiskManager, DiskManagerBuilder, DiskManagerMode},
    memory_pool::{MemoryPool, PeakRecordingPool},
    runtime_env::{RuntimeEnv, RuntimeEnvBuilder},
};
use tokio_util::sync::CancellationToken;

use crate::{NodeError, Result, chamber_pool::ChamberPool};

/// Least and most memory that is kept out of chambers, for everything that no pool tracks.
const RESERVE_BYTES: (u64, u64) = (128 << 20, 512 << 20);

/// Scratch bytes that a chamber may fill per byte of memory: sorting in 16 passes over memory is still sorting.
const SCRATCH_PER_MEMORY: u64 = 32;

/// Smallest chamber in bytes: below it nothing but a scan works.
const CHAMBER_BYTES_MIN: u64 = 16 << 20;

/// What one bee's chamber may hold: 70 % of what is left of `memory_bytes` after the reserve, which is half of it, at
/// least 128 MiB and at most 512 MiB (ADR 0013).
#[must_use]
pub fn chamber_bytes(memory_bytes: u64, bees: usize) -> u64 {
    let reserve = (memory_bytes / 2).clamp(RESERVE_BYTES.0, RESERVE_BYTES.1);
    let shared = memory_bytes.saturating_sub(reserve) / 10 * 7;
    (shared / bees.max(1) as u64).max(CHAMBER_BYTES_MIN)
}

/// Makes chambers and knows what the living ones hold.
#[derive(Debug)]
pub struct Chambers {
    bytes: u64,
    bees: usize,
    scratch_root: PathBuf,
    free: Arc<Disks>,
    living: Mutex<Vec<Weak<PeakRecordingPool>>>,
}

/// Scratch folders that no chamber has, each empty.
type Disks = Mutex<Vec<Arc<DiskManager>>>;

impl Chambers {
    /// Chambers of `bytes` for each of `bees`, with scratch folders below `scratch_root`.
    #[must_use]
    pub fn new(bytes: u64, bees: usize, scratch_root: PathBuf) -> Self {
        Self { bytes, bees: bees.max(1), scratch_root, free: Arc::default(), living: Mutex::default() }
    }

    /// What one bee's chamber may hold, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// A chamber for a task that leases `bees` bees: the sum of theirs. It ends with `parent`.
    pub fn build(&self, bees: usize, parent: &CancellationToken) -> Result<Chamber> {
        let budget_bytes = self.bytes.saturating_mul(bees.max(1) as u64);
        let disk = self.disk(budget_bytes.saturating_mul(SCRATCH_PER_MEMORY))?;
        let shared = ChamberPool::new(usize::try_from(budget_bytes).unwrap_or(usize::MAX));
        let pool = Arc::new(PeakRecordingPool::new(Arc::new(shared)));
        self.remember(&pool);
        Ok(Chamber { pool, disk, free: Arc::clone(&self.free), budget_bytes, cancel: parent.child_token() })
    }

    /// A scratch folder that nobody else has, for so many bytes.
    fn disk(&self, bytes_max: u64) -> Result<Arc<DiskManager>> {
        let free = locked(&self.free).pop();
        let make = || {
            std::fs::create_dir_all(&self.scratch_root)
                .map_err(NodeError::file("create the scratch folder", &self.scratch_root))?;
            let below = DiskManagerMode::Directories(vec![self.scratch_root.clone()]);
            let disk = DiskManagerBuilder::default().with_mode(below).build();
            disk.map(Arc::new).map_err(|error| NodeError::Chamber(error.to_string()))
        };
        let disk = free.map_or_else(make, Ok)?;
        disk.set_max_temp_directory_size(bytes_max).map_err(|error| NodeError::Chamber(error.to_string()))?;
        Ok(disk)
    }

    fn remember(&self, pool: &Arc<PeakRecordingPool>) {
        let mut living = locked(&self.living);
        living.retain(|pool| pool.strong_count() > 0);
        living.push(Arc::downgrade(pool));
    }

    /// Bytes that the living chambers hold now.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        locked(&self.living).iter().filter_map(Weak::upgrade).map(|pool| pool.reserved() as u64).sum()
    }

    /// That, as a share of what all bees' chambers may hold, 0 to 1.
    #[must_use]
    pub fn used_share(&self) -> f64 {
        (self.used_bytes() as f64 / (self.bytes.max(1) * self.bees as u64) as f64).min(1.0)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One task's sealed budget. Dropping it cancels what still runs in it; its scratch folder goes with the last who has it,
/// or serves another chamber if nobody has.
#[derive(Debug)]
pub struct Chamber {
    pool: Arc<PeakRecordingPool>,
    disk: Arc<DiskManager>,
    free: Arc<Disks>,
    budget_bytes: u64,
    cancel: CancellationToken,
}

impl Chamber {
    /// The memory that operators draw on; its errors say who held how much.
    #[must_use]
    pub fn memory_pool(&self) -> Arc<dyn MemoryPool> {
        Arc::clone(&self.pool) as Arc<dyn MemoryPool>
    }

    /// Its scratch folder: files in it are gone with whoever made them.
    #[must_use]
    pub fn disk(&self) -> Arc<DiskManager> {
        Arc::clone(&self.disk)
    }

    /// Cancelled when the task is, or when the chamber goes.
    #[must_use]
    pub fn cancel(&self) -> &CancellationToken {
        &self.cancel
    }

    /// Memory it may hold, in bytes.
    #[must_use]
    pub fn budget_bytes(&self) -> u64 {
        self.budget_bytes
    }

    /// Most memory it ever held, in bytes, as its pool counts.
    #[must_use]
    pub fn peak_bytes(&self) -> u64 {
        self.pool.peak_reserved() as u64
    }

    /// `base` with this chamber's memory and scratch folder: stores, caches and functions stay shared.
    pub fn runtime(&self, base: &RuntimeEnv) -> Result<Arc<RuntimeEnv>> {
        let mut builder = RuntimeEnvBuilder::from_runtime_env(base).with_memory_pool(self.memory_pool());
        builder.disk_manager = Some(self.disk());
        builder.build_arc().map_err(|error| NodeError::Chamber(error.to_string()))
    }
}

impl Drop for Chamber {
    fn drop(&mut self) {
        self.cancel.cancel();
        // Who still has it may yet write to it.
        let left = self.disk.spilling_progress();
        if Arc::strong_count(&self.disk) == 1 && left.active_files_count == 0 && left.current_bytes == 0 {
            locked(&self.free).push(Arc::clone(&self.disk));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use datafusion::execution::memory_pool::MemoryConsumer;

    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn chambers_are_sized_as_the_memory_is() {
        let mib = |memory, bees| chamber_bytes(memory * MIB, bees) / MIB;
        assert_eq!(mib(1024, 2), 179);
        assert_eq!(mib(8192, 4), 1344);
        assert_eq!(mib(256, 4), 22);
        assert_eq!(mib(0, 4), 16);
    }

    fn chambers(folder: &Path) -> Chambers {
        Chambers::new(32 * MIB, 2, folder.to_owned())
    }

    #[test]
    fn a_chamber_counts_what_it_holds_and_its_peak() {
        let folder = tempfile::tempdir().unwrap();
        let chambers = chambers(folder.path());
        let chamber = chambers.build(1, &CancellationToken::new()).unwrap();
        let held = MemoryConsumer::new("sort").register(&chamber.memory_pool());
        held.try_grow(16 << 20).unwrap();
        assert_eq!(chambers.used_bytes(), 16 * MIB);
        assert!((chambers.used_share() - 0.25).abs() < 1e-9);
        assert!(held.try_grow(32 << 20).is_err());
        drop(held);
        assert_eq!((chambers.used_bytes(), chamber.peak_bytes()), (0, 16 * MIB));
    }

    fn folders(chamber: &Chamber) -> Vec<PathBuf> {
        chamber.disk.temp_dir_paths()
    }

    #[test]
    fn a_scratch_folder_serves_the_next_chamber_when_it_is_empty_and_nobody_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let (chambers, cancel) = (chambers(folder.path()), CancellationToken::new());
        let first = chambers.build(2, &cancel).unwrap();
        let (place, stop) = (folders(&first), first.cancel().clone());
        assert_eq!((first.budget_bytes(), place[0].starts_with(folder.path())), (64 * MIB, true));
        drop(first);
        assert!(stop.is_cancelled());
        let second = chambers.build(1, &cancel).unwrap();
        assert_eq!(folders(&second), place);
        assert_eq!(second.disk.max_temp_directory_size(), 32 * MIB * SCRATCH_PER_MEMORY);

        let spilled = second.disk().create_tmp_file("a sort").unwrap();
        drop(second);
        let third = chambers.build(1, &cancel).unwrap();
        assert_ne!(folders(&third), place);
        assert!(place[0].exists());
        drop(spilled);
        assert!(!place[0].exists(), "it went with the last who had it");
    }

    #[test]
    fn two_chambers_never_share_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let chambers = chambers(folder.path());
        let cancel = CancellationToken::new();
        let (a, b) = (chambers.build(1, &cancel).unwrap(), chambers.build(1, &cancel).unwrap());
        assert_ne!(folders(&a), folders(&b));
        let runtime = a.runtime(&RuntimeEnv::default()).unwrap();
        assert_eq!(runtime.disk_manager.temp_dir_paths(), folders(&a));
    }
}
