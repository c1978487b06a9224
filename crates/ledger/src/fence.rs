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

use apiary_core::Version;

/// Versions in an epoch: a fence costs one object for ever, so an epoch is long; it is cleaned as a whole, so not too
/// long.
pub(crate) const EPOCH_VERSIONS: u64 = 1024;

/// The epoch of a version.
pub(crate) fn epoch_of(version: Version) -> u64 {
    version.0 / EPOCH_VERSIONS
}
