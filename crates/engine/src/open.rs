//! A query, put on the board or taken over from it.
//!
//! The stages that were stored first are those that count: a successor never plans again, since other cores, settings or
//! times would cut other stages and the results that are there would not fit. Creating the next `owner` epoch takes a
//! query over.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use apiary_core::QueryId;
use apiary_swarm::{
    Board, SwarmError,
    board::{FailureCause, OpenedQuery, OwnerRecord, QueryRecord},
};
use datafusion::{arrow::datatypes::SchemaRef, prelude::SessionContext};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    BoardEnv, BoardMetrics, BoardQuery, BoardResult, EngineError, Progress, Result, board_config,
    comb::pieces::DoneTasks,
    drive::Drive,
    placing::Placing,
    query_run::{QueryRun, StageShape},
    result_stream::{self, Answer},
    stages::{StagePlan, StagePlans},
};

/// Tasks of the last stage that are published ahead of the client, besides one for each bee: what the client takes next
/// is done, and no bee waits for it.
const WINDOW_AHEAD: u32 = 4;

/// A query that was found on the board and is gone on with.
#[derive(Debug)]
pub struct Resumed {
    /// What was asked then.
    pub record: QueryRecord,
    /// Its stages.
    pub stages: usize,
    /// Its tasks.
    pub tasks: u32,
    /// Its answer, from the first row.
    pub result: BoardResult,
}

/// Puts a query on the board and drives it in a task of its own until its stream has ended or is dropped; then its
/// objects are deleted. 4 PUTs before it returns; then a LIST for every look, a GET for each task and a PUT for each
/// attempt. A query that is on the board already, by the same id, statement and principal, is gone on with.
pub async fn run_on_board(
    env: &BoardEnv,
    query: BoardQuery,
    cancel: CancellationToken,
    progress: impl Fn(Progress) + Send + Sync + 'static,
) -> Result<BoardResult> {
    let board = Board::new(env.bucket.clone());
    let (plans, epoch) = open(env, &board, query.record.clone(), query.plans).await?;
    Ok(begin(env, board, query.record, plans, epoch, cancel, progress))
}

/// Goes on with the query `id` that another coordinator, or an earlier life of this one, left on the board; nothing if
/// there is none whose stages were stored. Fails if somebody else asked it, or something else. 2 GETs, 2 LISTs and 1 PUT,
/// then as [`run_on_board`].
pub async fn resume_on_board(
    env: &BoardEnv,
    asked: &QueryRecord,
    cancel: CancellationToken,
    progress: impl Fn(Progress) + Send + Sync + 'static,
) -> Result<Option<Resumed>> {
    let board = Board::new(env.bucket.clone());
    let id = asked.query;
    let Some(record) = board.read_query(&id).await? else { return Ok(None) };
    if let Some(what) = record.differs_from(asked) {
        return Err(SwarmError::QueryTaken { query: id.to_string(), what }.into());
    }
    crate::check_version(&record.engine_version)?;
    let Some(stored) = board.read_stages(&id).await? else { return Ok(None) };
    let (plans, epoch) = take_over(env, &board, &id, &stored).await?;
    let (stages, tasks) = (plans.stages.len(), plans.task_count());
    let result = begin(env, board, record.clone(), plans, epoch, cancel, progress);
    Ok(Some(Resumed { record, stages, tasks, result }))
}

/// Drives a query that is this coordinator's.
fn begin(
    env: &BoardEnv,
    board: Board,
    record: QueryRecord,
    plans: StagePlans,
    epoch: u64,
    cancel: CancellationToken,
    progress: impl Fn(Progress) + Send + Sync + 'static,
) -> BoardResult {
    let id = record.query;
    let (finished, results) = mpsc::unbounded_channel();
    let (taken, takes) = watch::channel(0);
    let gone = CancellationToken::new();
    let metrics: Arc<BoardMetrics> = Arc::default();
    let last = plans.stages.last().map_or(0, |stage| stage.id);
    let answer = Answer {
        bucket: env.bucket.clone(),
        query: id,
        stage: last,
        schema: SchemaRef::clone(&plans.schema),
        ordered: plans.ordered,
        batch_rows: board_config(1).batch_size(),
        finished: results,
        taken,
        gone: gone.clone().drop_guard(),
    };
    let shape =
        |s: &StagePlan| StageShape { id: s.id, tasks: s.tasks, scan_bytes: s.scan_bytes, inputs: s.inputs.clone() };
    let alive = (env.world)().into_iter().filter(|node| node.is_alive() && node.has_role("worker"));
    let bees = alive.fold(0u32, |sum, node| sum.saturating_add(node.heartbeat.bees.total));
    let drive = Drive {
        run: QueryRun::new(plans.stages.iter().map(shape).collect(), bees.saturating_add(WINDOW_AHEAD), plans.grain),
        timeout: Duration::from_millis(record.timeout_ms),
        started: env.bucket.clock().monotonic(),
        pointed: env.bucket.clock().monotonic(),
        superseded: false,
        deserted_since: None,
        env: env.clone(),
        board,
        query: id,
        last,
        epoch,
        open: HashMap::new(),
        done: DoneTasks::new(),
        inline_kept: 0,
        failed: HashSet::new(),
        claims: HashMap::new(),
        delayed: Vec::new(),
        placing: Placing::default(),
        metrics: Arc::clone(&metrics),
        progress: Box::new(progress),
        finished,
        plans,
    };
    env.tasks.spawn(drive.run(cancel, gone, takes));
    BoardResult { schema: SchemaRef::clone(&answer.schema), stream: result_stream::stream(answer), metrics }
}

/// Puts the query on the board, or takes over the one that stands there with the stages that were stored for it.
async fn open(env: &BoardEnv, board: &Board, record: QueryRecord, plans: StagePlans) -> Result<(StagePlans, u64)> {
    let opened = board.open_query(&record, plans.encode()?).await?;
    let owner = OwnerRecord::new(env.node.clone(), env.incarnation);
    // The same question asked twice has the same bytes, so both may think that theirs was first: the owner decides.
    if opened == OpenedQuery::New && board.take_ownership(&record.query, 1, &owner).await? {
        return Ok((plans, 1));
    }
    let stored = board.put_stages(&record.query, plans.encode()?).await?;
    take_over(env, board, &record.query, &stored).await
}

async fn take_over(env: &BoardEnv, board: &Board, query: &QueryId, stored: &[u8]) -> Result<(StagePlans, u64)> {
    let context = SessionContext::new_with_config_rt(board_config(1), Arc::clone(&env.runtime));
    let plans = StagePlans::decode(stored, &context.task_ctx())?;
    let epoch = board.list_query(query).await?.epoch.unwrap_or(0) + 1;
    if !board.take_ownership(query, epoch, &OwnerRecord::new(env.node.clone(), env.incarnation)).await? {
        return Err(superseded(query));
    }
    board.point(query).await?;
    Ok((plans, epoch))
}

pub(crate) fn superseded(query: &QueryId) -> EngineError {
    let message = format!("another coordinator has taken query {query} over; ask there, or again");
    EngineError::Attempt { cause: FailureCause::Other, message }
}
