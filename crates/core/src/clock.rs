//! The one file that reads time.
//!
//! Three clocks that must not be mixed up: the wall clock, which may be wrong by years and decides nothing but
//! what is shown or stored for people; the monotonic clock, which measures waits on this machine alone, and stands
//! still while the machine sleeps; and the boot-time clock, which goes on while it sleeps.

use std::{
    fmt::Debug,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::LazyLock,
    task::Poll,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Time as the program sees it; tests pass their own.
pub trait Clock: Send + Sync + Debug {
    /// Milliseconds since 1970 by this machine's wall clock. For people, never for decisions.
    fn wall_ms(&self) -> i64;

    /// Time since some fixed moment of this process; never goes back.
    fn monotonic(&self) -> Duration;

    /// Time since the machine started, its sleep included; `None` where the machine does not tell. Whoever must know
    /// that he did not sleep compares this, since [`Clock::monotonic`] proves nothing about it.
    fn boottime(&self) -> Option<Duration> {
        Some(self.monotonic())
    }

    /// Waits for `duration`. Dropping the future cancels the wait.
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + 'static>>;
}

/// What `work` gives, or `None` if it takes longer than `limit`; it is dropped then.
pub async fn within<F: Future>(clock: &dyn Clock, limit: Duration, work: F) -> Option<F::Output> {
    let (mut work, mut end) = (pin!(work), clock.sleep(limit));
    poll_fn(move |context| match work.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => end.as_mut().poll(context).map(|()| None),
    })
    .await
}

/// The machine's own clocks.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

#[expect(clippy::disallowed_methods, reason = "this is the one file that reads time")]
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// `APIARY_FAILPOINT_CLOCK_DAYS`: the wall clock is wrong by up to so many days, and by others each second, for a test
/// that holds us to its deciding nothing.
static WRONG_BY: LazyLock<Option<u32>> =
    LazyLock::new(|| std::env::var("APIARY_FAILPOINT_CLOCK_DAYS").ok()?.trim().parse().ok());

/// By how many milliseconds a wall clock is wrong in that second: less than `days`, to either side.
fn jump_ms(days: u32, second: u64) -> i64 {
    // The steps of a full period of Knuth's generator: far apart, and the same each time.
    let mixed = second.wrapping_add(1).wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    let range = i64::from(days) * 86_400_000;
    (mixed >> 16) as i64 % range.max(1) - (mixed & 1) as i64 * range
}

#[expect(clippy::disallowed_methods, reason = "this is the one file that reads time")]
impl Clock for SystemClock {
    fn wall_ms(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
        WRONG_BY.map_or(now, |days| now.saturating_add(jump_ms(days, self.monotonic().as_secs())).max(0))
    }

    fn monotonic(&self) -> Duration {
        let start = *START;
        Instant::now().saturating_duration_since(start)
    }

    fn boottime(&self) -> Option<Duration> {
        // What Linux writes here is its boot-time clock; other systems have no such file.
        let text = std::fs::read_to_string("/proc/uptime").ok()?;
        seconds(text.split_whitespace().next()?)
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + 'static>> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// Seconds with a fraction, as a duration.
fn seconds(text: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(text.parse().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn monotonic_time_does_not_go_back() {
        let first = SystemClock.monotonic();
        assert!(SystemClock.monotonic() >= first);
    }

    #[test]
    fn the_boot_time_clock_of_linux_is_read() {
        assert_eq!(seconds("81.25"), Some(Duration::from_millis(81_250)));
        assert_eq!((seconds("-1"), seconds("x"), seconds("NaN")), (None, None, None));
        let first = SystemClock.boottime();
        assert_eq!(first.is_some(), cfg!(target_os = "linux"));
        assert!(SystemClock.boottime() >= first);
    }

    #[test]
    fn a_clock_that_jumps_does_so_each_second_both_ways_and_within_its_days() {
        let day = 86_400_000;
        let jumps: Vec<i64> = (0..1000).map(|second| jump_ms(400, second)).collect();
        assert!(jumps.iter().all(|jump| jump.abs() <= 400 * day));
        let far = |ahead: i64| jumps.iter().filter(|jump| **jump * ahead > 100 * day).count();
        assert!(far(1) > 200 && far(-1) > 200, "{} ahead, {} behind", far(1), far(-1));
        assert!(jumps.windows(2).all(|pair| pair[0] != pair[1]));
        assert_eq!(jump_ms(0, 7), 0);
    }

    #[test]
    fn the_wall_clock_is_past_2020() {
        assert!(SystemClock.wall_ms() > 1_577_836_800_000);
    }
}
