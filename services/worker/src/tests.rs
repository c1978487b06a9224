//! Whole workers over a bucket in memory: a query asked of the board is answered, cancelled, or survives a drain.

use std::{sync::Arc, time::Duration};

use apiary_bucket::Bucket;
use apiary_core::{QueryId, SeededRng, SystemClock};
use apiary_engine::{
    BoardEnv, BoardQuery, BoardResult, FrameNames, Grain, NoNudges, board_config, engine_version, run_on_board, split,
};
use apiary_faults::{FaultStore, MemoryStore, Op};
use apiary_node::{Listener, Node, NodeSettings, Role};
use apiary_query::runtime_for;
use apiary_swarm::board::QueryRecord;
use datafusion::{
    arrow::array::{AsArray, RecordBatch},
    arrow::datatypes::Int64Type,
    dataframe::DataFrameWriteOptions,
    execution::runtime_env::RuntimeEnv,
    physical_plan::ExecutionPlan,
    prelude::{ParquetReadOptions, SessionConfig, SessionContext},
};
use futures::TryStreamExt;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::run::{Hooks, run_with};

mod memory;

const SQL: &str = "SELECT k, count(*) AS n FROM t GROUP BY k ORDER BY k";

struct Hive {
    bucket: Bucket,
    runtime: Arc<RuntimeEnv>,
    folders: Vec<tempfile::TempDir>,
}

struct Running {
    node: Arc<Node>,
    stop: CancellationToken,
    ended: JoinHandle<crate::Result<()>>,
}

impl Hive {
    async fn new() -> Self {
        Self::over(Bucket::in_memory()).await
    }

    async fn over(bucket: Bucket) -> Self {
        let runtime = runtime_for(&bucket).unwrap();
        let context = SessionContext::new_with_config_rt(SessionConfig::new(), Arc::clone(&runtime));
        for file in 0..4 {
            let sql = format!("SELECT value % 3 AS k FROM generate_series({}, {})", file * 100, file * 100 + 99);
            let options = DataFrameWriteOptions::new().with_single_file_output(true);
            let url = format!("apiary://cells/frames/t/{file}.parquet");
            context.sql(&sql).await.unwrap().write_parquet(&url, options, None).await.unwrap();
        }
        Self { bucket, runtime, folders: Vec::new() }
    }

    async fn node(&mut self, role: Role, name: &str) -> Arc<Node> {
        self.node_of(vec![role], name).await
    }

    async fn node_of(&mut self, roles: Vec<Role>, name: &str) -> Arc<Node> {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = NodeSettings::new("memory:", folder.path());
        settings.roles = roles;
        settings.cores = 2;
        settings.memory_bytes = 1 << 30;
        settings.name = Some(name.to_owned());
        self.folders.push(folder);
        Node::join(self.bucket.clone(), settings).await.unwrap()
    }

    async fn worker(&mut self, name: &str) -> Running {
        self.worker_with(name, Hooks::default()).await
    }

    async fn worker_with(&mut self, name: &str, hooks: Hooks) -> Running {
        let node = self.node(Role::Worker, name).await;
        self.run(node, hooks)
    }

    fn run(&self, node: Arc<Node>, hooks: Hooks) -> Running {
        let stop = CancellationToken::new();
        node.start_pulse(stop.clone());
        let (listener, _) = Listener::memory();
        let ended = tokio::spawn(run_with(Arc::clone(&node), listener, hooks, stop.clone()));
        Running { node, stop, ended }
    }

    async fn ask(&self, queen: &Arc<Node>, cancel: CancellationToken) -> (QueryId, BoardResult) {
        let context = SessionContext::new_with_config_rt(board_config(4), Arc::clone(&self.runtime));
        context.register_parquet("t", "apiary://cells/frames/t/", ParquetReadOptions::default()).await.unwrap();
        let plan = context.sql(SQL).await.unwrap().create_physical_plan().await.unwrap();
        self.open(queen, &context, &plan, u64::MAX, cancel).await
    }

