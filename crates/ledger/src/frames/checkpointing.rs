//! Checkpoints, log cleanup and older versions of a frame, as callers ask for them.

use std::{sync::Arc, time::Duration};

use apiary_core::Version;

use super::Frames;
use crate::{FrameRecord, LedgerError, Result, Snapshot};

/// What [`Frames::checkpoint`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointReport {
    /// The version that has a checkpoint now.
    pub version: Version,
    /// Whether this call wrote it; else it was there.
    pub written: bool,
    /// Cells in it.
    pub cells: u64,
    /// Its size.
    pub bytes: u64,
    /// Checkpoints that failed their check and why: nobody reads them.
    pub damaged: Vec<(Version, String)>,
}

/// What [`Frames::clean_log`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CleanReport {
    /// The checkpoint that everything deleted lies below; `None` if there is none old enough, and nothing was done.
    pub below: Option<Version>,
    /// Epochs of 1 024 versions out of which something was deleted.
    pub epochs: u64,
    /// Entries deleted.
    pub entries: u64,
    /// Checkpoints deleted.
    pub checkpoints: u64,
    /// Bytes deleted.
    pub bytes: u64,
}

impl Frames {
    /// Writes a checkpoint of the newest version, verified, unless there is one.
    pub async fn checkpoint(&self, frame: &FrameRecord) -> Result<CheckpointReport> {
        Err(LedgerError::Internal(format!("'{}' cannot be checkpointed yet", frame.path)))
    }

    /// Deletes ledger entries that lie, whole epochs of them, below a verified checkpoint and are older than `retention`
    /// by the store's clock.
    pub async fn clean_log(&self, frame: &FrameRecord, retention: Duration) -> Result<CleanReport> {
        let hours = retention.as_secs() / 3600;
        Err(LedgerError::Internal(format!("'{}' cannot be cleaned of what is {hours} h old yet", frame.path)))
    }

    /// A frame as it was at `version`. An error that says which versions can be read, if that one cannot.
    pub async fn snapshot_at(&self, frame: &FrameRecord, version: Version) -> Result<Arc<Snapshot>> {
        let newest = self.snapshot(frame).await?;
        if newest.version == version {
            return Ok(newest);
        }
        let (oldest, newest) = (newest.version, newest.version);
        Err(LedgerError::NoSuchVersion { frame: frame.path.to_string(), version, oldest, newest })
    }
}
