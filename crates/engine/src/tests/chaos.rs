//! Faults of others: Ballista's own, put into plans, and wall clocks that jump by years while queries run. Whatever
//! happens to a task, the rows are right or there is an error that says why; never fewer rows, never others.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use apiary_bucket::Bucket;
use apiary_core::{Clock, SeededRng, SystemClock};
use apiary_faults::MemoryStore;
use apiary_swarm::NodeState;
use ballista_core::execution_plans::ChaosExec;
use datafusion::{
    common::tree_node::{Transformed, TreeNode},
    physical_plan::{ExecutionPlan, aggregates::AggregateExec},
    prelude::SessionConfig,
};
use futures::{TryStreamExt, future::join_all};
use tokio_util::sync::CancellationToken;

use super::colony::{Colony, rows, unwrap};
use crate::{EngineError, board_config, run_on_board};

const SQL: &str = "SELECT t.k, count(*), sum(v), max(u.name) FROM t JOIN u ON t.k = u.k GROUP BY t.k";

/// Each fails all its tasks that read cells, or one side of a join, with one chance in two: attempts share the seed.
const SEEDS: std::ops::Range<u64> = 0..6;

async fn plain(colony: &Colony) -> Vec<String> {
    let context = colony.session(SessionConfig::new().with_target_partitions(1)).await;
    rows(&context.sql(SQL).await.unwrap().collect().await.unwrap(), false)
}

/// `plan` with a fault of this kind over every leaf and every aggregate.
fn disturbed(plan: Arc<dyn ExecutionPlan>, kind: &str, seed: u64) -> Arc<dyn ExecutionPlan> {
    let disturb = |node: Arc<dyn ExecutionPlan>| {
        if node.children().is_empty() || node.is::<AggregateExec>() {
            return Ok(Transformed::yes(Arc::new(ChaosExec::new(node, 0.3, kind, Some(seed))?) as _));
        }
        Ok(Transformed::no(node))
    };
    plan.transform_up(disturb).unwrap().data
}

async fn ask(colony: &Colony, kind: &str, seed: u64) -> Result<Vec<String>, EngineError> {
    let context = colony.session(board_config(3)).await;
    let plan = context.sql(SQL).await?.create_physical_plan().await?;
    let (query, id) = colony.cut_plan(&disturbed(plan, kind, seed), SQL, context.copied_config().options())?;
    let result = run_on_board(&colony.env(), query, CancellationToken::new(), |_| {}).await?;
    let batches: Result<Vec<_>, _> = result.stream.try_collect().await;
    colony.is_swept(&id).await;
    Ok(rows(&batches.map_err(unwrap)?, false))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ballistas_own_faults_cost_an_answer_at_most_and_never_a_row() {
    let colony = Colony::new();
    colony.fill().await;
    for name in ["pi-1", "pi-2", "pi-3"] {
        colony.worker(name, Duration::ZERO);
    }
    let wanted = plain(&colony).await;
    for kind in ["transient", "fatal", "panic"] {
        let answers = join_all(SEEDS.map(|seed| ask(&colony, kind, seed))).await;
        let (mut right, mut failed) = (0, 0);
        for answer in answers {
            match answer {
                Ok(rows) => {
                    assert_eq!(rows, wanted, "{kind}");
                    right += 1;
                }
                Err(error) => {
                    assert!(error.to_string().contains("ChaosExec"), "{kind}: {error}");
                    failed += 1;
                }
            }
        }
        assert!(right > 0 && failed > 0, "{kind}: {right} right, {failed} failed");
    }
    assert_eq!(ask(&colony, "delay:5", 1).await.unwrap(), wanted);
}

/// A wall clock that is somewhere else by years each time somebody looks.
#[derive(Debug, Default)]
struct Jumping(AtomicI64);

impl Clock for Jumping {
    fn wall_ms(&self) -> i64 {
        const YEAR_MS: i64 = 365 * 86_400_000;
        let looks = self.0.fetch_add(1, Ordering::Relaxed);
        SystemClock.wall_ms() + [3, -20, 0, 40, -7][looks.rem_euclid(5) as usize] * YEAR_MS
    }

    fn monotonic(&self) -> Duration {
        SystemClock.monotonic()
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + 'static>> {
        SystemClock.sleep(duration)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clocks_that_jump_by_years_while_queries_run_change_nothing() {
    let clock: Arc<dyn Clock> = Arc::new(Jumping::default());
    let store = MemoryStore::new(Arc::clone(&clock));
    let colony = Colony::over(Bucket::over(Arc::new(store), clock, Arc::new(SeededRng::new(7))));
    colony.fill().await;
    let wanted = plain(&colony).await;
    colony.worker("pi-1", Duration::ZERO);
    for _ in 0..3 {
        assert_eq!(rows(&colony.ask(SQL, board_config(3)).await.unwrap().batches, false), wanted);
    }
    // A worker whose life is numbered by such a clock dies with claims.
    let doomed = colony.worker("pi-2", Duration::from_secs(600));
    let (query, id) = colony.cut(SQL, board_config(3)).await.unwrap();
    let result = run_on_board(&colony.env(), query, CancellationToken::new(), |_| {}).await.unwrap();
    colony.bucket.clock().sleep(Duration::from_millis(300)).await;
    doomed.stop.cancel();
    colony.see(&doomed, NodeState::Dead);
    let batches: Vec<_> = result.stream.try_collect().await.unwrap();
    assert_eq!(rows(&batches, false), wanted);
    colony.is_swept(&id).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_fetches_a_cells_footer_once() {
    let colony = Colony::new();
    colony.fill().await;
    colony.worker("pi-1", Duration::ZERO);
    let sql = "SELECT k, max(h) FROM big GROUP BY k";
    let mut gets = Vec::new();
    for _ in 0..3 {
        gets.push(colony.ask(sql, board_config(2)).await.unwrap().metrics.gets());
    }
    let cells = colony.bucket.list("frames/big/", None, 99).await.unwrap().len() as u64;
    assert!(gets[0] >= gets[1] + cells, "{gets:?} GETs over {cells} cells");
    assert_eq!(gets[1], gets[2], "{gets:?}");
}
