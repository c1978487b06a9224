//! Sweeps what dead coordinators left on the board, by the swarm's rules, every few minutes.

use std::{sync::Arc, time::Duration};

use apiary_node::Node;
use tokio_util::sync::CancellationToken;

/// Between two sweeps: leftovers are a day old when they go, so minutes do not matter and requests do.
const SWEEP_INTERVAL: Duration = Duration::from_secs(300);

/// A sweep waits up to this much longer, so that compactors started together do not sweep together.
const SWEEP_JITTER_MS: u64 = 60_000;

/// Longest a sweep may take before the next has its turn.
const SWEEP_TIME_MAX: Duration = Duration::from_secs(240);

/// Sweeps until `shutdown`. A sweep that fails is told and tried again at its next turn.
pub(crate) async fn run(node: Arc<Node>, shutdown: CancellationToken) {
    // Ends with the node.
    loop {
        let wait = SWEEP_INTERVAL + Duration::from_millis(node.bucket.rng().below(SWEEP_JITTER_MS));
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = node.bucket.clock().sleep(wait) => {}
        }
        let world = node.world();
        let swept = tokio::select! {
            () = shutdown.cancelled() => return,
            swept = tokio::time::timeout(SWEEP_TIME_MAX, node.board.sweep(&world)) => swept,
        };
        match swept {
            Ok(Ok(report)) if report.queries_swept > 0 => {
                tracing::info!(queries = report.queries_swept, objects = report.objects_deleted, "swept the board");
            }
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(%error, "cannot sweep the board"),
            Err(_) => tracing::warn!("a sweep took too long"),
        }
    }
}
