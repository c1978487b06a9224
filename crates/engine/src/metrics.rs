//! What a query on the board cost, collected from its `done` objects while it runs.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use apiary_swarm::board::{DoneRecord, TaskMetrics};

use crate::Progress;

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
}

#[derive(Debug, Default)]
struct Inner {
    tasks: Vec<TaskCost>,
    progress: Progress,
}

/// A running sum; complete when the result stream has ended.
#[derive(Debug, Default)]
pub struct BoardMetrics(Mutex<Inner>);

impl BoardMetrics {
    pub(crate) fn add(&self, stage: u32, task: u32, done: &DoneRecord) {
        let cost = TaskCost { stage, task, attempt: done.attempt, node: done.worker.clone(), metrics: done.cost() };
        self.inner(|inner| inner.tasks.push(cost));
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
