//! What one attempt may use of a node's memory.

use std::sync::Arc;

use datafusion::execution::{
    disk_manager::DiskManager,
    memory_pool::{FairSpillPool, MemoryPool, PeakRecordingPool},
};

/// Memory that is an attempt's own: a greedy task spills or fails alone.
#[derive(Debug, Clone)]
pub struct Room {
    pool: Arc<dyn MemoryPool>,
    budget_bytes: u64,
    disk: Option<Arc<DiskManager>>,
}

impl Room {
    /// A room of `budget_bytes` over `pool`. If that is a [`PeakRecordingPool`], the task's `done` tells its peak.
    #[must_use]
    pub fn over(pool: Arc<dyn MemoryPool>, budget_bytes: u64) -> Self {
        Self { pool, budget_bytes, disk: None }
    }

    /// The same with a place to spill to, and its limit; without, that is the system's folder for such files.
    #[must_use]
    pub fn with_disk(self, disk: Arc<DiskManager>) -> Self {
        Self { disk: Some(disk), ..self }
    }

    /// A room of `budget_bytes` with a fair pool of its own.
    #[must_use]
    pub fn of(budget_bytes: u64) -> Self {
        let fair = FairSpillPool::new(usize::try_from(budget_bytes).unwrap_or(usize::MAX));
        Self::over(Arc::new(PeakRecordingPool::new(Arc::new(fair))), budget_bytes)
    }

    /// Bytes it may hold.
    #[must_use]
    pub fn budget_bytes(&self) -> u64 {
        self.budget_bytes
    }

    pub(crate) fn disk(&self) -> Option<Arc<DiskManager>> {
        self.disk.clone()
    }

    pub(crate) fn pool(&self) -> Arc<dyn MemoryPool> {
        Arc::clone(&self.pool)
    }

    pub(crate) fn peak_bytes(&self) -> u64 {
        self.pool.downcast_ref::<PeakRecordingPool>().map_or(0, |pool| pool.peak_reserved() as u64)
    }
}