    async fn open(
        &self,
        queen: &Arc<Node>,
        context: &SessionContext,
        plan: &Arc<dyn ExecutionPlan>,
        chamber_bytes: u64,
        cancel: CancellationToken,
    ) -> (QueryId, BoardResult) {
        let id = QueryId::new(queen.clock().as_ref(), queen.rng().as_ref());
        let options = context.copied_config();
        let names = FrameNames::default();
        let plans = split(plan, options.options(), &id, &names, Grain::FINE, chamber_bytes).unwrap();
        let record = QueryRecord { timeout_ms: 300_000, ..QueryRecord::new(id, SQL, "tester", &engine_version()) };
        let watched = Arc::clone(queen);
        let env = BoardEnv {
            bucket: self.bucket.clone(),
            node: queen.id.clone(),
            incarnation: queen.incarnation,
            world: Arc::new(move || watched.world()),
            nudger: Arc::new(NoNudges),
            runtime: Arc::clone(&self.runtime),
            tasks: Default::default(),
        };
        (id, run_on_board(&env, BoardQuery { record, plans }, cancel, |_| {}).await.unwrap())
    }
}

fn counts(batches: &[RecordBatch]) -> Vec<i64> {
    batches.iter().flat_map(|batch| batch.column(1).as_primitive::<Int64Type>().values().to_vec()).collect()
}

