//! The pull loop: finds free attempts, runs as many as there are free bees, and lets go of what is over.
//!
//! ```text
//!   hint (task) ──▶ ours by hash? try it at once        look: _open, then each query's keys ──▶ free attempts
//!   hint (over) ──▶ cancel                                ▲ right after a hint, else 0.25 s … 30 s
//!   a query that is no longer in `_open` ──▶ cancel its tasks, forget its files; seen within a second of its end
//! ```

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use apiary_bucket::layout::BoardKey;
use apiary_core::QueryId;
use apiary_engine::{Outcome, Room, TaskRunner, check_version};
use apiary_node::{Bees, Node, Role};
use apiary_swarm::{AttemptId, TaskId, behaviour::polling::Polling, board::TaskObject};
use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{choose, nudges::Hint};

/// How soon after a hint for others the board is looked at: by then the one that goes first has claimed.
const SECOND_LOOK: Duration = Duration::from_millis(40);

/// How often running tasks' queries are looked for: a cancelled one is let go within this time.
const CARE_EVERY: Duration = Duration::from_secs(1);

/// How long running tasks may go on after the word to stop, before they are handed back.
const DRAIN_MAX: Duration = Duration::from_secs(15);

/// How long handing back may take.
const HAND_BACK_MAX: Duration = Duration::from_secs(5);

/// What a node that is to be avoided waits before it takes a task after all.
const AVOID_FOR: Duration = Duration::from_secs(5);

/// Attempts that are remembered as not ours; forgotten with their queries.
const PASSED_MAX: usize = 100_000;

pub(crate) struct Puller {
    node: Arc<Node>,
    runner: TaskRunner,
    drain: CancellationToken,
    running: JoinSet<(QueryId, Outcome)>,
    queries: HashMap<QueryId, CancellationToken>,
    passed: HashSet<AttemptId>,
    avoided: HashMap<AttemptId, Duration>,
    polling: Polling,
}

impl Puller {
    pub(crate) fn new(node: Arc<Node>, runner: TaskRunner) -> Self {
        Self {
            node,
            runner,
            drain: CancellationToken::new(),
            running: JoinSet::new(),
            queries: HashMap::new(),
            passed: HashSet::new(),
            avoided: HashMap::new(),
            polling: Polling::new(),
        }
    }

