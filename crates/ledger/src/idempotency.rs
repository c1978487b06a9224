//! The idempotency keys that a frame remembers: for 7 days at least, and at most 100 000 of them, oldest first out.
//!
//! **Whose days.** Timestamps in a log only ever grow, so one writer whose clock is a month ahead moves the log's time
//! for everybody, for good; were keys aged by it, every key of the last week would be forgotten at once, and a retry
//! of a minute ago would write its rows a second time. So keys age by a clock of the frame's own: each entry with a
//! key moves it on by as much as the log's time moved on since the entry before, and by an hour at most. A wrong clock
//! costs one hour of the seven days each time that it jumps, however far. On a frame that is seldom written keys live
//! longer than seven days; their number has its own limit. Time after the log's own is never looked at, so every
//! reader of a version remembers the same, and the clock needs no place of its own in a checkpoint: it stands where
//! the newest key was used.
//!
//! **Pieces.** A snapshot that differs from the one before it by one key shares all pieces with it but the last. A piece
//! goes when all of it may go, so a few more keys than promised are found; a checkpoint holds exactly those promised.

use std::{collections::HashMap, sync::Arc};

use apiary_core::Version;

use crate::{header::Idem, transaction::IdempotencyKey};

/// Most keys that a frame remembers: some tens of megabytes.
const KEYS_MAX: usize = 100_000;

/// How long a key is remembered: longer than any client retries.
const KEPT_MS: i64 = 7 * 24 * 60 * 60 * 1000;

/// How far one entry moves the frame's clock: 168 jumps of a wrong clock make the seven days.
const STEP_MS_MAX: i64 = 60 * 60 * 1000;

/// Most keys in a piece: few enough to copy for one more, enough to have few pieces.
const PIECE_MAX: usize = 512;

/// Where a key was used.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Used {
    pub(crate) digest: String,
    pub(crate) version: Version,
    /// When, by the frame's own clock.
    pub(crate) at_ms: i64,
}

/// The keys of a frame. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Idempotency {
    /// Oldest first; only the last is not full.
    pieces: Vec<Arc<HashMap<Idem, Used>>>,
    /// The frame's own clock; `None` before the first key.
    now_ms: Option<i64>,
}

impl Idempotency {
    /// Keys from a checkpoint, in the order of [`Idempotency::sorted`].
    pub(crate) fn of(keys: Vec<(Idem, Used)>) -> Self {
        let now_ms = keys.iter().map(|(_, used)| used.at_ms).max();
        let (mut pieces, mut keys) = (Vec::new(), keys.into_iter().peekable());
        while keys.peek().is_some() {
            pieces.push(Arc::new(keys.by_ref().take(PIECE_MAX).collect()));
        }
        Self { pieces, now_ms }
    }

    pub(crate) fn find(&self, key: &IdempotencyKey) -> Option<&Used> {
        let idem = Idem::of(key);
        self.pieces.iter().rev().find_map(|piece| piece.get(&idem)).filter(|used| self.is_young(used))
    }

    /// Remembers the keys of one entry, whose timestamp is `after_ms` later than that of the entry before it.
    pub(crate) fn remember(
        &mut self,
        version: Version,
        timestamp_ms: i64,
        after_ms: i64,
        keys: impl Iterator<Item = (Idem, String)>,
    ) {
        let mut keys = keys.peekable();
        if keys.peek().is_none() {
            return;
        }
        let step = after_ms.clamp(0, STEP_MS_MAX);
        let at_ms = self.now_ms.map_or(timestamp_ms, |now_ms| now_ms.saturating_add(step));
        self.now_ms = Some(at_ms);
        for (idem, digest) in keys {
            if self.pieces.last().is_none_or(|piece| piece.len() >= PIECE_MAX) {
                self.pieces.push(Arc::default());
                self.forget();
            }
            if let Some(last) = self.pieces.last_mut() {
                Arc::make_mut(last).insert(idem, Used { digest, version, at_ms });
            }
        }
    }

    /// The keys that count, by version: the same ones however many that count no more are still in here.
    pub(crate) fn sorted(&self) -> Vec<(&Idem, &Used)> {
        let all = self.pieces.iter().flat_map(|piece| piece.iter());
        let mut keys: Vec<(&Idem, &Used)> = all.filter(|(_, used)| self.is_young(used)).collect();
        keys.sort_unstable_by(|(a, in_a), (b, in_b)| {
            in_a.version.cmp(&in_b.version).then_with(|| (&a.scope, &a.key).cmp(&(&b.scope, &b.key)))
        });
        keys.split_off(keys.len().saturating_sub(KEYS_MAX))
    }

    /// About how much memory the keys take.
    pub(crate) fn memory_bytes(&self) -> usize {
        let one = |(idem, used): (&Idem, &Used)| {
            size_of::<(Idem, Used)>() + idem.scope.len() + idem.key.len() + used.digest.len() + 48
        };
        // As large as those of the first piece: counting every one would cost more than it tells.
        let first = self.pieces.first().map_or(0, |piece| piece.iter().map(one).sum());
        first * self.pieces.len()
    }

    fn is_young(&self, used: &Used) -> bool {
        self.now_ms.is_none_or(|now_ms| used.at_ms > now_ms.saturating_sub(KEPT_MS))
    }

