//! Checkpoints and older versions of a frame, as callers ask for them.

use std::sync::Arc;

use apiary_core::Version;

use super::Frames;
use crate::{FrameRecord, LedgerError, Result, Snapshot, checkpoint, entry::FrameEntry, log::Read};

/// An entry of so many bytes costs whoever opens the frame more than a checkpoint would, and no group has as many.
const LARGE_ENTRY_BYTES: u64 = 8 * 1024 * 1024;

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

    /// After a commit: an entry that is large gets its checkpoint at once, from the one who wrote it and has read all of
    /// it. Nobody waits but [`Frames::drain`], and nothing depends on it: a compactor would write the same one later.
    pub(super) fn relieve(&self, frame: &FrameRecord, version: Version, read: &[Read<FrameEntry>]) {
        let is_large = |read: &Read<FrameEntry>| read.head.version == version && read.bytes >= LARGE_ENTRY_BYTES;
        if !read.iter().any(is_large) {
            return;
        }
        let (frames, frame) = (self.clone(), frame.clone());
        self.lines.tasks.spawn(async move {
            if let Err(error) = frames.checkpoint(&frame).await {
                tracing::warn!(frame = %frame.path, %error, "a large entry got no checkpoint; a compactor will write it");
            }
        });
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
