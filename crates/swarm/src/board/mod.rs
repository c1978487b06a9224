//! The task board: what stands under `_queries/`.
//!
//! ```text
//!   open ──▶ publish task ──▶ claim (an optimisation) ──▶ done (THE TRUTH, first finisher wins) ──▶ close
//!                   ▲                     └──▶ failed ──┐
//!                   └────────── attempt + 1 ◀───────────┘
//! ```
//!
//! All objects but output files are create-only, and every one goes through the bucket's decided create. Objects
//! are typed here once, with a format number, and checked on both sides: before they are written and after they
//! are read. What a plan means is no business of the board: it carries bytes.

mod attempt;
mod codec;
mod janitor;
mod ops;
mod query;
mod record;
mod task;
mod view;

pub use attempt::{AttemptId, TaskId};
pub use janitor::{Leftover, SWEEP_QUERIES_MAX, SweepAges, SweepCandidate, SweepReport, judge};
pub use ops::{BOARD_KEYS_MAX, Board, OPEN_QUERIES_MAX, OpenedQuery};
pub use query::{OwnerRecord, PinnedFrame, QueryRecord};
pub use record::{ClaimRecord, FailedRecord, FailureCause, MemoryReport};
pub use task::{DoneRecord, InlineFile, OutputPiece, TaskMetrics, TaskObject};
pub use view::{BoardView, TaskBoard};

/// Any bytes as an object of each kind, in protobuf with its sum put right: for fuzzing.
pub(crate) fn fuzz_proto(data: &[u8]) {
    let summed = codec::summed(data);
    let _ = codec::decode_proto::<TaskObject>("key", data);
    let _ = codec::decode_proto::<TaskObject>("key", &summed);
    let _ = codec::decode_proto::<DoneRecord>("key", &summed);
}

/// Any bytes as an object of each kind, in JSON: for fuzzing.
pub(crate) fn fuzz_json(data: &[u8]) {
    let _ = codec::decode_json::<ClaimRecord>("key", data);
    let _ = codec::decode_json::<FailedRecord>("key", data);
    let _ = codec::decode_json::<QueryRecord>("key", data);
    let _ = codec::decode_json::<OwnerRecord>("key", data);
}

#[cfg(test)]
mod tests;
