//! The rows of a prepared query, and what they cost: from a plan on this machine, or from the board.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use apiary_bucket::Counters;
use apiary_engine::{BoardMetrics, BoardQuery, EngineError, Progress, engine_version, resume_on_board, run_on_board};
use apiary_ledger::{Pin, PinnedVersion};
use apiary_node::{Bees, Chamber};
use apiary_query::{QueryError, QueryStats, StageRun};
use apiary_swarm::board::{PinnedFrame, QueryRecord};
use datafusion::{arrow::datatypes::SchemaRef, error::DataFusionError, execution::SendableRecordBatchStream};
use tokio_util::sync::CancellationToken;

use super::{
    hold::{Hold, pin_of},
    local::{self, Question},
    prepare::{Prepared, folders},
    service::Ask,
    statement::micros,
};
use crate::{CoordinatorError, Result, state::State};

/// Whose queries they are, until clients have names.
pub(super) const PRINCIPAL: &str = "client";

/// Rows as they come. Dropping it stops the query and gives back what it had leased.
pub(super) struct Flow {
    pub(super) schema: SchemaRef,
    // Before the cost: the stream must be gone when the chamber goes.
    pub(super) stream: SendableRecordBatchStream,
    base: QueryStats,
    cost: Cost,
    _hold: Hold,
}

enum Cost {
    Local {
        node: String,
        counters: Arc<Counters>,
        chamber: Option<Chamber>,
        retries: Arc<AtomicU32>,
        _bees: Option<Bees>,
    },
    Board {
        metrics: Arc<BoardMetrics>,
    },
}

/// Starts a query. On the board: 4 PUTs.
pub(super) async fn open(
    state: &State,
    ask: &Ask,
    prepared: Prepared,
    token: &CancellationToken,
    progress: impl Fn(Progress) + Send + Sync + 'static,
) -> Result<Flow> {
    let plan = &prepared.planned;
    let mut base = QueryStats {
        cells_read: plan.cells_kept() as u64,
        cells_total: plan.cells_total() as u64,
        nodes: 1,
        execution: prepared.way().to_owned(),
        execution_reason: prepared.reason.clone(),
        ..QueryStats::default()
    };
    let record = record(state, ask, &prepared);
    let hold = Hold::begin(&state.node.bucket, &state.tasks, pin_of(state, ask.id, &prepared.pinned));
    let Prepared { pinned, planned, stages, runtime, counters, .. } = prepared;
    let Some(stages) = stages else {
        let schema = SchemaRef::clone(&planned.schema);
        let local::Local { stream, chamber, bees, retries } =
            local::open(state, Question { pinned, planned, runtime }, token).await?;
        let node = state.node.id.to_string();
        let cost = Cost::Local { node, counters, chamber, retries, _bees: bees };
        return Ok(Flow { schema, stream, base, cost, _hold: hold });
    };
    base.stages = u32::try_from(stages.stages.len()).unwrap_or(u32::MAX);
    base.tasks = stages.task_count();
    let query = BoardQuery { record, plans: stages };
    state.node.hurry();
    let result = run_on_board(&state.board, query, token.clone(), progress).await?;
    let cost = Cost::Board { metrics: result.metrics };
    Ok(Flow { schema: result.schema, stream: result.stream, base, cost, _hold: hold })
}

/// Goes on with a query that another coordinator left on the board, if one did. What it pruned is not told again.
pub(super) async fn resume(
    state: &State,
    ask: &Ask,
    token: &CancellationToken,
    progress: impl Fn(Progress) + Send + Sync + 'static,
) -> Result<Option<Flow>> {
    let asked = QueryRecord::new(ask.id, ask.sql.clone(), PRINCIPAL, &engine_version());
    let Some(resumed) = resume_on_board(&state.board, &asked, token.clone(), progress).await? else {
        return Ok(None);
    };
    state.node.hurry();
    tracing::info!("going on with a query that was left on the board");
    let frames = resumed.record.frames.into_iter();
    let frames = frames.map(|frame| PinnedVersion { folder: frame.folder, version: frame.version });
    let pin = Pin::new(ask.id, state.node.id.to_string(), frames.filter(|frame| !frame.folder.is_empty()).collect());
    let base = QueryStats {
        nodes: 1,
        execution: "board".to_owned(),
        execution_reason: resumed.record.reason,
        stages: u32::try_from(resumed.stages).unwrap_or(u32::MAX),
        tasks: resumed.tasks,
        ..QueryStats::default()
    };
    let hold = Hold::begin(&state.node.bucket, &state.tasks, pin);
    let cost = Cost::Board { metrics: resumed.result.metrics };
    Ok(Some(Flow { schema: resumed.result.schema, stream: resumed.result.stream, base, cost, _hold: hold }))
}

