//! Old checkpoints go before their time, one by one: which, the swarm's `copies` decides; here is how, and that nobody
//! who reads or cleans is left without one.
//!
//! A checkpoint is never the only way to a version: the entries since the one before it are kept until a log cleanup
//! takes them, and a cleanup counts on checkpoints that are an hour old at least. Whoever asks for this says so of a
//! checkpoint that is younger. One who slept an hour between the last look and the delete could take a checkpoint on which a
//! cleanup counted: then versions right after it cannot be read, at the far edge of retention; the newest always can.

use apiary_bucket::layout;
use apiary_core::Version;

use super::{Frames, listing::Listing};
use crate::{FrameRecord, Result, fence::Moment, log::within};

/// Newer checkpoints that must be there.
const NEWER_MIN: usize = 3;

/// Objects that are looked through for them: what one LIST shows.
const LOOKED_AT_MAX: usize = 1000;

impl Frames {
    /// Deletes a checkpoint that was written within the last twenty minutes, unless it is one of the newest three. True
    /// if it went. 1 LIST, 1 or 2 DELETEs. Safe to be cut anywhere and beside any reader: who was about to read it takes the one before.
    pub async fn thin_checkpoint(&self, frame: &FrameRecord, version: Version) -> Result<bool> {
        let log = self.log(frame);
        let asked = Moment::now(self.bucket.clock().as_ref());
        let newer = Listing::read(&log, Some(version.next()), LOOKED_AT_MAX).await?;
        if newer.checkpoints.len() < NEWER_MIN || !asked.is_fresh(self.bucket.clock().as_ref()) {
            return Ok(false);
        }
        // In this order: without a checksum nobody believes it.
        for key in [layout::checksum(&frame.folder, version), layout::checkpoint(&frame.folder, version)] {
            within(&self.bucket, key.as_ref(), self.bucket.delete(&key)).await?;
        }
        tracing::debug!(frame = %frame.path, %version, "an old checkpoint went");
        Ok(true)
    }
}
