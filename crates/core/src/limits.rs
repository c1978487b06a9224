//! Limits that more than one crate keeps, each with its reason. A limit of one crate stands in that crate.

use std::time::Duration;

/// What to type when one coordinator's memory was too small for a query.
pub const MEMORY_REMEDIES: &str = "any of these may help: read less (a WHERE on what parts the frame, fewer columns); \
     give each bee more (apiary start --memory 8GiB, or --cores 1); \
     SET execution = board, which shares the work among the workers";

/// The same for a query that its workers shared.
pub const MEMORY_REMEDIES_BOARD: &str = "any of these may help: read less (a WHERE on what parts the frame, fewer \
     columns); give each worker's bees more (apiary start --memory 8GiB, or --cores 1); \
     SET target_partitions = 64, which makes more and smaller tasks";

/// Longest SQL text in bytes: far beyond what people write, short of what hurts a parser.
pub const SQL_BYTES_MAX: usize = 1024 * 1024;

/// Largest gRPC message in bytes: one Arrow batch with room to spare.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Rows in a batch that travels to a client: keeps messages under [`MESSAGE_BYTES_MAX`] for rows of 1 kB.
pub const BATCH_ROWS_MAX: usize = 32 * 1024;

/// How long the first contact with a bucket may take before it counts as missing.
pub const FIRST_CONTACT_MAX: Duration = Duration::from_secs(5);

/// How long a query may run unless the session says otherwise.
pub const QUERY_TIMEOUT: Duration = Duration::from_secs(3600);

/// An answer larger than this would travel the bucket twice, unless the session says otherwise.
pub const RESULT_BYTES_MAX: u64 = 256 << 20;

/// Largest result or piece of one that stands inside a board object instead of a file of its own.
pub const INLINE_BYTES_MAX: usize = 256 * 1024;