    /// Pulls until `shutdown`, then lets what runs end or hands it back.
    pub(crate) async fn run(mut self, mut hints: mpsc::Receiver<Hint>, shutdown: CancellationToken) {
        let mut look_at = self.now();
        while !shutdown.is_cancelled() {
            let pause = look_at.saturating_sub(self.now());
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                Some(hint) = hints.recv() => {
                    self.node.hurry();
                    self.heed(&hint).await;
                    look_at = look_at.min(self.now() + SECOND_LOOK);
                }
                Some(ended) = self.running.join_next() => {
                    self.ended(ended);
                    look_at = self.now();
                }
                () = self.node.clock().sleep(pause) => {
                    let found = self.look().await;
                    look_at = self.now() + self.pause(found);
                }
            }
        }
        self.leave().await;
    }

    fn now(&self) -> Duration {
        self.node.clock().monotonic()
    }

    /// How long until the next look.
    fn pause(&mut self, found: bool) -> Duration {
        if found {
            self.polling.worked();
        }
        let pause = self.polling.idle(self.node.rng().next_u64());
        if self.running.is_empty() { pause } else { pause.min(CARE_EVERY) }
    }

    fn ended(&mut self, ended: Result<(QueryId, Outcome), tokio::task::JoinError>) {
        self.polling.worked();
        match ended {
            Ok((query, outcome)) => tracing::debug!(%query, ?outcome, "attempt ended"),
            // A panic outside of the plan: the claim is given up by the coordinator in its time.
            Err(error) => tracing::error!(%error, "an attempt broke off"),
        }
    }

    async fn heed(&mut self, hint: &Hint) {
        if hint.over {
            self.forget(&hint.query).await;
            return;
        }
        let Some(key) = &hint.task_key else { return };
        let Some(BoardKey::Task { stage, task, attempt }) = BoardKey::parse(key) else { return };
        if choose::goes_first(key, &self.node.id, &self.workers()) {
            self.take(TaskId::new(hint.query, stage, task).attempt(attempt)).await;
        }
    }

    /// Workers that are alive, this one included.
    fn workers(&self) -> Vec<apiary_core::NodeId> {
        let world = self.node.world();
        let alive = world.into_iter().filter(|view| view.is_alive() && view.has_role(Role::Worker.as_str()));
        alive.map(|view| view.heartbeat.node).collect()
    }

    /// Looks at the board: lets go of queries that are over and takes what is free. Whether there was anything to
    /// take. 1 LIST, and 2 for each open query while bees are free.
    async fn look(&mut self) -> bool {
        let open = match self.node.board.list_open().await {
            Ok(open) => open,
            Err(error) => {
                tracing::warn!(%error, "cannot look at the board; trying again");
                return false;
            }
        };
        let gone: Vec<QueryId> = self.queries.keys().filter(|query| !open.contains(query)).copied().collect();
        for query in gone {
            self.forget(&query).await;
        }
        let mut found = false;
        for query in open {
            if self.node.bees.free() == 0 {
                break;
            }
            found |= self.look_into(query).await;
        }
        found
    }

    async fn look_into(&mut self, query: QueryId) -> bool {
        let view = match self.node.board.list_query(&query).await {
            Ok(view) => view,
            Err(error) => {
                tracing::warn!(%query, %error, "cannot look at a query; trying again");
                return false;
            }
        };
        if view.cancelled || view.ended {
            self.forget(&query).await;
            return false;
        }
        let free: Vec<AttemptId> = view.free().filter(|id| !self.passed.contains(id)).collect();
        let found = !free.is_empty();
        for id in choose::rotated(free, self.node.rng().next_u64()) {
            if self.node.bees.free() == 0 {
                break;
            }
            self.take(id).await;
        }
        found
    }

    /// Takes an attempt if there is a bee for it. 1 GET.
    async fn take(&mut self, id: AttemptId) {
        if self.passed.contains(&id) {
            return;
        }
        let Some(bees) = self.node.bees.try_lease() else { return };
        let task = match self.node.board.read_task(&id).await {
            Ok(Some(task)) => task,
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(attempt = %id, %error, "cannot read a task");
                // A store that failed is asked again; there may be no other worker to take it.
                if !error.is_retryable() {
                    self.pass(id);
                }
                return;
            }
        };
        if let Err(error) = check_version(&task.engine_version) {
            tracing::warn!(attempt = %id, %error, "left to others");
            return self.pass(id);
        }
        if self.is_for_others(&id, &task) {
            return;
        }
        self.pass(id);
        self.start(id, task, bees);
    }

    /// Not to be tried again by this node.
    fn pass(&mut self, id: AttemptId) {
        if self.passed.len() >= PASSED_MAX {
            self.passed.clear();
        }
        self.passed.insert(id);
    }

    /// Whether this node failed the task before and others are there to try; not for ever, they may be busy.
    fn is_for_others(&mut self, id: &AttemptId, task: &TaskObject) -> bool {
        let avoided = |node: &apiary_core::NodeId| task.avoid_nodes.iter().any(|name| name == node.as_str());
        if !avoided(&self.node.id) || self.workers().iter().all(avoided) {
            return false;
        }
        let now = self.now();
        let since = *self.avoided.entry(*id).or_insert(now);
        now.saturating_sub(since) < AVOID_FOR
    }

    fn start(&mut self, id: AttemptId, task: TaskObject, mut bees: Bees) {
        let query = id.task.query;
        let cancel = self.queries.entry(query).or_default().clone();
        // What ran out of memory once gets a second bee's chamber, if a bee is free.
        let roomier = task.memory_bytes > self.node.chambers.bytes();
        let second = roomier.then(|| self.node.bees.try_lease()).flatten();
        let chamber = match self.node.chambers.build(1 + usize::from(second.is_some()), &cancel) {
            Ok(chamber) => chamber,
            Err(error) => {
                tracing::error!(%error, "no chamber for a task");
                self.passed.remove(&id);
                return bees.shrink(1);
            }
        };
        let (runner, drain) = (self.runner.clone(), self.drain.clone());
        let attempt = async move {
            let room = Room::over(chamber.memory_pool(), chamber.budget_bytes());
            let outcome = runner.attempt(&task, &room, &cancel, &drain).await.unwrap_or_else(|error| {
                tracing::warn!(attempt = %id, %error, "an attempt could not be ended on the board");
                Outcome::NotOurs
            });
            drop((chamber, second, bees));
            (query, outcome)
        };
        self.running.spawn_on(attempt, &self.node.bees.threads());
    }

    /// Lets go of a query that is over.
    async fn forget(&mut self, query: &QueryId) {
        if let Some(cancel) = self.queries.remove(query) {
            cancel.cancel();
        }
        self.passed.retain(|id| id.task.query != *query);
        self.avoided.retain(|id, _| id.task.query != *query);
        self.runner.forget(query).await;
    }

    /// Takes nothing new; what runs ends or is handed back.
    async fn leave(&mut self) {
        if self.wait_for_all(DRAIN_MAX).await {
            return;
        }
        self.drain.cancel();
        if !self.wait_for_all(HAND_BACK_MAX).await {
            tracing::warn!(tasks = self.running.len(), "left with tasks that could not be handed back");
        }
    }

    async fn wait_for_all(&mut self, limit: Duration) -> bool {
        let all = async {
            while let Some(ended) = self.running.join_next().await {
                if let Ok((query, outcome)) = ended {
                    tracing::debug!(%query, ?outcome, "attempt ended while leaving");
                }
            }
        };
        tokio::time::timeout(limit, all).await.is_ok()
    }
}
