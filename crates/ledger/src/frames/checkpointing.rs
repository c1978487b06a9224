//! Checkpoints and older versions of a frame, as callers ask for them.

use std::sync::Arc;

use apiary_core::Version;

use super::Frames;
use crate::{FrameRecord, LedgerError, Result, Snapshot, checkpoint};

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
}

impl Frames {
    /// Writes a checkpoint of the newest version, verified, unless there is one. Cost of [`Frames::snapshot`], 4 to 6 GETs
    /// and at most 3 PUTs. Safe to be cut anywhere and to be called by many at once.
    pub async fn checkpoint(&self, frame: &FrameRecord) -> Result<CheckpointReport> {
        let snapshot = self.snapshot(frame).await?;
        let written = checkpoint::write(&self.bucket, &snapshot).await?;
        self.lock().checkpointed(&snapshot);
        Ok(CheckpointReport {
            version: snapshot.version,
            written: written.new,
            cells: snapshot.cells.len() as u64,
            bytes: written.bytes,
        })
    }

    /// A frame as it was at `version`. An error that says which versions can be read, if that one cannot. Cost of
    /// [`Frames::snapshot`], and unless that is the version: 1 or more LISTs, 2 GETs, and 1 GET for each entry since the
    /// checkpoint before.
    pub async fn snapshot_at(&self, frame: &FrameRecord, version: Version) -> Result<Arc<Snapshot>> {
        let newest = self.snapshot(frame).await?;
        if newest.version == version {
            return Ok(newest);
        }
        if newest.version > version
            && let Some(snapshot) = self.at(frame, version).await?
        {
            return Ok(Arc::new(snapshot));
        }
        let oldest = self.oldest(frame).await?.unwrap_or(newest.version);
        Err(LedgerError::NoSuchVersion { frame: frame.path.to_string(), version, oldest, newest: newest.version })
    }
}
