//! Columns: how rows become cells, and cells rows again.
//!
//! A cell is one immutable Parquet file. Here are its writer ([`CellWriter`], [`encode_cell`]), its statistics
//! ([`StatsBuilder`]), the split of a batch by partition ([`partition`]), the size that a cell aims at
//! ([`leafcutter`]) and its reader for merging ([`read_cell`]). All of it is CPU work on bytes in memory: nothing
//! here knows a store, a ledger or a runtime; of the bucket it takes the sums that its reader checks. Callers run it
//! where CPU work belongs.

mod encode;
mod error;
pub mod leafcutter;
mod options;
pub mod partition;
mod pending;
mod read;
mod stats;
mod writer;

pub use encode::{EncodedGroup, GroupEncoder};
pub use error::{CellError, Result};
pub use leafcutter::target_bytes;
pub use options::{CellFormat, CellOptions};
pub use pending::{PendingRows, decoded_bytes};
pub use read::{CellBatches, read_cell, rows_of};
pub use stats::{StatsBuilder, scalar_at};
pub use writer::{CellWriter, EncodedCell, encode_cell, sha256_hex};
