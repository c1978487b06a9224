//! The pull loop: finds free attempts, runs as many as there are free bees, and lets go of what is over.
//!
//! ```text
//!   hint (task) ──▶ meant for us? try it at once        look: _open, then each query's keys ──▶ free attempts
//!              └──▶ for another: a little later, has    ▲ 0.25 s … 30 s; at once when a bee is free again, if work was
//!                   it taken it? the query's keys         left for want of one, or not every coordinator is heard
//!   hint (over) ──▶ cancel
//!   a query that is no longer in `_open` ──▶ cancel its tasks, forget its files
//!   while tasks run: their queries' keys ──▶ cancel what is cancelled, and what another attempt has done already
//!   while a query is open and bees are free: every 2 s, since the next attempt may be for us (5 s
//!   if every coordinator is heard)
//! ```
//!
//! A look is 1 LIST and 2 for each open query, and finds what nobody was told of. Who hears every coordinator is told of
//! all, so it looks for what it could not take when it was told. Who hears of a cancel by a nudge lets go at once; who
//! hears no nudges looks twice a second while it works.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use apiary_bucket::layout::BoardKey;
use apiary_core::QueryId;
use apiary_engine::{Outcome, Room, TaskRunner, check_version};
use apiary_node::{Bees, Node, Role};
use apiary_swarm::{
    AttemptId, Board, TaskId,
    behaviour::polling::{LONGEST_MS, Polling},
    board::TaskObject,
};
use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    choose,
    nudges::{Ears, Hint},
};

mod look;

/// How soon after a hint for others its query is looked at: by then the one that goes first has claimed.
const SECOND_LOOK: Duration = Duration::from_millis(100);

/// How often running tasks' queries are looked at by a worker that hears no nudges: a cancelled one is let go within a
/// second.
const CARE_EVERY: Duration = Duration::from_millis(500);

/// The same where every coordinator in sight would say so by a nudge.
const CARE_EVERY_LISTENING: Duration = Duration::from_secs(2);

/// How often the board is looked at while a query is open: what a worker that died had claimed is published again, and
/// must not wait for a worker that has grown tired of looking.
const OPEN_EVERY: Duration = Duration::from_secs(2);

/// The same where every coordinator in sight would say so by a nudge.
const OPEN_EVERY_LISTENING: Duration = Duration::from_secs(5);

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
    running: JoinSet<(AttemptId, Outcome)>,
    /// What runs, by query, each attempt with the token that ends it.
    queries: HashMap<QueryId, HashMap<AttemptId, CancellationToken>>,
    ears: Ears,
    foreign: bool,
    /// Whether any query was open at the last look, or has been hinted at since.
    is_open: bool,
    /// Queries with tasks that were not taken when they were hinted at: another worker was to, or there was no bee.
    hinted: BTreeSet<QueryId>,
    /// Whether some were left because no bee was free.
    missed: bool,
    /// When the queries whose tasks run here were last looked at, and when the open ones.
    cared_at: Duration,
    listed_at: Duration,
    passed: HashSet<AttemptId>,
    avoided: HashMap<AttemptId, Duration>,
    polling: Polling,
}

