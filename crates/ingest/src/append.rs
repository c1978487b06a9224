//! Append: a stream of batches becomes rows of a frame, all of them or none.

use std::sync::Arc;

use apiary_cell::partition::{self, PartitionValues};
use apiary_core::{FramePath, Version};
use apiary_ledger::{CellEntry, FrameRecord, IdempotencyKey, Snapshot, Transaction, partition_text};
use arrow::{
    array::RecordBatch,
    datatypes::{DataType, SchemaRef},
};
use futures::{Stream, StreamExt};

use crate::{
    Conformer, Ingest, IngestError, Result,
    commit::Landed,
    digest::PayloadDigest,
    limits::IDEMPOTENCY_KEY_BYTES_MAX,
    pipeline::{Pipeline, ended_early},
    shaper::PartitionText,
};

/// How to append.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AppendOptions {
    /// The same key with the same rows in the same order is applied once, however often it is sent; with other rows it
    /// is an error. 1 to 256 bytes.
    pub idempotency_key: Option<String>,
    /// Whose key it is: keys of different principals never meet.
    pub principal: String,
}

/// What a write did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteReport {
    /// The version of the frame that holds the rows.
    pub version: Version,
    /// Rows that the payload had.
    pub rows: u64,
    /// Cells that joined the frame.
    pub cells: u64,
    /// Bytes of Parquet in them.
    pub bytes: u64,
    /// Slots of the ledger lost to other writers on the way.
    pub retries: u32,
    /// The key had been applied before, at `version`; nothing was written now.
    pub already_applied: bool,
}

impl Ingest {
    /// Appends everything in `batches` to `frame` in one version. An error anywhere, in the stream too, and nothing is
    /// visible: what was uploaded is deleted. A payload without rows makes no version.
    ///
    /// Cost: the frame's newest version, 1 PUT a cell (see [`apiary_cell::target_bytes`]), 1 commit. Memory: about one
    /// and a half chambers, whatever the stream's length. Dropping the future leaves what it uploaded to vacuum, and
    /// during the commit an unknown outcome: run it on a task of its own where callers may go away.
    pub async fn append(
        &self,
        frame: &FramePath,
        schema: SchemaRef,
        batches: impl Stream<Item = Result<RecordBatch>> + Send + Unpin,
        options: AppendOptions,
    ) -> Result<WriteReport> {
        let key = options.idempotency_key.as_deref();
        if let Some(key) = key.filter(|key| key.is_empty() || key.len() > IDEMPOTENCY_KEY_BYTES_MAX) {
            return Err(IngestError::IdempotencyKey { bytes: key.len() });
        }
        let (record, base) = self.newest(frame).await?;
        let intake = Intake::new(&schema, &base, key.is_some())?;
        let txn = self.new_txn();
        let mut pipeline = self.pipeline(&base, txn)?;
        let (adds, digest) = match write_all(&mut pipeline, intake, batches).await {
            Ok(written) => written,
            Err(error) => {
                pipeline.delete_own().await;
                return Err(error);
            }
        };
        if adds.is_empty() {
            return Ok(report(&[], Landed { version: base.version, retries: 0, already_applied: false }));
        }
        let idem = options.idempotency_key.zip(digest);
        let idem = idem.map(|(key, digest)| IdempotencyKey { scope: options.principal, key, digest });
        let transaction = Transaction::append(txn, &self.settings.node, adds.clone()).with_idem(idem);
        self.append_landed(&record, base, transaction, pipeline, &adds).await
    }

    async fn append_landed(
        &self,
        record: &FrameRecord,
        base: Arc<Snapshot>,
        transaction: Transaction,
        pipeline: Pipeline,
        adds: &[CellEntry],
    ) -> Result<WriteReport> {
        let txn = transaction.id;
        let report = report(adds, self.land(record, base, transaction, pipeline).await?);
        tracing::info!(
            frame = %record.path, %txn, version = %report.version, rows = report.rows, cells = report.cells,
            bytes = report.bytes, retries = report.retries, already_applied = report.already_applied, "append committed"
        );
        Ok(report)
    }
}

fn report(adds: &[CellEntry], landed: Landed) -> WriteReport {
    let rows = adds.iter().map(|cell| cell.rows).sum();
    let kept = if landed.already_applied { &[] } else { adds };
    WriteReport {
        version: landed.version,
        rows,
        cells: kept.len() as u64,
        bytes: kept.iter().map(|cell| cell.size_bytes).sum(),
        retries: landed.retries,
        already_applied: landed.already_applied,
    }
}

/// Drives the whole stream through `pipeline`; returns its cells and, if asked for, the payload's digest.
async fn write_all(
    pipeline: &mut Pipeline,
    mut intake: Intake,
    mut batches: impl Stream<Item = Result<RecordBatch>> + Send + Unpin,
) -> Result<(Vec<CellEntry>, Option<String>)> {
    while let Some(batch) = batches.next().await {
        let batch = batch?;
        let taken = tokio::task::spawn_blocking(move || {
            let parts = intake.take(&batch);
            (intake, parts)
        });
        let (back, parts) = taken.await.map_err(ended_early)?;
        intake = back;
        for (values, rows) in parts? {
            pipeline.push(values, rows).await?;
        }
    }
    let cells = pipeline.finish().await?;
    Ok((cells, intake.digest.map(PayloadDigest::finish)))
}

/// What is done to each batch in order: fit, hash, split.
#[derive(Debug)]
struct Intake {
    conformer: Conformer,
    partition_by: Vec<String>,
    partition_types: Vec<DataType>,
    digest: Option<PayloadDigest>,
}

impl Intake {
    fn new(schema: &SchemaRef, base: &Snapshot, digested: bool) -> Result<Self> {
        let partition_by = base.partition_by.clone();
        let data_type = |name: &String| Ok(base.schema.field_with_name(name)?.data_type().clone());
        Ok(Self {
            conformer: Conformer::new(schema, &base.schema)?,
            partition_types: partition_by.iter().map(data_type).collect::<Result<_>>()?,
            partition_by,
            digest: digested.then(|| PayloadDigest::new(&base.schema)).transpose()?,
        })
    }

    fn take(&mut self, batch: &RecordBatch) -> Result<Vec<(PartitionText, RecordBatch)>> {
        let batch = self.conformer.apply(batch)?;
        if let Some(digest) = &mut self.digest {
            digest.update(&batch)?;
        }
        let parts = partition::split(&batch, &self.partition_by)?;
        parts.into_iter().map(|(values, rows)| Ok((self.text_of(&values)?, rows))).collect()
    }

    fn text_of(&self, values: &PartitionValues) -> Result<PartitionText> {
        let columns = self.partition_by.iter().zip(&self.partition_types);
        let text = |((name, data_type), value)| {
            Ok((String::clone(name), Some(partition_text::to_text(name, value, data_type)?)))
        };
        columns.zip(values).map(text).collect()
    }
}
