//! Bees: one core each. Work that burns a core leases a bee and gives it back by dropping the lease.
//!
//! Bees work on threads of their own. A plan may compute for seconds between two awaits (a nested-loop join, a large
//! sort), and on the node's threads it would hold up what must never wait: heartbeats, claims, Ctrl-C. Requests to
//! the store run on the node's threads wherever they are asked for, so a busy bee holds up none of them either.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::{
    runtime::{Builder, Handle, Runtime},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::sync::CancellationToken;

use crate::{NodeError, Result};

/// Stack of a bee's thread: plans of deep SQL recurse, and a debug build needs more than the usual 2 MiB.
const STACK_BYTES: usize = 16 * 1024 * 1024;

/// All bees of a node. Cheap to clone; clones share the bees.
#[derive(Debug, Clone)]
pub struct BeePool {
    free: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
    total: usize,
    threads: Arc<Threads>,
}

/// The bees' threads; they end with the last clone of the pool, without waiting for what still computes.
#[derive(Debug)]
struct Threads(Option<Runtime>);

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
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
    /// A pool of `total` bees, at least one, each with a thread.
    pub fn new(total: usize) -> Result<Self> {
        let total = total.clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        let threads = Builder::new_multi_thread()
            .worker_threads(total)
            .thread_name("bee")
            .thread_stack_size(STACK_BYTES)
            .enable_all()
            .build()
            .map_err(NodeError::Threads)?;
        let threads = Arc::new(Threads(Some(threads)));
        Ok(Self { free: Arc::new(Semaphore::new(total)), waiting: Arc::default(), total, threads })
    }

    /// Where work that burns a core is spawned. It takes no lease: that is the caller's.
    #[must_use]
    pub fn threads(&self) -> Handle {
        // Taken only when the last clone drops.
        self.threads.0.as_ref().map_or_else(Handle::current, |runtime| runtime.handle().clone())
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
        let (pool, cancel) = (BeePool::new(2).unwrap(), CancellationToken::new());
        let bees = pool.lease_up_to(8, &cancel).await.unwrap();
        assert_eq!((bees.count(), pool.busy(), pool.free()), (2, 2, 0));
        drop(bees);
        assert_eq!((pool.busy(), pool.free()), (0, 2));
    }

    #[tokio::test]
    async fn waiting_ends_with_the_token_and_leaves_the_line() {
        let (pool, cancel) = (BeePool::new(1).unwrap(), CancellationToken::new());
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
        let pool = BeePool::new(4).unwrap();
        let mut bees = pool.lease_up_to(4, &CancellationToken::new()).await.unwrap();
        bees.shrink(1);
        assert_eq!((bees.count(), pool.free()), (1, 3));
        assert!(pool.try_lease().is_some());
    }

    #[tokio::test]
    async fn a_bee_that_never_yields_holds_up_nobody() {
        let pool = BeePool::new(1).unwrap();
        let (begun, begin) = std::sync::mpsc::channel();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let work = pool.threads().spawn(async move {
            begun.send(()).unwrap();
            ended.recv().unwrap();
        });
        tokio::task::spawn_blocking(move || begin.recv().unwrap()).await.unwrap();
        tokio::task::yield_now().await;
        end.send(()).unwrap();
        work.await.unwrap();
    }

    #[test]
    fn there_is_always_one_bee() {
        assert_eq!(BeePool::new(0).unwrap().total(), 1);
    }
}
