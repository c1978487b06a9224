//! EXPLAIN: the same preparation as for running, told instead; ANALYZE runs it, keeps no row, and tells what it cost.

use apiary_core::NodeId;
use apiary_engine::{Share, StagePlan, StagePlans};
use apiary_query::{AnalyzeReport, Explain, ExplainReport, NodeShare, QueryStats, StageReport};
use apiary_swarm::NodeView;
use datafusion::physical_plan::displayable;
use futures::StreamExt;
use tokio_util::sync::CancellationToken;

use super::{
    flow,
    outlet::Outlet,
    prepare::{self, Prepared},
    service::Ask,
    statement::micros,
};
use crate::{Result, queries, state::State};

/// The report on a query.
pub(super) async fn explain(
    state: &State,
    ask: &Ask,
    explain: &Explain,
    token: &CancellationToken,
    out: &Outlet,
) -> Result<ExplainReport> {
    let prepared = prepare::prepare(state, ask, &explain.query, explain.verbose).await?;
    let mut report = report(&prepared, &state.node.world(), explain.verbose)?;
    if explain.analyze {
        report.analyze = Some(analyze(state, ask, prepared, token, out).await?);
    }
    Ok(report)
}

fn report(prepared: &Prepared, world: &[NodeView], verbose: bool) -> Result<ExplainReport> {
    let plans = prepared.stages.as_ref();
    let stages = plans.into_iter().flat_map(|plans| &plans.stages);
    let told = plans.into_iter().flat_map(|plans| plans.stages.iter().map(|stage| stage_report(plans, stage, world)));
    Ok(ExplainReport {
        way: prepared.way().to_owned(),
        why: prepared.reason.clone(),
        workers: if prepared.stages.is_some() { prepared.workers } else { 0 },
        scans: prepared.planned.scans.clone(),
        stages: told.collect::<Result<_>>()?,
        plan: verbose.then(|| match &prepared.stages {
            Some(_) => stages.map(|stage| format!("stage {}\n{}", stage.id, stage.display())).collect(),
            None => displayable(prepared.planned.physical.as_ref()).indent(false).to_string(),
        }),
        analyze: None,
    })
}

fn stage_report(plans: &StagePlans, stage: &StagePlan, world: &[NodeView]) -> Result<StageReport> {
    let placement = plans.placement(stage, world)?;
    let share = |(node, share): (NodeId, Share)| {
        let reads = share.cached + share.to_fetch > 0;
        NodeShare {
            node: node.to_string(),
            tasks: share.tasks,
            cached: reads.then_some(share.cached),
            to_fetch: reads.then_some(share.to_fetch),
        }
    };
    Ok(StageReport {
        stage: stage.id as usize,
        tasks: plans.tasks_max(stage) as usize,
        sql: stage.sql.clone(),
        distribute: None,
        placement: placement.shares.into_iter().map(share).collect(),
        reason: Some(placement.reasons.join(", ")).filter(|reasons| !reasons.is_empty()),
    })
}

async fn analyze(
    state: &State,
    ask: &Ask,
    prepared: Prepared,
    token: &CancellationToken,
    out: &Outlet,
) -> Result<AnalyzeReport> {
    let clock = state.node.bucket.clock();
    let began = clock.monotonic();
    let mut flow = flow::open(state, ask, prepared, token, queries::follow(state, ask.id, out.progress())).await?;
    let mut rows = 0;
    while let Some(batch) = flow.stream.next().await {
        rows += batch.map_err(flow::told)?.num_rows() as u64;
    }
    let elapsed = clock.monotonic().saturating_sub(began);
    let stats = QueryStats { rows, elapsed_us: micros(elapsed), ..flow.stats() };
    let mut runs = flow.runs(rows, elapsed);
    let world = state.node.world();
    for run in runs.iter_mut().filter(|run| run.memory_budget_bytes == 0) {
        let node = world.iter().find(|node| node.heartbeat.node.as_str() == run.node);
        run.memory_budget_bytes = node.map_or(0, |node| node.heartbeat.chamber_bytes);
    }
    Ok(AnalyzeReport { stats, runs, coordination_us: micros(flow.coordination(elapsed)) })
}
