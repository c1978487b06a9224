//! Nudges within one process.
//!
//! A process that has a coordinator and workers needs no network to wake them: one channel, whatever nodes it has.
//! As everywhere, a nudge is a hint. Losing one costs time, and one too many costs a look.

use std::sync::LazyLock;

use apiary_core::QueryId;
use tokio::sync::broadcast;

/// Nudges that wait for a busy listener before the oldest are lost.
const NUDGES_KEPT: usize = 1024;

static HUB: LazyLock<broadcast::Sender<LocalNudge>> = LazyLock::new(|| broadcast::Sender::new(NUDGES_KEPT));

/// Something happened to a query of this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalNudge {
    /// The bucket that it is in, as [`apiary_bucket::Bucket::uri`] says.
    pub bucket: String,
    /// The query.
    pub query: QueryId,
    /// A task that was just published; `None`: look.
    pub task_key: Option<String>,
    /// The query is over.
    pub cancelled: bool,
}

/// Every nudge of this process from now on.
#[must_use]
pub fn listen() -> broadcast::Receiver<LocalNudge> {
    HUB.subscribe()
}

pub(crate) fn nudge(bucket: &str, query: &QueryId, task_key: Option<&str>, cancelled: bool) {
    let task_key = task_key.map(str::to_owned);
    // An error means that nobody listens.
    let _ = HUB.send(LocalNudge { bucket: bucket.to_owned(), query: *query, task_key, cancelled });
}
