//! One look at a query's part of the board, as a LIST shows it: which objects are there, not what they say.

use std::collections::{BTreeMap, BTreeSet};

use apiary_bucket::layout::BoardKey;
use apiary_core::QueryId;

use super::{AttemptId, TaskId};

/// The objects of one task.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskBoard {
    /// Attempts that are published.
    pub published: BTreeSet<u32>,
    /// Attempts that a worker has claimed.
    pub claimed: BTreeSet<u32>,
    /// Attempts that ended without a result.
    pub failed: BTreeSet<u32>,
    /// Whether the task has its one truth.
    pub done: bool,
}

impl TaskBoard {
    /// Attempts that a free bee may claim: published, nobody's, not given up, and of use.
    pub fn free(&self) -> impl Iterator<Item = u32> + '_ {
        let taken = |attempt: &u32| self.done || self.claimed.contains(attempt) || self.failed.contains(attempt);
        self.published.iter().copied().filter(move |attempt| !taken(attempt))
    }

    /// Attempts that somebody works on, as far as the board knows.
    pub fn running(&self) -> impl Iterator<Item = u32> + '_ {
        self.claimed.iter().copied().filter(|attempt| !self.done && !self.failed.contains(attempt))
    }
}

/// The objects of one query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoardView {
    /// The query.
    pub query: QueryId,
    /// Whether `query.json` is there.
    pub asked: bool,
    /// Whether the stage plans are there.
    pub planned: bool,
    /// Whether somebody cancelled it.
    pub cancelled: bool,
    /// The highest epoch of ownership.
    pub epoch: Option<u64>,
    /// By stage and task.
    pub tasks: BTreeMap<(u32, u32), TaskBoard>,
}

impl BoardView {
    /// A view of nothing.
    #[must_use]
    pub fn empty(query: QueryId) -> Self {
        let tasks = BTreeMap::new();
        Self { query, asked: false, planned: false, cancelled: false, epoch: None, tasks }
    }

    /// Builds the view from listed keys. Keys that are none of this query's board are passed over: a newer version
    /// may have put them there.
    #[must_use]
    pub fn of<'a>(query: QueryId, keys: impl IntoIterator<Item = &'a str>) -> Self {
        let mut view = Self::empty(query);
        keys.into_iter().filter_map(BoardKey::parse).for_each(|key| view.add(&key));
        view
    }

    /// One task, if it has any object.
    #[must_use]
    pub fn task(&self, stage: u32, task: u32) -> Option<&TaskBoard> {
        self.tasks.get(&(stage, task))
    }

    /// Every attempt that a free bee may claim, lower stages first.
    pub fn free(&self) -> impl Iterator<Item = AttemptId> + '_ {
        let tasks = self.tasks.iter().filter(|_| !self.cancelled);
        tasks.flat_map(|(&(stage, task), board)| {
            let id = TaskId::new(self.query, stage, task);
            board.free().map(move |attempt| id.attempt(attempt))
        })
    }

    fn add(&mut self, key: &BoardKey) {
        match *key {
            BoardKey::Query => self.asked = true,
            BoardKey::Stages => self.planned = true,
            BoardKey::Cancel => self.cancelled = true,
            BoardKey::Owner { epoch } => self.epoch = self.epoch.max(Some(epoch)),
            BoardKey::Task { stage, task, attempt } => drop(self.at(stage, task).published.insert(attempt)),
            BoardKey::Claim { stage, task, attempt } => drop(self.at(stage, task).claimed.insert(attempt)),
            BoardKey::Failed { stage, task, attempt } => drop(self.at(stage, task).failed.insert(attempt)),
            BoardKey::Done { stage, task } => self.at(stage, task).done = true,
            BoardKey::TaskSql { .. } | BoardKey::Out { .. } => {}
        }
    }

    fn at(&mut self, stage: u32, task: u32) -> &mut TaskBoard {
        self.tasks.entry((stage, task)).or_default()
    }
}

#[cfg(test)]
mod tests {
    use apiary_bucket::layout;
    use apiary_core::{SystemClock, SystemRng};

    use super::*;

    fn view(keys: impl Fn(&QueryId) -> Vec<layout::Key>) -> BoardView {
        let query = QueryId::new(&SystemClock, &SystemRng);
        let keys = keys(&query);
        BoardView::of(query, keys.iter().map(AsRef::as_ref))
    }

    #[test]
    fn a_published_task_is_free_until_it_is_claimed() {
        let seen = view(|q| vec![layout::task(q, 1, 0, 1), layout::task(q, 1, 1, 1), layout::claim(q, 1, 1, 1)]);
        assert_eq!(seen.free().map(|id| (id.task.stage, id.task.task, id.attempt)).collect::<Vec<_>>(), [(1, 0, 1)]);
        assert_eq!(seen.task(1, 1).unwrap().running().collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn a_task_that_is_done_has_no_free_attempt() {
        let seen = view(|q| vec![layout::task(q, 1, 0, 1), layout::task(q, 1, 0, 2), layout::done(q, 1, 0)]);
        assert_eq!(seen.free().count(), 0);
        assert!(seen.task(1, 0).unwrap().done);
    }

    #[test]
    fn a_failed_attempt_is_neither_free_nor_running() {
        let seen = view(|q| vec![layout::task(q, 2, 3, 1), layout::claim(q, 2, 3, 1), layout::failed(q, 2, 3, 1)]);
        assert_eq!((seen.free().count(), seen.task(2, 3).unwrap().running().count()), (0, 0));
    }

    #[test]
    fn a_cancelled_query_has_no_work() {
        let seen = view(|q| vec![layout::task(q, 1, 0, 1), layout::cancel(q)]);
        assert!(seen.cancelled);
        assert_eq!(seen.free().count(), 0);
    }

    #[test]
    fn the_highest_epoch_owns() {
        let seen = view(|q| vec![layout::owner(q, 2), layout::owner(q, 10), layout::query(q), layout::stages(q)]);
        assert_eq!((seen.epoch, seen.asked, seen.planned), (Some(10), true, true));
    }

    #[test]
    fn keys_of_a_newer_version_are_passed_over() {
        let query = QueryId::new(&SystemClock, &SystemRng);
        assert_eq!(BoardView::of(query, ["_queries/x/y", "zzz"]), BoardView::empty(query));
    }
}
