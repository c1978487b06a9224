//! A frame's entry: a valid Delta Lake commit, so that other engines read the frame in place.
//!
//! One JSON object on each line, each with one key, the action's name; the first is `commitInfo`. `decode` is strict
//! where strictness protects rows (duplicate keys, a missing last newline, numbers that do not fit) and lenient where
//! newer programs need room (unknown fields and unknown actions are ignored).

mod actions;
mod bounds;
mod change;
mod columns;
mod counts;
mod decode;
mod encode;
mod line;
mod stats;
mod strict;

pub(crate) use actions::{Add, Format, Metadata, Protocol, Remove};
pub(crate) use change::changed;
pub(crate) use counts::{rows_added, rows_removed};
pub(crate) use decode::{FrameEntry, decode};
pub(crate) use encode::{ARROW_SCHEMA, FRAME_ID, Part, add_lines, commit, commit_all, create, seal};
pub(crate) use stats::{BorrowedAdd, CellReader, INEXACT_TAG, SHA256_TAG, Scratch, Told, add_of, readable};
pub(crate) use strict::lines;

#[cfg(test)]
mod tests;
