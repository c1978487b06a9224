//! One running statement, as its client sees it.
//!
//! A connection that breaks before the first row is not the end: the statement is asked again under its id, here or at
//! the next coordinator, which goes on with what the first one left on the board. Once a row is out, asking again could
//! only repeat it, so that is the caller's to decide.

use std::fmt;

use apiary_core::{ErrorKind, QueryId};
use arrow::{array::RecordBatch, datatypes::SchemaRef};
use futures::Stream;
use tonic::Streaming;

use super::{
    Client,
    places::{self, AGAIN_MAX},
};
use crate::{
    convert::BatchDecoder,
    error::ClientError,
    v1::{
        ExecuteRequest, ExecuteResponse, QueryFinished, QueryProgress, QueryStarted, QueryStats, Session,
        execute_response::Event,
    },
};

type OnProgress = Box<dyn FnMut(&QueryProgress) + Send>;

/// The rows of a statement as they come. Dropping it cancels the query.
///
/// A stream that breaks off is an error, never a shorter result: only after [`next`](Self::next) has said `None` is
/// the result whole, and then [`stats`](Self::stats) and [`session_after`](Self::session_after) are there.
pub struct QueryStream {
    id: QueryId,
    client: Client,
    request: ExecuteRequest,
    tries: u32,
    has_rows: bool,
    stream: Streaming<ExecuteResponse>,
    started: Option<QueryStarted>,
    decoder: Option<BatchDecoder>,
    ahead: Option<RecordBatch>,
    finished: Option<QueryFinished>,
    on_progress: Option<OnProgress>,
}

impl QueryStream {
    pub(super) async fn start(client: Client, id: QueryId, request: ExecuteRequest) -> Result<Self, ClientError> {
        let (mut client, mut request, mut tries) = (client, request, 0);
        let stream = loop {
            match client.queries().execute(request.clone()).await {
                Ok(stream) => break stream.into_inner(),
                Err(status) if places::is_broken_off(&status) && tries < AGAIN_MAX => {
                    client = next_place(client, tries, status.into()).await?;
                    (request.again, tries) = (true, tries + 1);
                }
                Err(status) => return Err(status.into()),
            }
        };
        let (started, decoder, ahead, finished, on_progress) = (None, None, None, None, None);
        let has_rows = false;
        Ok(Self { id, client, request, tries, has_rows, stream, started, decoder, ahead, finished, on_progress })
    }

    /// Asks the same again after `error`, if no row is out yet. Dropping the future loses nothing: the stream is as
    /// broken as before.
    async fn ask_again(&mut self, mut error: ClientError) -> Result<(), ClientError> {
        while !self.has_rows && self.tries < AGAIN_MAX {
            let client = next_place(self.client.clone(), self.tries, error.clone()).await?;
            self.tries += 1;
            self.client = client;
            self.request.again = true;
            match self.client.queries().execute(self.request.clone()).await {
                Ok(stream) => {
                    (self.stream, self.started, self.ahead) = (stream.into_inner(), None, None);
                    return Ok(());
                }
                // The coordinator has not noticed yet that we had gone.
                Err(status) if places::is_broken_off(&status) || status.code() == tonic::Code::AlreadyExists => {
                    error = status.into();
                }
                Err(status) => return Err(self.mine(status.into())),
            }
        }
        Err(self.mine(error))
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
                self.has_rows = true;
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
            Ok(None) => {
                return self.ask_again(self.broken("the connection ended before the result was whole")).await;
            }
            Err(status) if places::is_broken_off(&status) => return self.ask_again(status.into()).await,
            Err(status) => return Err(self.mine(status.into())),
        };
        match event {
            Some(Event::Started(started)) => self.started = Some(started),
            Some(Event::Schema(schema)) => {
                let decoder = BatchDecoder::new(schema)?;
                if self.decoder.as_ref().is_some_and(|before| before.schema() != decoder.schema()) {
                    return Err(self.broken("the frames changed while the query was asked again; ask it anew"));
                }
                self.decoder = Some(decoder);
            }
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

/// Where to ask again after `error`, a little later. One place alone is asked again itself: it may come back.
async fn next_place(client: Client, tries: u32, error: ClientError) -> Result<Client, ClientError> {
    places::wait(tries).await;
    match client.places.elsewhere(&client).await {
        Ok(next) => Ok(next),
        Err(_) if tries + 1 < AGAIN_MAX => Ok(client),
        Err(_) => Err(error),
    }
}
