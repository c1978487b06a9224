//! A clock that goes by hand, for tests: nothing passes unless it is told to, and the same calls give the same times.
//!
//! Handles share one time; each group of clones has a wall clock of its own, which may be off by years. To let waits
//! take no time, give the whole test to [`ManualClock::run`]: whenever nothing else can go on, time jumps to the next
//! sleeper.

use std::{
    collections::BTreeMap,
    fmt::{self, Debug},
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use crate::clock::Clock;

/// The wall clock's start, some day in 2026.
const WALL_START_MS: i64 = 1_780_000_000_000;

/// Times that [`ManualClock::run`] lets spawned tasks go on before it calls everything idle.
const IDLE_ROUNDS: usize = 8;

/// The clock. Clones are the same clock.
#[derive(Clone)]
pub struct ManualClock {
    time: Arc<Mutex<Time>>,
    wall_off_ms: Arc<AtomicI64>,
}

#[derive(Debug, Default)]
struct Time {
    monotonic: Duration,
    /// Time that passed while the machine slept: the monotonic clock stood still.
    suspended: Duration,
    sleeps: u64,
    /// Who waits, by when and in which order they began.
    sleepers: BTreeMap<(Duration, u64), Waker>,
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManualClock").field("monotonic", &self.time().monotonic).finish_non_exhaustive()
    }
}

impl ManualClock {
    /// A clock that stands at its start.
    #[must_use]
    pub fn new() -> Self {
        Self { time: Arc::default(), wall_off_ms: Arc::default() }
    }

    /// Another machine's clock over the same time: its wall clock is off by `by_ms` from this one's.
    #[must_use]
    pub fn skewed(&self, by_ms: i64) -> Self {
        let off = self.wall_off_ms.load(Ordering::SeqCst).saturating_add(by_ms);
        Self { time: Arc::clone(&self.time), wall_off_ms: Arc::new(AtomicI64::new(off)) }
    }

    /// Someone sets this machine's wall clock forward or back.
    pub fn step_wall(&self, by_ms: i64) {
        self.wall_off_ms.fetch_add(by_ms, Ordering::SeqCst);
    }

    /// Lets time pass, for all handles, and wakes who waited for it, the earliest first.
    pub fn advance(&self, by: Duration) {
        let mut time = self.time();
        time.monotonic += by;
        let now = time.monotonic;
        let mut due = Vec::new();
        while let Some(entry) = time.sleepers.first_entry().filter(|entry| entry.key().0 <= now) {
            due.push(entry.remove());
        }
        drop(time);
        due.into_iter().for_each(Waker::wake);
    }

    /// Lets time pass up to the first sleeper's end; says whether there was one.
    pub fn advance_to_next(&self) -> bool {
        let time = self.time();
        let Some((deadline, _)) = time.sleepers.keys().next().copied() else { return false };
        let by = deadline.saturating_sub(time.monotonic);
        drop(time);
        self.advance(by);
        true
    }

    /// The machine sleeps and wakes: boot time and wall clock go on, the monotonic clock and all waits stand still.
    pub fn suspend(&self, by: Duration) {
        self.time().suspended += by;
    }

    /// Time since the start, sleep of the machine included.
    #[must_use]
    pub fn since_boot(&self) -> Duration {
        let time = self.time();
        time.monotonic + time.suspended
    }

    /// How many wait.
    #[must_use]
    pub fn sleepers(&self) -> usize {
        self.time().sleepers.len()
    }

    /// Does `work`, and whenever it can only wait, jumps to the next sleeper's end. Tasks that it spawned get their
    /// turn first on a runtime of one thread; work on other threads is not waited for before time jumps.
    pub async fn run<F: Future>(&self, work: F) -> F::Output {
        let mut work = pin!(work);
        let mut idle = 0;
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        poll_fn(move |outer| {
            woken.begin(outer.waker());
            if let Poll::Ready(done) = work.as_mut().poll(&mut Context::from_waker(&waker)) {
                return Poll::Ready(done);
            }
            if woken.flag.load(Ordering::SeqCst) {
                idle = 0;
                return Poll::Pending;
            }
            idle += 1;
            if idle <= IDLE_ROUNDS {
                outer.waker().wake_by_ref();
            } else if self.advance_to_next() {
                idle = 0;
                outer.waker().wake_by_ref();
            }
            Poll::Pending
        })
        .await
    }

