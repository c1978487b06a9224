//! Queries that run here and ran here, told to people: `SHOW QUERIES`, `apiary.queries`, `apiary status`.
//!
//! A query is a line in memory from the moment it is understood. Every few seconds, if anything changed, all lines
//! go to the bucket as one object of this coordinator's own (see `apiary_swarm::query_log`), where the others read
//! them; so a query costs no request, and what is told of another coordinator is a few seconds old. Nothing is
//! decided by it, and a query never waits for it.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use apiary_core::{ErrorKind, QueryId};
use apiary_engine::Progress;
use apiary_proto::v1::QueryFinished;
use apiary_query::QueryRow;
use apiary_swarm::{
    NodeState, NodeView, QueryLine, QueryLog, QueryState,
    query_log::{self, KEPT, QUERIES_MAX},
};
use tokio_util::sync::CancellationToken;

use crate::{CoordinatorError, Result, state::State};

/// How often the lines go to the bucket while they change. A query that is shorter is never told of as running by
/// another coordinator.
const SAVE_INTERVAL: Duration = Duration::from_secs(10);

/// The queries of this coordinator.
#[derive(Debug, Default)]
pub(crate) struct Queries(Mutex<Lines>);

#[derive(Debug, Default)]
struct Lines {
    running: HashMap<QueryId, Open>,
    /// Oldest first.
    ended: VecDeque<QueryLine>,
    /// Whether what an earlier life left was read.
    is_read: bool,
    /// Whether the bucket does not know how a query ended.
    is_news: bool,
}

#[derive(Debug)]
struct Open {
    line: QueryLine,
    began: Duration,
}

impl Queries {
    /// A query begins. `now` is monotonic.
    pub(crate) fn begin(&self, line: QueryLine, now: Duration) {
        self.with(|lines| {
            // Asked again with the id of one that ended: it goes on.
            lines.ended.retain(|ended| ended.query != line.query);
            lines.running.insert(line.query, Open { line, began: now });
        });
    }

    /// Changes what is told of a query that runs; nothing of one that does not.
    pub(crate) fn tell(&self, id: QueryId, change: impl FnOnce(&mut QueryLine)) {
        self.with(|lines| {
            if let Some(open) = lines.running.get_mut(&id) {
                change(&mut open.line);
            }
        });
    }

    /// How far a query on the board is.
    pub(crate) fn progress(&self, id: QueryId, progress: Progress) {
        self.tell(id, |line| {
            (line.stages_done, line.stages) = (progress.stages_done, progress.stages_total);
            (line.tasks_done, line.tasks) = (progress.tasks_done, progress.tasks_total);
            line.retries = progress.retries;
        });
    }

    /// A query has ended. `now_ms` is this machine's wall clock.
    pub(crate) fn end(&self, id: QueryId, end: &Result<QueryFinished>, now: Duration, now_ms: i64) {
        self.with(|lines| {
            let Some(open) = lines.running.remove(&id) else { return };
            let mut line = QueryLine { elapsed_us: micros(now.saturating_sub(open.began)), ..open.line };
            match end {
                Ok(finished) => finish(&mut line, finished),
                Err(error) => {
                    let stopped = matches!(error, CoordinatorError::Cancelled) || error.kind() == ErrorKind::Cancelled;
                    line.state = if stopped { QueryState::Cancelled } else { QueryState::Failed };
                    // The first line: what follows is a picture of the statement.
                    let words = error.to_string();
                    line = line.with_error(error.kind().code(), words.lines().next().unwrap_or_default());
                }
            }
            lines.ended.push_back(line);
            lines.is_news = true;
            lines.trim(now_ms);
        });
    }

    /// Takes in what an earlier life of this coordinator had written.
    fn adopt(&self, log: Option<QueryLog>) {
        self.with(|lines| {
            if std::mem::replace(&mut lines.is_read, true) {
                return;
            }
            let known = |line: &QueryLine| {
                lines.running.contains_key(&line.query) || lines.ended.iter().any(|ended| ended.query == line.query)
            };
            let old: Vec<_> = log.map(|log| log.queries).unwrap_or_default();
            let old: Vec<_> = old.into_iter().filter(|line| !known(line)).map(lost).collect();
            old.into_iter().rev().for_each(|line| lines.ended.push_front(line));
        });
    }

    /// All lines, oldest first.
    fn lines(&self, now: Duration, now_ms: i64) -> Vec<QueryLine> {
        self.with(|lines| {
            lines.trim(now_ms);
            let running = lines.running.values();
            let running = running
                .map(|open| QueryLine { elapsed_us: micros(now.saturating_sub(open.began)), ..open.line.clone() });
            let mut all: Vec<_> = lines.ended.iter().cloned().chain(running).collect();
            all.sort_by_key(|line| line.started_ms);
            all
        })
    }

