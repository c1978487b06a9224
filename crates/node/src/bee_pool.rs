//! Bees: one core each. Work that burns a core leases a bee and gives it back by dropping the lease.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::{NodeError, Result};

/// All bees of a node. Cheap to clone; clones share the bees.
#[derive(Debug, Clone)]
pub struct BeePool {
    free: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
    total: usize,
}

/// Leased bees; dropping gives them back.
#[derive(Debug)]
pub struct Bees {
    permit: OwnedSemaphorePermit,
}

impl Bees {
    /// How many.
    #[must_use]
    pub fn count(&self) -> usize {
        self.permit.num_permits()
    }

    /// Gives back all but `keep`; more than it has keeps all.
    pub fn shrink(&mut self, keep: usize) {
        let surplus = self.count().saturating_sub(keep.max(1));
        drop(self.permit.split(surplus));
    }
}

/// Counts itself among the waiting as long as it lives, also when its wait is dropped.
struct Waiting(Arc<AtomicUsize>);

impl Waiting {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl BeePool {
    /// A pool of `total` bees, at least one.
    #[must_use]
    pub fn new(total: usize) -> Self {
        let total = total.clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        Self { free: Arc::new(Semaphore::new(total)), waiting: Arc::default(), total }
    }

    /// One bee, waiting for it in line. Dropping the future leaves the line.
    pub async fn lease(&self, cancel: &CancellationToken) -> Result<Bees> {
        let _waiting = Waiting::new(&self.waiting);
        let permit = tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(NodeError::Cancelled("a free bee")),
            permit = Arc::clone(&self.free).acquire_owned() => permit,
        };
        // The semaphore is never closed.
        permit.map(|permit| Bees { permit }).map_err(|_| NodeError::Cancelled("a free bee"))
    }

    /// One bee, waiting for it, and as many more as are free now, up to `wanted` in all.
    pub async fn lease_up_to(&self, wanted: usize, cancel: &CancellationToken) -> Result<Bees> {
        let mut bees = self.lease(cancel).await?;
        let more = wanted.saturating_sub(1).min(self.free());
        if let Ok(permit) = Arc::clone(&self.free).try_acquire_many_owned(u32::try_from(more).unwrap_or(0)) {
            bees.permit.merge(permit);
        }
        Ok(bees)
    }

    /// One bee if one is free now.
    #[must_use]
    pub fn try_lease(&self) -> Option<Bees> {
        Arc::clone(&self.free).try_acquire_owned().ok().map(|permit| Bees { permit })
    }

    /// All bees.
    #[must_use]
    pub fn total(&self) -> usize {
        self.total
    }

    /// Bees that nobody leases.
    #[must_use]
    pub fn free(&self) -> usize {
        self.free.available_permits()
    }

    /// Bees at work.
    #[must_use]
    pub fn busy(&self) -> usize {
        self.total.saturating_sub(self.free())
    }

    /// How many wait in line.
    #[must_use]
    pub fn queue(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_bee_comes_back_when_its_lease_is_dropped() {
        let (pool, cancel) = (BeePool::new(2), CancellationToken::new());
        let bees = pool.lease_up_to(8, &cancel).await.unwrap();
        assert_eq!((bees.count(), pool.busy(), pool.free()), (2, 2, 0));
        drop(bees);
        assert_eq!((pool.busy(), pool.free()), (0, 2));
    }

    #[tokio::test]
    async fn waiting_ends_with_the_token_and_leaves_the_line() {
        let (pool, cancel) = (BeePool::new(1), CancellationToken::new());
        let held = pool.lease(&cancel).await.unwrap();
        let (other, token) = (pool.clone(), cancel.clone());
        let waiting = tokio::spawn(async move { other.lease(&token).await });
        while pool.queue() == 0 {
            tokio::task::yield_now().await;
        }
        cancel.cancel();
        assert!(matches!(waiting.await.unwrap(), Err(NodeError::Cancelled(_))));
        assert_eq!(pool.queue(), 0);
        drop(held);
    }

    #[tokio::test]
    async fn surplus_bees_can_go_home_early() {
        let pool = BeePool::new(4);
        let mut bees = pool.lease_up_to(4, &CancellationToken::new()).await.unwrap();
        bees.shrink(1);
        assert_eq!((bees.count(), pool.free()), (1, 3));
        assert!(pool.try_lease().is_some());
    }

    #[test]
    fn there_is_always_one_bee() {
        assert_eq!(BeePool::new(0).total(), 1);
    }
}
