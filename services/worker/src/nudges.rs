//! Listening for nudges: one stream to every coordinator in sight, and the channel of this process. And saying back
//! which tasks have ended, to all of them: a worker does not know whose query it is.
//!
//! Nothing depends on a nudge. A coordinator that cannot be reached is tried again with growing pauses, and until
//! then its tasks are found by looking at the board.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use apiary_core::QueryId;
use apiary_engine::wake::{self, LocalNudge, TaskEnd};
use apiary_node::{Node, PeerChannel, Role};
use apiary_proto::v1::{EndedRequest, Nudge, NudgesRequest, task_service_client::TaskServiceClient};
use apiary_swarm::{NodeView, TaskId};
use bytes::Bytes;
use tokio::{
    sync::{broadcast::error::RecvError, mpsc},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

/// How often the world is asked for coordinators.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The first and the longest pause before a lost coordinator is tried again.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// How long a coordinator may take to hear of an end.
const END_MAX: Duration = Duration::from_secs(5);

/// Ends that are being said at one time; more are found by looking.
const ENDS_UNDER_WAY_MAX: usize = 256;

/// What a nudge says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hint {
    /// The query.
    pub(crate) query: QueryId,
    /// A task that was just published.
    pub(crate) task_key: Option<String>,
    /// Its object; empty: read it.
    pub(crate) task: Bytes,
    /// The node that would do it best; empty: whichever.
    pub(crate) preferred_node: String,
    /// The query is over.
    pub(crate) over: bool,
}

impl Hint {
    fn of(nudge: Nudge) -> Option<Self> {
        let query = nudge.query_id.parse().ok()?;
        let task_key = (!nudge.task_key.is_empty()).then_some(nudge.task_key);
        let Nudge { task, preferred_node, cancelled: over, .. } = nudge;
        Some(Self { query, task_key, task, preferred_node, over })
    }
}

/// To how many of the coordinators in sight the worker listens. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Ears(Arc<Heard>);

#[derive(Debug, Default)]
struct Heard {
    known: AtomicUsize,
    listening: AtomicUsize,
    is_deaf: bool,
}

/// One stream that is listened to, until it is dropped.
struct Ear<'a>(&'a Heard);

impl Ears {
    /// Nobody is in sight yet. The deaf never hear anybody.
    pub(crate) fn new(is_deaf: bool) -> Self {
        Self(Arc::new(Heard { is_deaf, ..Heard::default() }))
    }

    /// Whether a nudge of any coordinator in sight would be heard.
    pub(crate) fn hear_all(&self) -> bool {
        let Heard { known, listening, is_deaf } = self.0.as_ref();
        !is_deaf && listening.load(Ordering::Relaxed) >= known.load(Ordering::Relaxed)
    }

    fn open(&self) -> Ear<'_> {
        self.0.listening.fetch_add(1, Ordering::Relaxed);
        Ear(&self.0)
    }
}

impl Drop for Ear<'_> {
    fn drop(&mut self) {
        self.0.listening.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Listens until `shutdown`.
pub(crate) async fn listen(node: Arc<Node>, hints: mpsc::Sender<Hint>, ears: Ears, shutdown: CancellationToken) {
    if ears.0.is_deaf {
        return shutdown.cancelled().await;
    }
    let mut streams = JoinSet::new();
    streams.spawn(within_the_process(node.bucket.uri().to_owned(), hints.clone()));
    streams.spawn(say_ends(Arc::clone(&node)));
    let mut known: HashMap<String, CancellationToken> = HashMap::new();
    while !shutdown.is_cancelled() {
        ears.0.known.store(others(&node).count(), Ordering::Relaxed);
        let addresses = coordinators(&node);
        known.retain(|address, stop| {
            let keep = addresses.contains(address);
            if !keep {
                stop.cancel();
            }
            keep
        });
        for address in addresses {
            known.entry(address).or_insert_with_key(|address| {
                let stop = shutdown.child_token();
                let (node, ears) = (Arc::clone(&node), ears.clone());
                streams.spawn(follow(node, address.clone(), hints.clone(), ears, stop.clone()));
                stop
            });
        }
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = node.clock().sleep(LOOK_EVERY) => {}
        }
    }
    streams.shutdown().await;
}

