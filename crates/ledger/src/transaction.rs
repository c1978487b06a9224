//! What a writer asks of a frame's ledger, and what it is told.

use std::{collections::BTreeMap, fmt, sync::Arc};

use apiary_core::{TxnId, Version};
use arrow::datatypes::SchemaRef;

use crate::CellEntry;

/// What a transaction does; the conflict rules go by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// Adds rows.
    Append,
    /// Puts rows in place of all that its scope holds.
    Overwrite,
    /// Writes cells anew with other rows: delete, update, merge.
    Rewrite,
    /// Writes cells anew without changing a row.
    Compaction,
    /// Changes the columns.
    Schema,
    /// Changes what is said about the frame, not its rows.
    Properties,
    /// Ends the frame.
    Drop,
    /// Names transactions whose cells are deleted because nobody can see them.
    Vacuum,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::Append,
        Self::Overwrite,
        Self::Rewrite,
        Self::Compaction,
        Self::Schema,
        Self::Properties,
        Self::Drop,
        Self::Vacuum,
    ];

    /// The word in the ledger.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Append => "append",
            Self::Overwrite => "overwrite",
            Self::Rewrite => "rewrite",
            Self::Compaction => "compaction",
            Self::Schema => "schema",
            Self::Properties => "properties",
            Self::Drop => "drop",
            Self::Vacuum => "vacuum",
        }
    }

    /// Reads [`Kind::as_str`]; `None` for what only a newer program knows, and for the first entry's `create`.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// Whether the rows of a frame are others after it.
    #[must_use]
    pub fn changes_rows(self) -> bool {
        matches!(self, Self::Append | Self::Overwrite | Self::Rewrite)
    }
}

/// One value for each partition column, in their order, as text; `None` is NULL.
pub type PartitionValues = Vec<(String, Option<String>)>;

/// Which cells may hold rows that somebody looks for. It may say yes too often, never no too often.
#[derive(Clone)]
pub struct CellFilter(Arc<dyn Fn(&CellEntry) -> bool + Send + Sync>);

impl CellFilter {
    /// The cells of which `matches` is true.
    pub fn new(matches: impl Fn(&CellEntry) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(matches))
    }
}

impl fmt::Debug for CellFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CellFilter")
    }
}

/// A part of a frame: what a transaction replaces, or what it read and depends upon.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum Scope {
    /// No cell.
    #[default]
    Nothing,
    /// Every cell.
    All,
    /// The cells of these partitions.
    Partitions(Vec<PartitionValues>),
    /// The cells that a filter picks.
    Where(CellFilter),
}

impl Scope {
    /// Whether a cell is in it.
    #[must_use]
    pub fn holds(&self, cell: &CellEntry) -> bool {
        match self {
            Self::Nothing => false,
            Self::All => true,
            Self::Partitions(partitions) => partitions.contains(&cell.partition_values()),
            Self::Where(CellFilter(matches)) => matches(cell),
        }
    }
}

/// What a transaction changes of the frame itself.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Change {
    /// The columns from now on.
    Schema(SchemaRef),
    /// Properties by name; `None` takes one away. Other names are left alone.
    Properties(BTreeMap<String, Option<String>>),
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
#[non_exhaustive]
pub struct Transaction {
    /// New for every execution, also for the retry of the same request elsewhere.
    pub id: TxnId,
    /// What it does.
    pub kind: Kind,
    /// Which node executes it; for people.
    pub node: String,
    /// Cells that join the frame.
    pub adds: Vec<CellEntry>,
    /// Paths, relative to the frame's folder, of cells that leave it; all of them in the base snapshot. An overwrite
    /// names none: what it replaces is found when it is committed.
    pub removes: Vec<String>,
    /// The client's idempotency key.
    pub idem: Option<IdempotencyKey>,
    /// An overwrite: what it replaces. A rewrite: where the rows can be that it changes. An append: what it read.
    pub scope: Scope,
    /// The version whose rows it is meant for: it fails if others have changed rows since.
    pub expected: Option<Version>,
    /// Transactions that will never be committed, because their cells go.
    pub doomed: Vec<TxnId>,
    /// What it changes of the frame itself.
    pub change: Option<Change>,
    /// What people may read about it in the entry.
    pub notes: BTreeMap<String, String>,
}

impl Transaction {
    fn new(kind: Kind, id: TxnId, node: &str) -> Self {
        Self {
            id,
            kind,
            node: node.to_owned(),
            adds: Vec::new(),
            removes: Vec::new(),
            idem: None,
            scope: Scope::Nothing,
            expected: None,
            doomed: Vec::new(),
            change: None,
            notes: BTreeMap::new(),
        }
    }