/// Waits until none of a worker's bees is busy.
async fn is_idle(worker: &Running) {
    let idle = async {
        while worker.node.bees.busy() > 0 {
            worker.node.clock().sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(3), idle).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_answer_a_query_between_them_and_drain_in_order() {
    let mut hive = Hive::new().await;
    let queen = hive.node(Role::Coordinator, "queen").await;
    let workers = [hive.worker("a").await, hive.worker("b").await];
    for _ in 0..3 {
        let (_, result) = hive.ask(&queen, CancellationToken::new()).await;
        let batches: Vec<_> = result.stream.try_collect().await.unwrap();
        assert_eq!(counts(&batches), [134, 133, 133]);
    }
    for worker in workers {
        // The answer may be there a moment before the bee that gave it is free.
        is_idle(&worker).await;
        worker.stop.cancel();
        worker.ended.await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_comes_later_finds_the_query() {
    let mut hive = Hive::new().await;
    let queen = hive.node(Role::Coordinator, "queen").await;
    let (_, result) = hive.ask(&queen, CancellationToken::new()).await;
    queen.clock().sleep(Duration::from_millis(50)).await;
    let worker = hive.worker("late").await;
    let batches: Vec<_> = result.stream.try_collect().await.unwrap();
    assert_eq!(counts(&batches), [134, 133, 133]);
    assert!(result.metrics.tasks().iter().all(|task| task.node == worker.node.id.as_str()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_that_is_over_frees_its_bees() {
    let mut hive = Hive::new().await;
    let queen = hive.node(Role::Coordinator, "queen").await;
    let worker = hive.worker("a").await;
    let cancel = CancellationToken::new();
    let (_, result) = hive.ask(&queen, cancel.clone()).await;
    cancel.cancel();
    let ended = result.stream.try_collect::<Vec<_>>().await;
    assert!(ended.is_err() || counts(&ended.unwrap()) == [134, 133, 133]);
    is_idle(&worker).await;
}

/// Waits until all bees of a worker are at work, or none is.
async fn until_busy(worker: &Running, busy: usize) {
    while worker.node.bees.busy() != busy {
        worker.node.clock().sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_reaches_busy_bees_within_a_second_though_nobody_nudges_and_no_coordinator_lives() {
    let mut hive = Hive::new().await;
    let queen = hive.node(Role::Coordinator, "queen").await;
    let hooks = Hooks { delay: Duration::from_secs(600), deaf: true, ..Hooks::default() };
    let worker = hive.worker_with("a", hooks).await;
    let (query, result) = hive.ask(&queen, CancellationToken::new()).await;
    until_busy(&worker, 2).await;
    // Another coordinator leaves the word; the worker alone has to find it.
    let asked = queen.clock().monotonic();
    queen.board.cancel(&query, "asked elsewhere").await.unwrap();
    tokio::time::timeout(Duration::from_secs(10), until_busy(&worker, 0)).await.unwrap();
    let took = queen.clock().monotonic() - asked;
    println!("a cancel reached two busy bees in {} ms", took.as_millis());
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert!(result.stream.try_collect::<Vec<_>>().await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_of_another_version_leaves_every_task_to_others() {
    let mut hive = Hive::new().await;
    let queen = hive.node(Role::Coordinator, "queen").await;
    let foreign = Hooks { foreign: true, ..Hooks::default() };
    let (_stranger, worker) = (hive.worker_with("stranger", foreign).await, hive.worker("a").await);
    let (_, result) = hive.ask(&queen, CancellationToken::new()).await;
    let batches: Vec<_> = result.stream.try_collect().await.unwrap();
    assert_eq!(counts(&batches), [134, 133, 133]);
    assert!(result.metrics.tasks().iter().all(|task| task.node == worker.node.id.as_str() && task.attempt == 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_task_comes_with_its_nudge_and_is_not_read() {
    let memory = Arc::new(MemoryStore::new(Arc::new(SystemClock)));
    let calls = FaultStore::new(memory, 1, Arc::new(SystemClock));
    let rng = Arc::new(SeededRng::new(1));
    let mut hive = Hive::over(Bucket::over(Arc::new(calls.clone()), Arc::new(SystemClock), rng)).await;
    let queen = hive.node(Role::Coordinator, "queen").await;
    let worker = hive.worker("a").await;
    // Its loop hears nudges once it has looked.
    while calls.count(Op::List, "_queries/_open") == 0 {
        worker.node.clock().sleep(Duration::from_millis(5)).await;
    }
    for _ in 0..3 {
        let (_, result) = hive.ask(&queen, CancellationToken::new()).await;
        let batches: Vec<_> = result.stream.try_collect().await.unwrap();
        assert_eq!(counts(&batches), [134, 133, 133]);
    }
    let tasks = |op| calls.calls().iter().filter(|call| call.op == op && call.key.ends_with(".task")).count();
    let (published, read) = (tasks(Op::Create), tasks(Op::Get));
    // With two bees and more tasks than that, some are found by looking.
    assert!(published >= 12 && read * 4 <= published * 3, "{read} of {published} tasks were read");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_told_of_every_task_and_every_end_hardly_looks_at_the_board() {
    let memory = Arc::new(MemoryStore::new(Arc::new(SystemClock)));
    let calls = FaultStore::new(memory, 1, Arc::new(SystemClock));
    let rng = Arc::new(SeededRng::new(1));
    let mut hive = Hive::over(Bucket::over(Arc::new(calls.clone()), Arc::new(SystemClock), rng)).await;
    // One node of both roles: nobody is in sight whom it could not hear.
    let node = hive.node_of(vec![Role::Coordinator, Role::Worker], "both").await;
    let _worker = hive.run(Arc::clone(&node), Hooks::default());
    while calls.count(Op::List, "_queries/_open") == 0 {
        node.clock().sleep(Duration::from_millis(5)).await;
    }
    let (before, mut tasks) = (calls.count(Op::List, "_queries"), 0);
    for _ in 0..5 {
        let (_, result) = hive.ask(&node, CancellationToken::new()).await;
        let batches: Vec<_> = result.stream.try_collect().await.unwrap();
        assert_eq!(counts(&batches), [134, 133, 133]);
        tasks += result.metrics.tasks().len();
    }
    let lists = calls.count(Op::List, "_queries") - before;
    println!("{lists} LISTs for 5 queries of {tasks} tasks");
    assert!(lists <= tasks, "{lists} LISTs for {tasks} tasks");
}
