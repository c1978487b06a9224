//! Rows to one encoded row group: the CPU work of a write.
//!
//! A group is encoded on its own, away from the cell it will stand in, so that several bees can encode groups of one
//! cell at the same time; [`crate::CellWriter`] then only strings them together. Statistics are taken on the way.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, RecordBatch},
    compute::{CastOptions, cast_with_options},
    datatypes::{DataType, SchemaRef},
};
use parquet::arrow::{
    ArrowWriter,
    arrow_writer::{ArrowColumnChunk, ArrowRowGroupWriterFactory, compute_leaves},
};

use crate::{CellFormat, Result, StatsBuilder, options::without_metadata};

/// One row group, encoded and compressed, with its statistics.
#[derive(Debug)]
pub struct EncodedGroup {
    pub(crate) chunks: Vec<ArrowColumnChunk>,
    pub(crate) stats: StatsBuilder,
    pub(crate) bytes: u64,
}

impl EncodedGroup {
    /// Rows in the group.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.stats.rows()
    }

    /// Bytes that the group will take in its cell.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// Encodes row groups of one format. Cheap to clone; clones may work in parallel.
#[derive(Debug, Clone)]
pub struct GroupEncoder {
    format: CellFormat,
    factory: Arc<ArrowRowGroupWriterFactory>,
}

impl GroupEncoder {
    /// An encoder for cells of `format`.
    pub fn new(format: &CellFormat) -> Result<Self> {
        let storage = Arc::new(without_metadata(&format.storage));
        let writer = ArrowWriter::try_new(Vec::new(), storage, Some(format.properties()?))?;
        let (_, factory) = writer.into_serialized_writer()?;
        Ok(Self { format: format.clone(), factory: Arc::new(factory) })
    }

    /// The schema that batches must have: the frame's exact types.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.format.schema
    }

    /// Encodes `batches`, which have the frame's exact types, as one row group.
    pub fn encode(&self, batches: &[RecordBatch]) -> Result<EncodedGroup> {
        // Row groups are numbered for encryption alone, which cells do not use: any number serves.
        let mut writers = self.factory.create_column_writers(0)?;
        let mut stats = StatsBuilder::new(&self.format.schema);
        for batch in batches {
            stats.update(batch)?;
            let mut next = writers.iter_mut();
            for (field, column) in self.format.storage.fields().iter().zip(batch.columns()) {
                let stored = stored(column, field.data_type())?;
                for leaf in compute_leaves(field, &stored)? {
                    if let Some(writer) = next.next() {
                        writer.write(&leaf)?;
                    }
                }
            }
        }
        let chunks = writers.into_iter().map(|writer| writer.close()).collect::<Result<Vec<_>, _>>()?;
        let bytes = chunks.iter().map(|chunk| chunk.close().bytes_written).sum();
        Ok(EncodedGroup { chunks, stats, bytes })
    }
}

/// A column in its storage type. A value that does not fit is an error, never a NULL.
fn stored(column: &ArrayRef, storage: &DataType) -> Result<ArrayRef> {
    if column.data_type() == storage {
        return Ok(Arc::clone(column));
    }
    Ok(cast_with_options(column, storage, &CastOptions { safe: false, ..CastOptions::default() })?)
}
