//! From a path to a frame: fresh, or as it is known here, confirmed while the first cells are on their way.
//!
//! A write that asked the registry and the frame before its first upload would wait two round trips for an answer that
//! it nearly always knows. So it begins with what is known, asks at the same time, and commits only when the name
//! was confirmed. If it was not, nothing is visible: the write begins again, with the batches it had kept.

use std::sync::Arc;

use apiary_core::FramePath;
use apiary_ledger::{FrameRecord, Snapshot};
use tokio::task::JoinSet;

use crate::{Ingest, IngestError, Result, pipeline::ended_early};

/// Most bytes of a payload that are kept until the name is confirmed; then the write waits for that.
const KEPT_BYTES_MAX: usize = 32 * 1024 * 1024;

/// The question whether a name still leads to the frame that it is known to lead to.
#[derive(Debug, Default)]
pub(crate) struct Confirm(JoinSet<Result<bool>>);

impl Confirm {
    /// Nothing to ask.
    pub(crate) fn none() -> Self {
        Self::default()
    }

    /// Whether no more of a payload should be kept before the answer.
    pub(crate) fn is_due(&self, kept_bytes: usize) -> bool {
        kept_bytes > KEPT_BYTES_MAX
    }

    /// Whether there is nothing to wait for any more.
    pub(crate) fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    /// [`IngestError::Stale`] if the name leads elsewhere now, or nowhere.
    pub(crate) async fn wait(&mut self) -> Result<()> {
        let Some(answer) = self.0.join_next().await else { return Ok(()) };
        if answer.map_err(ended_early)?? { Ok(()) } else { Err(IngestError::Stale) }
    }
}

impl Ingest {
    /// The frame and its newest version.
    pub(crate) async fn newest(&self, path: &FramePath) -> Result<(Arc<FrameRecord>, Arc<Snapshot>)> {
        let names = self.registry.namespace().await?;
        let frame = names.frame(path.hive.as_str(), path.box_name.as_str(), path.frame.as_str())?;
        let snapshot = self.frames.snapshot(&frame).await?;
        Ok((frame, snapshot))
    }

    /// The frame and a version of it as they are known here, if they are. No I/O.
    pub(crate) fn known(&self, path: &FramePath) -> Option<(Arc<FrameRecord>, Arc<Snapshot>)> {
        let names = self.registry.known();
        let frame = names.frame(path.hive.as_str(), path.box_name.as_str(), path.frame.as_str()).ok()?;
        let snapshot = self.frames.known(&frame)?;
        Some((frame, snapshot))
    }

    /// Asks whether `path` still leads to `record`. 1 GET while nothing changed.
    pub(crate) fn confirm(&self, path: &FramePath, record: &FrameRecord) -> Confirm {
        let (registry, path, folder) = (self.registry.clone(), path.clone(), record.folder.clone());
        let mut asked = JoinSet::new();
        asked.spawn(async move {
            let names = registry.namespace().await?;
            let found = names.frame(path.hive.as_str(), path.box_name.as_str(), path.frame.as_str());
            Ok(found.is_ok_and(|found| found.folder == folder))
        });
        Confirm(asked)
    }
}
