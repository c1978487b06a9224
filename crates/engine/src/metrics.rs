//! What a query on the board cost, collected from its `done` objects while it runs.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use apiary_swarm::board::{DoneRecord, TaskMetrics};

use crate::{Progress, query_run::Attempt};

/// One finished task.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskCost {
    /// Its stage.
    pub stage: u32,
    /// Its number.
    pub task: u32,
    /// The attempt that won.
    pub attempt: u32,
    /// The node that ran it.
    pub node: String,
    /// What it cost.
    pub metrics: TaskMetrics,
    /// When its attempt was published, by this coordinator's monotonic clock; nothing of one that another published.
    pub published: Option<Duration>,
    /// When this coordinator saw that it was done, by the same clock.
    pub seen: Duration,
}

impl TaskCost {
    /// How long it ran, by its worker's own clock.
    #[must_use]
    pub fn ran(&self) -> Duration {
        Duration::from_micros(self.metrics.elapsed_us)
    }

    /// How long it was on the board without being worked on: until a bee took it, and until its end was seen.
    #[must_use]
    pub fn waited(&self) -> Duration {
        let on_board = self.published.map(|published| self.seen.saturating_sub(published));
        on_board.unwrap_or_default().saturating_sub(self.ran())
    }
}

#[derive(Debug, Default)]
struct Inner {
    tasks: Vec<TaskCost>,
    published: HashMap<Attempt, Duration>,
    progress: Progress,
}

/// A running sum; complete when the result stream has ended.
#[derive(Debug, Default)]
pub struct BoardMetrics(Mutex<Inner>);

impl BoardMetrics {
    /// An attempt is on the board now.
    pub(crate) fn published(&self, attempt: Attempt, now: Duration) {
        self.inner(|inner| inner.published.insert(attempt, now));
    }

    /// A task is seen to be done now.
    pub(crate) fn add(&self, stage: u32, task: u32, done: &DoneRecord, now: Duration) {
        let attempt = done.attempt;
        let (node, metrics) = (done.worker.clone(), done.cost());
        self.inner(|inner| {
            let published = inner.published.get(&Attempt { stage, task, attempt }).copied();
            inner.tasks.push(TaskCost { stage, task, attempt, node, metrics, published, seen: now });
        });
    }

    /// How long at least one task of the query ran somewhere. A task ran for as long as its worker says, until its end
    /// was seen: no two clocks are compared, and how long the end took to be seen counts as if it had run later.
    #[must_use]
    pub fn working(&self) -> Duration {
        let mut spans: Vec<(Duration, Duration)> = self
            .inner(|inner| inner.tasks.iter().map(|task| (task.seen.saturating_sub(task.ran()), task.seen)).collect());
        spans.sort_unstable();
        let (mut worked, mut until) = (Duration::ZERO, Duration::ZERO);
        for (from, to) in spans {
            worked += to.saturating_sub(from.max(until));
            until = until.max(to);
        }
        worked
    }

    pub(crate) fn set_progress(&self, progress: Progress) {
        self.inner(|inner| inner.progress = progress);
    }

    fn inner<T>(&self, act: impl FnOnce(&mut Inner) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Every finished task so far.
    #[must_use]
    pub fn tasks(&self) -> Vec<TaskCost> {
        self.inner(|inner| inner.tasks.clone())
    }

    /// Where the query stands.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.inner(|inner| inner.progress)
    }

    /// Requests that all tasks together made.
    #[must_use]
    pub fn gets(&self) -> u64 {
        self.inner(|inner| inner.tasks.iter().map(|task| task.metrics.gets).sum())
    }

    /// Bytes that those requests brought.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.inner(|inner| inner.tasks.iter().map(|task| task.metrics.bytes_read).sum())
    }

    /// Bytes of cells that the nodes' caches had.
    #[must_use]
    pub fn bytes_cached(&self) -> u64 {
        self.inner(|inner| inner.tasks.iter().map(|task| task.metrics.bytes_cached).sum())
    }

    /// How many nodes did work.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.inner(|inner| inner.tasks.iter().map(|task| task.node.as_str()).collect::<BTreeSet<_>>().len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(elapsed_ms: u64) -> DoneRecord {
        let metrics = TaskMetrics { elapsed_us: elapsed_ms * 1000, ..TaskMetrics::default() };
        DoneRecord { attempt: 1, metrics: Some(metrics), ..DoneRecord::default() }
    }

    #[test]
    fn time_in_which_tasks_overlap_counts_once_and_gaps_do_not() {
        let (metrics, ms) = (BoardMetrics::default(), Duration::from_millis);
        metrics.published(Attempt { stage: 1, task: 0, attempt: 1 }, ms(50));
        metrics.add(1, 0, &done(100), ms(200));
        metrics.add(1, 1, &done(50), ms(180));
        metrics.add(1, 2, &done(100), ms(250));
        metrics.add(2, 0, &done(30), ms(500));
        assert_eq!(metrics.working(), ms(100 + 50 + 30));
        assert_eq!((metrics.tasks()[0].waited(), metrics.tasks()[1].waited()), (ms(50), Duration::ZERO));
    }

    #[test]
    fn a_worker_whose_clock_runs_too_fast_does_no_harm() {
        let metrics = BoardMetrics::default();
        metrics.add(1, 0, &done(u64::MAX / 1_000_000), Duration::from_secs(1));
        assert_eq!(metrics.working(), Duration::from_secs(1));
    }
}
