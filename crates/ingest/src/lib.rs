//! Writes: the one place where cells and ledger meet.
//!
//! Rows come in as a stream of batches. They are made to fit the frame ([`conform`]), split by partition, encoded into
//! cells of the size that a bee can carry, uploaded, and named by one commit: all of them or none
//! ([`Ingest::append`], [`Ingest::overwrite`]). The same machinery merges small cells ([`Ingest::compact`]) and checks that a frame's cells are
//! what its ledger says ([`Ingest::verify`]). [`files`] reads what people
//! bring: Parquet, CSV, JSON lines. Nothing in here plans a query.

mod append;
mod commit;
mod compact;
mod conform;
mod digest;
mod error;
pub mod files;
mod ingest;
mod limits;
mod names;
mod off_thread;
mod overwrite;
mod payload;
mod pipeline;
mod schema;
mod shaper;
mod verify;
mod verify_colony;
mod work;

pub use append::{AppendOptions, WriteReport};
pub use compact::CompactReport;
pub use conform::{Conformer, conform};
pub use error::{IngestError, Result};
pub use ingest::{Ingest, IngestSettings};
pub use limits::{IDEMPOTENCY_KEY_BYTES_MAX, PARTITIONS_MAX};
pub use overwrite::{OverwriteOptions, Replaced};
pub use schema::{sql_type, storable_schema};
pub use verify_colony::verify_colony;

#[cfg(test)]
mod tests;
