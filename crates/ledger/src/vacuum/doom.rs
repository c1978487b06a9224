//! The two entries of a vacuum on their way into the log: the one that dooms, before the first delete, and the one
//! that counts, after the last. Neither changes a row.

use std::collections::BTreeSet;

use apiary_core::{TxnId, Version};
use arrow::datatypes::Schema;
use bytes::Bytes;

use super::report::Total;
use crate::{
    IdempotencyKey, Kind, LedgerError, Result, Transaction,
    commit::{self, Proposal, Settled},
    entry::{self, FrameEntry},
    frames::FrameLog,
    header::{Head, Place},
    log::{Log, Read},
};

/// What an entry of a vacuum says.
#[derive(Debug)]
pub(super) struct Notice {
    pub(super) id: TxnId,
    pub(super) node: String,
    /// Transactions whose files are about to go; those that are committed meanwhile leave.
    pub(super) doomed: BTreeSet<TxnId>,
    /// Those that left.
    pub(super) spared: BTreeSet<TxnId>,
    /// What is about to go, or went, for people.
    pub(super) step: &'static str,
    pub(super) total: Total,
}

impl Notice {
    /// The entry before the first delete.
    pub(super) fn opening(id: TxnId, node: &str, doomed: BTreeSet<TxnId>, total: Total) -> Self {
        Self { id, node: node.to_owned(), doomed, spared: BTreeSet::new(), step: "start", total }
    }

    /// The entry after the last delete.
    pub(super) fn closing(id: TxnId, node: &str, total: Total) -> Self {
        Self { step: "end", ..Self::opening(id, node, BTreeSet::new(), total) }
    }

    /// Commits it after `base`. Returns where, and where the next begins.
    pub(super) async fn commit(&mut self, log: &Log<FrameLog>, base: Head) -> Result<(Version, Vec<Read<FrameEntry>>)> {
        let done = commit::commit(log, Some(base), self).await?;
        match done.settled {
            Settled::Committed { version, .. } => Ok((version, done.read)),
            Settled::Crowded { attempts, .. } => Err(LedgerError::Contended { what: "frame", attempts }),
            Settled::Excluded(_, why) | Settled::Aborted(why) => Err(LedgerError::Aborted(why)),
            Settled::Cleaned => Err(LedgerError::Fenced { object: log.kind.folder.clone() }),
            Settled::Unfinished(_) | Settled::AlreadyApplied(_) => {
                Err(LedgerError::Internal("a vacuum has no key".to_owned()))
            }
        }
    }
}

impl Proposal<FrameLog> for Notice {
    fn id(&self) -> TxnId {
        self.id
    }

    fn idem(&self) -> Option<&IdempotencyKey> {
        None
    }

    fn node(&self) -> &str {
        &self.node
    }

    /// Everything may pass but the end of the frame; what it commits is spared.
    fn pass(&mut self, entry: &FrameEntry) -> Result<(), String> {
        for txn in &entry.header.txns {
            if txn.kind == Kind::Drop.as_str() {
                return Err(format!("version {} dropped the frame", entry.header.v));
            }
            if self.doomed.remove(&txn.id) {
                self.spared.insert(txn.id);
            }
        }
        Ok(())
    }

    fn encode(&self, place: &Place) -> Result<Bytes> {
        let notes = [
            ("step", self.step.to_owned()),
            ("files", self.total.files.to_string()),
            ("bytes", self.total.bytes.to_string()),
        ];
        let notes = notes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let doomed = self.doomed.iter().copied().collect();
        let txn = Transaction::vacuum(self.id, &self.node, doomed).with_notes(notes);
        entry::commit(place, &Schema::empty(), &txn, &[])
    }
}
