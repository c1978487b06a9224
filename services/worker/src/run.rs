//! One worker on one listener, from start to drain.

use std::{sync::Arc, time::Duration};

use apiary_engine::TaskRunner;
use apiary_node::{Listener, Node, ServerPolicy, serve};
use apiary_query::runtime_for;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::{Result, nudges, pull::Puller};

/// Hints that wait for the loop; more are lost, and found by looking.
const HINTS_MAX: usize = 1024;

/// A test hook: every task waits this many milliseconds before it offers its result, so that a test can kill a
/// worker that holds a live claim.
const DELAY_VARIABLE: &str = "APIARY_FAILPOINT_TASK_DELAY_MS";

/// Pulls tasks until `shutdown`, then takes no more; what runs ends within seconds or is handed back. The server
/// answers only for the worker's health. The node's pulse is its owner's.
pub async fn run(node: Arc<Node>, listener: Listener, shutdown: CancellationToken) -> Result<()> {
    let scratch = node.settings.data_dir.join("shuffle");
    // What an earlier life left is of no use to this one: its claims are dead.
    let _ = tokio::fs::remove_dir_all(&scratch).await;
    let runtime = runtime_for(&node.bucket)?;
    let runner = TaskRunner::new(node.bucket.clone(), runtime, scratch, node.id.clone(), node.incarnation);
    let runner = runner.with_delay(delay(std::env::var(DELAY_VARIABLE).ok()));
    let (hints, heard) = mpsc::channel(HINTS_MAX);
    let puller = Puller::new(Arc::clone(&node), runner);
    let stop = shutdown.child_token();
    let listening = nudges::listen(Arc::clone(&node), hints, stop.clone());
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

fn delay(text: Option<String>) -> Duration {
    Duration::from_millis(text.and_then(|text| text.trim().parse().ok()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_test_hook_is_off_unless_it_is_set() {
        assert_eq!(delay(None), Duration::ZERO);
        assert_eq!(delay(Some("no number".to_owned())), Duration::ZERO);
        assert_eq!(delay(Some("250".to_owned())), Duration::from_millis(250));
    }
}
