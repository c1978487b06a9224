//! What the services of one coordinator share: handles, none of which is a truth of its own.

use std::{fmt, ops::Deref, sync::Arc, time::Duration};

use apiary_engine::BoardEnv;
use apiary_ingest::{Ingest, IngestSettings};
use apiary_ledger::{Frames, Registry};
use apiary_node::Node;
use apiary_query::Planner;
use apiary_swarm::{NodeState, NodeView};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{Result, cancel::Running, nudges::Nudges, queries::Queries, run::Beside};

/// How old a view of the colony may be where somebody asks for it: a little more than a node that is awake lets it grow.
const WORLD_AGE_MAX: Duration = Duration::from_secs(12);

/// Cheap to clone; all services hold one.
#[derive(Clone)]
pub(crate) struct State(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) node: Arc<Node>,
    pub(crate) registry: Registry,
    pub(crate) frames: Frames,
    pub(crate) planner: Planner,
    pub(crate) ingest: Ingest,
    pub(crate) board: BoardEnv,
    pub(crate) nudges: Nudges,
    pub(crate) running: Running,
    pub(crate) queries: Queries,
    pub(crate) beside: Beside,
    pub(crate) shutdown: CancellationToken,
    /// Queries under way: a coordinator that leaves waits for them.
    pub(crate) tasks: TaskTracker,
}

impl State {
    /// No I/O. `shutdown` ends every query.
    pub(crate) fn new(node: Arc<Node>, beside: Beside, shutdown: CancellationToken) -> Result<Self> {
        let bucket = node.bucket.clone();
        let registry = Registry::new(bucket.clone());
        let frames = Frames::new(bucket.clone());
        let planner = Planner::new(bucket.clone(), registry.clone(), frames.clone())?;
        let settings = IngestSettings { chamber_bytes: node.chambers.bytes(), node: node.id.to_string() };
        let ingest = Ingest::new(bucket.clone(), registry.clone(), frames.clone(), settings);
        let nudges = Nudges::new(Arc::clone(node.clock()), shutdown.clone());
        let (watched, tasks) = (Arc::clone(&node), TaskTracker::new());
        let board = BoardEnv {
            bucket,
            node: node.id.clone(),
            incarnation: node.incarnation,
            world: Arc::new(move || watched.world()),
            nudger: Arc::new(nudges.clone()),
            runtime: planner.runtime(),
            tasks: tasks.clone(),
        };
        let (running, queries) = (Running::default(), Queries::default());
        let inner =
            Inner { node, registry, frames, planner, ingest, board, nudges, running, queries, beside, shutdown, tasks };
        Ok(Self(Arc::new(inner)))
    }

    /// The colony as it is, as far as anybody knows: an idle node looks rarely, so who asks may have to wait for a look.
    /// Nobody known is better than no answer.
    pub(crate) async fn world(&self) -> Vec<NodeView> {
        self.node.world_within(WORLD_AGE_MAX).await
    }

    /// Whether another coordinator may be running queries.
    pub(crate) fn has_peers(&self) -> bool {
        let peer = |node: &NodeView| {
            node.state != NodeState::Dead && node.has_role("coordinator") && node.heartbeat.node != self.node.id
        };
        self.node.world().iter().any(peer)
    }
}

impl Deref for State {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("node", &self.node.id).finish_non_exhaustive()
    }
}
