//! Epochs and their fences: how a log is cleaned without fooling whoever slept.
//!
//! Create-if-absent forgets. Once an entry is deleted, its slot looks as if nobody had ever taken it: a writer that
//! slept for weeks wins it, a reader that slept takes the log to end there. So entries go by whole **epochs** of
//! [`EPOCH_VERSIONS`] versions, and before the first of an epoch is deleted a mark is created that is never deleted
//! again, the epoch's **fence**:
//!
//! ```text
//! versions    0 ............ 1023 | 1024 ......... 2047 | 2048 ...... 2900 (checkpoint) ... 2950
//!             fenced, then empty  | fenced, then empty  | whole, to the end
//! ```
//!
//! Three rules make one cheap GET of one known key enough, with no clock in it:
//!
//! 1. An epoch is fenced only when all of it lies below a verified checkpoint: a slot that a live writer can rightly
//!    win lies above every checkpoint, so never in a fenced epoch.
//! 2. Fences come in the order of epochs: while an epoch has none, no later one has.
//! 3. The fence is there before the first delete: who finds a slot empty because it was cleaned, finds the fence.
//!
//! So a writer asks for the fence *after* it won a slot, and a reader together with each slot it looks at.
//!
//! A reader may save that request for a minute, or make both at once: nothing is deleted before a fence has stood for
//! [`FENCE_SETTLES`], so whoever found no fence a minute ago, and is sure that it was a minute, needs not ask again.
//! (Without that wait a fence could be missing when it is asked for, and the slot emptied before it is looked at.) A
//! machine that slept is not sure by its monotonic clock, which stood still, so two other clocks must agree ([`Moment`]).

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use apiary_core::{Clock, Version};

/// Versions in an epoch: a fence costs one object for ever, so an epoch is long; it is cleaned as a whole, so not too
/// long.
pub(crate) const EPOCH_VERSIONS: u64 = 1024;

/// The epoch of a version.
pub(crate) fn epoch_of(version: Version) -> u64 {
    version.0 / EPOCH_VERSIONS
}

/// The shortest retention of a log: far above [`FRESH_MAX`] and any request that is still under way.
pub(crate) const RETENTION_MIN: Duration = Duration::from_secs(3600);

/// How long a missing fence stays believed.
const FRESH_MAX: Duration = Duration::from_secs(60);

/// How long a fence stands before anything behind it is deleted: far above [`FRESH_MAX`], though clocks run unevenly.
pub(crate) const FENCE_SETTLES: Duration = Duration::from_secs(120);

/// A moment, by the two clocks that go on while a machine sleeps. One of them may be set, both hardly are at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    boot: Option<Duration>,
    wall_ms: i64,
}

impl Moment {
    pub(crate) fn now(clock: &dyn Clock) -> Self {
        Self { boot: clock.boottime(), wall_ms: clock.wall_ms() }
    }

    /// Whether it is less than a minute ago, surely. Never on a machine without a boot-time clock.
    pub(crate) fn is_fresh(self, clock: &dyn Clock) -> bool {
        let now = Self::now(clock);
        let boot = now.boot.zip(self.boot).and_then(|(now, then)| now.checked_sub(then));
        let wall = u64::try_from(now.wall_ms.saturating_sub(self.wall_ms)).ok().map(Duration::from_millis);
        boot.is_some_and(|passed| passed < FRESH_MAX) && wall.is_some_and(|passed| passed < FRESH_MAX)
    }
}

/// When a frame's epochs were last known to have no fence, shared by all who read that frame. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Vouch(Arc<Mutex<Option<(Version, Moment)>>>);

impl Vouch {
    /// At `at`, or later, the epoch of `slot` had no fence, and so no later one had.
    pub(crate) fn set(&self, slot: Version, at: Moment) {
        // One value cannot be half written, so a panic elsewhere cannot have broken it.
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((slot, at));
    }

    /// Whether what is, or is not, in `slot` may be believed without asking for its fence.
    pub(crate) fn covers(&self, slot: Version, clock: &dyn Clock) -> bool {
        let known = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.is_some_and(|(from, at)| slot >= from && at.is_fresh(clock))
    }
}

#[cfg(test)]
mod tests;