fn record(state: &State, ask: &Ask, prepared: &Prepared) -> QueryRecord {
    let (hive, box_name, settings) = ask.session.to_parts();
    let frames = folders(&prepared.pinned).zip(prepared.pinned.snapshots());
    let frames = frames.map(|((folder, path), (_, snapshot))| PinnedFrame {
        frame: path.clone(),
        folder,
        version: snapshot.version,
    });
    QueryRecord {
        frames: frames.collect(),
        hive: (!hive.is_empty()).then_some(hive),
        box_name: (!box_name.is_empty()).then_some(box_name),
        settings,
        timeout_ms: u64::try_from(ask.session.settings.query_timeout().as_millis()).unwrap_or(u64::MAX),
        reason: prepared.reason.clone(),
        pruning: serde_json::to_value(&prepared.planned.scans).ok(),
        asked_ms: state.node.bucket.clock().wall_ms(),
        ..QueryRecord::new(ask.id, ask.sql.clone(), PRINCIPAL, &engine_version())
    }
}

impl Flow {
    /// local or board.
    pub(super) fn way(&self) -> &str {
        &self.base.execution
    }

    /// Why that way.
    pub(super) fn reason(&self) -> &str {
        &self.base.execution_reason
    }

    /// What it has cost so far; all of it once the stream has ended.
    pub(super) fn stats(&self) -> QueryStats {
        let mut stats = self.base.clone();
        match &self.cost {
            Cost::Local { counters, retries, .. } => {
                let counted = counters.snapshot();
                stats.retries = retries.load(Ordering::Relaxed);
                (stats.get_requests, stats.bytes_read) = (counted.gets, counted.bytes_read);
                stats.bytes_cached = counted.bytes_hit;
            }
            Cost::Board { metrics } => {
                (stats.get_requests, stats.bytes_read) = (metrics.gets(), metrics.bytes_read());
                stats.bytes_cached = metrics.bytes_cached();
                stats.nodes = u32::try_from(metrics.nodes().max(1)).unwrap_or(u32::MAX);
                let progress = metrics.progress();
                stats.retries = progress.retries;
                if progress.tasks_total > 0 {
                    stats.tasks = progress.tasks_total;
                }
            }
        }
        stats
    }

    /// How much of `elapsed` went by without a task of the query running anywhere; nothing for a local plan.
    pub(super) fn coordination(&self, elapsed: std::time::Duration) -> std::time::Duration {
        match &self.cost {
            Cost::Local { .. } => std::time::Duration::ZERO,
            Cost::Board { metrics } => elapsed.saturating_sub(metrics.working()),
        }
    }

    /// The same by stage and node, for EXPLAIN ANALYZE; `rows` and `elapsed` are those of the whole.
    pub(super) fn runs(&self, rows: u64, elapsed: std::time::Duration) -> Vec<StageRun> {
        match &self.cost {
            Cost::Local { node, counters, chamber, .. } => {
                let (counted, fetching) = (counters.snapshot(), counters.read_for().min(elapsed));
                vec![StageRun {
                    node: node.clone(),
                    tasks: 1,
                    attempts: 1,
                    rows,
                    fetching_us: micros(fetching),
                    computing_us: micros(elapsed.saturating_sub(fetching)),
                    get_requests: counted.gets,
                    bytes_read: counted.bytes_read,
                    bytes_cached: counted.bytes_hit,
                    memory_peak_bytes: chamber.as_ref().map_or(0, Chamber::peak_bytes),
                    memory_budget_bytes: chamber.as_ref().map_or(0, Chamber::budget_bytes),
                    ..StageRun::default()
                }]
            }
            Cost::Board { metrics } => board_runs(metrics),
        }
    }
}

fn board_runs(metrics: &BoardMetrics) -> Vec<StageRun> {
    let mut runs: Vec<StageRun> = Vec::new();
    for task in metrics.tasks() {
        let same = |run: &StageRun| run.stage == task.stage as usize && run.node == task.node;
        let index = runs.iter().position(same);
        let index = index.unwrap_or_else(|| {
            runs.push(StageRun { stage: task.stage as usize, node: task.node.clone(), ..StageRun::default() });
            runs.len() - 1
        });
        let run = &mut runs[index];
        run.tasks += 1;
        run.attempts += task.attempt as usize;
        run.rows += task.metrics.rows;
        run.waiting_us += micros(task.waited());
        run.fetching_us += task.metrics.fetching_us;
        run.computing_us += task.metrics.computing_us();
        run.writing_us += task.metrics.writing_us;
        run.get_requests += task.metrics.gets;
        run.bytes_read += task.metrics.bytes_read;
        run.bytes_cached += task.metrics.bytes_cached;
        run.memory_peak_bytes = run.memory_peak_bytes.max(task.metrics.peak_memory);
    }
    runs.sort_by(|a, b| (a.stage, &a.node).cmp(&(b.stage, &b.node)));
    runs
}

/// A failure in the middle of a stream: the board's own, or DataFusion's.
pub(super) fn told(error: DataFusionError) -> CoordinatorError {
    match error {
        DataFusionError::External(inner) => match inner.downcast::<EngineError>() {
            Ok(engine) => (*engine).into(),
            Err(inner) => QueryError::from(DataFusionError::External(inner)).into(),
        },
        other => QueryError::from(other).into(),
    }
}