    /// Lets pieces go of which no key counts.
    fn forget(&mut self) {
        let old = |piece: &HashMap<Idem, Used>| !piece.values().any(|used| self.is_young(used));
        // Full pieces but the one that was just begun, and the oldest.
        let more_than_enough = |left: usize| (left.saturating_sub(2)) * PIECE_MAX >= KEYS_MAX;
        let mut gone = 0;
        for piece in &self.pieces {
            if !old(piece) && !more_than_enough(self.pieces.len() - gone) {
                break;
            }
            gone += 1;
        }
        // The one that was just begun is empty, not old.
        self.pieces.drain(..gone.min(self.pieces.len() - 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = STEP_MS_MAX;

    fn key(n: u64) -> IdempotencyKey {
        IdempotencyKey { scope: "me".into(), key: n.to_string(), digest: "d".into() }
    }

    /// A log whose entries have one key each.
    struct Log {
        keys: Idempotency,
        version: u64,
        timestamp_ms: i64,
    }

    impl Log {
        fn new() -> Self {
            Self { keys: Idempotency::default(), version: 0, timestamp_ms: 1_790_000_000_000 }
        }

        /// One more entry, `after_ms` later, as the log's time goes: forward.
        fn entry(&mut self, after_ms: i64) {
            let after_ms = after_ms.max(1);
            (self.version, self.timestamp_ms) = (self.version + 1, self.timestamp_ms + after_ms);
            let keys = std::iter::once((Idem::of(&key(self.version)), "d".to_owned()));
            self.keys.remember(Version(self.version), self.timestamp_ms, after_ms, keys);
        }

        fn knows(&self, n: u64) -> bool {
            self.keys.find(&key(n)).is_some_and(|used| used.version == Version(n))
        }
    }

    #[test]
    fn keys_are_found_in_every_piece() {
        let mut log = Log::new();
        (0..3000).for_each(|_| log.entry(1));
        assert!((1..=3000).all(|n| log.knows(n)));
        assert!(log.keys.find(&IdempotencyKey { scope: "you".into(), ..key(1) }).is_none());
        assert_eq!(log.keys.sorted().len(), 3000);
    }

    #[test]
    fn keys_of_more_than_seven_days_are_forgotten() {
        let mut log = Log::new();
        (0..7 * 24).for_each(|_| log.entry(HOUR));
        assert!(log.knows(1));
        log.entry(HOUR);
        assert!(!log.knows(1) && log.knows(2));
        // What nobody finds any more goes from memory, too.
        (0..2 * PIECE_MAX).for_each(|_| log.entry(HOUR));
        assert!(log.keys.pieces.len() <= 2);
    }

    #[test]
    fn a_clock_that_is_years_ahead_makes_nobody_forget() {
        let mut log = Log::new();
        (0..1000).for_each(|_| log.entry(1000));
        // One writer's clock is ten years ahead; all later entries of right clocks follow it by a millisecond each.
        log.entry(10 * 365 * 24 * HOUR);
        (0..10_000).for_each(|_| log.entry(1));
        assert!((1..=11_001).all(|n| log.knows(n)));
        // Even if it jumps again and again, day by day for a hundred days.
        (0..100).for_each(|_| log.entry(24 * HOUR));
        assert!(log.knows(1));
    }

    #[test]
    fn the_newest_hundred_thousand_are_remembered() {
        let mut log = Log::new();
        let count = KEYS_MAX as u64 + 3000;
        (0..count).for_each(|_| log.entry(1));
        assert!((3001..=count).all(|n| log.knows(n)));
        assert!(!log.knows(1));
        let held: usize = log.keys.pieces.iter().map(|piece| piece.len()).sum();
        assert!((KEYS_MAX..KEYS_MAX + 2 * PIECE_MAX).contains(&held), "{held}");
        let sorted = log.keys.sorted();
        assert_eq!((sorted.len(), sorted[0].1.version), (KEYS_MAX, Version(3001)));
    }

    #[test]
    fn a_checkpoint_anywhere_changes_nothing() {
        let (mut whole, mut cut) = (Log::new(), Log::new());
        for n in 0..2000u64 {
            let after_ms = [1, 500, HOUR / 3, 9 * HOUR][(n % 4) as usize];
            whole.entry(after_ms);
            cut.entry(after_ms);
            if n % 97 == 0 {
                let keys = cut.keys.sorted().into_iter().map(|(idem, used)| (idem.clone(), used.clone())).collect();
                cut.keys = Idempotency::of(keys);
            }
            assert_eq!(whole.keys.sorted(), cut.keys.sorted());
        }
        assert!((1..=2000).all(|n| whole.knows(n) == cut.knows(n)));
        assert!(whole.knows(2000) && !whole.knows(1));
    }

    #[test]
    fn one_more_key_copies_one_piece() {
        let mut log = Log::new();
        (0..10_000).for_each(|_| log.entry(1));
        let before = log.keys.clone();
        log.entry(1);
        let shared = before.pieces.iter().zip(&log.keys.pieces).filter(|(a, b)| Arc::ptr_eq(a, b)).count();
        assert_eq!(shared, before.pieces.len() - 1);
        assert!(before.find(&key(10_001)).is_none() && log.knows(10_001));
    }
}
