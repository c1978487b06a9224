//! `TaskService`: one broadcast channel, one stream for each worker that listens; and what workers say back.
//!
//! A nudge is a hint. A worker that lags behind loses the oldest ones and finds the tasks by looking; nothing waits
//! for a nudge to arrive.
//!
//! A stream that breaks is a hint too: a process that dies takes its connections along, long before its heartbeat is
//! missed. What it had claimed gets company then; whether it is dead only its heartbeat says.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use apiary_core::{Clock, NodeId, QueryId};
use apiary_engine::{
    NewTask, Nudger,
    wake::{self, TaskEnd},
};
use apiary_proto::v1::{EndedRequest, EndedResponse, Nudge, NudgesRequest, task_service_server::TaskService};
use apiary_swarm::TaskId;
use futures::{Stream, StreamExt, stream};
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

/// Nudges that wait for a slow worker before the oldest are lost: more than a stage usually has tasks.
const NUDGES_KEPT: usize = 1024;

/// How long a node that does not listen any more is remembered: by then its heartbeat tells.
const BROKEN_KEPT: Duration = Duration::from_secs(60);

/// Where nudges are sent from and listened to.
#[derive(Debug, Clone)]
pub(crate) struct Nudges {
    sender: broadcast::Sender<Nudge>,
    listeners: Listeners,
    shutdown: CancellationToken,
}

/// Who listens, by how many streams, and who did.
#[derive(Debug, Clone)]
struct Listeners {
    known: Arc<Mutex<HashMap<NodeId, Listening>>>,
    clock: Arc<dyn Clock>,
}

#[derive(Debug, Default)]
struct Listening {
    streams: usize,
    broke_at: Duration,
}

/// One stream, until it is dropped.
#[derive(Debug)]
struct Ear {
    node: NodeId,
    listeners: Listeners,
}

impl Listeners {
    fn enter(&self, node: NodeId) -> Ear {
        self.with(|known| known.entry(node.clone()).or_default().streams += 1);
        Ear { node, listeners: self.clone() }
    }

