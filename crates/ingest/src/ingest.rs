//! The writer of one node: what it needs, and the way from a frame's path to its ledger.

use std::sync::Arc;

use apiary_bucket::Bucket;
use apiary_cell::CellFormat;
use apiary_core::TxnId;
use apiary_ledger::{Frames, Registry, Snapshot, delta_schema};

use crate::{Result, pipeline::Pipeline, shaper::Sizes, work::Cores};

/// Plain settings of a writer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IngestSettings {
    /// Memory of one bee's chamber in bytes: one write takes about one and a half of it, whatever its size, and cells
    /// aim at a quarter.
    pub chamber_bytes: u64,
    /// The node's name, for people who read the ledger.
    pub node: String,
}

/// Writes frames. Cheap to clone; clones share everything.
#[derive(Debug, Clone)]
pub struct Ingest {
    pub(crate) bucket: Bucket,
    pub(crate) registry: Registry,
    pub(crate) frames: Frames,
    pub(crate) settings: Arc<IngestSettings>,
    pub(crate) cores: Cores,
}

impl Ingest {
    /// A writer over `bucket`.
    #[must_use]
    pub fn new(bucket: Bucket, registry: Registry, frames: Frames, settings: IngestSettings) -> Self {
        Self { bucket, registry, frames, settings: Arc::new(settings), cores: Cores::all() }
    }

    /// A new transaction's id.
    pub(crate) fn new_txn(&self) -> TxnId {
        TxnId::new(self.bucket.clock().as_ref(), self.bucket.rng().as_ref())
    }

    /// The way into the bucket for cells of `snapshot`'s frame.
    pub(crate) fn pipeline(&self, snapshot: &Snapshot, txn: TxnId) -> Result<Pipeline> {
        let storage = delta_schema::storage_schema(&snapshot.schema)?;
        let format = CellFormat::new(&snapshot.schema, &storage);
        let sizes = Sizes::for_chamber(self.settings.chamber_bytes);
        Pipeline::new(&self.bucket, &self.cores, snapshot.folder(), txn, format, sizes)
    }
}
