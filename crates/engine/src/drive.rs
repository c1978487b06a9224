//! One query, driven over the board: the thin loop around [`QueryRun`].
//!
//! ```text
//!        ┌── look: one LIST of the query's objects; new `done`, `failed` and old claims are read
//!        ▼
//!   events ──▶ QueryRun ──▶ actions: publish, mark lost, finish, fail
//!        ▲                                   │
//!        └────────── wait a little ◀─────────┘   10–100 ms on a local bucket, 50–500 ms on a remote one, the longest
//!                                                where all workers say what they ended: then its `done` alone is read
//! ```
//!
//! Everything the loop knows stands on the board, so a coordinator that is given a query that is already there goes
//! on with it (`open.rs`): it replays what the listing shows, and publishes only what is missing. Whoever sees a higher
//! `owner` epoch than its own, or its own gone, stops at once and touches nothing.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use apiary_core::{NodeId, QueryId};
use apiary_swarm::{AttemptId, Board, TaskId};
use tokio::sync::{broadcast, mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    BoardEnv, BoardMetrics, EngineError, Progress, Result,
    claims::Claim,
    comb::pieces::{self, DoneTasks},
    open,
    pace::Pace,
    placing::Placing,
    publish::{self, Common, OpenStage, Order},
    query_run::{Action, Attempt, Event, Failure, QueryRun},
    result_stream::Finished,
    staff,
    stages::StagePlans,
    wake::{self, TaskEnd},
};

/// How often claims are compared with the world, cancels looked for, and the owner checked.
const CARE_INTERVAL: Duration = Duration::from_secs(1);

/// Longest fragment in an error: enough to know it by.
const FRAGMENT_BYTES_SHOWN: usize = 300;

/// Looks at a failing board in a row before the query is given up.
const LOOKS_FAILED_MAX: u32 = 20;

/// One query under way.
pub(crate) struct Drive {
    pub(crate) env: BoardEnv,
    pub(crate) board: Board,
    pub(crate) query: QueryId,
    pub(crate) plans: StagePlans,
    pub(crate) last: u32,
    pub(crate) epoch: u64,
    pub(crate) run: QueryRun,
    pub(crate) started: Duration,
    pub(crate) pointed: Duration,
    pub(crate) superseded: bool,
    pub(crate) deserted_since: Option<Duration>,
    pub(crate) timeout: Duration,
    pub(crate) open: HashMap<u32, OpenStage>,
    pub(crate) done: DoneTasks,
    pub(crate) inline_kept: usize,
    pub(crate) failed: HashSet<Attempt>,
    pub(crate) claims: HashMap<Attempt, Claim>,
    pub(crate) delayed: Vec<(Duration, Order)>,
    pub(crate) placing: Placing,
    pub(crate) metrics: Arc<BoardMetrics>,
    pub(crate) progress: Box<dyn Fn(Progress) + Send + Sync>,
    pub(crate) finished: mpsc::UnboundedSender<Finished>,
}

/// How the loop ended.
enum End {
    Finished,
    Superseded,
}

impl Drive {
    pub(crate) async fn run(mut self, cancel: CancellationToken, gone: CancellationToken, takes: watch::Receiver<u32>) {
        let end = self.steps(&cancel, &gone, takes).await;
        // Whoever has taken the query over needs all that stands on the board, and no word that it is over.
        let mut ours = !matches!(end, Ok(End::Superseded));
        match end {
            Ok(End::Finished) => drop(self.finished.send(Ok(None))),
            Ok(End::Superseded) => drop(self.finished.send(Err(open::superseded(&self.query)))),
            Err(error) => {
                let why = error.to_string();
                self.finished.send(Err(error)).ok();
                ours = !self.is_superseded().await;
                if ours {
                    self.board.cancel(&self.query, &why).await.ok();
                    self.env.nudge(&self.query, None, true);
                }
            }
        }
        // The stream ends with its sender.
        drop(std::mem::replace(&mut self.finished, mpsc::unbounded_channel().0));
        // The last stage's files are read until the client has them or goes away.
        gone.cancelled().await;
        if ours && !self.is_superseded().await {
            if let Err(error) = self.board.close(&self.query).await {
                tracing::warn!(query = %self.query, %error, "the query's objects are left to the janitor");
            }
            self.env.nudge(&self.query, None, true);
        }
    }

