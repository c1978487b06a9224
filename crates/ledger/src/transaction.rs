//! What a writer asks of a frame's ledger, and what it is told.

use apiary_core::{TxnId, Version};

use crate::CellEntry;

/// What a transaction does; the conflict rules go by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// Adds rows, reads nothing.
    Append,
    /// Rewrites cells without changing a row.
    Compaction,
}

impl Kind {
    /// The word in the ledger.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Append => "append",
            Self::Compaction => "compaction",
        }
    }
}

/// A client's word that a request with this key is done once, however often it is sent.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey {
    /// Whose key it is: the principal. The frame is part of the scope by itself.
    pub scope: String,
    /// The client's key.
    pub key: String,
    /// A digest of the payload: the same key with another digest is an error.
    pub digest: String,
}

/// One transaction on one frame. Its cells are in the bucket already, under names made of its id.
#[derive(Debug, Clone)]
pub struct Transaction {
    /// New for every execution, also for the retry of the same request elsewhere.
    pub id: TxnId,
    /// What it does.
    pub kind: Kind,
    /// Which node executes it; for people.
    pub node: String,
    /// Cells that join the frame. At least one, unless something is removed.
    pub adds: Vec<CellEntry>,
    /// Paths, relative to the frame's folder, of cells that leave it; all of them in the base snapshot.
    pub removes: Vec<String>,
    /// The client's idempotency key.
    pub idem: Option<IdempotencyKey>,
}

/// How a commit ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommitOutcome {
    /// It is in the ledger, once.
    Committed {
        /// Where.
        version: Version,
        /// How many other entries took the slot that it tried first.
        retries: u32,
    },
    /// Its idempotency key is in the ledger, with the same digest: the work was done before, by another execution.
    AlreadyApplied {
        /// Where.
        version: Version,
    },
    /// Another transaction came first and excludes it, or others were faster every time.
    Conflict {
        /// The version that excludes it.
        version: Version,
        /// Why.
        reason: String,
    },
    /// It is not in the ledger and never will be. The same request may be tried again, as another transaction.
    Aborted {
        /// Why.
        reason: String,
    },
}

impl CommitOutcome {
    /// Whether the transaction's own cells are in no version and never will be, so that they may be deleted.
    #[must_use]
    pub fn cells_are_garbage(&self) -> bool {
        !matches!(self, Self::Committed { .. })
    }
}