    /// Adds rows and depends on nothing.
    #[must_use]
    pub fn append(id: TxnId, node: &str, adds: Vec<CellEntry>) -> Self {
        Self { adds, ..Self::new(Kind::Append, id, node) }
    }

    /// Adds rows that were computed from what `read` held in the base.
    #[must_use]
    pub fn append_from(id: TxnId, node: &str, adds: Vec<CellEntry>, read: Scope) -> Self {
        Self { scope: read, ..Self::append(id, node, adds) }
    }

    /// Puts `adds` in place of all that `scope` holds when it is committed. All of `adds` lie in the scope.
    #[must_use]
    pub fn overwrite(id: TxnId, node: &str, adds: Vec<CellEntry>, scope: Scope) -> Self {
        Self { adds, scope, ..Self::new(Kind::Overwrite, id, node) }
    }

    /// Puts `adds` in place of `removes`; `scope` is where rows can be that it had to change.
    #[must_use]
    pub fn rewrite(id: TxnId, node: &str, adds: Vec<CellEntry>, removes: Vec<String>, scope: Scope) -> Self {
        Self { adds, removes, scope, ..Self::new(Kind::Rewrite, id, node) }
    }

    /// Puts `adds` in place of `removes`, the same rows in other cells.
    #[must_use]
    pub fn compaction(id: TxnId, node: &str, adds: Vec<CellEntry>, removes: Vec<String>) -> Self {
        Self { adds, removes, ..Self::new(Kind::Compaction, id, node) }
    }

    /// Changes the columns.
    #[must_use]
    pub fn schema(id: TxnId, node: &str, schema: SchemaRef) -> Self {
        Self { change: Some(Change::Schema(schema)), ..Self::new(Kind::Schema, id, node) }
    }

    /// Sets or takes away properties.
    #[must_use]
    pub fn properties(id: TxnId, node: &str, properties: BTreeMap<String, Option<String>>) -> Self {
        Self { change: Some(Change::Properties(properties)), ..Self::new(Kind::Properties, id, node) }
    }

    /// Ends the frame: nothing is ever committed after it.
    #[must_use]
    pub fn drop_frame(id: TxnId, node: &str) -> Self {
        Self::new(Kind::Drop, id, node)
    }

    /// Makes sure that these transactions will never be committed, so that their cells may go.
    #[must_use]
    pub fn vacuum(id: TxnId, node: &str, doomed: Vec<TxnId>) -> Self {
        Self { doomed, ..Self::new(Kind::Vacuum, id, node) }
    }

    /// Whether it adds rows whatever else is in the frame.
    #[must_use]
    pub fn is_blind_append(&self) -> bool {
        self.kind == Kind::Append && matches!(self.scope, Scope::Nothing) && self.expected.is_none()
    }

    /// The same with an idempotency key.
    #[must_use]
    pub fn with_idem(self, idem: Option<IdempotencyKey>) -> Self {
        Self { idem, ..self }
    }

    /// The same, only if no other has changed rows after `version`.
    #[must_use]
    pub fn expecting(self, expected: Option<Version>) -> Self {
        Self { expected, ..self }
    }

    /// The same with notes for people.
    #[must_use]
    pub fn with_notes(self, notes: BTreeMap<String, String>) -> Self {
        Self { notes, ..self }
    }
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
        /// Whether that execution may have been this very transaction: then its cells must stay.
        may_be_own: bool,
    },
    /// Another transaction came first and excludes it, or others were faster every time.
    Conflict {
        /// The version that excludes it.
        version: Version,
        /// Why.
        reason: String,
    },
    /// A rewrite that is right but for some cells: it is not in the ledger, and may come back, under the same id and
    /// against a snapshot of at least `version`, once those are done again. Its other cells stay good.
    Rerun {
        /// The version up to which this was found.
        version: Version,
        /// Cells that came since, in which there may be rows to change.
        cells: Vec<String>,
        /// Cells that it removes and that are gone; their rows are in `cells`, or nowhere.
        gone: Vec<String>,
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
        !matches!(self, Self::Committed { .. } | Self::Rerun { .. } | Self::AlreadyApplied { may_be_own: true, .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_word_of_its_own() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_word(kind.as_str()), Some(kind));
        }
        assert_eq!(Kind::from_word("create"), None);
    }
}
