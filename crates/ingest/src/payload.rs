//! A payload on its way into cells: fit, hash, split, push.

use std::{mem, slice};

use apiary_cell::partition::{self, PartitionValues};
use apiary_ledger::{CellEntry, Snapshot, partition_text};
use arrow::{
    array::RecordBatch,
    datatypes::{DataType, SchemaRef},
};
use futures::{Stream, StreamExt};

use crate::{
    Conformer, Result,
    digest::PayloadDigest,
    pipeline::Pipeline,
    shaper::PartitionText,
    work::{Cores, Running, Size},
};

/// What a payload became.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) cells: Vec<CellEntry>,
    pub(crate) rows: u64,
    /// If it was asked for.
    pub(crate) digest: Option<String>,
}

/// A stream of batches that can be read again from its start, as long as what it gave is kept.
#[derive(Debug)]
pub(crate) struct Source<S> {
    batches: S,
    kept: Vec<RecordBatch>,
    kept_bytes: usize,
    again: std::vec::IntoIter<RecordBatch>,
    keeps: bool,
}

impl<S: Stream<Item = Result<RecordBatch>> + Send + Unpin> Source<S> {
    pub(crate) fn new(batches: S) -> Self {
        Self { batches, kept: Vec::new(), kept_bytes: 0, again: Vec::new().into_iter(), keeps: true }
    }

    pub(crate) async fn next(&mut self) -> Option<Result<RecordBatch>> {
        if let Some(batch) = self.again.next() {
            return Some(Ok(batch));
        }
        let next = self.batches.next().await;
        if let (true, Some(Ok(batch))) = (self.keeps, &next) {
            self.kept_bytes += batch.get_array_memory_size();
            self.kept.push(batch.clone());
        }
        next
    }

    pub(crate) fn kept_bytes(&self) -> usize {
        self.kept_bytes
    }

    /// From now on it cannot be read again.
    pub(crate) fn forget(&mut self) {
        (self.keeps, self.kept_bytes) = (false, 0);
        self.kept = Vec::new();
    }

    /// Begins again, for the last time.
    pub(crate) fn rewind(&mut self) {
        self.again = mem::take(&mut self.kept).into_iter();
        self.forget();
    }
}

/// What is done to each batch in order: fit, hash, split.
#[derive(Debug)]
pub(crate) struct Intake {
    conformer: Conformer,
    partition_by: Vec<String>,
    partition_types: Vec<DataType>,
    digest: Option<PayloadDigest>,
    /// Rows of the batches before.
    rows: usize,
}

impl Intake {
    pub(crate) fn new(schema: &SchemaRef, base: &Snapshot, digested: bool) -> Result<Self> {
        let partition_by = base.partition_by.clone();
        let data_type = |name: &String| Ok(base.schema.field_with_name(name)?.data_type().clone());
        Ok(Self {
            conformer: Conformer::new(schema, &base.schema)?,
            partition_types: partition_by.iter().map(data_type).collect::<Result<_>>()?,
            partition_by,
            digest: digested.then(|| PayloadDigest::new(&base.schema)).transpose()?,
            rows: 0,
        })
    }

    /// Fits and hashes a batch, and splits it into its partitions. Errors count rows from the first batch on.
    fn take(&mut self, batch: &RecordBatch) -> Result<Vec<(PartitionText, RecordBatch)>> {
        let before = self.rows;
        self.rows += batch.num_rows();
        self.take_one(batch).map_err(|error| error.behind(before))
    }

    fn take_one(&mut self, batch: &RecordBatch) -> Result<Vec<(PartitionText, RecordBatch)>> {
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

/// Takes one batch through `intake`.
fn take(cores: &Cores, mut intake: Intake, batch: RecordBatch) -> Running<(Intake, Vec<(PartitionText, RecordBatch)>)> {
    cores.run(Size::of_rows(slice::from_ref(&batch)), move || {
        let parts = intake.take(&batch)?;
        Ok((intake, parts))
    })
}

/// Reads the whole of `source` for its digest alone.
pub(crate) async fn digest<S>(cores: &Cores, mut intake: Intake, source: &mut Source<S>) -> Result<Written>
where
    S: Stream<Item = Result<RecordBatch>> + Send + Unpin,
{
    let mut rows = 0;
    while let Some(batch) = source.next().await {
        let batch = batch?;
        rows += batch.num_rows() as u64;
        (intake, _) = take(cores, intake, batch).await?;
    }
    Ok(Written { cells: Vec::new(), rows, digest: intake.digest.map(PayloadDigest::finish) })
}

/// Drives the whole of `source` through `pipeline`. Before each batch `check` is asked whether to go on; each part
/// goes where `admit` lets it.
pub(crate) async fn write_all<S>(
    pipeline: &mut Pipeline,
    mut intake: Intake,
    source: &mut Source<S>,
    confirm: &mut crate::names::Confirm,
    admit: impl Fn(&PartitionText) -> Result<()>,
) -> Result<Written>
where
    S: Stream<Item = Result<RecordBatch>> + Send + Unpin,
{
    let mut rows = 0;
    while let Some(batch) = source.next().await {
        let batch = batch?;
        rows += batch.num_rows() as u64;
        if confirm.is_due(source.kept_bytes()) {
            confirm.wait().await?;
        }
        if confirm.is_over() {
            source.forget();
        }
        let (back, parts) = take(pipeline.cores(), intake, batch).await?;
        intake = back;
        for (values, rows) in parts {
            admit(&values)?;
            pipeline.push(values, rows).await?;
        }
    }
    let cells = pipeline.finish().await?;
    confirm.wait().await?;
    Ok(Written { cells, rows, digest: intake.digest.map(PayloadDigest::finish) })
}
