//! What goes wrong costs time and never rows.

use std::{sync::Arc, time::Duration};

use apiary_bucket::Bucket;
use apiary_core::{ErrorKind, NodeId, QueryId, SeededRng, SystemClock};
use apiary_faults::{Fault, FaultStore, MemoryStore, Op, Rates, Rule};
use apiary_swarm::{
    Board, NodeState,
    board::{OwnerRecord, QueryRecord},
};
use datafusion::prelude::SessionConfig;
use futures::TryStreamExt;
use tokio_util::sync::CancellationToken;

use super::colony::{Colony, rows, unwrap};
use crate::{BoardEnv, EngineError, NewTask, Nudger, Outcome, board_config, resume_on_board, run_on_board};

const SQL: &str = "SELECT t.k, count(*), sum(v), max(u.name) FROM t JOIN u ON t.k = u.k GROUP BY t.k";

async fn filled() -> Colony {
    let colony = Colony::new();
    colony.fill().await;
    colony
}

async fn plain(colony: &Colony, sql: &str) -> Vec<String> {
    let context = colony.session(SessionConfig::new().with_target_partitions(1)).await;
    rows(&context.sql(sql).await.unwrap().collect().await.unwrap(), false)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_dies_with_claims_is_replaced() {
    let colony = filled().await;
    let doomed = colony.worker("pi-1", Duration::from_secs(600));
    let (query, _) = colony.cut(SQL, board_config(3)).await.unwrap();
    let result = run_on_board(&colony.env(), query, CancellationToken::new(), |_| {}).await.unwrap();
    colony.bucket.clock().sleep(Duration::from_millis(300)).await;
    doomed.stop.cancel();
    colony.see(&doomed, NodeState::Dead);
    colony.worker("pi-2", Duration::ZERO);
    let batches: Vec<_> = result.stream.try_collect().await.unwrap();
    assert_eq!(rows(&batches, false), plain(&colony, SQL).await);
    assert!(result.metrics.progress().retries >= 1);
    assert!(result.metrics.tasks().iter().all(|task| task.node == "pi-2"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_was_only_thought_dead_changes_nothing() {
    let colony = filled().await;
    let slow = colony.worker("pi-1", Duration::from_millis(3500));
    let (query, id) = colony.cut(SQL, board_config(2)).await.unwrap();
    let result = run_on_board(&colony.env(), query, CancellationToken::new(), |_| {}).await.unwrap();
    colony.bucket.clock().sleep(Duration::from_millis(100)).await;
    colony.see(&slow, NodeState::Dead);
    colony.worker("pi-2", Duration::ZERO);
    let batches: Vec<_> = result.stream.try_collect().await.unwrap();
    assert_eq!(rows(&batches, false), plain(&colony, SQL).await);
    colony.is_swept(&id).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_querys_own_fault_is_told_once_and_in_its_own_words() {
    let colony = filled().await;
    colony.worker("pi-1", Duration::ZERO);
    let error = colony.ask("SELECT id, 100 / (id - 7) FROM t", board_config(2)).await.unwrap_err();
    assert!(matches!(error, EngineError::Query(_)), "{error:?}");
    assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::SqlSyntax, "Divide by zero error"));
    let failures = |outcome: &&Outcome| matches!(outcome, Outcome::Failed(_));
    assert!(colony.ended.lock().unwrap().iter().filter(failures).count() <= 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cell_that_is_gone_is_a_store_error_with_its_attempts() {
    let colony = filled().await;
    let (query, id) = colony.cut("SELECT sum(v) FROM t", board_config(2)).await.unwrap();
    let cells = colony.bucket.list("frames/t/", None, 9).await.unwrap();
    let key = apiary_bucket::Key::parse(&cells[0].key).unwrap();
    colony.bucket.delete(&key).await.unwrap();
    colony.worker("pi-1", Duration::ZERO);
    let result = run_on_board(&colony.env(), query, CancellationToken::new(), |_| {}).await.unwrap();
    let error = unwrap(result.stream.try_collect::<Vec<_>>().await.unwrap_err());
    assert!(matches!(error, EngineError::Abandoned { .. }), "{error:?}");
    assert!(error.to_string().contains("attempt 4 on pi-1"), "{error}");
    assert!(error.to_string().contains("fragment: SELECT"), "{error}");
    colony.is_swept(&id).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_query_ends_and_leaves_nothing() {
    let colony = filled().await;
    colony.worker("pi-1", Duration::from_secs(600));
    let (query, id) = colony.cut(SQL, board_config(2)).await.unwrap();
    let cancel = CancellationToken::new();
    let result = run_on_board(&colony.env(), query, cancel.clone(), |_| {}).await.unwrap();
    cancel.cancel();
    let error = unwrap(result.stream.try_collect::<Vec<_>>().await.unwrap_err());
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    colony.is_swept(&id).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_goes_away_takes_its_query_along() {
    let colony = filled().await;
    let (query, id) = colony.cut(SQL, board_config(2)).await.unwrap();
    let result = run_on_board(&colony.env(), query, CancellationToken::new(), |_| {}).await.unwrap();
    drop(result);
    colony.is_swept(&id).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_for_the_drivers_leaves_a_clean_board() {
    let colony = filled().await;
    colony.worker("pi-1", Duration::ZERO);
    let (env, (query, id)) = (colony.env(), colony.cut(SQL, board_config(2)).await.unwrap());
    let result = run_on_board(&env, query, CancellationToken::new(), |_| {}).await.unwrap();
    drop(result.stream);
    env.tasks.close();
    env.tasks.wait().await;
    assert!(apiary_swarm::Board::new(colony.bucket.clone()).list_open().await.unwrap().is_empty(), "{id}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_coordinator_goes_on_where_the_first_stopped() {
    let colony = filled().await;
    let (query, _) = colony.cut(SQL, board_config(3)).await.unwrap();
    let (record, plans) = (query.record.clone(), query.plans.clone());
    let first = run_on_board(&colony.env(), query, CancellationToken::new(), |_| {}).await.unwrap();
    colony.bucket.clock().sleep(Duration::from_millis(100)).await;
    let second = crate::BoardQuery { record, plans };
    let second = run_on_board(&colony.env(), second, CancellationToken::new(), |_| {}).await.unwrap();
    let error = unwrap(first.stream.try_collect::<Vec<_>>().await.unwrap_err());
    assert!(error.to_string().contains("another coordinator"), "{error}");
    colony.worker("pi-1", Duration::ZERO);
    let batches: Vec<_> = second.stream.try_collect().await.unwrap();
    assert_eq!(rows(&batches, false), plain(&colony, SQL).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_persons_query_id_is_refused() {
    let colony = filled().await;
    let (mut query, _) = colony.cut(SQL, board_config(2)).await.unwrap();
    let same = crate::BoardQuery { record: query.record.clone(), plans: query.plans.clone() };
    let _first = run_on_board(&colony.env(), same, CancellationToken::new(), |_| {}).await.unwrap();
    query.record.principal = "somebody else".to_owned();
    let error = run_on_board(&colony.env(), query, CancellationToken::new(), |_| {}).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
}

/// Says that one node listened and does not any more.
#[derive(Debug)]
struct Broken(NodeId);

impl Nudger for Broken {
    fn nudge(&self, _: &QueryId, _: Option<NewTask<'_>>, _: bool) {}

    fn out_of_touch(&self) -> Vec<(NodeId, Duration)> {
        vec![(self.0.clone(), Duration::from_secs(2))]
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_out_of_touch_holds_nobody_up_though_its_heartbeat_is_young() {
    let colony = filled().await;
    let doomed = colony.worker("pi-1", Duration::from_secs(600));
    let (query, _) = colony.cut(SQL, board_config(3)).await.unwrap();
    let env = BoardEnv { nudger: Arc::new(Broken(doomed.node.clone())), ..colony.env() };
    let result = run_on_board(&env, query, CancellationToken::new(), |_| {}).await.unwrap();
    colony.bucket.clock().sleep(Duration::from_millis(300)).await;
    colony.worker("pi-2", Duration::ZERO);
    let answer = result.stream.try_collect::<Vec<_>>();
    let batches = tokio::time::timeout(Duration::from_secs(20), answer).await.unwrap().unwrap();
    assert_eq!(rows(&batches, false), plain(&colony, SQL).await);
    assert!(result.metrics.progress().retries >= 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coordinator_that_wakes_behind_its_successor_stops_and_touches_nothing() {
    let colony = filled().await;
    let (query, id) = colony.cut(SQL, board_config(3)).await.unwrap();
    let sleeper = run_on_board(&colony.env(), query, CancellationToken::new(), |_| {}).await.unwrap();
    colony.is_published(&id).await;
    // The successor took it over, answered and swept.
    let board = Board::new(colony.bucket.clone());
    let heir = colony.env();
    assert!(board.take_ownership(&id, 2, &OwnerRecord::new(heir.node, heir.incarnation)).await.unwrap());
    board.close(&id).await.unwrap();
    let error = unwrap(sleeper.stream.try_collect::<Vec<_>>().await.unwrap_err());
    assert!(error.to_string().contains("another coordinator"), "{error}");
    assert!(board.list_open().await.unwrap().is_empty());
    colony.is_swept(&id).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_that_runs_too_long_says_so_and_leaves_nothing() {
    let colony = filled().await;
    colony.worker("pi-1", Duration::from_secs(600));
    let (mut query, id) = colony.cut(SQL, board_config(2)).await.unwrap();
    query.record.timeout_ms = 300;
    let result = run_on_board(&colony.env(), query, CancellationToken::new(), |_| {}).await.unwrap();
    let error = unwrap(result.stream.try_collect::<Vec<_>>().await.unwrap_err());
    assert!(matches!(error, EngineError::Timeout { .. }), "{error:?}");
    colony.is_swept(&id).await;
}

/// A colony on a store on which things go wrong.
async fn on_faults(seed: u64) -> (Colony, FaultStore) {
    let clock = || Arc::new(SystemClock);
    let faults = FaultStore::new(Arc::new(MemoryStore::new(clock())), seed, clock());
    let colony = Colony::over(Bucket::over(Arc::new(faults.clone()), clock(), Arc::new(SeededRng::new(seed))));
    colony.fill().await;
    (colony, faults)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_fails_now_and_then_costs_time_and_no_row() {
    for seed in 0..3 {
        let (colony, faults) = on_faults(seed).await;
        let expected = plain(&colony, SQL).await;
        let (query, _) = colony.cut(SQL, board_config(2)).await.unwrap();
        faults.deal(Some(Rates::storm(15).keys_that(|key| key.starts_with("_queries/"))));
        let result = run_on_board(&colony.env(), query, CancellationToken::new(), |_| {}).await;
        colony.worker("pi-1", Duration::ZERO);
        colony.worker("pi-2", Duration::ZERO);
        let answer = async { unwrapped(result?.stream.try_collect::<Vec<_>>().await) };
        match tokio::time::timeout(Duration::from_secs(60), answer).await.unwrap() {
            Ok(batches) => assert_eq!(rows(&batches, false), expected, "seed {seed}"),
            // A store that fails too often at one place ends a query in words, never in other rows.
            Err(error) => assert!(error.kind().is_retryable() || error.kind() == ErrorKind::TaskAbandoned, "{error:?}"),
        }
    }
}

fn unwrapped<T>(answer: Result<T, datafusion::error::DataFusionError>) -> Result<T, EngineError> {
    answer.map_err(unwrap)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cells_that_cannot_be_read_for_a_moment_are_read_again() {
    let (colony, faults) = on_faults(1).await;
    let expected = plain(&colony, SQL).await;
    let (query, _) = colony.cut(SQL, board_config(2)).await.unwrap();
    faults.script(Rule::on(Op::Get, Fault::Error).keys("frames/t").times(3));
    colony.worker("pi-1", Duration::ZERO);
    let result = run_on_board(&colony.env(), query, CancellationToken::new(), |_| {}).await.unwrap();
    let batches: Vec<_> = result.stream.try_collect().await.unwrap();
    assert_eq!(rows(&batches, false), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_is_resumed_by_its_id_alone_and_only_by_who_asked_it() {
    let colony = filled().await;
    let (query, id) = colony.cut(SQL, board_config(3)).await.unwrap();
    let asked = query.record.clone();
    let resume =
        async |asked: &QueryRecord| resume_on_board(&colony.env(), asked, CancellationToken::new(), |_| {}).await;
    assert!(resume(&asked).await.unwrap().is_none(), "nobody asked it yet");
    let first = run_on_board(&colony.env(), query, CancellationToken::new(), |_| {}).await.unwrap();
    let stranger = QueryRecord { principal: "eve".to_owned(), ..asked.clone() };
    assert_eq!(resume(&stranger).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
    let second = resume(&asked).await.unwrap().unwrap();
    colony.worker("pi-1", Duration::ZERO);
    let batches: Vec<_> = second.result.stream.try_collect().await.unwrap();
    assert_eq!(rows(&batches, false), plain(&colony, SQL).await);
    // The first hears that another has taken over, unless it had all the rows before it looked.
    if let Ok(batches) = first.stream.try_collect::<Vec<_>>().await {
        assert_eq!(rows(&batches, false), plain(&colony, SQL).await);
    }
    colony.is_swept(&id).await;
}
