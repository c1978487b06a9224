//! Events on their way to the client: a short queue, so that a slow client slows the query and holds no memory.

use apiary_engine::Progress;
use apiary_proto::{
    convert::BatchEncoder,
    v1::{ExecuteResponse, QueryFinished, QueryProgress, QueryStarted, execute_response::Event},
};
use arrow::{array::RecordBatch, datatypes::Schema};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::{CoordinatorError, Result};

/// Events that wait for the client: enough to keep both sides busy.
const EVENTS_AHEAD_MAX: usize = 4;

/// What `Execute` answers with.
pub(super) type Events = ReceiverStream<Result<ExecuteResponse, Status>>;

/// The sending end.
#[derive(Debug)]
pub(super) struct Outlet {
    sender: mpsc::Sender<Result<ExecuteResponse, Status>>,
    lz4: bool,
}

/// The batches of one result, behind their schema.
#[derive(Debug)]
pub(super) struct Rows<'a> {
    outlet: &'a Outlet,
    encoder: BatchEncoder,
    rows: u64,
}

impl Outlet {
    pub(super) fn new(lz4: bool) -> (Self, Events) {
        let (sender, receiver) = mpsc::channel(EVENTS_AHEAD_MAX);
        (Self { sender, lz4 }, ReceiverStream::new(receiver))
    }

    /// Done when the client is gone.
    pub(super) async fn gone(&self) {
        self.sender.closed().await;
    }

    pub(super) async fn started(&self, started: QueryStarted) -> Result<()> {
        self.send(Event::Started(started)).await
    }

    /// Sends the schema; batches go through what comes back.
    pub(super) async fn rows(&self, schema: &Schema) -> Result<Rows<'_>> {
        let encoder = BatchEncoder::new(schema, self.lz4)?;
        self.send(Event::Schema(encoder.schema())).await?;
        Ok(Rows { outlet: self, encoder, rows: 0 })
    }

    /// A reporter of progress. News that finds the queue full is dropped: the next is better anyway.
    pub(super) fn progress(&self) -> impl Fn(Progress) + Send + Sync + 'static {
        let sender = self.sender.downgrade();
        move |progress| {
            let event = Event::Progress(QueryProgress {
                tasks_done: progress.tasks_done,
                tasks_total: progress.tasks_total,
                stages_done: progress.stages_done,
                stages_total: progress.stages_total,
                retries: progress.retries,
            });
            if let Some(sender) = sender.upgrade() {
                let _ = sender.try_send(Ok(ExecuteResponse { event: Some(event) }));
            }
        }
    }

    /// The last event.
    pub(super) async fn end(self, end: Result<QueryFinished, Status>) {
        let end = end.map(|finished| ExecuteResponse { event: Some(Event::Finished(finished)) });
        // Nobody to tell if the client is gone.
        let _ = self.sender.send(end).await;
    }

    async fn send(&self, event: Event) -> Result<()> {
        let sent = self.sender.send(Ok(ExecuteResponse { event: Some(event) })).await;
        sent.map_err(|_| CoordinatorError::Cancelled)
    }
}

impl Rows<'_> {
    /// Sends a batch in pieces that fit a message; an empty one is nothing to send.
    pub(super) async fn batch(&mut self, batch: &RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        for message in self.encoder.encode(batch)? {
            self.outlet.send(Event::Batch(message)).await?;
        }
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    /// Rows sent so far.
    pub(super) fn sent(&self) -> u64 {
        self.rows
    }
}
