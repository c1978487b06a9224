//! Sweeps what dead coordinators left: queries on the board and logs of queries, by the swarm's rules, every few
//! minutes.

use std::{sync::Arc, time::Duration};

use apiary_node::Node;
use apiary_swarm::{
    NodeView, Result,
    board::{SweepAges, SweepReport},
    query_log,
};
use tokio_util::sync::CancellationToken;

/// Between two sweeps: leftovers are minutes old when they go, so one more does not matter and requests do.
const SWEEP_INTERVAL: Duration = Duration::from_secs(420);

/// A sweep waits up to this much longer, so that compactors started together do not sweep together.
const SWEEP_JITTER_MS: u64 = 60_000;

/// Longest a sweep may take before the next has its turn.
const SWEEP_TIME_MAX: Duration = Duration::from_secs(240);

/// Logs of queries stay a day: every so many sweeps is often enough for them.
const LOGS_EVERY: u64 = 10;

/// How old the view may be by which an owner is judged.
const WORLD_AGE_MAX: Duration = Duration::from_secs(10);

/// A test hook: leftovers go at this age in milliseconds, and are looked for as often.
const AGE_VARIABLE: &str = "APIARY_FAILPOINT_SWEEP_AGE_MS";

/// How often, how much later, and what is old.
fn rules(age_ms: Option<u64>) -> (Duration, u64, SweepAges) {
    let Some(age_ms) = age_ms else { return (SWEEP_INTERVAL, SWEEP_JITTER_MS, SweepAges::default()) };
    let age = Duration::from_millis(age_ms);
    (age, age_ms / 10, SweepAges { query: age, rest: age, pointer: age })
}

/// Sweeps until `shutdown`. A sweep that fails is told and tried again at its next turn.
pub(crate) async fn run(node: Arc<Node>, shutdown: CancellationToken) {
    let (interval, jitter_ms, ages) = rules(std::env::var(AGE_VARIABLE).ok().and_then(|text| text.parse().ok()));
    // Ends with the node.
    for turn in 0u64.. {
        let wait = interval + Duration::from_millis(node.bucket.rng().below(jitter_ms.max(1)));
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = node.bucket.clock().sleep(wait) => {}
        }
        // Who does not know a new coordinator would take its queries for orphans.
        let world = node.world_within(WORLD_AGE_MAX).await;
        let swept = tokio::select! {
            () = shutdown.cancelled() => return,
            swept = tokio::time::timeout(SWEEP_TIME_MAX, sweep(&node, &world, &ages, turn.is_multiple_of(LOGS_EVERY))) => swept,
        };
        match swept {
            Ok(Ok(report)) if report.queries_swept + report.pointers_swept > 0 => {
                let (queries, pointers) = (report.queries_swept, report.pointers_swept);
                tracing::info!(queries, pointers, objects = report.objects_deleted, "swept the board");
            }
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(%error, "cannot sweep the board"),
            Err(_) => tracing::warn!("a sweep took too long"),
        }
    }
}

async fn sweep(node: &Node, world: &[NodeView], ages: &SweepAges, with_logs: bool) -> Result<SweepReport> {
    let report = node.board.sweep(world, ages).await?;
    if with_logs {
        query_log::sweep(&node.bucket).await?;
    }
    Ok(report)
}