/// The coordinators of other processes, whether they can be reached or not.
fn others(node: &Node) -> impl Iterator<Item = NodeView> {
    let coordinates = |view: &NodeView| view.is_alive() && view.has_role(Role::Coordinator.as_str());
    node.world().into_iter().filter(move |view| coordinates(view) && view.heartbeat.node != node.id)
}

/// Where they can be reached.
fn coordinators(node: &Node) -> Vec<String> {
    others(node).filter_map(|view| view.heartbeat.address).collect()
}

async fn within_the_process(bucket: String, hints: mpsc::Sender<Hint>) {
    let mut nudges = wake::listen();
    loop {
        match nudges.recv().await {
            Ok(nudge) if nudge.bucket == bucket => {
                let LocalNudge { query, task_key, task, preferred_node, cancelled: over, .. } = nudge;
                let hint = Hint { query, task_key, task, preferred_node, over };
                // What a full channel loses is found by looking.
                let _ = hints.try_send(hint);
            }
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}

/// Tells the coordinators of other processes what this one's workers have ended, until dropped.
async fn say_ends(node: Arc<Node>) {
    let mut ends = wake::listen_to_ends();
    let mut told: JoinSet<()> = JoinSet::new();
    let mut channels: HashMap<String, PeerChannel> = HashMap::new();
    loop {
        let end = match ends.recv().await {
            // What another node said goes no further.
            Ok(end) if end.bucket == node.bucket.uri() => end,
            Ok(_) | Err(RecvError::Lagged(_)) => continue,
            Err(RecvError::Closed) => return,
        };
        let addresses = coordinators(&node);
        channels.retain(|address, _| addresses.contains(address));
        while told.try_join_next().is_some() {}
        for address in addresses {
            let channel = match channels.get(&address) {
                Some(channel) => channel.clone(),
                None => match node.channel_to(&address) {
                    Ok(channel) => channels.entry(address).or_insert(channel).clone(),
                    Err(_) => continue,
                },
            };
            if told.len() < ENDS_UNDER_WAY_MAX {
                told.spawn(say_end(channel, end.clone()));
            }
        }
    }
}

/// Once, and not for long: whoever does not hear it finds the `done` by looking.
async fn say_end(channel: PeerChannel, end: TaskEnd) {
    let TaskId { query, stage, task } = end.task;
    let mut request = tonic::Request::new(EndedRequest { query_id: query.to_string(), stage, task });
    request.set_timeout(END_MAX);
    let _ = TaskServiceClient::new(channel).ended(request).await;
}

/// One coordinator's stream, again and again.
async fn follow(node: Arc<Node>, address: String, hints: mpsc::Sender<Hint>, ears: Ears, stop: CancellationToken) {
    let mut pause = RETRY.0;
    while !stop.is_cancelled() {
        let heard = tokio::select! {
            () = stop.cancelled() => return,
            heard = follow_once(&node, &address, &hints, &ears) => heard,
        };
        if heard {
            pause = RETRY.0;
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = node.clock().sleep(pause) => {}
        }
        pause = (pause * 2).min(RETRY.1);
    }
}

/// Follows until the stream ends; whether it ever began.
async fn follow_once(node: &Node, address: &str, hints: &mpsc::Sender<Hint>, ears: &Ears) -> bool {
    let Ok(channel) = node.channel_to(address) else { return false };
    let request = NudgesRequest { node: node.id.to_string() };
    let mut nudges = match TaskServiceClient::new(channel).nudges(request).await {
        Ok(nudges) => nudges.into_inner(),
        Err(error) => {
            tracing::debug!(address, %error, "no nudges from this coordinator for now");
            return false;
        }
    };
    tracing::debug!(address, "listening to this coordinator");
    let _ear = ears.open();
    while let Ok(Some(nudge)) = nudges.message().await {
        if let Some(hint) = Hint::of(nudge) {
            let _ = hints.try_send(hint);
        }
    }
    true
}
