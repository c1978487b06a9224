//! A colony of task runners over a bucket in memory, and the frames that they read.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use apiary_bucket::Bucket;
use apiary_core::{Incarnation, NodeId, QueryId};
use apiary_swarm::{
    Board, Heartbeat, NodeState, NodeView,
    board::{QueryRecord, SweepAges},
};
use datafusion::{
    arrow::{array::RecordBatch, util::pretty::pretty_format_batches},
    config::ConfigOptions,
    dataframe::DataFrameWriteOptions,
    error::DataFusionError,
    execution::runtime_env::RuntimeEnv,
    physical_plan::ExecutionPlan,
    prelude::{ParquetReadOptions, SessionConfig, SessionContext},
};
use futures::TryStreamExt;
use tokio_util::sync::CancellationToken;

use crate::{
    BoardEnv, BoardMetrics, BoardQuery, EngineError, FrameNames, Grain, NoNudges, Outcome, Room, StagePlans,
    TaskRunner, engine_version, run_on_board, split,
};

/// A worker of the test.
#[derive(Debug, Clone)]
pub(super) struct Worker {
    pub(super) node: NodeId,
    pub(super) incarnation: Incarnation,
    pub(super) stop: CancellationToken,
}

pub(super) struct Colony {
    pub(super) bucket: Bucket,
    pub(super) runtime: Arc<RuntimeEnv>,
    pub(super) world: Arc<Mutex<Vec<NodeView>>>,
    pub(super) ended: Arc<Mutex<Vec<Outcome>>>,
    /// How coarsely queries are cut.
    pub(super) grain: Grain,
    /// What a hash join of a query may hold three times.
    pub(super) chamber_bytes: u64,
    scratch: tempfile::TempDir,
}

/// What the board answered.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) batches: Vec<RecordBatch>,
    pub(super) metrics: Arc<BoardMetrics>,
    pub(super) plans: StagePlans,
}

impl Colony {
    /// An empty bucket and nobody at work.
    pub(super) fn new() -> Self {
        Self::over(Bucket::in_memory())
    }

    /// The same over a bucket of the test's own.
    pub(super) fn over(bucket: Bucket) -> Self {
        let runtime = apiary_query::runtime_for(&bucket).unwrap();
        let scratch = tempfile::tempdir().unwrap();
        let (world, ended) = Default::default();
        Self { bucket, runtime, world, ended, grain: Grain::FINE, chamber_bytes: u64::MAX, scratch }
    }

    /// A session over the frames, planning under `config`.
    pub(super) async fn session(&self, config: SessionConfig) -> SessionContext {
        let context = SessionContext::new_with_config_rt(config, Arc::clone(&self.runtime));
        for table in ["t", "u", "big", "nothing"] {
            let url = format!("apiary://cells/frames/{table}/");
            context.register_parquet(table, &url, ParquetReadOptions::default()).await.unwrap();
        }
        context
    }

    /// Writes the frames: `t` and `u` small, in several files and with NULLs, `big` too large to travel inline.
    pub(super) async fn fill(&self) {
        let write = SessionContext::new_with_config_rt(SessionConfig::new(), Arc::clone(&self.runtime));
        let t = "SELECT value AS id, value % 7 AS k, CASE WHEN value % 11 = 0 THEN NULL ELSE value * 3 % 101 END AS v, \
                 concat('s', value % 13) AS s, arrow_cast(value % 5, 'Decimal128(12, 2)') AS d, \
                 DATE '2026-01-01' + arrow_cast(value % 40, 'Int32') AS day";
        for file in 0..3 {
            let rows = format!("{t} FROM generate_series({}, {})", file * 300, file * 300 + 299);
            self.write(&write, &rows, &format!("t/{file}")).await;
        }
        let u = "SELECT CASE WHEN value = 9 THEN NULL ELSE value END AS k, concat('name-', value) AS name, \
                 value * 10 AS w FROM generate_series";
        self.write(&write, &format!("{u}(0, 4)"), "u/0").await;
        self.write(&write, &format!("{u}(3, 9)"), "u/1").await;
        let big = "SELECT value AS id, value % 1000 AS k, md5(concat('x', value)) AS h FROM generate_series";
        for file in 0..4 {
            self.write(
                &write,
                &format!("{big}({}, {})", file * 15_000, file * 15_000 + 14_999),
                &format!("big/{file}"),
            )
            .await;
        }
        self.write(&write, "SELECT 1 AS id, 'x' AS s WHERE false", "nothing/0").await;
    }

