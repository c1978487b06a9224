//! The end of a transaction: what a commit's outcome means for its cells and for the caller.

use std::sync::Arc;

use apiary_core::{ErrorKind, Version};
use apiary_ledger::{CommitOutcome, FrameRecord, Snapshot, Transaction};

use crate::{Ingest, IngestError, Result, pipeline::Pipeline};

/// A transaction that is in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Landed {
    pub(crate) version: Version,
    pub(crate) retries: u32,
    /// An earlier execution did the work; this one left nothing.
    pub(crate) already_applied: bool,
}

impl Ingest {
    /// Commits `txn`, whose cells `pipeline` wrote. Unless it is in the ledger or may be, its cells are deleted.
    pub(crate) async fn land(
        &self,
        frame: &FrameRecord,
        base: Arc<Snapshot>,
        txn: Transaction,
        pipeline: Pipeline,
    ) -> Result<Landed> {
        let outcome = match self.frames.commit(frame, base, txn).await {
            Ok(outcome) => outcome,
            // It is new and was never sent: what this process knew of the frame was too old to begin with.
            Err(error) if error.sent_nothing() => {
                pipeline.delete_own().await;
                return Err(IngestError::Stale);
            }
            Err(error) => {
                if error.kind() != ErrorKind::OutcomeUnknown {
                    pipeline.delete_own().await;
                }
                return Err(error.into());
            }
        };
        // Whoever gives up a rewrite that could be done again gives up its cells.
        if outcome.cells_are_garbage() || matches!(outcome, CommitOutcome::Rerun { .. }) {
            pipeline.delete_own().await;
        }
        match outcome {
            CommitOutcome::Committed { version, retries } => Ok(Landed { version, retries, already_applied: false }),
            CommitOutcome::AlreadyApplied { version, .. } => Ok(Landed { version, retries: 0, already_applied: true }),
            CommitOutcome::Conflict { version, reason } => Err(IngestError::Conflict { version, reason }),
            CommitOutcome::Rerun { version, .. } => {
                Err(IngestError::Conflict { version, reason: "it changed what this write had read".to_owned() })
            }
            CommitOutcome::Aborted { reason } => Err(IngestError::Aborted { reason }),
        }
    }
}
