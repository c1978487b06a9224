//! Row groups to one cell: strings encoded groups together, closes the Parquet file, puts the sums of its blocks
//! and its name into it, takes its SHA-256.
//!
//! The cell is built in memory: a cell aims at a quarter of a chamber, and its name, statistics and checksum must be
//! known before anything of it is in the bucket.

use std::{fmt, sync::Arc};

use apiary_bucket::sums::{with_sums, with_sums_unnamed};
use apiary_core::{CellStats, TxnId};
use arrow::{array::RecordBatch, datatypes::SchemaRef};
use bytes::Bytes;
use parquet::{arrow::ArrowWriter, file::writer::SerializedFileWriter};
use sha2::{Digest, Sha256};

use crate::{
    CellError, CellFormat, CellOptions, EncodedGroup, GroupEncoder, PendingRows, Result, StatsBuilder,
    options::without_metadata,
};

/// A finished cell.
#[derive(Debug, Clone)]
pub struct EncodedCell {
    /// The Parquet file.
    pub bytes: Bytes,
    /// Its rows and bounds.
    pub stats: CellStats,
    /// SHA-256 of `bytes`, in hexadecimal.
    pub sha256: String,
    /// Its rows.
    pub rows: u64,
}

/// A cell in the making.
pub struct CellWriter {
    file: SerializedFileWriter<Vec<u8>>,
    stats: StatsBuilder,
}

impl fmt::Debug for CellWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CellWriter").field("rows", &self.rows()).field("bytes", &self.encoded_bytes()).finish()
    }
}

impl CellWriter {
    /// An empty cell of `format`.
    pub fn new(format: &CellFormat) -> Result<Self> {
        let storage = Arc::new(without_metadata(&format.storage));
        let writer = ArrowWriter::try_new(Vec::new(), storage, Some(format.properties()?))?;
        let (file, _) = writer.into_serialized_writer()?;
        Ok(Self { file, stats: StatsBuilder::new(&format.schema) })
    }

    /// Puts `group` behind what is there. The group must come from an encoder of the same format.
    pub fn append(&mut self, group: EncodedGroup) -> Result<()> {
        let mut row_group = self.file.next_row_group()?;
        for chunk in group.chunks {
            chunk.append_to_row_group(&mut row_group)?;
        }
        row_group.close()?;
        self.stats.merge(group.stats);
        Ok(())
    }

    /// Rows so far.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.stats.rows()
    }

    /// Bytes of Parquet so far, held in memory.
    #[must_use]
    pub fn encoded_bytes(&self) -> u64 {
        self.file.bytes_written() as u64
    }

    /// Closes the file, puts the sums of its blocks and its name (the `n`th cell of `txn`) into it, and takes its
    /// checksum: CPU work in the order of 1 ms per MB.
    pub fn finish(self, txn: &TxnId, n: usize) -> Result<EncodedCell> {
        self.close(|file| with_sums(file, txn, n))
    }

    fn close(self, with_sums: impl FnOnce(Vec<u8>) -> Option<Vec<u8>>) -> Result<EncodedCell> {
        let file = with_sums(self.file.into_inner()?).ok_or_else(|| CellError::Corrupt {
            reason: "the Parquet writer's file does not end like one".to_owned(),
        })?;
        let bytes = Bytes::from(file);
        let stats = self.stats.finish();
        Ok(EncodedCell { sha256: sha256_hex(&bytes), rows: stats.rows, stats, bytes })
    }
}

/// SHA-256 of `bytes` in hexadecimal: what the ledger remembers of a cell.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Encodes `batches` of `schema` as one Parquet file that is no frame's cell and has no name, in as few row groups of even size as the options allow.
pub fn encode_cell(schema: &SchemaRef, batches: &[RecordBatch], options: &CellOptions) -> Result<EncodedCell> {
    let format = CellFormat::plain(schema, options);
    let encoder = GroupEncoder::new(&format)?;
    let mut writer = CellWriter::new(&format)?;
    let mut pending = PendingRows::default();
    for batch in batches {
        pending.push(batch.clone());
    }
    let groups = pending.rows().div_ceil(options.row_group_rows_max).max(1);
    let group_rows = pending.rows().div_ceil(groups);
    while pending.rows() > 0 {
        writer.append(encoder.encode(&pending.take(group_rows))?)?;
    }
    writer.close(with_sums_unnamed)
}

#[cfg(test)]
mod tests;