    async fn write(&self, context: &SessionContext, sql: &str, name: &str) {
        let url = format!("apiary://cells/frames/{name}.parquet");
        let options = DataFrameWriteOptions::new().with_single_file_output(true);
        context.sql(sql).await.unwrap().write_parquet(&url, options, None).await.unwrap();
    }

    /// Starts a worker with two bees' worth of patience.
    pub(super) fn worker(&self, name: &str, delay: Duration) -> Worker {
        let incarnation = Incarnation::new(self.bucket.clock().as_ref(), self.bucket.rng().as_ref());
        let worker = Worker { node: NodeId::new(name).unwrap(), incarnation, stop: CancellationToken::new() };
        self.see(&worker, NodeState::Alive);
        let scratch = self.scratch.path().join(name);
        // Of its own: what this process has fetched is no news of what the worker must.
        let runtime = apiary_query::runtime_for(&self.bucket).unwrap();
        let runner = TaskRunner::new(self.bucket.clone(), runtime, scratch, worker.node.clone(), incarnation);
        let (bucket, stop, ended) = (self.bucket.clone(), worker.stop.clone(), Arc::clone(&self.ended));
        let working = work(bucket, runner.with_delay(delay), ended);
        tokio::spawn(async move { stop.run_until_cancelled(working).await });
        worker
    }

    /// What the coordinator sees of a worker from now on.
    pub(super) fn see(&self, worker: &Worker, state: NodeState) {
        let beat = serde_json::json!({
            "format": 1, "node": worker.node, "incarnation": worker.incarnation, "counter": 1, "interval_s": 1.0,
            "roles": ["worker"], "version": env!("CARGO_PKG_VERSION"), "cores": 1, "memory_bytes": 1, "bees": {"total": 1, "busy": 0},
            "chamber_bytes": 1, "strain": {"bees": 0.0, "memory": 0.0, "queue": 0}, "temperature": 0.0
        });
        let heartbeat: Heartbeat = serde_json::from_value(beat).unwrap();
        let mut world = self.world.lock().unwrap();
        world.retain(|view| view.heartbeat.node != worker.node);
        world.push(NodeView { heartbeat, state, seen_ago: Duration::ZERO });
    }

    /// This process as a coordinator.
    pub(super) fn env(&self) -> BoardEnv {
        let world = Arc::clone(&self.world);
        BoardEnv {
            bucket: self.bucket.clone(),
            node: NodeId::new("queen").unwrap(),
            incarnation: Incarnation::new(self.bucket.clock().as_ref(), self.bucket.rng().as_ref()),
            world: Arc::new(move || world.lock().unwrap().clone()),
            nudger: Arc::new(NoNudges),
            runtime: Arc::clone(&self.runtime),
            tasks: Default::default(),
        }
    }

    /// Plans and cuts.
    pub(super) async fn cut(&self, sql: &str, config: SessionConfig) -> Result<(BoardQuery, QueryId), EngineError> {
        let context = self.session(config).await;
        let plan = context.sql(sql).await?.create_physical_plan().await?;
        self.cut_plan(&plan, sql, context.copied_config().options())
    }

    /// Cuts a plan.
    pub(super) fn cut_plan(
        &self,
        plan: &Arc<dyn ExecutionPlan>,
        sql: &str,
        options: &ConfigOptions,
    ) -> Result<(BoardQuery, QueryId), EngineError> {
        let id = QueryId::new(self.bucket.clock().as_ref(), self.bucket.rng().as_ref());
        let names =
            FrameNames::new(["t", "u", "big"].map(|name| (format!("frames/{name}"), format!("lab.box.{name}"))));
        let plans = split(plan, options, &id, &names, self.grain, self.chamber_bytes)?;
        let record = QueryRecord { timeout_ms: 120_000, ..QueryRecord::new(id, sql, "tester", &engine_version()) };
        Ok((BoardQuery { record, plans }, id))
    }

    /// Asks the board.
    pub(super) async fn ask(&self, sql: &str, config: SessionConfig) -> Result<Answered, EngineError> {
        let (query, id) = self.cut(sql, config).await?;
        let plans = query.plans.clone();
        let result = run_on_board(&self.env(), query, CancellationToken::new(), |_| {}).await?;
        let metrics = Arc::clone(&result.metrics);
        let batches = result.stream.try_collect().await.map_err(unwrap)?;
        self.is_swept(&id).await;
        Ok(Answered { batches, metrics, plans })
    }

