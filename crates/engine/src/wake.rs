//! Nudges within one process, both ways: a task was published, a task has ended.
//!
//! A process that has a coordinator and workers needs no network to wake them: one channel, whatever nodes it has.
//! As everywhere, a nudge is a hint. Losing one costs time, and one too many costs a look. What a worker says it has
//! done is read from the board before it counts.

use std::sync::LazyLock;

use apiary_core::QueryId;
use apiary_swarm::TaskId;
use bytes::Bytes;
use tokio::sync::broadcast;

use crate::NewTask;

/// Nudges that wait for a busy listener before the oldest are lost.
const NUDGES_KEPT: usize = 1024;

static HUB: LazyLock<broadcast::Sender<LocalNudge>> = LazyLock::new(|| broadcast::Sender::new(NUDGES_KEPT));

static ENDS: LazyLock<broadcast::Sender<TaskEnd>> = LazyLock::new(|| broadcast::Sender::new(NUDGES_KEPT));

/// An attempt at a task has ended, well or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskEnd {
    /// The bucket that it is in, as [`apiary_bucket::Bucket::uri`] says; empty: whichever, another node says so.
    pub bucket: String,
    /// The task.
    pub task: TaskId,
}

/// Every end of an attempt that this process hears of from now on.
#[must_use]
pub fn listen_to_ends() -> broadcast::Receiver<TaskEnd> {
    ENDS.subscribe()
}

/// Tells this process's coordinators that an attempt has ended.
pub fn ended(end: TaskEnd) {
    // An error means that nobody listens.
    let _ = ENDS.send(end);
}

/// Something happened to a query of this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalNudge {
    /// The bucket that it is in, as [`apiary_bucket::Bucket::uri`] says.
    pub bucket: String,
    /// The query.
    pub query: QueryId,
    /// A task that was just published; `None`: look.
    pub task_key: Option<String>,
    /// Its object; empty: read it.
    pub task: Bytes,
    /// The node that would do it best; empty: whichever.
    pub preferred_node: String,
    /// The query is over.
    pub cancelled: bool,
}

/// Every nudge of this process from now on.
#[must_use]
pub fn listen() -> broadcast::Receiver<LocalNudge> {
    HUB.subscribe()
}

pub(crate) fn nudge(bucket: &str, query: &QueryId, task: Option<NewTask<'_>>, cancelled: bool) {
    let task_key = task.map(|task| task.key.to_owned());
    let preferred_node = task.map(|task| task.preferred_node.to_owned()).unwrap_or_default();
    let task = task.map(|task| task.body.clone()).unwrap_or_default();
    // An error means that nobody listens.
    let bucket = bucket.to_owned();
    let _ = HUB.send(LocalNudge { bucket, query: *query, task_key, task, preferred_node, cancelled });
}
