//! Rows on their way out of a task, as bytes for each output partition.
//!
//! ```text
//!   batch ─▶ texts plain ─▶ one `take`, after which rows of one partition lie side by side ─▶ slices, held by partition
//!                                                                                                  │ a round
//!                         Arrow IPC, a stream for each partition, in memory ◀── put together ◀─────┘
//! ```
//!
//! A round comes when there is a whole batch for each partition, or [`HELD_BYTES_MAX`] of rows, or as much as may be held.
//! So messages between tasks are not so small that what describes them weighs more than they do, and no more than that is
//! held twice. Which row goes where is DataFusion's own reckoning, the one with which it would exchange rows within a
//! process, so a stage that was put back into its reader meets the same partners.
//!
//! Rows of one partition keep the order in which they came: a merge that reads them relies on it.

use std::{io, mem, sync::Arc};

use apiary_query::{conform, plain_schema};
use bytes::Bytes;
use datafusion::{
    arrow::{
        array::RecordBatch,
        compute::concat_batches,
        datatypes::SchemaRef,
        ipc::writer::{IpcWriteOptions, StreamWriter},
    },
    error::Result,
    physical_expr::PhysicalExpr,
    physical_plan::{metrics::Time, repartition::BatchPartitioner},
};

use super::views;

/// Rows that are held as they are before they become bytes.
const HELD_BYTES_MAX: usize = 8 << 20;

/// Rows of a partition that are a message by themselves: putting them together would copy them once more.
const MESSAGE_ROWS_MIN: usize = 1024;

/// The least and the most that a part of a lane has.
const SEGMENT_BYTES: (usize, usize) = (4 << 10, 1 << 20);

/// How rows find their partition.
#[derive(Debug, Clone)]
pub(super) enum Way {
    /// All of an input's rows are one partition's.
    Through(u64),
    /// By the hash of these, over the plan's own schema, into so many.
    Hash(Vec<Arc<dyn PhysicalExpr>>, usize),
}

/// The rows of one partition so far, as whole Arrow IPC streams.
#[derive(Debug, Default)]
pub(super) struct Lane {
    pub(super) partition: u64,
    pub(super) rows: u64,
    pub(super) batches: u64,
    pub(super) segments: Vec<Bytes>,
}

impl Lane {
    pub(super) fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.len() as u64).sum()
    }
}

/// Deals one input's rows.
pub(super) struct Dealer {
    schema: SchemaRef,
    options: IpcWriteOptions,
    partitioner: Option<BatchPartitioner>,
    batch_rows: usize,
    held_bytes_max: usize,
    held_rows: usize,
    held_bytes: usize,
    lanes: Vec<OpenLane>,
}

impl Dealer {
    /// For rows of `schema`, written with `options` in batches of about `batch_rows`, of which `bytes_max` may be held.
    pub(super) fn new(
        way: Way,
        schema: &SchemaRef,
        options: IpcWriteOptions,
        batch_rows: usize,
        bytes_max: usize,
    ) -> Result<Self> {
        let (partitioner, partitions) = match way {
            Way::Through(partition) => (None, partition..partition + 1),
            Way::Hash(exprs, count) => {
                let exprs = exprs.iter().map(|expr| views::over_written(expr, schema)).collect::<Result<_>>()?;
                (Some(BatchPartitioner::new_hash_partitioner(exprs, count, Time::new())?), 0..count as u64)
            }
        };
        let lane = |partition| OpenLane { partition, ..OpenLane::default() };
        let (schema, lanes) = (plain_schema(schema), partitions.map(lane).collect());
        let held_bytes_max = HELD_BYTES_MAX.min(bytes_max);
        Ok(Self { schema, options, partitioner, batch_rows, held_bytes_max, held_rows: 0, held_bytes: 0, lanes })
    }

    /// Takes a batch in.
    pub(super) fn push(&mut self, batch: RecordBatch) -> Result<()> {
        let batch = conform(batch, &self.schema)?;
        self.held_rows += batch.num_rows();
        match &mut self.partitioner {
            None => {
                self.held_bytes += batch.get_array_memory_size();
                self.lanes[0].hold(batch);
            }
            Some(partitioner) => {
                let mut bytes = 0;
                for dealt in partitioner.partition_iter(batch)? {
                    let (partition, slice) = dealt?;
                    // Each is a slice of the whole, and says what the whole weighs.
                    bytes = slice.get_array_memory_size();
                    self.lanes[partition].hold(slice);
                }
                self.held_bytes += bytes;
            }
        }
        if self.held_rows >= self.batch_rows * self.lanes.len() || self.held_bytes >= self.held_bytes_max {
            self.round()?;
        }
        Ok(())
    }

