//! What [`super::QueryRun`] is told and what it says.

use std::time::Duration;

use apiary_core::NodeId;
use apiary_swarm::{
    behaviour::abandonment::Remedy,
    board::{FailedRecord, FailureCause},
};

/// A stage as counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageShape {
    /// Its id.
    pub id: u32,
    /// The most tasks that it can have.
    pub tasks: u32,
    /// Bytes of cells that it reads.
    pub scan_bytes: u64,
    /// Stages that must be done before.
    pub inputs: Vec<u32>,
}

/// One attempt at one task of one stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attempt {
    /// The stage.
    pub stage: u32,
    /// The task in it.
    pub task: u32,
    /// From 1.
    pub attempt: u32,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The query begins.
    Start,
    /// The board shows an attempt. Of this run's own that is old news; of a predecessor's it is how the run learns what
    /// is under way.
    Published {
        /// The attempt.
        attempt: Attempt,
    },
    /// A node says it works on an attempt.
    Claimed {
        /// The attempt.
        attempt: Attempt,
        /// The node.
        node: NodeId,
    },
    /// A task has its `done`, by whichever attempt.
    TaskDone {
        /// The stage.
        stage: u32,
        /// The task.
        task: u32,
        /// What it wrote.
        bytes: u64,
    },
    /// An attempt ended without a result, and says so.
    AttemptFailed {
        /// The attempt.
        attempt: Attempt,
        /// Why.
        failed: FailedRecord,
    },
    /// An attempt whose worker is gone, or that ran too long.
    AttemptLost {
        /// The attempt.
        attempt: Attempt,
        /// Why, in this coordinator's words.
        failed: FailedRecord,
    },
    /// An attempt may still end well, but far behind its siblings, or its worker is out of reach: another may run beside.
    Straggles {
        /// The attempt.
        attempt: Attempt,
    },
    /// A node is gone, with everything it had claimed.
    NodeGone {
        /// The node.
        node: NodeId,
        /// Why, in this coordinator's words.
        failed: FailedRecord,
    },
    /// The client has taken the output of this many tasks of the last stage.
    Taken {
        /// In all.
        tasks: u32,
    },
    /// Tasks wait, and for longer than is worth it there was nobody who could do them.
    NoWorkers,
    /// Someone asked to stop.
    Cancel,
    /// The query ran too long.
    TimedOut,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Fill in the stage's inputs: its tasks follow.
    PublishStage {
        /// The stage.
        stage: u32,
        /// How many tasks.
        tasks: u32,
        /// Stages that are done as part of it, inputs first: they have no tasks of their own.
        folded: Vec<u32>,
    },
    /// Publish an attempt.
    PublishTask {
        /// The attempt.
        attempt: Attempt,
        /// Nodes that should leave it to others, while there are others.
        avoid: Vec<NodeId>,
        /// What it has that the last had not.
        remedy: Remedy,
        /// How long to wait first.
        wait: Duration,
    },
    /// Record that an attempt is lost, so that the next reader of the board knows why there is another.
    MarkLost {
        /// The attempt.
        attempt: Attempt,
        /// Why.
        failed: FailedRecord,
    },
    /// Every row is there.
    Finish,
    /// There will be no result.
    Fail {
        /// Why.
        failure: Failure,
    },
}

/// Why there is no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The query's own fault: the same on every node.
    Query(String),
    /// A task was given up.
    Abandoned {
        /// Its stage.
        stage: u32,
        /// The cause of its last attempt.
        cause: FailureCause,
        /// Its attempts, nodes and causes.
        report: String,
        /// What to try, if anything would help.
        advice: Option<&'static str>,
    },
    /// Nobody was there to do its tasks.
    NoWorkers,
    /// Someone asked to stop.
    Cancelled,
    /// The query ran too long.
    TimedOut,
}

/// Where a query stands, for people.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Tasks with a result.
    pub tasks_done: u32,
    /// All tasks.
    pub tasks_total: u32,
    /// Stages whose tasks all have one.
    pub stages_done: u32,
    /// All stages.
    pub stages_total: u32,
    /// Attempts beyond the first.
    pub retries: u32,
}
