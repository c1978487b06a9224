//! One append: a header, the batches, an end.
//!
//! All or nothing has to survive a source that fails in the middle. A request stream cannot carry an error, and one
//! that merely stops looks complete; so on an error the stream goes silent, the call is dropped, which resets it, and
//! the coordinator, which has not seen the end, commits nothing.

use std::collections::VecDeque;

use apiary_core::FramePath;
use arrow::{array::RecordBatch, datatypes::Schema};
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use tokio::sync::oneshot;

use super::Client;
use crate::{
    convert::BatchEncoder,
    error::ClientError,
    v1::{AppendEnd, AppendHeader, AppendRequest, Overwrite, WriteResult, append_request::Part},
};

impl Client {
    /// Appends all of `batches` as one transaction; if the source or the call fails, none of it. With the same
    /// `idempotency_key` twice, once. Dropping the future before it is done writes nothing, or everything.
    pub async fn append<S>(
        &self,
        path: &FramePath,
        schema: &Schema,
        batches: S,
        idempotency_key: Option<&str>,
    ) -> Result<WriteResult, ClientError>
    where
        S: Stream<Item = Result<RecordBatch, ClientError>> + Send + 'static,
    {
        self.write(path, schema, batches, idempotency_key, None).await
    }

    /// The same; with `overwrite` the rows take the place of what it names.
    pub async fn write<S>(
        &self,
        path: &FramePath,
        schema: &Schema,
        batches: S,
        idempotency_key: Option<&str>,
        overwrite: Option<Overwrite>,
    ) -> Result<WriteResult, ClientError>
    where
        S: Stream<Item = Result<RecordBatch, ClientError>> + Send + 'static,
    {
        let encoder = BatchEncoder::new(schema, self.lz4)?;
        let idempotency_key = idempotency_key.unwrap_or_default().to_owned();
        let header = AppendHeader { frame: Some(path.into()), schema: encoder.schema(), idempotency_key, overwrite };
        let (fail, failed) = oneshot::channel();
        let source = Source { encoder, batches: batches.boxed(), ready: VecDeque::new(), rows: 0, fail: Some(fail) };
        let requests = stream::iter([part(Part::Header(header))]).chain(stream::unfold(Some(source), next_request));
        let mut service = self.ingest();
        tokio::select! {
            biased;
            Ok(error) = failed => Err(error),
            answer = service.append(requests) => Ok(answer?.into_inner()),
        }
    }
}

struct Source {
    encoder: BatchEncoder,
    batches: stream::BoxStream<'static, Result<RecordBatch, ClientError>>,
    ready: VecDeque<Bytes>,
    rows: u64,
    fail: Option<oneshot::Sender<ClientError>>,
}

fn part(part: Part) -> AppendRequest {
    AppendRequest { part: Some(part) }
}

async fn next_request(source: Option<Source>) -> Option<(AppendRequest, Option<Source>)> {
    let mut source = source?;
    loop {
        if let Some(message) = source.ready.pop_front() {
            return Some((part(Part::Batch(message)), Some(source)));
        }
        let failure = match source.batches.next().await {
            None => return Some((part(Part::End(AppendEnd { rows: source.rows })), None)),
            Some(Ok(batch)) => match source.encoder.encode(&batch) {
                Ok(messages) => {
                    source.rows += batch.num_rows() as u64;
                    source.ready.extend(messages);
                    continue;
                }
                Err(error) => error,
            },
            Some(Err(error)) => error,
        };
        if let Some(fail) = source.fail.take() {
            // The call is gone already if nobody listens.
            let _ = fail.send(failure);
        }
        // The stream must not end here: an end would look like a shorter append.
        std::future::pending::<()>().await;
    }
}