    /// Makes bytes of all rows that are held.
    pub(super) fn round(&mut self) -> Result<()> {
        for lane in &mut self.lanes {
            lane.encode(&self.schema, &self.options, self.batch_rows)?;
        }
        (self.held_rows, self.held_bytes) = (0, 0);
        Ok(())
    }

    /// What is in memory, as rows and as bytes.
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes + self.encoded_bytes()
    }

    pub(super) fn encoded_bytes(&self) -> usize {
        self.lanes.iter().map(OpenLane::encoded_bytes).sum()
    }

    /// All that came so far, by partition; those without rows are left out. What comes after begins anew.
    pub(super) fn take(&mut self) -> Result<Vec<Lane>> {
        self.round()?;
        self.lanes.iter_mut().filter_map(|lane| lane.take().transpose()).collect()
    }
}

/// A lane that rows are added to.
#[derive(Default)]
struct OpenLane {
    partition: u64,
    held: Vec<RecordBatch>,
    rows: u64,
    batches: u64,
    stream: Option<StreamWriter<Segments>>,
}

impl OpenLane {
    fn hold(&mut self, batch: RecordBatch) {
        if batch.num_rows() > 0 {
            self.held.push(batch);
        }
    }

    fn encoded_bytes(&self) -> usize {
        self.stream.as_ref().map_or(0, |stream| stream.get_ref().bytes)
    }

    fn encode(&mut self, schema: &SchemaRef, options: &IpcWriteOptions, batch_rows: usize) -> Result<()> {
        let held = mem::take(&mut self.held);
        if held.is_empty() {
            return Ok(());
        }
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => none.insert(StreamWriter::try_new_with_options(Segments::default(), schema, options.clone())?),
        };
        for batch in together(held, batch_rows) {
            let batch = match &batch[..] {
                [one] => one.clone(),
                several => concat_batches(schema, several)?,
            };
            stream.write(&batch)?;
            self.rows += batch.num_rows() as u64;
            self.batches += 1;
        }
        Ok(())
    }

    fn take(&mut self) -> Result<Option<Lane>> {
        let Some(stream) = self.stream.take() else { return Ok(None) };
        let segments = stream.into_inner()?.into_segments();
        let (rows, batches) = (mem::take(&mut self.rows), mem::take(&mut self.batches));
        Ok(Some(Lane { partition: self.partition, rows, batches, segments }))
    }
}

/// `batches` in their order, the small ones in groups of no more than `rows` rows.
fn together(batches: Vec<RecordBatch>, rows: usize) -> Vec<Vec<RecordBatch>> {
    let mut groups: Vec<Vec<RecordBatch>> = Vec::new();
    // Rows that the last group can still take.
    let mut room = 0;
    for batch in batches {
        let many = batch.num_rows() >= MESSAGE_ROWS_MIN;
        match groups.last_mut().filter(|_| !many && batch.num_rows() <= room) {
            Some(group) => {
                room -= batch.num_rows();
                group.push(batch);
            }
            None => {
                room = if many { 0 } else { rows.saturating_sub(batch.num_rows()) };
                groups.push(vec![batch]);
            }
        }
    }
    groups
}

/// Memory that is written to, in parts, each as large as all before it: what grows in one part is copied again and again.
#[derive(Debug, Default)]
struct Segments {
    full: Vec<Bytes>,
    open: Vec<u8>,
    bytes: usize,
}

impl Segments {
    fn into_segments(mut self) -> Vec<Bytes> {
        self.full.push(self.open.into());
        self.full
    }
}

impl io::Write for Segments {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.open.len() == self.open.capacity() {
            let next = Vec::with_capacity(self.bytes.clamp(SEGMENT_BYTES.0, SEGMENT_BYTES.1));
            self.full.extend((!self.open.is_empty()).then(|| mem::take(&mut self.open).into()));
            self.open = next;
        }
        let taken = bytes.len().min(self.open.capacity() - self.open.len());
        self.open.extend_from_slice(&bytes[..taken]);
        self.bytes += taken;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
