//! Upkeep of ledgers: which frame a compactor looks at next, and when a frame wants a checkpoint.
//!
//! A look costs a request or two, and a colony may have thousands of frames of which few change. So each frame has a
//! wait of its own: halved by every look that found something new, but never far below the time that the frame has been
//! quiet; doubled by every look that found nothing; ten seconds at least and an hour at most. And all looks share one purse: a look that found nothing costs [`LOOK_PRICE`] of time,
//! so that a thousand idle frames cost no more requests than a hundred; they are only seen less often. A look that
//! found something costs nothing: it was work.

use std::{collections::BTreeMap, time::Duration};

/// Entries after a checkpoint that a cold reader reads in a few round trips.
const TAIL_ENTRIES_MAX: u64 = 50;

/// Bytes after a checkpoint that a cold reader reads as fast.
const TAIL_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// A tail of at least so many entries does not wait longer than [`TAIL_WAIT_MAX`].
const TAIL_ENTRIES_SOME: u64 = 10;

/// See [`TAIL_ENTRIES_SOME`].
const TAIL_WAIT_MAX: Duration = Duration::from_secs(600);

/// The wait of a frame that changes all the time.
const WAIT_MIN: Duration = Duration::from_secs(10);

/// The wait of a new frame.
const WAIT_FIRST: Duration = Duration::from_secs(60);

/// The wait of a frame that does not change.
const WAIT_MAX: Duration = Duration::from_secs(3600);

/// What a look that found nothing costs: so many make an hour.
pub const LOOK_PRICE: Duration = Duration::from_secs(40);

/// What a compactor that has just started, or had nothing to do, may spend at once.
const PURSE_MAX: Duration = Duration::from_secs(40 * 64);

/// Whether a frame with so many entries, of so many bytes, after its newest checkpoint, of which the first has been
/// known for `known`, wants a checkpoint.
#[must_use]
pub fn wants_checkpoint(entries: u64, bytes: u64, known: Duration) -> bool {
    entries >= TAIL_ENTRIES_MAX
        || (entries > 0 && bytes >= TAIL_BYTES_MAX)
        || (entries >= TAIL_ENTRIES_SOME && known >= TAIL_WAIT_MAX)
}

/// What a look came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// Something new, the last of it so long ago.
    News {
        /// By the store's clock.
        quiet: Duration,
    },
    /// Nothing.
    Nothing,
    /// Nothing, and a checkpoint is due before long.
    Waiting,
}

/// The rounds of one compactor over its frames. Times are of one monotonic clock.
#[derive(Debug)]
pub struct Rounds<K> {
    visits: BTreeMap<K, Visit>,
    purse: Duration,
    at: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Visit {
    due: Duration,
    wait: Duration,
    /// Whether the last look found something young: then the next one need not be paid for in advance.
    changes: bool,
}

impl<K: Ord + Clone> Rounds<K> {
    /// No frames yet, and a full purse.
    #[must_use]
    pub fn new(now: Duration) -> Self {
        Self { visits: BTreeMap::new(), purse: PURSE_MAX, at: now }
    }

    /// Takes the frames that there are now: new ones are due at once, those that are gone are forgotten.
    pub fn know(&mut self, frames: impl IntoIterator<Item = K>, now: Duration) {
        let mut visits = BTreeMap::new();
        for frame in frames {
            let new = || Visit { due: now, wait: WAIT_FIRST, changes: false };
            let visit = self.visits.get(&frame).copied().unwrap_or_else(new);
            visits.insert(frame, visit);
        }
        self.visits = visits;
    }

    /// The frame to look at now, of those that are due the one that is latest by the measure of its own wait: however
    /// many idle frames stand in line, one that changes passes them. `None` if none is due that the purse pays for.
    pub fn next(&mut self, now: Duration) -> Option<K> {
        self.purse = (self.purse + now.saturating_sub(self.at)).min(PURSE_MAX);
        self.at = now;
        let paid = self.purse >= LOOK_PRICE;
        let due = self.visits.iter_mut().filter(|(_, visit)| visit.due <= now && (paid || visit.changes));
        let late = |visit: &Visit| (now - visit.due).as_millis() * 1000 / visit.wait.as_millis().max(1);
        let (frame, visit) = due.max_by_key(|(_, visit)| late(visit))?;
        // Should nobody say what came of it.
        visit.due = now + visit.wait;
        Some(frame.clone())
    }