    async fn steps(
        &mut self,
        cancel: &CancellationToken,
        gone: &CancellationToken,
        mut takes: watch::Receiver<u32>,
    ) -> Result<End> {
        let mut pace = Pace::of(self.env.bucket.uri(), self.now());
        let mut ends = wake::listen_to_ends();
        let (mut cared, mut failures) = (Duration::ZERO, 0);
        let (mut events, mut is_told) = (Vec::new(), self.is_told());
        // Whoever takes a query over sees first what is there. What this look misses is only said twice.
        if self.epoch > 1
            && let Err(error) = self.look(false, &mut events).await
        {
            tracing::warn!(query = %self.query, %error, "cannot see how far the query is; going on");
        }
        events.push(Event::Start);
        // Ends with the query's own timeout at the latest.
        loop {
            let busy = !events.is_empty();
            for event in events.drain(..) {
                let actions = self.run.on(event);
                if let Some(end) = self.perform(actions).await? {
                    return Ok(end);
                }
            }
            self.publish_delayed().await?;
            self.report();
            if busy && !is_told {
                pace.hurry(self.now());
            }
            let ended = self.wait(pace.left(self.now()), cancel, gone, &mut takes, &mut ends).await;
            let now = self.now();
            let care = now.saturating_sub(cared) >= CARE_INTERVAL;
            let look = care || pace.left(now).is_zero();
            let looked = if look {
                is_told = self.is_told();
                pace.looked(now, is_told);
                self.look(care, &mut events).await
            } else {
                self.read_ended(ended, &mut events).await
            };
            match looked {
                Ok(()) if look => failures = 0,
                Ok(()) => {}
                Err(error) if failures >= LOOKS_FAILED_MAX || !error.kind().is_retryable() => return Err(error),
                Err(_) => failures += 1,
            }
            if care {
                cared = now;
            }
            if self.superseded {
                return Ok(End::Superseded);
            }
            events.push(Event::Taken { tasks: *takes.borrow_and_update() });
            if cancel.is_cancelled() || gone.is_cancelled() {
                events.push(Event::Cancel);
            } else if now.saturating_sub(self.started) > self.timeout {
                events.push(Event::TimedOut);
            }
            events.retain(|event| !self.is_news_less(event));
        }
    }

    /// Events that cannot change anything, so that they do not make the loop look busy.
    fn is_news_less(&self, event: &Event) -> bool {
        matches!(event, Event::Taken { tasks } if *tasks <= self.run.taken())
    }

    pub(crate) fn now(&self) -> Duration {
        self.env.bucket.clock().monotonic()
    }

    /// Whether every worker in sight would say what it has ended.
    fn is_told(&self) -> bool {
        let says = |node: &NodeId| *node == self.env.node || self.env.nudger.listens(node);
        let world = (self.env.world)();
        let mut workers = world.iter().filter(|node| staff::can_work(node)).peekable();
        workers.peek().is_some() && workers.all(|node| says(&node.heartbeat.node))
    }

    /// Waits, and says which tasks are said to have ended.
    async fn wait(
        &self,
        pause: Duration,
        cancel: &CancellationToken,
        gone: &CancellationToken,
        takes: &mut watch::Receiver<u32>,
        ends: &mut broadcast::Receiver<TaskEnd>,
    ) -> BTreeSet<(u32, u32)> {
        let taken = async {
            if takes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = self.env.bucket.clock().sleep(pause) => {}
            () = cancel.cancelled() => {}
            () = gone.cancelled() => {}
            () = taken => {}
            ended = self.next_end(ends) => return ended,
        }
        BTreeSet::new()
    }

    /// The next tasks of this query that are said to have ended and are not known to: all that were said by then.
    async fn next_end(&self, ends: &mut broadcast::Receiver<TaskEnd>) -> BTreeSet<(u32, u32)> {
        let mut ended = BTreeSet::new();
        loop {
            let said = match ended.is_empty() {
                true => ends.recv().await.ok(),
                false => ends.try_recv().ok(),
            };
            match said.map(|end| end.task) {
                Some(task) if task.query == self.query && !self.done.contains_key(&(task.stage, task.task)) => {
                    ended.insert((task.stage, task.task));
                }
                Some(_) => {}
                // Too many were said at once, or nobody is left to say more: a look finds what there is.
                None => return ended,
            }
        }
    }

    fn report(&self) {
        let progress = self.run.progress();
        if self.metrics.progress() != progress {
            self.metrics.set_progress(progress);
            (self.progress)(progress);
        }
    }