    /// Waits until all tasks that can be published are.
    pub(super) async fn is_published(&self, query: &QueryId) {
        let prefix = apiary_bucket::layout::query_prefix(query);
        let mut before = 0;
        for _ in 0..500 {
            self.bucket.clock().sleep(Duration::from_millis(50)).await;
            let listed = self.bucket.list(&prefix, None, 1000).await.unwrap();
            let tasks = listed.iter().filter(|object| object.key.ends_with(".task")).count();
            if tasks > 0 && tasks == before {
                return;
            }
            before = tasks;
        }
        unreachable!("nothing of {query} is published");
    }

    /// Waits until nothing of the query is left in the bucket. What an attempt that nobody waited for wrote after the
    /// query was swept is the janitor's, who gets it here.
    pub(super) async fn is_swept(&self, query: &QueryId) {
        let prefix = apiary_bucket::layout::query_prefix(query);
        for _ in 0..500 {
            if self.bucket.list(&prefix, None, 1).await.unwrap().is_empty() {
                return;
            }
            self.bucket.clock().sleep(Duration::from_millis(10)).await;
        }
        let ends = [".claim", ".done", ".failed"];
        let late = |key: &str| ends.iter().any(|end| key.ends_with(end)) || key.contains("/out/");
        let left = self.bucket.list(&prefix, None, 100).await.unwrap();
        assert!(left.iter().all(|object| late(&object.key)), "left behind: {left:?}");
        self.janitor().await;
        let left = self.bucket.list(&prefix, None, 100).await.unwrap();
        assert!(left.is_empty(), "left behind by the janitor: {left:?}");
    }

    /// Sweeps what no live coordinator owns, however young: the store's now is that of the newest heartbeat.
    async fn janitor(&self) {
        let seen = self.world.lock().unwrap().first().map(|view| view.heartbeat.clone());
        apiary_swarm::heartbeat::beat(&self.bucket, &seen.unwrap()).await.unwrap();
        let ages = SweepAges { query: Duration::ZERO, rest: Duration::ZERO, pointer: Duration::ZERO };
        Board::new(self.bucket.clone()).sweep(&[], &ages).await.unwrap();
    }
}

/// The engine's own error in a stream's.
pub(super) fn unwrap(error: DataFusionError) -> EngineError {
    match error {
        DataFusionError::External(inner) => match inner.downcast::<EngineError>() {
            Ok(engine) => *engine,
            Err(other) => EngineError::Plan(DataFusionError::External(other)),
        },
        other => EngineError::Plan(other),
    }
}

/// Pulls tasks, one at a time, until dropped.
async fn work(bucket: Bucket, runner: TaskRunner, ended: Arc<Mutex<Vec<Outcome>>>) {
    let board = Board::new(bucket.clone());
    let drain = CancellationToken::new();
    let mut tried = HashSet::new();
    loop {
        // As a real worker, it asks a store that failed again.
        for query in board.list_open().await.unwrap_or_default() {
            let Ok(view) = board.list_query(&query).await else { continue };
            for id in view.free().collect::<Vec<_>>() {
                let Ok(Some(task)) = board.read_task(&id).await else { continue };
                if !tried.insert(id) {
                    continue;
                }
                // As a real worker, it lets go of a query that is no longer open.
                let (over, room) = (CancellationToken::new(), Room::of(256 << 20));
                let mut attempt = std::pin::pin!(runner.attempt(&task, &room, &over, &drain));
                let outcome = loop {
                    tokio::select! {
                        outcome = &mut attempt => break outcome,
                        () = bucket.clock().sleep(Duration::from_millis(20)) => {
                            if board.list_open().await.is_ok_and(|open| !open.contains(&query)) {
                                over.cancel();
                            }
                        }
                    }
                };
                // A query may be swept while its last attempt ends.
                if let Ok(outcome) = outcome {
                    ended.lock().unwrap().push(outcome);
                }
            }
        }
        bucket.clock().sleep(Duration::from_millis(3)).await;
    }
}

/// Rows as text; sorted unless their order counts.
pub(crate) fn rows(batches: &[RecordBatch], in_order: bool) -> Vec<String> {
    let text = pretty_format_batches(batches).unwrap().to_string();
    let mut rows: Vec<String> = text.lines().filter(|line| line.starts_with('|')).skip(1).map(squeezed).collect();
    if !in_order {
        rows.sort();
    }
    rows
}

/// Column widths depend on the batch; values do not.
fn squeezed(line: &str) -> String {
    line.split('|').map(str::trim).collect::<Vec<_>>().join("|")
}