impl Puller {
    /// A `foreign` worker takes every task for another version's.
    pub(crate) fn new(node: Arc<Node>, runner: TaskRunner, ears: Ears, foreign: bool) -> Self {
        Self {
            node,
            runner,
            ears,
            foreign,
            is_open: false,
            hinted: BTreeSet::new(),
            missed: false,
            cared_at: Duration::ZERO,
            listed_at: Duration::ZERO,
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
                    let soon = if self.hinted.is_empty() { self.longest() } else { SECOND_LOOK };
                    look_at = look_at.min(self.now() + soon);
                }
                Some(ended) = self.running.join_next() => {
                    self.ended(ended);
                    let may_be_more = self.missed || !self.ears.hear_all();
                    let pause = if may_be_more { Duration::ZERO } else { self.pause(true) };
                    look_at = look_at.min(self.now() + pause);
                }
                () = self.node.clock().sleep(pause) => {
                    let twice = self.may_look_twice();
                    let found = if twice { self.second_look().await } else { self.look().await };
                    look_at = self.now() + self.pause(found);
                    if twice {
                        look_at = look_at.min(self.cared_at + CARE_EVERY_LISTENING);
                    }
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
        self.polling.idle(self.node.rng().next_u64()).min(self.longest())
    }

    /// The longest until a look at the whole board.
    fn longest(&self) -> Duration {
        match (self.running.is_empty(), self.is_open, self.ears.hear_all()) {
            (true, false, _) => Duration::from_millis(LONGEST_MS),
            (true, true, true) => OPEN_EVERY_LISTENING,
            (true, true, false) => OPEN_EVERY,
            (false, _, true) => CARE_EVERY_LISTENING,
            (false, _, false) => CARE_EVERY,
        }
    }

    fn ended(&mut self, ended: Result<(AttemptId, Outcome), tokio::task::JoinError>) {
        self.polling.worked();
        match ended {
            Ok((id, outcome)) => {
                tracing::debug!(attempt = %id, ?outcome, "attempt ended");
                if let Some(attempts) = self.queries.get_mut(&id.task.query) {
                    attempts.remove(&id);
                }
            }
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
        self.is_open = true;
        if self.node.bees.free() == 0 {
            return self.miss(hint.query);
        }
        let id = TaskId::new(hint.query, stage, task).attempt(attempt);
        if choose::goes_first(key, &hint.preferred_node, &self.node.id, &self.workers()) {
            // What came with the nudge need not be read; what is wrong with it is left for the board to say.
            self.take(id, Board::task_in(&id, &hint.task).ok()).await;
        }
        if !self.passed.contains(&id) {
            self.hinted.insert(hint.query);
        }
    }

    /// Workers that are alive, this one included.
    fn workers(&self) -> Vec<apiary_core::NodeId> {
        let world = self.node.world();
        let alive = world.into_iter().filter(|view| view.is_alive() && view.has_role(Role::Worker.as_str()));
        alive.map(|view| view.heartbeat.node).collect()
    }

    /// Takes an attempt if there is a bee for it. 1 GET unless its task is at hand.
    async fn take(&mut self, id: AttemptId, at_hand: Option<TaskObject>) {
        if self.passed.contains(&id) {
            return;
        }
        let Some(bees) = self.node.bees.try_lease() else { return };
        let task = match at_hand {
            Some(task) => task,
            None => match self.read(&id).await {
                Some(task) => task,
                None => return,
            },
        };
        let planned_by = if self.foreign { "another" } else { &task.engine_version };
        if let Err(error) = check_version(planned_by) {
            tracing::warn!(attempt = %id, %error, "left to others");
            return self.pass(id);
        }
        if self.is_for_others(&id, &task) {
            return;
        }
        self.pass(id);
        self.start(id, task, bees);
    }

    /// An attempt's task, if it can be read.
    async fn read(&mut self, id: &AttemptId) -> Option<TaskObject> {
        match self.node.board.read_task(id).await {
            Ok(task) => task,
            Err(error) => {
                tracing::warn!(attempt = %id, %error, "cannot read a task");
                // A store that failed is asked again; there may be no other worker to take it.
                if !error.is_retryable() {
                    self.pass(*id);
                }
                None
            }
        }
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
        let cancel = CancellationToken::new();
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
        self.queries.entry(id.task.query).or_default().insert(id, cancel.clone());
        let (runner, drain) = (self.runner.clone(), self.drain.clone());
        let attempt = async move {
            let room = Room::over(chamber.memory_pool(), chamber.budget_bytes());
            let room = room.with_disk(chamber.disk());
            let outcome = runner.attempt(&task, &room, &cancel, &drain).await.unwrap_or_else(|error| {
                tracing::warn!(attempt = %id, %error, "an attempt could not be ended on the board");
                Outcome::NotOurs
            });
            drop((room, chamber, second, bees));
            (id, outcome)
        };
        self.running.spawn_on(attempt, &self.node.bees.threads());
    }

    /// Lets go of a query that is over.
    async fn forget(&mut self, query: &QueryId) {
        for cancel in self.queries.remove(query).into_iter().flat_map(HashMap::into_values) {
            cancel.cancel();
        }
        self.passed.retain(|id| id.task.query != *query);
        self.hinted.remove(query);
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
                if let Ok((id, outcome)) = ended {
                    tracing::debug!(attempt = %id, ?outcome, "attempt ended while leaving");
                }
            }
        };
        tokio::time::timeout(limit, all).await.is_ok()
    }
}
