//! `TaskService`: one broadcast channel, one stream for each worker that listens.
//!
//! A nudge is a hint. A worker that lags behind loses the oldest ones and finds the tasks by looking; nothing waits
//! for a nudge to arrive.

use std::pin::Pin;

use apiary_core::QueryId;
use apiary_engine::Nudger;
use apiary_proto::v1::{Nudge, NudgesRequest, task_service_server::TaskService};
use futures::{Stream, StreamExt, stream};
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

/// Nudges that wait for a slow worker before the oldest are lost: more than a stage usually has tasks.
const NUDGES_KEPT: usize = 1024;

/// Where nudges are sent from and listened to.
#[derive(Debug, Clone)]
pub(crate) struct Nudges {
    sender: broadcast::Sender<Nudge>,
    shutdown: CancellationToken,
}

impl Nudges {
    /// Nobody listens yet; streams end with `shutdown`.
    pub(crate) fn new(shutdown: CancellationToken) -> Self {
        Self { sender: broadcast::Sender::new(NUDGES_KEPT), shutdown }
    }
}

impl Nudger for Nudges {
    fn nudge(&self, query: &QueryId, task_key: Option<&str>, cancelled: bool) {
        let task_key = task_key.unwrap_or_default().to_owned();
        // An error means that nobody listens.
        let _ = self.sender.send(Nudge { query_id: query.to_string(), task_key, cancelled });
    }
}

#[tonic::async_trait]
impl TaskService for Nudges {
    type NudgesStream = Pin<Box<dyn Stream<Item = Result<Nudge, Status>> + Send>>;

    async fn nudges(&self, request: Request<NudgesRequest>) -> Result<Response<Self::NudgesStream>, Status> {
        tracing::debug!(node = request.get_ref().node, "a worker listens");
        let receiver = self.sender.subscribe();
        let nudges = stream::unfold(receiver, |mut receiver| async move {
            loop {
                match receiver.recv().await {
                    Ok(nudge) => return Some((Ok(nudge), receiver)),
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return None,
                }
            }
        });
        let ended = self.shutdown.clone().cancelled_owned();
        Ok(Response::new(nudges.take_until(ended).boxed()))
    }
}

#[cfg(test)]
mod tests {
    use apiary_core::{SystemClock, SystemRng};

    use super::*;

    #[tokio::test]
    async fn a_worker_that_listens_is_woken_and_let_go_at_the_end() {
        let shutdown = CancellationToken::new();
        let nudges = Nudges::new(shutdown.clone());
        let id = QueryId::new(&SystemClock, &SystemRng);
        nudges.nudge(&id, None, false);
        let mut stream = nudges.nudges(Request::new(NudgesRequest::default())).await.unwrap().into_inner();
        nudges.nudge(&id, Some("a/key"), false);
        let heard = stream.next().await.unwrap().unwrap();
        assert_eq!((heard.task_key.as_str(), heard.query_id), ("a/key", id.to_string()));
        shutdown.cancel();
        assert!(stream.next().await.is_none());
    }
}
