//! The answer, on its way from the last stage's output to the client.
//!
//! Rows are read as the client takes them; how many tasks it has taken is reported back, so that the last stage is
//! published only a few tasks ahead. Dropping the stream tells the driver that nobody wants the rest.

use std::collections::BTreeMap;

use apiary_bucket::Bucket;
use apiary_core::QueryId;
use apiary_swarm::{
    TaskId,
    board::{DoneRecord, FailureCause},
};
use datafusion::{
    arrow::{array::RecordBatch, datatypes::SchemaRef},
    error::{DataFusionError, Result as DataFusionResult},
    physical_plan::{SendableRecordBatchStream, stream::RecordBatchStreamAdapter},
};
use futures::{TryStreamExt, stream};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::DropGuard;

use crate::{EngineError, Result, comb};

/// A finished task of the last stage; nothing: that was the last; or the end of the query in an error.
pub(crate) type Finished = Result<Option<(u32, DoneRecord)>>;

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
    read: u32,
    rows: Option<SendableRecordBatchStream>,
}

/// The rows. An error of the query comes as the stream's last item.
pub(crate) fn stream(answer: Answer) -> SendableRecordBatchStream {
    let schema = SchemaRef::clone(&answer.schema);
    let reading = Reading { answer, waiting: BTreeMap::new(), next: 0, read: 0, rows: None };
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
                (self.rows, self.read) = (None, self.read + 1);
                self.answer.taken.send_modify(|taken| *taken += 1);
            }
            if let Some((task, done)) = self.ready() {
                self.rows = Some(self.open(task, &done));
                continue;
            }
            match self.answer.finished.recv().await {
                Some(Ok(Some((task, done)))) => drop(self.waiting.insert(task, done)),
                Some(Ok(None)) if self.waiting.is_empty() => return Ok(None),
                Some(Err(error)) => return Err(DataFusionError::External(Box::new(error))),
                Some(Ok(None)) | None => return Err(DataFusionError::External(Box::new(self.broken_off()))),
            }
        }
    }

    /// The driver is gone without a word: what came so far must not pass for the whole.
    fn broken_off(&self) -> EngineError {
        let (query, read) = (self.answer.query, self.read);
        let message = format!("query {query} broke off after {read} tasks of its last stage; ask again");
        EngineError::Attempt { cause: FailureCause::Other, message }
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
        let (answer, schema) = (&self.answer, SchemaRef::clone(&self.answer.schema));
        let task = TaskId::new(answer.query, answer.stage, task);
        comb::read_done(answer.bucket.clone(), task, done, schema, answer.batch_rows)
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        tracing::trace!(query = %self.answer.query, guard = ?self.answer.gone, "the answer was let go");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::datatypes::Schema;
    use futures::StreamExt;
    use tokio::sync::{mpsc, watch};
    use tokio_util::sync::CancellationToken;

    use super::*;

    /// What the stream says when the driver ends after `finished` tasks, with or without saying that they were all.
    async fn end_after(finished: u32, all: bool) -> Option<DataFusionResult<RecordBatch>> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let answer = Answer {
            bucket: Bucket::in_memory(),
            query: "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap(),
            stage: 1,
            schema: Arc::new(Schema::empty()),
            ordered: false,
            batch_rows: 1,
            finished: receiver,
            taken: watch::channel(0).0,
            gone: CancellationToken::new().drop_guard(),
        };
        for task in 0..finished {
            sender.send(Ok(Some((task, DoneRecord::default())))).unwrap();
        }
        if all {
            sender.send(Ok(None)).unwrap();
        }
        drop(sender);
        stream(answer).next().await
    }

    #[tokio::test]
    async fn a_driver_that_breaks_off_is_an_error_and_never_a_short_answer() {
        assert!(end_after(2, true).await.is_none());
        assert!(end_after(0, true).await.is_none());
        let error = end_after(1, false).await.unwrap().unwrap_err();
        assert!(error.to_string().contains("after 1 tasks"), "{error}");
    }
}
