//! The answer, on its way from the last stage's output to the client.
//!
//! Rows are read as the client takes them; how many tasks it has taken is reported back, so that the last stage is
//! published only a few tasks ahead. Dropping the stream tells the driver that nobody wants the rest.

use std::collections::BTreeMap;

use apiary_bucket::Bucket;
use apiary_core::QueryId;
use apiary_swarm::{TaskId, board::DoneRecord};
use datafusion::{
    arrow::{array::RecordBatch, datatypes::SchemaRef},
    error::{DataFusionError, Result as DataFusionResult},
    physical_plan::{SendableRecordBatchStream, stream::RecordBatchStreamAdapter},
};
use futures::{TryStreamExt, stream};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::DropGuard;

use crate::{Result, comb, pieces};

/// A finished task of the last stage, or the end of the query in an error.
pub(crate) type Finished = Result<(u32, DoneRecord)>;

/// What the stream needs.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) bucket: Bucket,
    pub(crate) query: QueryId,
    pub(crate) stage: u32,
    pub(crate) schema: SchemaRef,
    pub(crate) ordered: bool,
    pub(crate) batch_rows: usize,
    pub(crate) finished: mpsc::UnboundedReceiver<Finished>,
    pub(crate) taken: watch::Sender<u32>,
    pub(crate) gone: DropGuard,
}

struct Reading {
    answer: Answer,
    waiting: BTreeMap<u32, DoneRecord>,
    next: u32,
    rows: Option<SendableRecordBatchStream>,
}

/// The rows. An error of the query comes as the stream's last item.
pub(crate) fn stream(answer: Answer) -> SendableRecordBatchStream {
    let schema = SchemaRef::clone(&answer.schema);
    let reading = Reading { answer, waiting: BTreeMap::new(), next: 0, rows: None };
    let batches = stream::try_unfold(reading, |mut reading| async move {
        Ok(reading.next_batch().await?.map(|batch| (batch, reading)))
    });
    Box::pin(RecordBatchStreamAdapter::new(schema, batches))
}

impl Reading {
    async fn next_batch(&mut self) -> DataFusionResult<Option<RecordBatch>> {
        loop {
            if let Some(rows) = self.rows.as_mut() {
                if let Some(batch) = rows.try_next().await? {
                    return Ok(Some(batch));
                }
                self.rows = None;
                self.answer.taken.send_modify(|taken| *taken += 1);
            }
            if let Some((task, done)) = self.ready() {
                self.rows = Some(self.open(task, &done));
                continue;
            }
            match self.answer.finished.recv().await {
                Some(Ok((task, done))) => drop(self.waiting.insert(task, done)),
                Some(Err(error)) => return Err(DataFusionError::External(Box::new(error))),
                None => return Ok(None),
            }
        }
    }

    /// The next task to read, in order where there is one.
    fn ready(&mut self) -> Option<(u32, DoneRecord)> {
        if !self.answer.ordered {
            return self.waiting.pop_first();
        }
        let done = self.waiting.remove(&self.next)?;
        self.next += 1;
        Some((self.next - 1, done))
    }

    fn open(&self, task: u32, done: &DoneRecord) -> SendableRecordBatchStream {
        let pieces = pieces::pieces_of_done(TaskId::new(self.answer.query, self.answer.stage, task), done);
        let schema = SchemaRef::clone(&self.answer.schema);
        comb::read(self.answer.bucket.clone(), pieces, schema, self.answer.batch_rows)
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        tracing::trace!(query = %self.answer.query, guard = ?self.answer.gone, "the answer was let go");
    }
}