    fn with<T>(&self, act: impl FnOnce(&mut HashMap<NodeId, Listening>) -> T) -> T {
        act(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn broken(&self) -> Vec<(NodeId, Duration)> {
        let now = self.clock.monotonic();
        self.with(|known| {
            known.retain(|_, one| one.streams > 0 || now.saturating_sub(one.broke_at) < BROKEN_KEPT);
            let broken = known.iter().filter(|(_, one)| one.streams == 0);
            broken.map(|(node, one)| (node.clone(), now.saturating_sub(one.broke_at))).collect()
        })
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        let now = self.listeners.clock.monotonic();
        self.listeners.with(|known| {
            if let Some(one) = known.get_mut(&self.node) {
                one.streams = one.streams.saturating_sub(1);
                one.broke_at = now;
            }
        });
    }
}

impl Nudges {
    /// Nobody listens yet; streams end with `shutdown`.
    pub(crate) fn new(clock: Arc<dyn Clock>, shutdown: CancellationToken) -> Self {
        let listeners = Listeners { known: Arc::default(), clock };
        Self { sender: broadcast::Sender::new(NUDGES_KEPT), listeners, shutdown }
    }
}

impl Nudger for Nudges {
    fn nudge(&self, query: &QueryId, task: Option<NewTask<'_>>, cancelled: bool) {
        let task_key = task.map(|task| task.key.to_owned()).unwrap_or_default();
        let preferred_node = task.map(|task| task.preferred_node.to_owned()).unwrap_or_default();
        let task = task.map(|task| task.body.clone()).unwrap_or_default();
        // An error means that nobody listens.
        let _ = self.sender.send(Nudge { query_id: query.to_string(), task_key, cancelled, task, preferred_node });
    }

    fn listens(&self, node: &NodeId) -> bool {
        self.listeners.with(|known| known.get(node).is_some_and(|one| one.streams > 0))
    }

    fn out_of_touch(&self) -> Vec<(NodeId, Duration)> {
        self.listeners.broken()
    }
}

#[tonic::async_trait]
impl TaskService for Nudges {
    type NudgesStream = Pin<Box<dyn Stream<Item = Result<Nudge, Status>> + Send>>;

    async fn nudges(&self, request: Request<NudgesRequest>) -> Result<Response<Self::NudgesStream>, Status> {
        tracing::debug!(node = request.get_ref().node, "a worker listens");
        let ear = NodeId::new(request.into_inner().node).ok().map(|node| self.listeners.enter(node));
        let listener = (self.sender.subscribe(), ear);
        let nudges = stream::unfold(listener, |(mut receiver, ear)| async move {
            loop {
                match receiver.recv().await {
                    Ok(nudge) => return Some((Ok(nudge), (receiver, ear))),
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return None,
                }
            }
        });
        let ended = self.shutdown.clone().cancelled_owned();
        Ok(Response::new(nudges.take_until(ended).boxed()))
    }

    async fn ended(&self, request: Request<EndedRequest>) -> Result<Response<EndedResponse>, Status> {
        let EndedRequest { query_id, stage, task } = request.into_inner();
        let query = query_id.parse().map_err(|_| Status::invalid_argument("the query id is none"))?;
        wake::ended(TaskEnd { bucket: String::new(), task: TaskId::new(query, stage, task) });
        Ok(Response::new(EndedResponse {}))
    }
}

#[cfg(test)]
mod tests {
    use apiary_core::{ManualClock, SystemClock, SystemRng};

    use super::*;

    #[tokio::test]
    async fn what_a_worker_has_ended_reaches_the_queries_of_this_process() {
        let (nudges, mut ends) = (Nudges::new(Arc::new(SystemClock), CancellationToken::new()), wake::listen_to_ends());
        let id = QueryId::new(&SystemClock, &SystemRng);
        let request = EndedRequest { query_id: id.to_string(), stage: 2, task: 7 };
        nudges.ended(Request::new(request)).await.unwrap();
        while ends.recv().await.unwrap().task != TaskId::new(id, 2, 7) {}
        let nobody = EndedRequest { query_id: "x".to_owned(), ..EndedRequest::default() };
        assert!(nudges.ended(Request::new(nobody)).await.is_err());
    }

    #[tokio::test]
    async fn a_worker_that_listens_is_woken_and_let_go_at_the_end() {
        let shutdown = CancellationToken::new();
        let nudges = Nudges::new(Arc::new(SystemClock), shutdown.clone());
        let id = QueryId::new(&SystemClock, &SystemRng);
        nudges.nudge(&id, None, false);
        let mut stream = nudges.nudges(Request::new(NudgesRequest::default())).await.unwrap().into_inner();
        let body = "a task".into();
        nudges.nudge(&id, Some(NewTask { key: "a/key", body: &body, preferred_node: "pi-2" }), false);
        let heard = stream.next().await.unwrap().unwrap();
        assert_eq!((heard.task_key.as_str(), heard.query_id, heard.task), ("a/key", id.to_string(), body));
        assert_eq!(heard.preferred_node, "pi-2");
        shutdown.cancel();
        assert!(stream.next().await.is_none());
    }

    #[tokio::test]
    async fn who_stops_listening_is_out_of_touch_until_it_listens_again() {
        let clock = ManualClock::new();
        let nudges = Nudges::new(Arc::new(clock.clone()), CancellationToken::new());
        let listen = || nudges.nudges(Request::new(NudgesRequest { node: "pi-1".into() }));
        let stream = listen().await.unwrap();
        assert_eq!(nudges.out_of_touch(), []);
        let pi = NodeId::new("pi-1").unwrap();
        assert!(nudges.listens(&pi) && !nudges.listens(&NodeId::new("pi-2").unwrap()));
        drop(stream);
        assert!(!nudges.listens(&pi));
        clock.run(clock.sleep(Duration::from_secs(3))).await;
        assert_eq!(nudges.out_of_touch(), [(NodeId::new("pi-1").unwrap(), Duration::from_secs(3))]);
        let _stream = listen().await.unwrap();
        assert_eq!(nudges.out_of_touch(), []);
    }

    #[tokio::test]
    async fn a_node_that_is_gone_for_long_is_forgotten() {
        let clock = ManualClock::new();
        let nudges = Nudges::new(Arc::new(clock.clone()), CancellationToken::new());
        drop(nudges.nudges(Request::new(NudgesRequest { node: "pi-1".into() })).await.unwrap());
        clock.run(clock.sleep(BROKEN_KEPT)).await;
        assert_eq!(nudges.out_of_touch(), []);
    }
}
