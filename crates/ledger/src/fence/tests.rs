//! Who may save a request for the fence, and who must not.

use std::{
    future::Future,
    pin::Pin,
    sync::atomic::{AtomicI64, AtomicU64, Ordering},
};

use super::*;

/// Two clocks that are set by hand.
#[derive(Debug, Default)]
struct Hands {
    boot_s: AtomicU64,
    wall_s: AtomicI64,
    no_boot: bool,
}

impl Hands {
    fn pass(&self, boot_s: u64, wall_s: i64) {
        self.boot_s.fetch_add(boot_s, Ordering::SeqCst);
        self.wall_s.fetch_add(wall_s, Ordering::SeqCst);
    }
}

impl Clock for Hands {
    fn wall_ms(&self) -> i64 {
        self.wall_s.load(Ordering::SeqCst) * 1000
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }

    fn boottime(&self) -> Option<Duration> {
        (!self.no_boot).then(|| Duration::from_secs(self.boot_s.load(Ordering::SeqCst)))
    }

    fn sleep(&self, _: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + 'static>> {
        Box::pin(std::future::ready(()))
    }
}

#[test]
fn a_moment_is_fresh_for_a_minute_by_both_clocks() {
    for (boot_s, wall_s, fresh) in [
        (0, 0, true),
        (59, 59, true),
        (60, 59, false),
        (59, 60, false),
        // Set back, and set ahead.
        (1, -1, false),
        (1, 86_400, false),
        // A sleep that the wall clock does not show, since it was set back meanwhile.
        (86_400, 1, false),
    ] {
        let clock = Hands::default();
        clock.pass(1000, 1_700_000_000);
        let moment = Moment::now(&clock);
        clock.pass(boot_s, wall_s);
        assert_eq!(moment.is_fresh(&clock), fresh, "{boot_s} {wall_s}");
    }
}

#[test]
fn a_machine_without_a_boot_time_clock_is_never_sure() {
    let clock = Hands { no_boot: true, ..Hands::default() };
    assert!(!Moment::now(&clock).is_fresh(&clock));
}

#[test]
fn a_missing_fence_speaks_for_later_slots_only() {
    let (clock, vouch) = (Hands::default(), Vouch::default());
    assert!(!vouch.covers(Version(5000), &clock));
    vouch.set(Version(5000), Moment::now(&clock));
    assert!(vouch.covers(Version(5000), &clock) && vouch.covers(Version(9000), &clock));
    // Who comes with an older snapshot asks for himself.
    assert!(!vouch.covers(Version(4999), &clock));
    clock.pass(61, 61);
    assert!(!vouch.covers(Version(5000), &clock));
}

#[test]
fn an_epoch_has_1024_versions() {
    assert_eq!([0, 1023, 1024, 2047, 2048].map(|v| epoch_of(Version(v))), [0, 0, 1, 1, 2]);
}
