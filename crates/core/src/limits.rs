//! Limits that more than one crate keeps, each with its reason. A limit of one crate stands in that crate.

use std::time::Duration;

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

/// Largest result or piece of one that stands inside a board object instead of a file of its own.
pub const INLINE_BYTES_MAX: usize = 256 * 1024;
