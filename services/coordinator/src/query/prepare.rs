//! From a query to a plan, and which way it runs.
//!
//! A query is planned for this machine first: that costs no request, and only a plan whose scans have pruned
//! their cells knows how much there is to read. Where the gate then says board, it is planned again under the board's
//! settings and cut; a plan that cannot be cut stays here, and says so. Where the session has said board, nothing of this
//! machine's plan is asked, and it is made only if the other cannot be cut.

use std::sync::Arc;

use apiary_bucket::Counters;
use apiary_core::FramePath;
use apiary_engine::{
    EngineError, FrameNames, GateInput, Grain, StagePlans, Way, board_config,
    gate::{self, Decision, Setting},
    split,
};
use apiary_ledger::Snapshot;
use apiary_query::{Execution, Pinned, Planned, QueryStatement, local_config, runtime_like, with_text_views};
use apiary_swarm::NodeView;
use datafusion::execution::runtime_env::RuntimeEnv;

use super::{service::Ask, statement::colony_rows};
use crate::{Result, state::State};

/// Most tasks per stage: beyond this the board costs more than the work, whatever the colony's size.
const BOARD_PARTITIONS_MAX: usize = 256;

/// A query that is ready to run, or to be told.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) pinned: Pinned,
    /// The plan that will run.
    pub(super) planned: Planned,
    /// Its stages, if the board is the way.
    pub(super) stages: Option<StagePlans>,
    /// Why this way.
    pub(super) reason: String,
    /// Where a plan for this machine reads through.
    pub(super) runtime: Arc<RuntimeEnv>,
    /// What it reads.
    pub(super) counters: Arc<Counters>,
    /// Live workers.
    pub(super) workers: usize,
}

impl Prepared {
    /// local or board.
    pub(super) fn way(&self) -> &'static str {
        if self.stages.is_some() { "board" } else { "local" }
    }
}

/// A plan for the board and its stages.
struct Staged {
    planned: Planned,
    stages: StagePlans,
}

/// Pins, plans, decides and, for the board, cuts. 1 GET for the names and 1 for each frame while warm.
pub(super) async fn prepare(state: &State, ask: &Ask, query: &QueryStatement, verbose: bool) -> Result<Prepared> {
    let counters = Arc::new(Counters::default());
    let bucket = state.node.bucket.with_counters(Arc::clone(&counters));
    let runtime = runtime_like(&state.planner.runtime(), &bucket, None, None)?;
    let pinned = state.planner.pin(query, &ask.session).await?.verbose(verbose);
    let asked = pinned.system_frames().to_vec();
    let pinned = pinned.with_colony(colony_rows(state, &asked).await?);
    let for_the_board = ask.session.settings.execution() == Execution::Board && asked.is_empty();
    let local = match for_the_board {
        true => None,
        false => Some(plan_here(state, &pinned, &runtime).await?),
    };
    // Who else is there matters only to a query that may go to the board.
    let bytes_kept = local.as_ref().map_or(0, Planned::bytes_kept);
    let may_go = for_the_board || bytes_kept > gate::local_bytes_max(state.node.bees.total());
    let world = if may_go { state.world().await } else { state.node.world() };
    let workers: Vec<&NodeView> = world.iter().filter(|node| node.is_alive() && node.has_role("worker")).collect();
    let Decision { way, reason } = gate::decide(&GateInput {
        setting: match ask.session.settings.execution() {
            Execution::Auto => Setting::Auto,
            Execution::Local => Setting::Local,
            Execution::Board => Setting::Board,
        },
        bytes_kept,
        local_bees: state.node.bees.total(),
        live_workers: workers.len(),
        live_nodes: world.iter().filter(|node| node.is_alive()).count(),
        output_bytes: local.as_ref().and_then(output_bytes),
        output_bytes_max: ask.session.settings.max_result_bytes(),
    });
    let staged = match way {
        Way::Local => Err(reason),
        Way::Board if !asked.is_empty() => {
            Err(format!("apiary.{} is told by this coordinator alone; so it runs locally", asked[0].name()))
        }
        Way::Board => match stage(state, ask, &pinned, &workers).await? {
            Ok(staged) => Ok((staged, reason)),
            Err(why) => Err(format!("{why}; so it runs locally")),
        },
    };
    let (planned, stages, reason) = match (staged, local) {
        (Ok((Staged { planned, stages }, reason)), _) => (planned, Some(stages), reason),
        (Err(reason), Some(planned)) => (planned, None, reason),
        (Err(reason), None) => (plan_here(state, &pinned, &runtime).await?, None, reason),
    };
    let prepared = Prepared { pinned, planned, stages, reason, runtime, counters, workers: workers.len() };
    state.queries.tell(ask.id, |line| {
        (line.way, line.reason) = (prepared.way().to_owned(), prepared.reason.clone());
        let planned = &prepared.planned;
        (line.cells_read, line.cells_total) = (planned.cells_kept() as u64, planned.cells_total() as u64);
    });
    Ok(prepared)
}