    fn time(&self) -> MutexGuard<'_, Time> {
        self.time.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Passes a wake-up on, and remembers it.
#[derive(Default)]
struct Woken {
    outer: Mutex<Option<Waker>>,
    flag: AtomicBool,
}

impl Woken {
    fn begin(&self, outer: &Waker) {
        self.flag.store(false, Ordering::SeqCst);
        self.outer.lock().unwrap_or_else(PoisonError::into_inner).replace(outer.clone());
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.flag.store(true, Ordering::SeqCst);
        let outer = self.outer.lock().unwrap_or_else(PoisonError::into_inner).clone();
        outer.into_iter().for_each(Waker::wake);
    }
}

impl Clock for ManualClock {
    fn wall_ms(&self) -> i64 {
        let passed = i64::try_from(self.since_boot().as_millis()).unwrap_or(i64::MAX);
        WALL_START_MS.saturating_add(self.wall_off_ms.load(Ordering::SeqCst)).saturating_add(passed)
    }

    fn monotonic(&self) -> Duration {
        self.time().monotonic
    }

    fn boottime(&self) -> Option<Duration> {
        Some(self.since_boot())
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + 'static>> {
        let mut time = self.time();
        time.sleeps += 1;
        let place = (time.monotonic.saturating_add(duration), time.sleeps);
        Box::pin(Sleep { clock: self.clone(), place })
    }
}

/// One wait; dropped, it is over.
#[derive(Debug)]
struct Sleep {
    clock: ManualClock,
    place: (Duration, u64),
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut time = self.clock.time();
        if time.monotonic >= self.place.0 {
            return Poll::Ready(());
        }
        time.sleepers.insert(self.place, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.clock.time().sleepers.remove(&self.place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::within;

    const HOUR: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn time_jumps_only_when_nothing_else_can_go_on() {
        let clock = ManualClock::new();
        let order = Mutex::new(Vec::new());
        let wait = async |hours: u32| {
            clock.sleep(HOUR * hours).await;
            order.lock().unwrap().push(hours);
        };
        clock.run(async { tokio::join!(wait(3), wait(1), wait(2)) }).await;
        assert_eq!((order.into_inner().unwrap(), clock.monotonic()), (vec![1, 2, 3], HOUR * 3));
        assert_eq!(clock.sleepers(), 0);
    }

    #[tokio::test]
    async fn work_in_time_is_done_and_late_work_is_not() {
        let clock = ManualClock::new();
        let work = async |hours: u32| {
            clock.sleep(HOUR * hours).await;
            hours
        };
        assert_eq!(clock.run(within(&clock, HOUR * 2, work(1))).await, Some(1));
        assert_eq!(clock.run(within(&clock, HOUR * 2, work(9))).await, None);
        assert_eq!(clock.monotonic(), HOUR * 3);
    }

    #[tokio::test]
    async fn spawned_tasks_get_their_turn_before_time_jumps() {
        let clock = ManualClock::new();
        let other = tokio::spawn(async {
            for _ in 0..3 {
                tokio::task::yield_now().await;
            }
        });
        let ended = clock.run(within(&clock, HOUR, other)).await;
        assert!(ended.is_some());
        assert_eq!(clock.monotonic(), Duration::ZERO);
    }

    #[test]
    fn clocks_of_other_machines_share_time_and_not_its_name() {
        let here = ManualClock::new();
        let there = here.skewed(-1_000);
        here.advance(HOUR);
        here.suspend(HOUR);
        assert_eq!((there.monotonic(), there.since_boot()), (HOUR, HOUR * 2));
        assert_eq!(here.wall_ms() - there.wall_ms(), 1_000);
        here.step_wall(5);
        assert_eq!(here.wall_ms() - there.wall_ms(), 1_005);
    }
}
