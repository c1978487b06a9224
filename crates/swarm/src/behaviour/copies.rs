//! Which old checkpoints of a frame are worth their room.
//!
//! A checkpoint is a whole copy of a frame's list of cells. A frame that changes all the time gets one after every fifty
//! entries, and all of them are kept as long as the entries are, for a week: a big frame would fill the bucket with
//! copies of itself. The newest ones are for readers who open the frame, and for the day on which the newest is damaged.
//! The older ones are for readers who go back in time: from a checkpoint they read on, entry by entry. So an older one
//! is kept if it saves at least as many bytes of entries as it has itself, and one an hour whatever it saves:
//!
//! ```text
//!   kept ── entries ── entries ── entries ── candidate      entries since the last kept one >= its own bytes: kept
//!                                                           an hour since the last kept one:                  kept
//!                                                           else it goes, and its entries count for the next
//! ```
//!
//! All older copies together weigh no more than the entries beside them, and 168 copies for a week. What goes is young:
//! a log cleanup counts on checkpoints that are an hour old at least, so none of those is ever taken from under it.

use std::{collections::VecDeque, time::Duration};

/// The newest ones, which always stay.
const NEWEST: usize = 3;

/// One an hour stays.
const KEPT_INTERVAL: Duration = Duration::from_secs(3600);

/// What is older stays, far below the hour that a log cleanup leaves everything alone.
const YOUNG_MAX: Duration = Duration::from_secs(1200);

/// The checkpoints of one frame, as far as somebody saw them being written.
#[derive(Debug, Default)]
pub struct Copies {
    newest: VecDeque<Copy>,
    /// When the last of those older ones that stay was written.
    kept: Option<Duration>,
    /// Bytes of entries since then, up to the newest ones.
    since_kept: u64,
}

#[derive(Debug, Clone, Copy)]
struct Copy {
    version: u64,
    bytes: u64,
    entries_bytes: u64,
    at: Duration,
}

impl Copies {
    /// Takes note of a checkpoint of `bytes` bytes that was just written, after `entries_bytes` of entries since the one
    /// before. The version of one that should go now. `now` is of one monotonic clock.
    pub fn wrote(&mut self, version: u64, bytes: u64, entries_bytes: u64, now: Duration) -> Option<u64> {
        self.newest.push_back(Copy { version, bytes, entries_bytes, at: now });
        if self.newest.len() <= NEWEST {
            return None;
        }
        let oldest = self.newest.pop_front()?;
        self.since_kept = self.since_kept.saturating_add(oldest.entries_bytes);
        let hourly = self.kept.is_none_or(|kept| oldest.at.saturating_sub(kept) >= KEPT_INTERVAL);
        let is_old = now.saturating_sub(oldest.at) > YOUNG_MAX;
        if hourly || is_old || self.since_kept >= oldest.bytes {
            (self.kept, self.since_kept) = (Some(oldest.at), 0);
            return None;
        }
        Some(oldest.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1 << 20;

    /// Checkpoints of so many bytes, one every so many seconds, after so many bytes of entries each; those that stay.
    fn stay(copies: u64, bytes: u64, entries_bytes: u64, seconds: u64) -> Vec<u64> {
        let mut seen = Copies::default();
        let mut stay: Vec<u64> = (0..copies).collect();
        for n in 0..copies {
            let gone = seen.wrote(n, bytes, entries_bytes, Duration::from_secs(n * seconds));
            stay.retain(|version| Some(*version) != gone);
        }
        stay
    }

    #[test]
    fn a_big_frame_that_changes_all_the_time_keeps_the_newest_and_one_an_hour() {
        let day = stay(8640, 100 * MB, 1000, 10);
        assert_eq!(day.len(), 24 + 3);
        assert!(day.ends_with(&[8637, 8638, 8639]), "{day:?}");
        assert!(day.windows(2).all(|pair| pair[1] - pair[0] <= 361), "{day:?}");
    }

    #[test]
    fn copies_that_weigh_less_than_the_entries_between_them_stay() {
        assert_eq!(stay(500, MB, 2 * MB, 10).len(), 500);
        // One in ten pays for itself, and weighs as much as the entries of ten.
        assert_eq!(stay(303, 10 * MB, MB, 10).len(), 1 + 29 + 3);
    }

    #[test]
    fn what_is_no_longer_young_stays() {
        assert_eq!(stay(50, 100 * MB, 1000, 601).len(), 50, "it was written twenty minutes before its turn came");
        assert_eq!(stay(3, 100 * MB, 0, 1), [0, 1, 2]);
    }
}
