//! A frame at one version: its schema and its cells. Immutable; shared by whoever reads it.

use std::sync::Arc;

use apiary_core::Version;
use arrow::datatypes::SchemaRef;

use crate::{
    Cells,
    entry::{CellReader, Metadata, Protocol},
    header::Head,
    idempotency::Idempotency,
};

/// What a frame's ledger says of the frame itself, word for word.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct About {
    pub(crate) protocol: Protocol,
    pub(crate) metadata: Metadata,
}

/// The entries after a checkpoint: what a cold reader reads one by one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tail {
    /// The checkpoint; `None` if the frame was read from its first entry.
    pub checkpoint: Option<Version>,
    /// Entries after it.
    pub entries: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A frame at one version.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The version.
    pub version: Version,
    /// The exact Arrow schema.
    pub schema: SchemaRef,
    /// The partition columns.
    pub partition_by: Vec<String>,
    /// The cells that make up the frame, oldest first.
    pub cells: Cells,
    /// The frame's folder.
    pub(crate) folder: String,
    /// The last entry read: where the hash chain and the clock go on.
    pub(crate) head: Head,
    /// The idempotency keys of the last days.
    pub(crate) idem: Idempotency,
    /// What reads further cells, so that they share what they have in common with these.
    pub(crate) reader: Option<Arc<CellReader>>,
    /// The newest protocol and metadata.
    pub(crate) about: Arc<About>,
    /// What came after the checkpoint that this was read from.
    pub(crate) tail: Tail,
    /// Whether the frame was dropped; nobody outside sees such a snapshot.
    pub(crate) dropped: bool,
}

impl Snapshot {
    /// Rows in all cells.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.cells.rows()
    }

    /// Bytes of all cells.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.cells.bytes()
    }

    /// The checkpoint that this snapshot was made from, and what came after it; there may be newer checkpoints.
    #[must_use]
    pub fn tail(&self) -> Tail {
        self.tail
    }

    /// About how much memory it takes, what others share with it included.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        // The rest is mostly the schema, two or three times as text.
        let about: usize = self.about.metadata.configuration.values().map(String::len).sum();
        self.cells.memory_bytes() + self.idem.memory_bytes() + 4 * about + 4096
    }

    /// The frame's folder, without a slash at its end.
    #[must_use]
    pub fn folder(&self) -> &str {
        &self.folder
    }

    /// When this version was committed, in milliseconds since 1970 by its writer's clock; never before the version
    /// before it.
    #[must_use]
    pub fn committed_ms(&self) -> i64 {
        self.head.timestamp_ms
    }
}
