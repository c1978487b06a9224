//! One worker on one listener, from start to drain.

use std::{sync::Arc, time::Duration};

use apiary_engine::TaskRunner;
use apiary_node::{Listener, Node, ServerPolicy, serve};
use apiary_query::runtime_for;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::{
    Result,
    nudges::{self, Ears},
    pull::Puller,
};

/// Hints that wait for the loop; more are lost, and found by looking.
const HINTS_MAX: usize = 1024;

/// Test hooks, from the environment; all off unless set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Hooks {
    /// `APIARY_FAILPOINT_TASK_DELAY_MS`: every task waits this long before it offers its result, so that a test can kill
    /// a worker that holds a live claim.
    pub(crate) delay: Duration,
    /// `APIARY_FAILPOINT_NO_NUDGES`: no nudge is heard, as where no node reaches another.
    pub(crate) deaf: bool,
    /// `APIARY_FAILPOINT_OTHER_ENGINE`: every task looks as if another version had planned it.
    pub(crate) foreign: bool,
}

impl Hooks {
    fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let delay_ms = variable("APIARY_FAILPOINT_TASK_DELAY_MS").and_then(|text| text.trim().parse().ok());
        Self {
            delay: Duration::from_millis(delay_ms.unwrap_or(0)),
            deaf: variable("APIARY_FAILPOINT_NO_NUDGES").is_some(),
            foreign: variable("APIARY_FAILPOINT_OTHER_ENGINE").is_some(),
        }
    }
}

/// Pulls tasks until `shutdown`, then takes no more; what runs ends within seconds or is handed back. The server
/// answers only for the worker's health. The node's pulse is its owner's.
pub async fn run(node: Arc<Node>, listener: Listener, shutdown: CancellationToken) -> Result<()> {
    run_with(node, listener, Hooks::read(|name| std::env::var(name).ok()), shutdown).await
}

pub(crate) async fn run_with(
    node: Arc<Node>,
    listener: Listener,
    hooks: Hooks,
    shutdown: CancellationToken,
) -> Result<()> {
    let scratch = node.settings.data_dir.join("shuffle");
    // What an earlier life left is of no use to this one: its claims are dead.
    let _ = tokio::fs::remove_dir_all(&scratch).await;
    let runtime = runtime_for(&node.bucket)?;
    let runner = TaskRunner::new(node.bucket.clone(), runtime, scratch, node.id.clone(), node.incarnation);
    let runner = runner.with_delay(hooks.delay);
    let (hints, heard) = mpsc::channel(HINTS_MAX);
    let ears = Ears::new(hooks.deaf);
    let puller = Puller::new(Arc::clone(&node), runner, ears.clone(), hooks.foreign);
    let stop = shutdown.child_token();
    let listening = nudges::listen(Arc::clone(&node), hints, ears, stop.clone());
    let serving = async {
        let served = serve(listener, Routes::default(), ServerPolicy::of(&node), shutdown).await;
        // A server that nobody can reach is no reason to stop; one that broke is.
        if served.is_err() {
            stop.cancel();
        }
        served
    };
    let (served, (), ()) = tokio::join!(serving, listening, puller.run(heard, stop.clone()));
    Ok(served?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_test_hooks_are_off_unless_they_are_set() {
        assert_eq!(Hooks::read(|_| None), Hooks::default());
        assert_eq!(Hooks::read(|_| Some("no number".to_owned())).delay, Duration::ZERO);
        let all = Hooks { delay: Duration::from_millis(250), deaf: true, foreign: true };
        assert_eq!(Hooks::read(|_| Some("250".to_owned())), all);
    }
}
