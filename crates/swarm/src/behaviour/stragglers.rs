//! Stragglers: when a second attempt may run beside one that may still end well.
//!
//! One slow machine must not hold up a whole query. An attempt that takes over three times as long as the median of its
//! finished siblings, and over five seconds, gets company on another node; so does, after a second, one whose worker
//! was in touch and is not any more, and, where the bucket alone tells, one whose worker missed three beats. Whichever
//! ends first is the truth, so a wrong guess costs a bee's time and never rows; nobody is declared lost by it.

use std::time::Duration;

/// How many times the median of its siblings an attempt may take.
pub const TIMES_MEDIAN: u32 = 3;

/// An attempt younger than this is not slow.
pub const AGE_MIN: Duration = Duration::from_secs(5);

/// How long a worker may be out of touch before its attempts get company: a stream that was only renewed is back by then.
pub const OUT_OF_TOUCH_MAX: Duration = Duration::from_secs(1);

/// How long the heartbeat of a worker with a claim may stand still before its attempts get company: three beats of a
/// node that knows of an open query, whatever interval its last one named. A node that slept is woken by its claim.
pub const SILENT_MAX: Duration = Duration::from_secs(12);

/// What is known of an attempt's worker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Signs {
    /// For how long it has not listened any more, if it did before.
    pub out_of_touch: Option<Duration>,
    /// For how long its heartbeat has stood still.
    pub silent: Duration,
}

/// Whether an attempt of this `age` wants company. `finished` says how long each finished task of its stage took.
#[must_use]
pub fn wants_company(age: Duration, finished: &[Duration], worker: Signs) -> bool {
    if worker.out_of_touch.is_some_and(|since| since >= OUT_OF_TOUCH_MAX) || age.min(worker.silent) >= SILENT_MAX {
        return true;
    }
    age > AGE_MIN && median(finished).is_some_and(|median| age > median * TIMES_MEDIAN)
}

fn median(times: &[Duration]) -> Option<Duration> {
    let mut times = times.to_vec();
    times.sort_unstable();
    times.get(times.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slow(age_ms: u64, finished_ms: &[u64]) -> bool {
        let finished: Vec<_> = finished_ms.iter().copied().map(Duration::from_millis).collect();
        wants_company(Duration::from_millis(age_ms), &finished, Signs::default())
    }

    #[test]
    fn three_times_the_median_and_five_seconds_are_slow() {
        assert!(slow(6_100, &[2_000, 1_000, 9_000]));
        assert!(!slow(5_900, &[2_000, 1_000, 9_000]));
        assert!(!slow(4_900, &[100, 100, 100]), "young");
    }

    #[test]
    fn without_a_sibling_nobody_is_slow() {
        assert!(!slow(3_600_000, &[]));
    }

    #[test]
    fn a_worker_out_of_touch_leaves_its_attempts_in_want_of_company() {
        let gone = |ms| Signs { out_of_touch: Some(Duration::from_millis(ms)), ..Signs::default() };
        let wants = |ms| wants_company(Duration::ZERO, &[], gone(ms));
        assert_eq!([wants(0), wants(999), wants(1_000)], [false, false, true]);
    }

    #[test]
    fn a_worker_that_missed_three_beats_since_its_claim_leaves_its_attempts_in_want_of_company() {
        let wants = |age_s, silent_s| {
            let worker = Signs { silent: Duration::from_secs(silent_s), ..Signs::default() };
            wants_company(Duration::from_secs(age_s), &[], worker)
        };
        assert!(wants(12, 12) && wants(600, 30));
        assert!(!wants(11, 60), "a node that slept has just been woken by its claim");
        assert!(!wants(600, 11));
    }
}
