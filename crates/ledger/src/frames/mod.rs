//! Reading and committing frames. Clones share one cache of snapshots.

use std::sync::{Arc, Mutex, PoisonError};

use apiary_bucket::{Bucket, Key, layout};
use apiary_core::{FrameId, TxnId, Version};
use bytes::Bytes;

mod cache;
mod check;
mod checkpointing;
mod cleaning;
mod committing;
mod history;
mod line;
mod listing;
mod looking;
mod open;
mod thinning;
mod vacuuming;
mod verify;
mod verify_log;

use self::{cache::Cache, line::Lines};
pub use self::{
    checkpointing::CheckpointReport,
    cleaning::CleanReport,
    history::{History, HistoryEntry, Moved},
    looking::LogLook,
    verify::{Problem, VerifyReport},
};
use crate::{
    FrameRecord, LedgerError, Registry, Result, Snapshot,
    entry::{self, FrameEntry},
    fence::epoch_of,
    header::{Header, Place},
    log::{Log, LogKind, Recorded},
    vacuum,
};

/// A frame's ledger as a kind of log.
#[derive(Debug, Clone)]
pub(crate) struct FrameLog {
    pub(crate) folder: String,
    pub(crate) id: FrameId,
}

impl LogKind for FrameLog {
    type Entry = FrameEntry;

    fn key(&self, version: Version) -> Key {
        layout::ledger_entry(&self.folder, version)
    }

    fn prefix(&self) -> String {
        layout::ledger_prefix(&self.folder)
    }

    fn version_of(&self, key: &str) -> Option<Version> {
        layout::parse_ledger_entry(&self.folder, key)
    }

    fn decode(&self, object: &str, body: &[u8]) -> Result<FrameEntry> {
        entry::decode(object, body)
    }

    fn fence(&self, version: Version) -> Option<Key> {
        Some(layout::fence(&self.id, epoch_of(version)))
    }

    fn seal(&self, place: &Place, ids: &[TxnId], node: &str) -> Result<Bytes> {
        entry::seal(place, ids, node)
    }
}

impl Recorded for FrameEntry {
    fn header(&self) -> &Header {
        &self.header
    }

    fn timestamp_ms(&self) -> i64 {
        self.timestamp_ms
    }
}

/// The frames of a bucket. Cheap to clone; clones share what they know.
#[derive(Debug, Clone)]
pub struct Frames {
    bucket: Bucket,
    cache: Arc<Mutex<Cache>>,
    lines: Arc<Lines>,
}

impl Frames {
    /// The frames of this bucket. No I/O.
    #[must_use]
    pub fn new(bucket: Bucket) -> Self {
        Self { bucket, cache: Arc::default(), lines: Arc::default() }
    }

    /// The same frames and the same cache, with requests counted elsewhere (see [`Bucket::with_counters`]).
    #[must_use]
    pub fn over(&self, bucket: Bucket) -> Self {
        Self { bucket, cache: Arc::clone(&self.cache), lines: Arc::clone(&self.lines) }
    }

    /// The newest version of a frame. Warm: 1 GET, plus one for each new entry, and one of a fence each minute. Cold: at
    /// most 4 requests, 1 GET for each entry after the newest checkpoint, 16 at once, and 1 GET that finds nothing.
    /// Dropping the future is safe.
    ///
    /// A frame that was dropped is `Dropped`, and a drop that stopped before it took the name away is finished first.
    pub async fn snapshot(&self, frame: &FrameRecord) -> Result<Arc<Snapshot>> {
        let newest = match self.newest(frame).await {
            Err(error) if self.is_gone(frame, &error).await? => return Err(self.dropped(frame).await),
            newest => newest?,
        };
        if newest.dropped { Err(self.dropped(frame).await) } else { Ok(newest) }
    }

    /// Whether a frame that cannot be read was dropped and its folder swept; or was swept as one without a name, before it
    /// got one; or had no ledger when it was dropped.
    async fn is_gone(&self, frame: &FrameRecord, error: &LedgerError) -> Result<bool> {
        match error {
            LedgerError::Corrupt { .. } => vacuum::took(&self.bucket, frame).await,
            LedgerError::LedgerMissing { .. } if vacuum::took(&self.bucket, frame).await? => Ok(true),
            LedgerError::LedgerMissing { .. } => {
                Ok(Registry::new(self.bucket.clone()).namespace().await?.in_folder(&frame.folder).is_none())
            }
            _ => Ok(false),
        }
    }

    /// What is told of a frame that was dropped. Its name goes first, should it still have one.
    async fn dropped(&self, frame: &FrameRecord) -> LedgerError {
        if let Err(error) = Registry::new(self.bucket.clone()).unname(&frame.folder).await {
            tracing::warn!(frame = %frame.path, %error, "a dropped frame keeps its name until the next who looks");
        }
        LedgerError::Dropped { name: frame.path.to_string() }
    }

    /// The newest snapshot of a frame that is known in here, however old. No I/O.
    #[must_use]
    pub fn known(&self, frame: &FrameRecord) -> Option<Arc<Snapshot>> {
        self.lock().get(&frame.folder).filter(|snapshot| !snapshot.dropped)
    }

    pub(crate) fn log(&self, frame: &FrameRecord) -> Log<FrameLog> {
        let kind = FrameLog { folder: frame.folder.clone(), id: frame.id.clone() };
        Log { bucket: self.bucket.clone(), kind, vouch: self.lock().vouch(&frame.folder) }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Cache> {
        // The cache is whole after every statement, so a panic elsewhere cannot have broken it.
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
