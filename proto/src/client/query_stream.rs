//! One running statement, as its client sees it.

use std::fmt;

use apiary_core::{ErrorKind, QueryId};
use arrow::{array::RecordBatch, datatypes::SchemaRef};
use futures::Stream;
use tonic::Streaming;

use crate::{
    convert::BatchDecoder,
    error::ClientError,
    v1::{ExecuteResponse, QueryFinished, QueryProgress, QueryStarted, QueryStats, Session, execute_response::Event},
};

type OnProgress = Box<dyn FnMut(&QueryProgress) + Send>;

/// The rows of a statement as they come. Dropping it cancels the query.
///
/// A stream that breaks off is an error, never a shorter result: only after [`next`](Self::next) has said `None` is
/// the result whole, and then [`stats`](Self::stats) and [`session_after`](Self::session_after) are there.
pub struct QueryStream {
    id: QueryId,
    stream: Streaming<ExecuteResponse>,
    started: Option<QueryStarted>,
    decoder: Option<BatchDecoder>,
    ahead: Option<RecordBatch>,
    finished: Option<QueryFinished>,
    on_progress: Option<OnProgress>,
}

impl QueryStream {
    pub(super) fn new(id: QueryId, stream: Streaming<ExecuteResponse>) -> Self {
        Self { id, stream, started: None, decoder: None, ahead: None, finished: None, on_progress: None }
    }

    /// The query's id, by which it can be cancelled.
    #[must_use]
    pub fn id(&self) -> QueryId {
        self.id
    }

    /// Calls `report` whenever a query on the board has moved on, while [`next`](Self::next) waits.
    #[must_use]
    pub fn on_progress(mut self, report: impl FnMut(&QueryProgress) + Send + 'static) -> Self {
        self.on_progress = Some(Box::new(report));
        self
    }

    /// Which way it runs and why: known as soon as the schema is.
    #[must_use]
    pub fn started(&self) -> Option<&QueryStarted> {
        self.started.as_ref()
    }

    /// The schema of the result; waits until the query is planned.
    pub async fn schema(&mut self) -> Result<SchemaRef, ClientError> {
        loop {
            if let Some(decoder) = &self.decoder {
                return Ok(SchemaRef::clone(decoder.schema()));
            }
            self.step().await?;
        }
    }

    /// The next batch; `None` at the end of a whole result. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>, ClientError> {
        loop {
            if let Some(batch) = self.ahead.take() {
                return Ok(Some(batch));
            }
            if self.finished.is_some() {
                return Ok(None);
            }
            self.step().await?;
        }
    }

    /// All batches. For results that are known to be small.
    pub async fn collect(&mut self) -> Result<Vec<RecordBatch>, ClientError> {
        let mut batches = Vec::new();
        while let Some(batch) = self.next().await? {
            batches.push(batch);
        }
        Ok(batches)
    }

    /// The batches as a stream.
    pub fn into_batches(self) -> impl Stream<Item = Result<RecordBatch, ClientError>> + Send {
        futures::stream::try_unfold(
            self,
            |mut query| async move { Ok(query.next().await?.map(|batch| (batch, query))) },
        )
    }

    /// What the query cost; there once the result is whole.
    #[must_use]
    pub fn stats(&self) -> Option<&QueryStats> {
        self.finished.as_ref().and_then(|finished| finished.stats.as_ref())
    }

    /// The session after the statement; there once the result is whole.
    #[must_use]
    pub fn session_after(&self) -> Option<&Session> {
        self.finished.as_ref().and_then(|finished| finished.session.as_ref())
    }

    /// Takes one event from the stream.
    async fn step(&mut self) -> Result<(), ClientError> {
        if self.finished.is_some() {
            let text = "the coordinator finished the statement without a schema";
            return Err(ClientError::new(ErrorKind::Internal, text).with_query_id(self.id));
        }
        let event = match self.stream.message().await {
            Ok(Some(response)) => response.event,
            Ok(None) => return Err(self.broken("the connection ended before the result was whole")),
            Err(status) => return Err(self.mine(status.into())),
        };
        match event {
            Some(Event::Started(started)) => self.started = Some(started),
            Some(Event::Schema(schema)) => self.decoder = Some(BatchDecoder::new(schema)?),
            Some(Event::Batch(message)) => match &mut self.decoder {
                Some(decoder) => self.ahead = Some(decoder.decode(message)?),
                None => return Err(self.broken("rows came before their schema")),
            },
            Some(Event::Progress(progress)) => {
                if let Some(report) = &mut self.on_progress {
                    report(&progress);
                }
            }
            Some(Event::Finished(finished)) => self.finished = Some(finished),
            // A newer coordinator may say more than this client knows.
            None => {}
        }
        Ok(())
    }

    fn broken(&self, text: &str) -> ClientError {
        ClientError::new(ErrorKind::Unavailable, text).with_query_id(self.id)
    }

    fn mine(&self, mut error: ClientError) -> ClientError {
        error.query_id.get_or_insert_with(|| self.id.to_string());
        error
    }
}

impl fmt::Debug for QueryStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let finished = self.finished.is_some();
        f.debug_struct("QueryStream").field("id", &self.id).field("finished", &finished).finish_non_exhaustive()
    }
}
