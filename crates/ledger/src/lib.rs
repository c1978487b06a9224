//! Truth: what exists in the colony, and in which version.
//!
//! Two kinds of log in the bucket, written by one protocol ([`commit`]): the **registry**, which names hives, boxes
//! and frames, and each **frame's ledger**, every entry of which is a valid Delta Lake commit, so that other engines
//! read a frame in place. Nothing in here opens a cell; nothing in here knows SQL.
//!
//! | file | tells |
//! |---|---|
//! | `commit/` | the protocol: its essay, its decisions, a flight to a slot and its landing |
//! | `checkpoint/` | a frame at one version in one object |
//! | `log` | reading a log forward, warm and cold, whatever its entries hold |
//! | `fence` | epochs: what may be cleaned away, and how sleepers notice |
//! | `header` | what every entry of both logs carries: version, hash chain, transactions |
//! | `guarded` | where a library's panic becomes an error |
//! | `sum` | the checksum that an entry carries of itself |
//! | `entry/` | a frame's entry as bytes: actions, statistics, strict JSON |
//! | `conflict/` | which transactions may pass which: the matrix |
//! | `spec`, `transaction` | what callers bring |
//! | `snapshot`, `replay`, `idempotency` | a frame at one version, and how entries make it |
//! | `cell_entry`, `packed`, `cells` | a cell in few bytes, and the list of them that versions share |
//! | `fuzz` | doors to the decoders, for fuzzing alone |
//! | `frames/` | reading and committing frames, their history, the check of everything |
//! | `vacuum/` | what may be deleted, and how: its essay, its decisions, pins |
//! | `namespace`, `registry`, `registry_entry` | names: what they are, how they are created, renamed and dropped, their entries as bytes |
//! | `delta_schema`, `partition_text`, `text`, `value` | Arrow types and values as Delta spells them |

mod cell_entry;
mod cells;
mod checkpoint;
mod commit;
mod conflict;
pub mod delta_schema;
mod entry;
mod error;
mod fence;
mod frames;
#[doc(hidden)]
pub mod fuzz;
mod guarded;
mod header;
mod idempotency;
mod log;
mod namespace;
mod packed;
pub mod partition_text;
mod registry;
mod registry_entry;
mod replay;
#[cfg(test)]
mod samples;
mod snapshot;
mod spec;
mod sum;
mod text;
mod transaction;
mod vacuum;
pub mod value;

pub use cell_entry::{CellEntry, CellFacts, CellId};
pub use cells::{Cells, Chunk};
pub use error::{LedgerError, Result};
pub use frames::{CheckpointReport, CleanReport, Frames, History, HistoryEntry, LogLook, Moved, Problem, VerifyReport};
pub use namespace::{FrameRecord, Namespace};
pub use registry::{DropReport, Registry};
pub use snapshot::{Snapshot, Tail};
pub use spec::FrameSpec;
pub use transaction::{CellFilter, Change, CommitOutcome, IdempotencyKey, Kind, PartitionValues, Scope, Transaction};
pub use vacuum::{
    Fate, FileFate, FolderFate, Hold, PIN_AGE_MAX, Pin, PinnedVersion, Pins, RETENTION, RETENTION_MIN, Reason,
    SweepReport, Total, UNDECIDED_AGE, UNNAMED_AGE, UnnamedFolder, VacuumOptions, VacuumReport, sweep,
};
