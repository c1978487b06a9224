//! Limits of a write, each with its reason.

use std::time::Duration;

/// Most partitions that one write may touch: each is a cell at least, and thousands of tiny cells help nobody.
pub const PARTITIONS_MAX: usize = 1024;

/// Longest idempotency key in bytes: it travels in the ledger.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 256;

/// Most cells that one write may make: more than a ledger entry should name.
pub(crate) const CELLS_MAX: usize = 50_000;

/// Cells on their way to the bucket at the same time: enough to hide a round trip, few enough to hold in memory.
pub(crate) const UPLOADS_MAX: usize = 2;

/// Row groups that are encoded at the same time, whatever the number of cores: each holds its rows in memory.
pub(crate) const ENCODERS_MAX: usize = 4;

/// How long one cell may take to reach the bucket: 256 MiB at 0.5 MB/s.
pub(crate) const UPLOAD_TIME_MAX: Duration = Duration::from_secs(600);

/// How long a failed write waits for its own uploads to end, and then for its own cells to go. What is left then is
/// vacuum's.
pub(crate) const CLEANUP_TIME_MAX: Duration = Duration::from_secs(30);

/// Most cells that one merge takes in.
pub(crate) const MERGE_CELLS_MAX: usize = 1_000;

/// How often one merge is tried before it yields to the writers.
pub(crate) const MERGE_ATTEMPTS_MAX: u32 = 3;

/// Rows in a batch that a reader of files or cells hands over.
pub(crate) const READ_BATCH_ROWS: usize = 16 * 1024;
