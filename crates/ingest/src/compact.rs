//! Compaction: few full cells in place of many small ones, not a row changed.
//!
//! Within each partition the small cells, oldest first, are put into groups that make about one full cell; each group
//! is merged and committed by itself, so that a conflict costs one group. Writers come first: a group that loses three
//! times is left for later. Which cells go together is decided by the pure [`plan`].

use std::{collections::BTreeMap, collections::HashSet, sync::Arc};

use apiary_cell::{leafcutter, read_cell, sha256_hex};
use apiary_core::{FramePath, Version};
use apiary_ledger::{CellEntry, CellId, FrameRecord, Snapshot, Transaction};
use arrow::{
    array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array},
    compute::{CastOptions, cast_with_options},
    datatypes::SchemaRef,
};
use futures::StreamExt;

use crate::{
    Ingest, IngestError, Result,
    limits::{MERGE_ATTEMPTS_MAX, MERGE_CELLS_MAX, READ_BATCH_ROWS},
    off_thread::off_thread,
    pipeline::Pipeline,
    shaper::PartitionText,
};

/// What a compaction did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompactReport {
    /// The frame's newest version that this compaction saw or made.
    pub version: Version,
    /// Cells before.
    pub cells_before: u64,
    /// Cells after, by this compaction's own doing.
    pub cells_after: u64,
    /// Bytes of Parquet written.
    pub bytes_written: u64,
    /// Groups that other transactions kept from being merged.
    pub groups_skipped: u64,
}

/// One group merged.
struct Merged {
    version: Version,
    cells: u64,
    bytes: u64,
}

impl Ingest {
    /// Merges the small cells of `frame`. Every version in between holds the same rows.
    ///
    /// Cost: 1 GET per merged cell, 1 PUT per new one, 1 commit per group. Memory: as for an append, and one small cell.
    pub async fn compact(&self, frame: &FramePath) -> Result<CompactReport> {
        let (record, snapshot) = self.newest(frame).await?;
        let before = snapshot.cells.len() as u64;
        let mut report = CompactReport {
            version: snapshot.version,
            cells_before: before,
            cells_after: before,
            bytes_written: 0,
            groups_skipped: 0,
        };
        let target = leafcutter::target_bytes(self.settings.chamber_bytes);
        for group in plan(&snapshot.cells, target) {
            match self.merge_or_yield(&record, &group).await? {
                Some(merged) => {
                    report.version = report.version.max(merged.version);
                    report.cells_after = report.cells_after - group.len() as u64 + merged.cells;
                    report.bytes_written += merged.bytes;
                }
                None => report.groups_skipped += 1,
            }
        }
        tracing::info!(
            frame = %record.path, version = %report.version, cells_before = before, cells_after = report.cells_after,
            bytes_written = report.bytes_written, groups_skipped = report.groups_skipped, "compaction ended"
        );
        Ok(report)
    }

    /// Merges one group; `None` where others were faster or its cells are gone.
    async fn merge_or_yield(&self, record: &FrameRecord, group: &[Arc<CellEntry>]) -> Result<Option<Merged>> {
        for attempt in 1..=MERGE_ATTEMPTS_MAX {
            let base = self.frames.snapshot(record).await?;
            let wanted: HashSet<CellId> = group.iter().map(|cell| cell.id).collect();
            if base.cells.find(&wanted).len() < group.len() {
                return Ok(None);
            }
            match self.merge(record, base, group).await {
                Err(error) if error.is_retryable() => {
                    tracing::info!(frame = %record.path, attempt, %error, "a merge yields");
                }
                merged => return merged,
            }
        }
        Ok(None)
    }

    async fn merge(
        &self,
        record: &FrameRecord,
        base: Arc<Snapshot>,
        group: &[Arc<CellEntry>],
    ) -> Result<Option<Merged>> {
        let txn = self.new_txn();
        let mut pipeline = self.pipeline(&base, txn)?;
        let adds = match self.rewrite(&mut pipeline, &base.schema, group).await {
            Ok(adds) if adds.len() < group.len() => adds,
            // Nothing won: the rows take as many cells as before.
            Ok(_) => {
                pipeline.delete_own().await;
                return Ok(None);
            }
            Err(error) => {
                pipeline.delete_own().await;
                return Err(error);
            }
        };
        let (cells, bytes) = (adds.len() as u64, adds.iter().map(|cell| cell.size_bytes).sum());
        let removes = group.iter().map(|cell| cell.path()).collect();
        let transaction = Transaction::compaction(txn, &self.settings.node, adds, removes);
        let landed = self.land(record, base, transaction, pipeline).await?;
        Ok(Some(Merged { version: landed.version, cells, bytes }))
    }

