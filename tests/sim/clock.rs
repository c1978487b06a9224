//! One machine's clock: the world's time, a wall clock that may be years off, and a monotonic clock that stands still
//! while the machine is suspended.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use apiary_core::{Clock, ManualClock};

#[derive(Debug, Clone)]
pub(crate) struct NodeClock {
    time: ManualClock,
    /// Milliseconds for which the monotonic clock stood still.
    slept_ms: Arc<AtomicU64>,
}

impl NodeClock {
    pub(crate) fn new(world: &ManualClock, wall_off_ms: i64) -> Self {
        Self { time: world.skewed(wall_off_ms), slept_ms: Arc::default() }
    }

    /// The machine was suspended for so long.
    pub(crate) fn slept(&self, how_long: Duration) {
        self.slept_ms.fetch_add(how_long.as_millis() as u64, Ordering::SeqCst);
    }
}

impl Clock for NodeClock {
    fn wall_ms(&self) -> i64 {
        self.time.wall_ms()
    }

    fn monotonic(&self) -> Duration {
        self.time.monotonic().saturating_sub(Duration::from_millis(self.slept_ms.load(Ordering::SeqCst)))
    }

    fn boottime(&self) -> Option<Duration> {
        Some(self.time.monotonic())
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + 'static>> {
        let end = self.monotonic().saturating_add(duration);
        Box::pin(Sleep { clock: self.clone(), end, wait: self.time.sleep(duration) })
    }
}

/// A wait by the monotonic clock: what it did not count is waited for again.
struct Sleep {
    clock: NodeClock,
    end: Duration,
    wait: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        while self.wait.as_mut().poll(context).is_ready() {
            let left = self.end.saturating_sub(self.clock.monotonic());
            if left.is_zero() {
                return Poll::Ready(());
            }
            self.wait = self.clock.time.sleep(left);
        }
        Poll::Pending
    }
}
