//! Chambers: the sealed budget that one task runs in. A memory pool, a scratch folder with a limit, a cancellation
//! token; what goes over the budget spills or fails alone, and dropping the chamber takes everything with it.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use datafusion::execution::{
    disk_manager::{DiskManagerBuilder, DiskManagerMode},
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
    built: AtomicU64,
    living: Mutex<Vec<Weak<PeakRecordingPool>>>,
}

impl Chambers {
    /// Chambers of `bytes` for each of `bees`, with scratch folders below `scratch_root`.
    #[must_use]
    pub fn new(bytes: u64, bees: usize, scratch_root: PathBuf) -> Self {
        Self { bytes, bees: bees.max(1), scratch_root, built: AtomicU64::new(0), living: Mutex::default() }
    }

    /// What one bee's chamber may hold, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// A chamber for a task that leases `bees` bees: the sum of theirs. It ends with `parent`.
    pub fn build(&self, bees: usize, parent: &CancellationToken) -> Result<Chamber> {
        let budget_bytes = self.bytes.saturating_mul(bees.max(1) as u64);
        let number = self.built.fetch_add(1, Ordering::Relaxed);
        let scratch = self.scratch_root.join(format!("chamber-{number:06}"));
        std::fs::create_dir_all(&scratch).map_err(NodeError::file("create the scratch folder", &scratch))?;
        let shared = ChamberPool::new(usize::try_from(budget_bytes).unwrap_or(usize::MAX));
        let pool = Arc::new(PeakRecordingPool::new(Arc::new(shared)));
        self.remember(&pool);
        let scratch_bytes_max = budget_bytes.saturating_mul(SCRATCH_PER_MEMORY);
        Ok(Chamber { pool, scratch, budget_bytes, scratch_bytes_max, cancel: parent.child_token() })
    }

    fn remember(&self, pool: &Arc<PeakRecordingPool>) {
        let mut living = self.living.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        living.retain(|pool| pool.strong_count() > 0);
        living.push(Arc::downgrade(pool));
    }

    /// Bytes that the living chambers hold now.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        let living = self.living.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        living.iter().filter_map(Weak::upgrade).map(|pool| pool.reserved() as u64).sum()
    }

    /// That, as a share of what all bees' chambers may hold, 0 to 1.
    #[must_use]
    pub fn used_share(&self) -> f64 {
        (self.used_bytes() as f64 / (self.bytes.max(1) * self.bees as u64) as f64).min(1.0)
    }
}

/// One task's sealed budget. Dropping it cancels what still runs in it and removes its scratch folder.
#[derive(Debug)]
pub struct Chamber {
    pool: Arc<PeakRecordingPool>,
    scratch: PathBuf,
    budget_bytes: u64,
    scratch_bytes_max: u64,
    cancel: CancellationToken,
}

impl Chamber {
    /// The memory that operators draw on; its errors say who held how much.
    #[must_use]
    pub fn memory_pool(&self) -> Arc<dyn MemoryPool> {
        Arc::clone(&self.pool) as Arc<dyn MemoryPool>
    }

    /// A folder of its own, gone with the chamber.
    #[must_use]
    pub fn scratch(&self) -> &Path {
        &self.scratch
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

    /// Bytes of scratch files it may fill.
    #[must_use]
    pub fn scratch_bytes_max(&self) -> u64 {
        self.scratch_bytes_max
    }

    /// Most memory it ever held, in bytes, as its pool counts.
    #[must_use]
    pub fn peak_bytes(&self) -> u64 {
        self.pool.peak_reserved() as u64
    }

    /// `base` with this chamber's memory and scratch folder: stores, caches and functions stay shared.
    pub fn runtime(&self, base: &RuntimeEnv) -> Result<Arc<RuntimeEnv>> {
        let disk = DiskManagerBuilder::default()
            .with_mode(DiskManagerMode::Directories(vec![self.scratch.clone()]))
            .with_max_temp_directory_size(self.scratch_bytes_max);
        RuntimeEnvBuilder::from_runtime_env(base)
            .with_memory_pool(self.memory_pool())
            .with_disk_manager_builder(disk)
            .build_arc()
            .map_err(|error| NodeError::Chamber(error.to_string()))
    }
}

impl Drop for Chamber {
    fn drop(&mut self) {
        self.cancel.cancel();
        if let Err(error) = std::fs::remove_dir_all(&self.scratch) {
            tracing::warn!(folder = %self.scratch.display(), %error, "cannot remove a scratch folder");
        }
    }
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn a_chamber_takes_its_scratch_folder_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let chamber = chambers(folder.path()).build(2, &CancellationToken::new()).unwrap();
        let (scratch, cancel) = (chamber.scratch().to_owned(), chamber.cancel().clone());
        std::fs::write(scratch.join("spill"), b"x").unwrap();
        assert_eq!(chamber.budget_bytes(), 64 * MIB);
        drop(chamber);
        assert!(!scratch.exists() && cancel.is_cancelled());
    }

    #[test]
    fn two_chambers_never_share_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let chambers = chambers(folder.path());
        let cancel = CancellationToken::new();
        let (a, b) = (chambers.build(1, &cancel).unwrap(), chambers.build(1, &cancel).unwrap());
        assert_ne!(a.scratch(), b.scratch());
        assert!(a.runtime(&RuntimeEnv::default()).is_ok());
    }
}