    /// Says what a look at a frame came to. The next one is due after its wait, up to a fifth more by `chance`, any random
    /// number.
    pub fn looked(&mut self, frame: &K, found: Found, now: Duration, chance: u64) {
        let Some(visit) = self.visits.get_mut(frame) else { return };
        visit.wait = match found {
            Found::News { quiet } => (visit.wait / 2).max(quiet / 4).clamp(WAIT_MIN, WAIT_MAX),
            Found::Nothing => (visit.wait * 2).min(WAIT_MAX),
            Found::Waiting => (visit.wait * 2).min(TAIL_WAIT_MAX / 2),
        };
        visit.changes = matches!(found, Found::News { quiet } if quiet < TAIL_WAIT_MAX);
        if !matches!(found, Found::News { .. }) {
            self.purse = self.purse.saturating_sub(LOOK_PRICE);
        }
        let fifth = u64::try_from(visit.wait.as_millis() / 5).unwrap_or(u64::MAX);
        visit.due = now + visit.wait + Duration::from_millis(chance % (fifth + 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_checkpoint_is_wanted_at_fifty_entries_four_mebibytes_or_ten_of_ten_minutes() {
        for (entries, bytes, known, wanted) in [
            (0, 0, HOUR, false),
            (49, 0, Duration::ZERO, false),
            (50, 0, Duration::ZERO, true),
            (1, TAIL_BYTES_MAX - 1, Duration::ZERO, false),
            (1, TAIL_BYTES_MAX, Duration::ZERO, true),
            (0, TAIL_BYTES_MAX, HOUR, false),
            (9, 0, HOUR, false),
            (10, 0, 9 * MINUTE, false),
            (10, 0, 10 * MINUTE, true),
        ] {
            assert_eq!(wants_checkpoint(entries, bytes, known), wanted, "{entries} {bytes} {known:?}");
        }
    }

    /// Looks in one hour of simulated time, tick by tick, at each frame.
    fn hour(rounds: &mut Rounds<u32>, from: Duration, found: impl Fn(u32) -> Found) -> BTreeMap<u32, u32> {
        let mut looks = BTreeMap::new();
        for second in (0..3600).step_by(5) {
            let now = from + Duration::from_secs(second);
            while let Some(frame) = rounds.next(now) {
                *looks.entry(frame).or_default() += 1;
                rounds.looked(&frame, found(frame), now, u64::from(frame) * 7919);
            }
        }
        looks
    }

    #[test]
    fn a_thousand_idle_frames_cost_no_more_looks_than_the_purse_holds_and_each_has_its_turn() {
        let mut rounds = Rounds::new(Duration::ZERO);
        rounds.know(0..1000, Duration::ZERO);
        let first: u32 = hour(&mut rounds, Duration::ZERO, |_| Found::Nothing).values().sum();
        assert!(first <= 64 + 90, "{first}");
        let mut seen = BTreeMap::new();
        for later in 1..24 {
            let looks = hour(&mut rounds, later * HOUR, |_| Found::Nothing);
            assert!(looks.values().sum::<u32>() <= 91);
            seen.extend(looks);
        }
        assert_eq!(seen.len(), 1000);
    }

    #[test]
    fn a_frame_that_changes_is_seen_often_among_a_thousand_that_do_not() {
        let mut rounds = Rounds::new(Duration::ZERO);
        rounds.know(0..1000, Duration::ZERO);
        // Everything is new to who looks for the first time.
        let quiet = |frame| if frame == 7 { Duration::ZERO } else { 100 * HOUR };
        while let Some(frame) = rounds.next(Duration::ZERO) {
            rounds.looked(&frame, Found::News { quiet: quiet(frame) }, Duration::ZERO, 0);
        }
        let busy = |frame| if frame == 7 { Found::News { quiet: quiet(7) } } else { Found::Nothing };
        for later in 0..12 {
            let looks = hour(&mut rounds, later * HOUR, busy);
            let idle = looks.values().sum::<u32>() - looks[&7];
            assert!(looks[&7] > 100 && idle <= 160, "{} {idle}", looks[&7]);
        }
    }

    #[test]
    fn few_idle_frames_are_seen_once_an_hour_and_one_that_waits_every_few_minutes() {
        let mut rounds = Rounds::new(Duration::ZERO);
        rounds.know(0..3, Duration::ZERO);
        let found = |frame| if frame == 2 { Found::Waiting } else { Found::Nothing };
        for h in 0..2 {
            hour(&mut rounds, h * HOUR, found);
        }
        let looks = hour(&mut rounds, 2 * HOUR, found);
        assert!(looks.get(&0).copied().unwrap_or_default() <= 2 && looks[&2] >= 9, "{looks:?}");
    }

    #[test]
    fn frames_come_and_go() {
        let mut rounds = Rounds::new(Duration::ZERO);
        rounds.know([1, 2], Duration::ZERO);
        let both = [rounds.next(MINUTE), rounds.next(MINUTE)];
        assert!(both.contains(&Some(1)) && both.contains(&Some(2)) && rounds.next(MINUTE).is_none());
        rounds.know([2, 3], MINUTE);
        assert_eq!((rounds.next(MINUTE), rounds.next(MINUTE)), (Some(3), None));
        rounds.looked(&3, Found::Nothing, MINUTE, 0);
        assert_eq!(rounds.next(MINUTE * 2 + Duration::from_secs(59)), Some(2));
        rounds.looked(&1, Found::Nothing, MINUTE, 0);
    }
}