/// The plan for this machine.
async fn plan_here(state: &State, pinned: &Pinned, runtime: &Arc<RuntimeEnv>) -> Result<Planned> {
    let config = with_text_views(local_config(state.node.bees.total()), state.node.chambers.bytes());
    Ok(pinned.plan(config, Arc::clone(runtime)).await?)
}

/// Bytes of the answer where they can be told: a plan that only picks columns and orders rows gives what it reads.
fn output_bytes(planned: &Planned) -> Option<u64> {
    use datafusion::logical_expr::LogicalPlan as Plan;
    let mut node = &planned.logical;
    loop {
        match node {
            Plan::TableScan(scan) if scan.filters.is_empty() && scan.fetch.is_none() => {
                return Some(planned.bytes_kept());
            }
            Plan::Projection(_) | Plan::Sort(_) | Plan::SubqueryAlias(_) => node = node.inputs().first().copied()?,
            _ => return None,
        }
    }
}

/// Plans for the board and cuts; the inner error says why that cannot be.
async fn stage(
    state: &State,
    ask: &Ask,
    pinned: &Pinned,
    workers: &[&NodeView],
) -> Result<Result<Staged, EngineError>> {
    let bees: usize = workers.iter().map(|node| node.heartbeat.bees.total as usize).sum();
    let partitions = bees.clamp(1, BOARD_PARTITIONS_MAX);
    let staged = cut(state, ask, pinned, workers, partitions).await?;
    match staged.as_ref().ok().and_then(|staged| staged.stages.tasks_of_a_stream()) {
        Some(tasks) if tasks > partitions && partitions < BOARD_PARTITIONS_MAX => {
            cut(state, ask, pinned, workers, tasks.min(BOARD_PARTITIONS_MAX)).await
        }
        _ => Ok(staged),
    }
}

/// The same for so many partitions.
async fn cut(
    state: &State,
    ask: &Ask,
    pinned: &Pinned,
    workers: &[&NodeView],
    partitions: usize,
) -> Result<Result<Staged, EngineError>> {
    let chamber_bytes = workers.iter().map(|node| node.heartbeat.chamber_bytes).min().unwrap_or(u64::MAX);
    let config = with_text_views(board_config(partitions), chamber_bytes);
    let planned = pinned.plan(config, state.planner.runtime()).await?;
    let names = FrameNames::new(folders(pinned).map(|(folder, path)| (folder, path.to_string())));
    let config = planned.ctx.copied_config();
    // Who says into how many partitions has them done one by one.
    let grain = ask.session.settings.target_partitions().map_or_else(Grain::default, |_| Grain::FINE);
    match split(&planned.physical, config.options(), &ask.id, &names, grain, chamber_bytes) {
        Ok(stages) => Ok(Ok(Staged { planned, stages })),
        Err(error) if error.is_cannot_cut() => Ok(Err(error)),
        Err(error) => Err(error.into()),
    }
}

/// The folders of the frames that a query reads; a frame without cells has none that matters.
pub(super) fn folders(pinned: &Pinned) -> impl Iterator<Item = (String, &FramePath)> {
    let folder = |snapshot: &Snapshot| Some(snapshot.cells.first()?.folder().to_owned());
    pinned.snapshots().iter().map(move |(path, snapshot)| (folder(snapshot).unwrap_or_default(), path))
}
