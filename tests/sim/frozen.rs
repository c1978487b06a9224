//! A machine that stops for a while, whatever it was doing, and then goes on as if nothing had been.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use apiary_core::{Clock, ManualClock};

use super::clock::NodeClock;

/// Stops and starts one machine.
#[derive(Debug, Clone, Default)]
pub(crate) struct Freezer(Arc<Mutex<Option<Frost>>>);

#[derive(Debug, Clone, Copy)]
struct Frost {
    until: Duration,
    how_long: Duration,
    /// A suspended machine's monotonic clock stands still; a stopped process's goes on.
    suspended: bool,
}

impl Freezer {
    pub(crate) fn freeze(&self, now: Duration, how_long: Duration, suspended: bool) {
        *self.lock() = Some(Frost { until: now + how_long, how_long, suspended });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Frost>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Work on a machine that may freeze.
pub(crate) struct Frozen<F> {
    pub(crate) work: Pin<Box<F>>,
    pub(crate) freezer: Freezer,
    pub(crate) world: ManualClock,
    pub(crate) clock: NodeClock,
    pub(crate) thaw: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl<F: Future> Future for Frozen<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let frost = *self.freezer.lock();
        if let Some(frost) = frost {
            let left = frost.until.saturating_sub(self.world.monotonic());
            if !left.is_zero() {
                let mut thaw = self.world.sleep(left);
                let waits = thaw.as_mut().poll(context).is_pending();
                self.thaw = Some(thaw);
                if waits {
                    return Poll::Pending;
                }
            }
            *self.freezer.lock() = None;
            self.thaw = None;
            if frost.suspended {
                self.clock.slept(frost.how_long);
            }
        }
        self.work.as_mut().poll(context)
    }
}
