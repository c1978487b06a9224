//! Which task, which attempt at it.

use std::fmt;

use apiary_core::QueryId;

/// One output partition of one stage of one query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId {
    /// The query.
    pub query: QueryId,
    /// The stage, as the planner counts them.
    pub stage: u32,
    /// The partition of the stage.
    pub task: u32,
}

impl TaskId {
    /// A task.
    #[must_use]
    pub fn new(query: QueryId, stage: u32, task: u32) -> Self {
        Self { query, stage, task }
    }

    /// One attempt at this task, counted from 1.
    #[must_use]
    pub fn attempt(self, attempt: u32) -> AttemptId {
        AttemptId { task: self, attempt }
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "task {} of stage {} of query {}", self.task, self.stage, self.query)
    }
}

/// One attempt at a task, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId {
    /// The task.
    pub task: TaskId,
    /// From 1.
    pub attempt: u32,
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "attempt {} at {}", self.attempt, self.task)
    }
}