    /// Whether the bucket should know more than it does: of an end, or of a query that has run for a while.
    fn is_worth_saving(&self, now: Duration) -> bool {
        self.with(|lines| {
            let old = |open: &Open| now.saturating_sub(open.began) >= SAVE_INTERVAL;
            lines.is_news || lines.running.values().any(old)
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut Lines) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Lines {
    /// Lets go of what is too old or too much.
    fn trim(&mut self, now_ms: i64) {
        let kept_ms = i64::try_from(KEPT.as_millis()).unwrap_or(i64::MAX);
        self.ended.retain(|line| now_ms.saturating_sub(line.started_ms) <= kept_ms);
        let over = (self.ended.len() + self.running.len()).saturating_sub(QUERIES_MAX).min(self.ended.len());
        self.ended.drain(..over);
    }
}

fn finish(line: &mut QueryLine, finished: &QueryFinished) {
    line.state = QueryState::Finished;
    let Some(stats) = &finished.stats else { return };
    (line.way, line.reason) = (stats.execution.clone(), stats.execution_reason.clone());
    (line.rows, line.elapsed_us) = (stats.rows, stats.elapsed_us);
    (line.cells_read, line.cells_total) = (stats.cells_read, stats.cells_total);
    (line.get_requests, line.bytes_read) = (stats.get_requests, stats.bytes_read);
    (line.stages, line.tasks, line.retries) = (stats.stages, stats.tasks, stats.retries);
    (line.stages_done, line.tasks_done) = (stats.stages, stats.tasks);
}

/// A line of a life that is over.
fn lost(line: QueryLine) -> QueryLine {
    match line.state {
        QueryState::Running => QueryLine { state: QueryState::Lost, ..line },
        _ => line,
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// What follows a query on the board, for people here and elsewhere.
pub(crate) fn follow(
    state: &State,
    id: QueryId,
    tell: impl Fn(Progress) + Send + Sync + 'static,
) -> impl Fn(Progress) + Send + Sync + 'static {
    let state = state.clone();
    move |progress| {
        state.queries.progress(id, progress);
        tell(progress);
    }
}

/// Every query that the colony tells of, newest first. 1 LIST and 1 GET for each other coordinator that ran any
/// during the last day; the first time 1 more.
pub(crate) async fn rows(state: &State) -> Result<Vec<QueryRow>> {
    let (bucket, me) = (&state.node.bucket, &state.node.id);
    read_own(state).await?;
    let mine = state.queries.lines(bucket.clock().monotonic(), bucket.clock().wall_ms());
    let mut lines: Vec<_> = mine.into_iter().map(|line| row(me.as_str(), line)).collect();
    let others = query_log::read_others(bucket, me).await?;
    let world = if others.is_empty() { Vec::new() } else { state.world().await };
    for log in others {
        let lives = is_alive(&world, &log);
        let told = log.queries.into_iter().map(|line| if lives { line } else { lost(line) });
        lines.extend(told.map(|line| row(log.node.as_str(), line)));
    }
    lines.sort_by_key(|row| std::cmp::Reverse(row.started_ms));
    Ok(lines)
}

fn is_alive(world: &[NodeView], log: &QueryLog) -> bool {
    world.iter().any(|node| {
        let beat = &node.heartbeat;
        beat.node == log.node && beat.incarnation == log.incarnation && node.state != NodeState::Dead
    })
}

fn row(node: &str, line: QueryLine) -> QueryRow {
    QueryRow {
        query: line.query.to_string(),
        state: line.state.as_str().to_owned(),
        node: node.to_owned(),
        principal: line.principal,
        started_ms: line.started_ms,
        elapsed_us: line.elapsed_us,
        execution: line.way,
        reason: line.reason,
        stages_done: line.stages_done,
        stages: line.stages,
        tasks_done: line.tasks_done,
        tasks: line.tasks,
        retries: line.retries,
        rows: line.rows,
        cells_read: line.cells_read,
        cells_total: line.cells_total,
        get_requests: line.get_requests,
        bytes_read: line.bytes_read,
        error: (!line.code.is_empty()).then(|| format!("{}: {}", line.code, line.message)),
        statement: line.statement,
    }
}

/// Reads what an earlier life wrote, before it is overwritten. At most once 1 GET.
async fn read_own(state: &State) -> Result<()> {
    if state.queries.with(|lines| lines.is_read) {
        return Ok(());
    }
    let log = match query_log::read(&state.node.bucket, &state.node.id).await {
        Err(error @ apiary_swarm::SwarmError::Bucket(_)) => return Err(error.into()),
        Err(error) => {
            tracing::warn!(%error, "the queries of this coordinator's earlier life cannot be read");
            None
        }
        Ok(log) => log,
    };
    state.queries.adopt(log);
    Ok(())
}

/// Writes the lines if there is anything new. 1 PUT, the first time 1 GET.
async fn save(state: &State) -> Result<()> {
    let clock = state.node.bucket.clock();
    if !state.queries.is_worth_saving(clock.monotonic()) {
        return Ok(());
    }
    read_own(state).await?;
    state.queries.with(|lines| lines.is_news = false);
    let lines = state.queries.lines(clock.monotonic(), clock.wall_ms());
    let log = QueryLog::new(state.node.id.clone(), state.node.incarnation, lines);
    if let Err(error) = query_log::write(&state.node.bucket, &log).await {
        state.queries.with(|lines| lines.is_news = true);
        return Err(error.into());
    }
    Ok(())
}

/// Keeps the bucket told until `stop`, and once more then. A write that fails is tried again at its next turn.
pub(crate) async fn keep(state: State, stop: CancellationToken) {
    // Ends with the coordinator.
    loop {
        tokio::select! {
            () = stop.cancelled() => {}
            () = state.node.bucket.clock().sleep(SAVE_INTERVAL) => {}
        }
        if let Err(error) = save(&state).await {
            tracing::warn!(%error, "cannot tell the colony of this coordinator's queries");
        }
        if stop.is_cancelled() {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
