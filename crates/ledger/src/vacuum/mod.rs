//! Vacuum: deletes the cells that nothing can need any more, and whatever else in the bucket is garbage.
//!
//! A cell's name is made of the id of the one transaction that may ever name it. So a cell that no version names is
//! either one that a later entry **removed**, or an **orphan**: its transaction was never committed, or committed
//! without it. Vacuum lists what is there, reads the log, and judges each file (`judge`, pure):
//!
//! ```text
//!              the oldest version within retention
//!  cleaned away        │                                            head h      d
//!  ░░░░░░░░░░░ [5] [6] [7] [8]* [9]* [10]* [11]* [12]* [13]* [14]* [15]* ─ ─ ─ [V: doomed X, Y]  delete …  [V: 7 files]
//!              ^^^^^^^^^^^     * = written within retention, by the store's clock     │
//!              removed there: may go     removed there: stays                         └ from here on nobody commits X, Y
//! ```
//!
//! A file goes only if **(1)** the head does not have it; **(2)** no entry within retention, and none after a pinned
//! version, removed it; **(3)** its transaction is decided: committed, sealed or doomed; or the file is older than
//! [`UNDECIDED_AGE`], and then this vacuum dooms it; and **(4)** all this is *known*: each entry that could say
//! otherwise was read, and their hash chain is whole. What is not known stays.
//!
//! **Versions within retention stay whole.** Version u is within retention while it was current at some moment of the
//! last R: it is the head, or entry u+1 is younger than R. Take a cell of u. Either it is in the head (1), or some
//! entry r > u removed it. Let y be the first entry younger than R, by the last-modified time of its object; u+1 >= y,
//! so r >= y, and (2) keeps the cell: every removal from y on protects, whatever age the store tells of the later
//! entry. Removals that were cleaned out of the log were older than the cleaner's retention; the entries that are left
//! are judged as they stand. A pin on version p is the same with y = p+1; if the log no longer reaches down to p+1,
//! nothing of the frame goes.
//!
//! **Nothing newer can need it.** Only transaction X can add a cell that bears X. If X is committed, its entry stands at
//! one place in the log, and it is read or older than all that is read: it adds nothing any more. If X is sealed or
//! doomed, every writer that has read so far gives it up. Left are undecided ones. They are doomed *before* the first
//! delete, by an ordinary entry d that names them, and that entry is put by the same protocol as any commit: slot d is
//! won only after every entry before it was read. An entry that passes by while d is on its way is looked at again: if
//! it commits X, X's files are spared and X is not doomed. So X is not in the log up to d. And it never will be after d:
//!
//! - a writer reads the log from its base on, entry by entry, before it puts. A base older than d meets d: `Aborted`.
//! - its base *is* older than d, because a writer reads its base before it uploads its first cell, and that cell was
//!   listed here before d was put. (`Frames::commit` is told so.)
//! - a put of X that was sent before and is held up somewhere was sent to a slot at or before d, since a writer never
//!   has an undecided slot before the one it tries: it loses, the slots up to d are taken.
//! - a writer that slept so long that d was cleaned away finds the fence of its own slot's epoch, which came before, and
//!   commits nothing.
//!
//! No clock is in that argument. Clocks decide only how long old versions are kept: a store whose clock jumps costs an
//! old reader an error that names the cell, and a slow writer a transaction; never a row.
//!
//! **It stays true.** Each of (1) to (3), once true of a file, is true for ever: nothing adds it again, versions only
//! leave retention, and a pin is taken on a version that was current a minute ago. So a vacuum may sleep between its
//! judgement and its deletes, several may run at once and delete the same files, and one that was killed half way is
//! finished by the next: it finds the ids doomed, or dooms them again. (Whoever lets removed cells join a frame again,
//! a restore for one, must copy them.)
//!
//! **Bounded**: see the limits below; what does not fit waits for the next run. **Clocks**: ages are differences of two
//! times told by the store (`Bucket::store_now_ms`).
//!
//! | file | tells |
//! |---|---|
//! | `judge` | which file goes, and why: pure |
//! | `window` | the part of the log that the judgement needs |
//! | `run` | the vacuum of one frame, step by step |
//! | `doom` | its two entries, on their way into the log |
//! | `pins` | the snapshots that long queries hold |
//! | `folder`, `sweep` | folders that no name leads to, and other garbage |
//! | `report` | what callers ask and are told |

mod doom;
mod folder;
mod judge;
mod pins;
mod report;
mod run;
mod sweep;
mod window;

use std::time::Duration;

pub use folder::{FolderFate, UNNAMED_AGE};
pub use pins::{PIN_AGE_MAX, Pin, PinnedVersion, Pins};
pub use report::{Fate, FileFate, Hold, Reason, Total, VacuumOptions, VacuumReport};
pub(crate) use run::frame;
pub use sweep::{SweepReport, UnnamedFolder, sweep};
pub(crate) use sweep::{mark_without_ledger, took};

/// How long versions are kept unless somebody says otherwise.
pub const RETENTION: Duration = Duration::from_secs(7 * 24 * 3600);

/// The least retention that needs no further word: a query that runs for a minute is pinned, one that has just begun
/// is not.
pub const RETENTION_MIN: Duration = Duration::from_secs(3600);

/// How old a file must be before the transaction that wrote it, still undecided, is doomed: nobody uploads for longer.
pub const UNDECIDED_AGE: Duration = Duration::from_secs(7 * 24 * 3600);

/// Most transactions doomed by one entry: some 200 kB.
const DOOMED_MAX: usize = 5_000;

/// Most files deleted by one run: some hundred requests, a minute's work.
const DELETED_MAX: usize = 50_000;

/// Most files that a report names; its totals count all.
const LISTED_MAX: usize = 10_000;

/// Most cells of the newest version that are looked for one by one because no list shows them.
const MISSING_MAX: usize = 1_000;

/// Most cells of one frame that one run looks at: ten thousand LISTs.
const FILES_MAX: usize = 10_000_000;

/// Most ledger entries that one run reads: some minutes over a slow store.
const ENTRIES_MAX: u64 = 100_000;

/// Entries read beyond those that decide, so that reasons can be told and what is long committed need not be doomed.
const ENTRIES_EXTRA: u64 = 4_096;

/// A duration in milliseconds.
fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