    /// Reads the group's cells one after another into new ones.
    async fn rewrite(
        &self,
        pipeline: &mut Pipeline,
        schema: &SchemaRef,
        group: &[Arc<CellEntry>],
    ) -> Result<Vec<CellEntry>> {
        let mut rows_in = 0;
        for cell in group {
            let mut batches = off_thread(self.open(cell).await?);
            while let Some(batch) = batches.next().await {
                let batch = exact(&batch?, schema)?;
                rows_in += batch.num_rows() as u64;
                pipeline.push(cell.partition_values(), batch).await?;
            }
        }
        let adds = pipeline.finish().await?;
        let rows_out: u64 = adds.iter().map(|cell| cell.rows).sum();
        let rows_known: u64 = group.iter().map(|cell| cell.rows).sum();
        if rows_in != rows_out || rows_in != rows_known {
            return Err(IngestError::Internal(format!(
                "a merge read {rows_in} rows and wrote {rows_out} where the ledger knows {rows_known}"
            )));
        }
        Ok(adds)
    }

    /// A cell's batches, its bytes compared with the ledger's checksum. 1 GET.
    async fn open(&self, cell: &CellEntry) -> Result<impl Iterator<Item = Result<RecordBatch>> + Send + use<>> {
        let corrupt = |reason: String| IngestError::CorruptCell { key: cell.key().to_string(), reason };
        let bytes = self.bucket.get_at_most(&cell.key(), cell.size_bytes).await?;
        let bytes = bytes.ok_or_else(|| corrupt("it is not in the bucket".to_owned()))?;
        if bytes.len() as u64 != cell.size_bytes {
            return Err(corrupt(format!("it has {} bytes, the ledger says {}", bytes.len(), cell.size_bytes)));
        }
        if sha256_hex(&bytes) != cell.sha256() {
            return Err(corrupt("its SHA-256 is not the ledger's".to_owned()));
        }
        let (_, batches) = read_cell(bytes, READ_BATCH_ROWS).map_err(|error| corrupt(error.to_string()))?;
        Ok(batches.map(|batch| batch.map_err(IngestError::from)))
    }
}

/// A batch of a cell in the frame's exact types; a column that the cell is too old to have is NULL.
fn exact(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    let column = |field: &Arc<arrow::datatypes::Field>| -> Result<ArrayRef> {
        match batch.column_by_name(field.name()) {
            None => Ok(new_null_array(field.data_type(), batch.num_rows())),
            Some(column) if column.data_type() == field.data_type() => Ok(Arc::clone(column)),
            Some(column) => Ok(cast_with_options(column, field.data_type(), &strict)?),
        }
    };
    let columns = schema.fields().iter().map(column).collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}

/// Groups of at least two small cells of one partition that make about one cell of `target` bytes.
fn plan<'a>(cells: impl IntoIterator<Item = &'a Arc<CellEntry>>, target: u64) -> Vec<Vec<Arc<CellEntry>>> {
    let mut small: BTreeMap<PartitionText, Vec<Arc<CellEntry>>> = BTreeMap::new();
    for cell in cells.into_iter().filter(|cell| leafcutter::is_small(cell.size_bytes, target)) {
        small.entry(cell.partition_values()).or_default().push(Arc::clone(cell));
    }
    let mut groups = Vec::new();
    for cells in small.into_values() {
        let (mut group, mut bytes) = (Vec::new(), 0);
        for cell in cells {
            if bytes + cell.size_bytes > target || group.len() == MERGE_CELLS_MAX {
                groups.push(std::mem::take(&mut group));
                bytes = 0;
            }
            bytes += cell.size_bytes;
            group.push(cell);
        }
        groups.push(group);
    }
    groups.retain(|group| group.len() >= 2);
    groups
}

#[cfg(test)]
mod tests {
    use apiary_core::{CellStats, SeededRng, SystemClock, TxnId};

    use super::*;
    use apiary_ledger::CellFacts;

    fn cell(partition: &str, size_bytes: u64) -> Arc<CellEntry> {
        let txn = TxnId::new(&SystemClock, &SeededRng::new(size_bytes));
        let facts = CellFacts {
            folder: "f".to_owned(),
            id: CellId { txn, n: 0 },
            size_bytes,
            partition_values: vec![("p".to_owned(), Some(partition.to_owned()))],
            stats: CellStats::default(),
            sha256: "00".repeat(32),
            modified_ms: 0,
        };
        Arc::new(facts.pack().unwrap())
    }

    fn sizes(cells: &[Arc<CellEntry>]) -> Vec<Vec<u64>> {
        plan(cells, 100).iter().map(|group| group.iter().map(|cell| cell.size_bytes).collect()).collect()
    }

    #[test]
    fn small_cells_of_one_partition_go_together_up_to_the_target() {
        let cells = [cell("a", 20), cell("b", 1), cell("a", 24), cell("a", 25), cell("b", 2), cell("a", 10)];
        assert_eq!(sizes(&cells), [vec![20, 24, 10], vec![1, 2]]);
        let many: Vec<_> = (0..9).map(|i| cell("a", 20 + i % 2)).collect();
        assert_eq!(sizes(&many), [vec![20, 21, 20, 21], vec![20, 21, 20, 21]]);
    }

    #[test]
    fn one_small_cell_stays_alone() {
        assert!(sizes(&[cell("a", 1), cell("b", 1), cell("a", 99)]).is_empty());
    }
}
