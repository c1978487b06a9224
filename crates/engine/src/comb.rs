//! What lies between two stages: rows as a task writes them, where they lie, and how another task reads them.
//!
//! ```text
//!   a task's plan ─▶ writer ─▶ deal: Arrow IPC, a lane for each partition ─▶ output: in the `done`, or objects
//!                                                                                 │ pieces: byte ranges with sums
//!   another task's plan ◀─ reader ◀─ read: fetched, held against its sums, decoded ◀──┘
//! ```
//!
//! Ballista's planner decides what meets where, and its writers and readers stand in the plans that travel; when a task
//! runs, ours take their place. Only here is it known how a row lies in bytes.

mod deal;
mod output;
pub(crate) mod pieces;
mod read;
mod reader;
mod sums;
#[cfg(test)]
mod tests;
mod views;
mod writer;

use apiary_bucket::Bucket;
use apiary_swarm::{TaskId, board::DoneRecord};
use datafusion::{arrow::datatypes::SchemaRef, physical_plan::SendableRecordBatchStream};

pub(crate) use output::Output;
pub(crate) use reader::replace_readers;
pub(crate) use writer::{Written, write};

/// The rows of a finished task of the last stage, as the coordinator reads them.
pub(crate) fn read_done(
    bucket: Bucket,
    task: TaskId,
    done: &DoneRecord,
    schema: SchemaRef,
    batch_rows: usize,
) -> SendableRecordBatchStream {
    read::read(bucket, pieces::pieces_of_done(task, done), schema, batch_rows)
}
