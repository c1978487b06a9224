//! Reading and committing frames. Clones share one cache of snapshots.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use apiary_bucket::{Bucket, Key, layout};
use apiary_core::{FrameId, TxnId, Version};
use bytes::Bytes;

mod cache;
mod check;
mod checkpointing;
mod cleaning;
mod history;
mod listing;
mod open;
mod vacuuming;
mod verify;

use self::{cache::Cache, check::check};
pub use self::{
    checkpointing::CheckpointReport,
    cleaning::CleanReport,
    history::{History, HistoryEntry, Moved},
    verify::{Problem, VerifyReport},
};
use crate::{
    CellEntry, CommitOutcome, FrameRecord, IdempotencyKey, LedgerError, Registry, Result, Snapshot, Transaction,
    commit::{self, Proposal, Settled},
    conflict,
    entry::{self, FrameEntry},
    fence::epoch_of,
    header::{Header, Place},
    log::{Log, LogKind, Read, Recorded},
    replay::{self, Replay},
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

    fn seal(&self, place: &Place, id: TxnId, node: &str) -> Result<Bytes> {
        entry::seal(place, id, node)
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
}

impl Frames {
    /// The frames of this bucket. No I/O.
    #[must_use]
    pub fn new(bucket: Bucket) -> Self {
        Self { bucket, cache: Arc::default() }
    }

    /// The same frames and the same cache, with requests counted elsewhere (see [`Bucket::with_counters`]).
    #[must_use]
    pub fn over(&self, bucket: Bucket) -> Self {
        Self { bucket, cache: Arc::clone(&self.cache) }
    }

    /// The newest version of a frame. Warm: 1 GET, plus one for each new entry, and one of a fence each minute. Cold: at
    /// most 4 requests, 1 GET for each entry after the newest checkpoint, 16 at once, and 1 GET that finds nothing.
    /// Dropping the future is safe.
    ///
    /// A frame that was dropped is `Dropped`, and a drop that stopped before it took the name away is finished first.
    pub async fn snapshot(&self, frame: &FrameRecord) -> Result<Arc<Snapshot>> {
        let newest = self.newest(frame).await?;
        if newest.dropped { Err(self.dropped(frame).await) } else { Ok(newest) }
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

    /// Commits a transaction whose cells are in the bucket already, against the snapshot it was made from. At least 1
    /// GET and 1 PUT; one more of each for every slot lost to others; at most 20 of those and 10 minutes.
    ///
    /// After [`CommitOutcome::Committed`] its cells stay. After any other outcome, and after any error but one of kind
    /// `OutcomeUnknown`, its own cells may be deleted. Dropping the future leaves the outcome unknown. Coming back with
    /// the same transaction is safe.
    pub async fn commit(&self, frame: &FrameRecord, base: Arc<Snapshot>, txn: Transaction) -> Result<CommitOutcome> {
        if base.folder != frame.folder {
            return Err(LedgerError::Internal(format!(
                "a snapshot of '{}' is no base for '{}'",
                base.folder, frame.path
            )));
        }
        let removed = check(&base, &txn)?;
        if let Some(idem) = &txn.idem
            && let Some(used) = base.idem.find(idem)
        {
            return if used.digest == idem.digest {
                Ok(CommitOutcome::AlreadyApplied { version: used.version })
            } else {
                Err(LedgerError::KeyReused { key: idem.key.clone(), version: used.version })
            };
        }
        let log = self.log(frame);
        let removes = txn.removes.iter().cloned().collect();
        let mut proposal = FrameProposal { base: &base, txn: &txn, removes, removed };
        let done = commit::commit(&log, Some(base.head.clone()), &mut proposal).await?;
        self.learn(&log, &base, &done.read);
        if matches!(done.settled, Settled::Excluded(..)) && done.read.iter().any(|read| replay::ends(&read.entry)) {
            return Err(LedgerError::Dropped { name: frame.path.to_string() });
        }
        Ok(match done.settled {
            Settled::Committed { version, retries } => CommitOutcome::Committed { version, retries },
            Settled::AlreadyApplied(version) => CommitOutcome::AlreadyApplied { version },
            Settled::Excluded(version, reason) => CommitOutcome::Conflict { version, reason },
            Settled::Aborted(reason) => CommitOutcome::Aborted { reason },
            Settled::Crowded { version, attempts } => {
                let reason = format!("{attempts} attempts were lost to other writers");
                CommitOutcome::Conflict { version, reason }
            }
        })
    }

    /// Extends the cache with what a commit read, so that the next reader need not. Nothing depends on it.
    fn learn(&self, log: &Log<FrameLog>, base: &Snapshot, read: &[Read<FrameEntry>]) {
        let mut replay = Replay::after(base);
        for read in read {
            if let Err(error) = replay.take(log.kind.key(read.head.version).as_ref(), read) {
                tracing::warn!(folder = base.folder, %error, "an entry that was read cannot be replayed");
                return;
            }
        }
        if let Some(snapshot) = replay.finish() {
            self.lock().put(Arc::new(snapshot), &log.vouch);
        }
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

/// A transaction on its way into a frame's ledger.
struct FrameProposal<'a> {
    base: &'a Snapshot,
    txn: &'a Transaction,
    removes: HashSet<String>,
    removed: Vec<Arc<CellEntry>>,
}

impl Proposal<FrameLog> for FrameProposal<'_> {
    fn id(&self) -> TxnId {
        self.txn.id
    }

    fn idem(&self) -> Option<&IdempotencyKey> {
        self.txn.idem.as_ref()
    }

    fn node(&self) -> &str {
        &self.txn.node
    }

    fn pass(&mut self, entry: &FrameEntry) -> Result<(), String> {
        conflict::pass(self.txn.kind, &self.removes, entry)
    }

    fn encode(&self, place: &Place) -> Result<Bytes> {
        entry::commit(place, &self.base.schema, self.txn, &self.removed)
    }
}

#[cfg(test)]
mod tests;
