//! Bytes: one bucket, whatever it is made of, and every key in it.
//!
//! [`Bucket`] is the only door to storage: it reads, lists, and decides creates (see
//! [`Bucket::put_if_absent_decided`]), over memory, a durable local folder, S3, Google Cloud Storage or Azure.
//! [`layout`] is the only place that spells keys. Nothing in here knows what the bytes mean.

mod bucket;
mod cached;
mod cell_cache;
mod contact;
mod counted;
mod create;
mod error;
pub mod layout;
mod local;
mod near;
mod open;
mod probe;
mod put_parts;
mod reading;
mod store_clock;
pub mod sums;
mod uri;
mod verified;

pub use bucket::{Bucket, Listed};
pub use cell_cache::{CacheDisk, CacheHolds, CellCache, CellDigest, DIGEST_BYTES_MAX, DiskSpace, cache_memory_bytes};
pub use counted::{Counters, CountersSnapshot};
pub use create::{Created, PutAnswer};
pub use error::{BucketError, Result};
pub use layout::{CELL_SCHEME_URL, Key};
pub use probe::{Examination, ProbeCheck, ProbeReport, Verdict};
pub use verified::DAMAGED;
