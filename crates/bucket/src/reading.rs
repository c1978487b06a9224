//! How long reads were under way: the time in which at least one was, counted once however many there were.
//!
//! A read is under way from its request to the last byte of its body, or until its body is let go.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use apiary_core::Clock;

/// Reads that are under way, and for how long any was.
#[derive(Debug, Default)]
pub(crate) struct Reading(Mutex<Reads>);

#[derive(Debug, Default)]
struct Reads {
    under_way: u32,
    since: Duration,
    total: Duration,
}

impl Reading {
    /// A read begins.
    pub(crate) fn begin(self: &Arc<Self>, clock: &Arc<dyn Clock>) -> OneRead {
        let now = clock.monotonic();
        self.with(|reads| {
            if reads.under_way == 0 {
                reads.since = now;
            }
            reads.under_way += 1;
        });
        OneRead { reading: Arc::clone(self), clock: Arc::clone(clock) }
    }

    /// How long any read was under way, as far as they have ended.
    pub(crate) fn total(&self) -> Duration {
        self.with(|reads| reads.total)
    }

    fn end(&self, now: Duration) {
        self.with(|reads| {
            reads.under_way = reads.under_way.saturating_sub(1);
            if reads.under_way == 0 {
                reads.total += now.saturating_sub(reads.since);
            }
        });
    }

    fn with<T>(&self, act: impl FnOnce(&mut Reads) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A read, until it is dropped.
#[derive(Debug)]
pub(crate) struct OneRead {
    reading: Arc<Reading>,
    clock: Arc<dyn Clock>,
}

impl Drop for OneRead {
    fn drop(&mut self) {
        self.reading.end(self.clock.monotonic());
    }
}

#[cfg(test)]
mod tests {
    use apiary_core::ManualClock;

    use super::*;

    #[tokio::test]
    async fn time_in_which_reads_overlap_counts_once() {
        let (manual, reading) = (ManualClock::new(), Arc::new(Reading::default()));
        let clock: Arc<dyn Clock> = Arc::new(manual.clone());
        let pass = |seconds| manual.run(manual.sleep(Duration::from_secs(seconds)));
        let first = reading.begin(&clock);
        pass(1).await;
        let second = reading.begin(&clock);
        pass(2).await;
        drop(first);
        assert_eq!(reading.total(), Duration::ZERO, "one is under way");
        pass(3).await;
        drop(second);
        pass(100).await;
        drop(reading.begin(&clock));
        assert_eq!(reading.total(), Duration::from_secs(6));
    }
}
