//! Batches from an iterator that blocks, as a stream: the iterator runs on a thread for blocking work, two batches
//! ahead of its reader. A panic on that thread is an error in the stream, never a silent end.

use arrow::array::RecordBatch;
use futures::{Stream, StreamExt, stream};
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{IngestError, Result};

/// Batches that wait for the reader.
const AHEAD: usize = 2;

/// The items of `batches`, until the first error. Dropping the stream ends the thread at its next batch.
pub(crate) fn off_thread<I>(batches: I) -> impl Stream<Item = Result<RecordBatch>> + Send + Unpin + use<I>
where
    I: Iterator<Item = Result<RecordBatch>> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(AHEAD);
    let thread = tokio::task::spawn_blocking(move || {
        for batch in batches {
            let last = batch.is_err();
            if sender.blocking_send(batch).is_err() || last {
                break;
            }
        }
    });
    stream::unfold(Some((receiver, thread)), next).boxed()
}

type Running = (mpsc::Receiver<Result<RecordBatch>>, JoinHandle<()>);

async fn next(running: Option<Running>) -> Option<(Result<RecordBatch>, Option<Running>)> {
    let (mut receiver, thread) = running?;
    match receiver.recv().await {
        Some(batch) => Some((batch, Some((receiver, thread)))),
        None => match thread.await {
            Ok(()) => None,
            Err(error) => Some((Err(IngestError::Internal(format!("a reader ended early: {error}"))), None)),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::Schema;
    use futures::TryStreamExt;

    use super::*;

    fn empty() -> RecordBatch {
        RecordBatch::new_empty(Arc::new(Schema::empty()))
    }

    #[tokio::test]
    async fn all_batches_arrive() {
        let batches = off_thread((0..9).map(|_| Ok(empty())));
        assert_eq!(batches.try_collect::<Vec<_>>().await.unwrap().len(), 9);
    }

    #[tokio::test]
    async fn a_panic_is_no_end() {
        let broken = (0..2).map(|i| if i == 0 { Ok(empty()) } else { panic!("damaged") });
        assert!(off_thread(broken).try_collect::<Vec<_>>().await.is_err());
    }
}