    async fn perform(&mut self, actions: Vec<Action>) -> Result<Option<End>> {
        let mut orders = Vec::new();
        for action in actions {
            match action {
                Action::PublishStage { stage, tasks, folded } => self.open_stage(stage, tasks, &folded)?,
                Action::PublishTask { attempt, avoid, remedy, wait } => {
                    let order = Order { attempt, avoid, remedy };
                    if wait.is_zero() { orders.push(order) } else { self.delayed.push((self.now() + wait, order)) }
                }
                Action::MarkLost { attempt, failed } => {
                    tracing::warn!(query = %self.query, ?attempt, message = %failed.message, "attempt lost");
                    self.board.mark_failed(&self.id(attempt), &failed).await?;
                }
                Action::Finish => {
                    self.report();
                    return Ok(Some(End::Finished));
                }
                Action::Fail { failure } => return Err(self.error(failure)),
            }
        }
        self.publish(orders).await?;
        Ok(None)
    }

    pub(crate) fn id(&self, attempt: Attempt) -> AttemptId {
        TaskId::new(self.query, attempt.stage, attempt.task).attempt(attempt.attempt)
    }

    fn error(&self, failure: Failure) -> EngineError {
        match failure {
            Failure::Query(message) => EngineError::Query(message),
            Failure::Abandoned { stage, cause, mut report, advice } => {
                if let Some(stage) = self.plans.stage(stage) {
                    report.push_str("\n  fragment: ");
                    report.push_str(&shortened(&stage.sql));
                }
                EngineError::Abandoned { cause, report, advice }
            }
            Failure::NoWorkers => self.deserted(),
            Failure::Cancelled => EngineError::Cancelled(self.query),
            Failure::TimedOut => EngineError::Timeout { query: self.query, seconds: self.timeout.as_secs() },
        }
    }

    fn open_stage(&mut self, id: u32, tasks: u32, folded: &[u32]) -> Result<()> {
        let inputs = self.plans.inputs(id, folded);
        let locations = pieces::locations(&self.query, &self.done, &inputs);
        let plan = self.plans.resolve(id, folded, &locations)?;
        let bare = self.plans.resolve_bare(id, folded, &locations)?;
        let sql = self.plans.stage(id).map(|stage| stage.sql.clone()).unwrap_or_default();
        self.open.insert(id, OpenStage { plan, bare, sql, tasks });
        Ok(())
    }

    async fn publish_delayed(&mut self) -> Result<()> {
        let now = self.now();
        let (due, later) = std::mem::take(&mut self.delayed).into_iter().partition(|(due, _)| *due <= now);
        self.delayed = later;
        self.publish(due.into_iter().map(|(_, order): (Duration, Order)| order).collect()).await
    }

    async fn publish(&mut self, orders: Vec<Order>) -> Result<()> {
        if orders.is_empty() {
            return Ok(());
        }
        let left = self.timeout.saturating_sub(self.now().saturating_sub(self.started));
        let common = Common { query: self.query, settings: &self.plans.settings, done: &self.done, timeout: left };
        let (mut tasks, mut loads) = (Vec::with_capacity(orders.len()), Vec::with_capacity(orders.len()));
        for order in &orders {
            let Some(stage) = self.open.get(&order.attempt.stage) else { continue };
            self.metrics.published(order.attempt, self.now());
            let first = order.attempt.task == 0 && order.attempt.attempt == 1;
            let (task, load) = publish::task_object(&common, stage, order)?;
            tasks.push((task, first.then(|| stage.sql.clone())));
            loads.push(((order.attempt.stage, order.attempt.task), load));
        }
        let placed = self.placing.of(&(self.env.world)(), &self.done, &loads);
        for ((task, _), placed) in tasks.iter_mut().zip(placed) {
            if let Some(placed) = placed {
                (task.preferred_node, task.preferred_reason) =
                    (placed.node.to_string(), placed.why.as_str().to_owned());
            }
        }
        publish::publish(&self.board, &self.env, tasks).await
    }

    async fn is_superseded(&self) -> bool {
        matches!(self.board.read_owner(&self.query, self.epoch + 1).await, Ok(Some(_)))
    }
}

/// A fragment in one line that fits into a message.
fn shortened(sql: &str) -> String {
    let mut words = sql.split_whitespace().collect::<Vec<_>>().join(" ");
    if words.len() > FRAGMENT_BYTES_SHOWN {
        words.truncate(words.floor_char_boundary(FRAGMENT_BYTES_SHOWN));
        words.push('…');
    }
    words
}
