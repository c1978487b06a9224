//! Adaptive polling: how long a worker without nudges waits before it looks at the board again.
//!
//! A quarter of a second right after work, half as long again after every look that found nothing, up to half a
//! minute, with jitter so that a shelf of workers does not look in step. Polling at a fixed 500 ms would cost 26
//! dollars per worker and month on S3; this costs cents.

use std::time::Duration;

/// The wait right after work, in milliseconds.
pub const FIRST_MS: u64 = 250;

/// The longest wait, in milliseconds.
pub const LONGEST_MS: u64 = 30_000;

/// The wait of one worker, as it grows and falls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Polling {
    next_ms: u64,
}

impl Default for Polling {
    fn default() -> Self {
        Self::new()
    }
}

impl Polling {
    /// A worker that has just started looks soon.
    #[must_use]
    pub fn new() -> Self {
        Self { next_ms: FIRST_MS }
    }

    /// There was work: look again soon.
    pub fn worked(&mut self) {
        self.next_ms = FIRST_MS;
    }

    /// There was none: how long to wait now, up to a fifth more or less by `chance`, any random number.
    pub fn idle(&mut self, chance: u64) -> Duration {
        let wait_ms = self.next_ms;
        self.next_ms = (self.next_ms * 3 / 2).min(LONGEST_MS);
        let fifth = wait_ms / 5;
        Duration::from_millis((wait_ms - fifth + chance % (2 * fifth + 1)).min(LONGEST_MS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A chance that adds nothing and takes nothing away.
    fn waits(polling: &mut Polling, looks: usize) -> Vec<u64> {
        (0..looks)
            .map(|_| {
                let fifth = polling.next_ms / 5;
                u64::try_from(polling.idle(fifth).as_millis()).unwrap()
            })
            .collect()
    }

    #[test]
    fn the_wait_grows_by_half() {
        assert_eq!(waits(&mut Polling::new(), 5), [250, 375, 562, 843, 1264]);
    }

    #[test]
    fn the_wait_ends_at_half_a_minute() {
        let mut polling = Polling::new();
        assert_eq!(waits(&mut polling, 40).last(), Some(&LONGEST_MS));
        assert!((0..1000).all(|chance| polling.idle(chance * 7919) <= Duration::from_millis(LONGEST_MS)));
    }

    #[test]
    fn work_brings_the_short_wait_back() {
        let mut polling = Polling::new();
        waits(&mut polling, 20);
        polling.worked();
        assert_eq!(waits(&mut polling, 1), [FIRST_MS]);
    }

    #[test]
    fn jitter_is_a_fifth_at_most() {
        for chance in 0..2000 {
            let wait = Polling::new().idle(chance).as_millis();
            assert!((200..=300).contains(&wait), "{wait}");
        }
    }
}
