//! `IngestService`: a stream of batches becomes one commit, or nothing.
//!
//! Batches are decoded as the writer takes them, so a slow bucket slows the client and memory stays bounded. The
//! stream must say that it is whole: one that was cut is an error, never a shorter write. Before anything is taken
//! in, the colony's temperature has its say.

use std::{sync::Arc, time::Duration};

use apiary_core::{ErrorKind, Version};
use apiary_ingest::{AppendOptions, IngestError, OverwriteOptions, Replaced, WriteReport};
use apiary_proto::{
    ClientError,
    convert::{self, BatchDecoder},
    v1::{
        AppendHeader, AppendRequest, Overwrite, Partition, WriteResult, append_request::Part,
        ingest_service_server::IngestService,
    },
};
use apiary_swarm::behaviour::temperature::{self, Regime, Writes};
use arrow::array::RecordBatch;
use futures::{Stream, StreamExt, stream};
use tonic::{Request, Response, Status, Streaming};

use crate::{Result, error::status, state::State};

/// How long a write waits for a hot colony to cool before it is refused.
const HOT_WAIT_MAX: Duration = Duration::from_secs(30);

/// How often a waiting write looks at the temperature; heartbeats bring news no faster.
const HOT_LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// When to come back to a critical colony.
const CRITICAL_RETRY_MS: u64 = 10_000;

/// Whose idempotency keys they are, until clients have names.
const PRINCIPAL: &str = "client";

#[tonic::async_trait]
impl IngestService for State {
    async fn append(
        &self,
        request: Request<Streaming<AppendRequest>>,
    ) -> std::result::Result<Response<WriteResult>, Status> {
        let mut stream = request.into_inner();
        let header = match stream.message().await?.and_then(|message| message.part) {
            Some(Part::Header(header)) => header,
            _ => return Err(status(invalid("an append begins with its header"))),
        };
        // On a task of its own: a client that leaves drops this call, and a commit must not be dropped half way.
        let state = self.clone();
        let work = self.tasks.spawn(async move { append(&state, header, stream).await });
        match work.await {
            Ok(answer) => answer.map(Response::new).map_err(status),
            Err(broken) => Err(status(crate::CoordinatorError::Panicked(broken.to_string()))),
        }
    }
}

async fn append(state: &State, header: AppendHeader, stream: Streaming<AppendRequest>) -> Result<WriteResult> {
    let path = convert::frame_path(header.frame.as_ref())?;
    let decoder = BatchDecoder::new(header.schema)?;
    let key = (!header.idempotency_key.is_empty()).then_some(header.idempotency_key);
    admit(state).await?;
    let schema = Arc::clone(decoder.schema());
    let principal = PRINCIPAL.to_owned();
    let batches = batches(stream, decoder).boxed();
    let report = match header.overwrite {
        None => {
            let options = AppendOptions { idempotency_key: key, principal };
            state.ingest.append(&path, schema, batches, options).await?
        }
        Some(Overwrite { partitions, expected_version }) => {
            let (replaces, expected_version) = (replaced(partitions), expected_version.map(Version));
            let options = OverwriteOptions { replaces, expected_version, idempotency_key: key, principal };
            state.ingest.overwrite(&path, schema, batches, options).await?
        }
    };
    Ok(result(report, temperature::colony(&state.node.world())))
}

/// What an overwrite replaces: no partition is the whole frame.
fn replaced(partitions: Vec<Partition>) -> Replaced {
    if partitions.is_empty() {
        return Replaced::Frame;
    }
    let values = |partition: Partition| partition.values.into_iter().map(|part| (part.column, part.value)).collect();
    Replaced::Partitions(partitions.into_iter().map(values).collect())
}

fn result(report: WriteReport, temperature: f64) -> WriteResult {
    let Version(version) = report.version;
    WriteResult {
        version,
        rows: report.rows,
        cells: report.cells,
        bytes: report.bytes,
        temperature,
        retries: report.retries,
        already_applied: report.already_applied,
    }
}

/// Lets a write pass, holds it while the colony is hot, refuses it when that does not help.
async fn admit(state: &State) -> Result<()> {
    let clock = Arc::clone(state.node.bucket.clock());
    let began = clock.monotonic();
    // Ends after HOT_WAIT_MAX at the latest.
    loop {
        let temperature = temperature::colony(&state.node.world());
        match Regime::of(temperature).writes() {
            Writes::Flow => return Ok(()),
            Writes::Slow if clock.monotonic().saturating_sub(began) < HOT_WAIT_MAX => {}
            Writes::Slow | Writes::Refuse => return Err(too_hot(temperature).into()),
        }
        tokio::select! {
            () = clock.sleep(HOT_LOOK_INTERVAL) => {}
            () = state.shutdown.cancelled() => return Err(crate::CoordinatorError::Cancelled),
        }
    }
}

fn too_hot(temperature: f64) -> ClientError {
    let text = format!("the colony is too hot for writes: its temperature is {temperature:.2}");
    ClientError::new(ErrorKind::Overloaded, text)
        .with_hint("write again later, or add a node: apiary start --roles worker".to_owned())
        .retry_after_ms(CRITICAL_RETRY_MS)
}

struct Incoming {
    stream: Streaming<AppendRequest>,
    decoder: BatchDecoder,
    rows: u64,
}

/// The batches as they come; an error for a stream that ends without its end.
fn batches(
    stream: Streaming<AppendRequest>,
    decoder: BatchDecoder,
) -> impl Stream<Item = Result<RecordBatch, IngestError>> + Send {
    let incoming = Incoming { stream, decoder, rows: 0 };
    stream::try_unfold(incoming, |mut incoming| async move {
        match incoming.next().await {
            Ok(batch) => Ok(batch.map(|batch| (batch, incoming))),
            Err(error) => Err(IngestError::Source { kind: error.kind, message: error.message }),
        }
    })
}

impl Incoming {
    async fn next(&mut self) -> Result<Option<RecordBatch>, ClientError> {
        let message = self.stream.message().await.map_err(ClientError::from)?;
        match message.map(|message| message.part) {
            Some(Some(Part::Batch(bytes))) => {
                let batch = self.decoder.decode(bytes)?;
                self.rows += batch.num_rows() as u64;
                Ok(Some(batch))
            }
            Some(Some(Part::End(end))) if end.rows == self.rows => match self.stream.message().await {
                Ok(None) => Ok(None),
                Ok(Some(_)) => Err(invalid("something came after the end of an append")),
                Err(status) => Err(status.into()),
            },
            Some(Some(Part::End(end))) => {
                Err(invalid(format!("{} rows came where {} were sent; nothing was written", self.rows, end.rows)))
            }
            Some(_) => Err(invalid("only batches follow the header of an append")),
            None => Err(ClientError::new(ErrorKind::Cancelled, "the client left before the end; nothing was written")),
        }
    }
}

fn invalid(text: impl Into<String>) -> ClientError {
    ClientError::new(ErrorKind::InvalidInput, text)
}
