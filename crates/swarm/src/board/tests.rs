//! The board over a bucket in memory.

use apiary_core::{Incarnation, NodeId, QueryId, SystemClock, SystemRng};
use bytes::Bytes;

use super::*;

fn board() -> (Board, QueryId) {
    (Board::new(apiary_bucket::Bucket::in_memory()), QueryId::new(&SystemClock, &SystemRng))
}

fn life() -> Incarnation {
    Incarnation::new(&SystemClock, &SystemRng)
}

fn worker(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

fn question(query: QueryId) -> QueryRecord {
    QueryRecord::new(query, "SELECT 1", "ada", "55.2")
}

fn task(query: QueryId, stage: u32, number: u32, attempt: u32) -> TaskObject {
    TaskObject {
        plan: Bytes::from_static(b"plan"),
        engine_version: "55.2".into(),
        timeout_ms: 1_000,
        ..TaskObject::of(TaskId::new(query, stage, number).attempt(attempt))
    }
}

#[tokio::test]
async fn an_open_query_is_listed_until_it_is_closed() {
    let (board, query) = board();
    let stages = Bytes::from_static(b"stages");
    assert_eq!(board.open_query(&question(query), stages.clone()).await.unwrap(), OpenedQuery::New);
    assert_eq!(board.list_open().await.unwrap(), [query]);
    assert_eq!(board.read_stages(&query).await.unwrap(), Some(stages));
    assert_eq!(board.read_query(&query).await.unwrap().unwrap().sql, "SELECT 1");
    assert_eq!(board.close(&query).await.unwrap(), 2);
    assert_eq!(board.list_open().await.unwrap(), []);
    assert_eq!(board.read_query(&query).await.unwrap(), None);
}

#[tokio::test]
async fn asking_the_same_again_resumes_the_query() {
    let (board, query) = board();
    board.open_query(&question(query), Bytes::from_static(b"first")).await.unwrap();
    let mut again = question(query);
    again.asked_ms = 99;
    let opened = board.open_query(&again, Bytes::from_static(b"second")).await.unwrap();
    assert_eq!(opened, OpenedQuery::Resumed(Box::new(question(query))));
    assert_eq!(board.read_stages(&query).await.unwrap(), Some(Bytes::from_static(b"first")));
}

#[tokio::test]
async fn stages_that_outlive_their_question_are_gone_on_with() {
    let (board, query) = board();
    board.put_stages(&query, Bytes::from_static(b"first")).await.unwrap();
    let opened = board.open_query(&question(query), Bytes::from_static(b"second")).await.unwrap();
    assert_eq!(opened, OpenedQuery::Resumed(Box::new(question(query))));
    assert_eq!(board.list_open().await.unwrap(), [query]);
}

#[tokio::test]
async fn a_query_id_belongs_to_one_principal_and_one_statement() {
    let (board, query) = board();
    board.open_query(&question(query), Bytes::new()).await.unwrap();
    let stranger = QueryRecord { principal: "eve".into(), ..question(query) };
    let error = board.open_query(&stranger, Bytes::new()).await.unwrap_err();
    assert!(error.to_string().contains("another principal"), "{error}");
    let other = QueryRecord { sql: "SELECT 2".into(), ..question(query) };
    assert!(board.open_query(&other, Bytes::new()).await.unwrap_err().to_string().contains("another statement"));
}

#[tokio::test]
async fn a_task_is_read_as_it_was_published() {
    let (board, query) = board();
    let wanted = task(query, 1, 7, 1);
    let body = board.publish_task(&wanted).await.unwrap().unwrap();
    assert_eq!(Board::task_in(&wanted.id().unwrap(), &body).unwrap(), wanted);
    let other = TaskObject { timeout_ms: wanted.timeout_ms + 1, ..wanted.clone() };
    assert_eq!(board.publish_task(&other).await.unwrap(), None, "another stands there already");
    assert_eq!(board.read_task(&wanted.id().unwrap()).await.unwrap(), Some(wanted));
}

#[tokio::test]
async fn one_of_two_claims_wins() {
    let (board, query) = board();
    let id = TaskId::new(query, 1, 0).attempt(1);
    let (first, second) = (
        ClaimRecord::new(worker("pi-1"), life(), "nonce-of-pi-1"),
        ClaimRecord::new(worker("pi-2"), life(), "nonce-of-pi-2"),
    );
    let (a, b) = futures::join!(board.claim(&id, &first), board.claim(&id, &second));
    assert!(a.unwrap() != b.unwrap());
    assert!(board.read_claim(&id).await.unwrap().is_some());
}

#[tokio::test]
async fn the_first_finisher_of_any_attempt_is_the_truth() {
    let (board, query) = board();
    let id = TaskId::new(query, 1, 0);
    let late = DoneRecord::of(1, "nonce-of-late", &worker("pi-1"), life());
    let early = DoneRecord::of(2, "nonce-of-early", &worker("pi-2"), life());
    assert!(board.mark_done(&id, &early).await.unwrap());
    assert!(!board.mark_done(&id, &late).await.unwrap());
    assert!(board.mark_done(&id, &early).await.unwrap(), "the winner may ask again");
    assert_eq!(board.read_done(&id).await.unwrap(), Some(early));
}

#[tokio::test]
async fn the_view_shows_what_stands_on_the_board_and_passes_over_output() {
    let (board, query) = board();
    board.open_query(&question(query), Bytes::new()).await.unwrap();
    board.publish_task(&task(query, 1, 0, 1)).await.unwrap();
    board.describe_task(&TaskId::new(query, 1, 0), "SELECT 1").await.unwrap();
    board.publish_task(&task(query, 1, 1, 1)).await.unwrap();
    let id = TaskId::new(query, 1, 0);
    board.claim(&id.attempt(1), &ClaimRecord::new(worker("pi-1"), life(), "nonce-of-pi-1")).await.unwrap();
    let file = apiary_bucket::layout::out(&query, 1, 0, "nonce-of-pi-1", "1/0/data.arrow");
    board.bucket().put(&file, Bytes::from_static(b"rows")).await.unwrap();
    assert!(board.cancel(&query, "ctrl-c").await.unwrap());

    let view = board.list_query(&query).await.unwrap();
    assert!(view.asked && view.planned && view.cancelled);
    assert_eq!(view.tasks.len(), 2);
    let tasks = board.list_tasks(&query).await.unwrap();
    assert_eq!(tasks.free().map(|free| free.task.task).collect::<Vec<_>>(), [1]);
    assert_eq!(board.discard_output(&id, "nonce-of-pi-1").await.unwrap(), 1);
}

#[tokio::test]
async fn a_cancelled_query_says_so() {
    let (board, query) = board();
    assert!(!board.is_cancelled(&query).await.unwrap());
    board.cancel(&query, "too slow").await.unwrap();
    assert!(board.is_cancelled(&query).await.unwrap());
}

#[tokio::test]
async fn an_epoch_has_one_owner() {
    let (board, query) = board();
    assert!(board.take_ownership(&query, 1, &OwnerRecord::new(worker("queen-1"), life())).await.unwrap());
    assert!(!board.take_ownership(&query, 1, &OwnerRecord::new(worker("queen-2"), life())).await.unwrap());
    assert_eq!(board.read_owner(&query, 1).await.unwrap().unwrap().coordinator, worker("queen-1"));
}

#[tokio::test]
async fn a_damaged_task_names_its_key() {
    let (board, query) = board();
    let id = TaskId::new(query, 1, 0).attempt(1);
    let key = apiary_bucket::layout::task(&query, 1, 0, 1);
    board.bucket().put(&key, Bytes::from_static(b"not a task")).await.unwrap();
    let error = board.read_task(&id).await.unwrap_err();
    assert!(error.to_string().contains(key.as_str()), "{error}");
}

#[tokio::test]
async fn a_task_under_another_key_is_damaged() {
    let (board, query) = board();
    board.publish_task(&task(query, 1, 0, 1)).await.unwrap();
    let body = board.bucket().get(&apiary_bucket::layout::task(&query, 1, 0, 1)).await.unwrap().unwrap();
    board.bucket().put(&apiary_bucket::layout::task(&query, 1, 0, 2), body).await.unwrap();
    let error = board.read_task(&TaskId::new(query, 1, 0).attempt(2)).await.unwrap_err();
    assert_eq!(error.kind(), apiary_core::ErrorKind::Corrupt);
}

#[tokio::test]
async fn a_young_query_survives_the_sweep() {
    let (board, query) = board();
    board.open_query(&question(query), Bytes::new()).await.unwrap();
    board.bucket().put(&apiary_bucket::layout::node(&worker("pi-1")), Bytes::from_static(b"{}")).await.unwrap();
    let report = board.sweep(&[], &SweepAges::default()).await.unwrap();
    assert_eq!((report.queries_seen, report.queries_swept), (1, 0));
    assert_eq!(board.list_open().await.unwrap(), [query]);
}

const IN_TWO_DAYS_MS: i64 = 2 * 24 * 3600 * 1000;

fn later_ms() -> i64 {
    apiary_core::Clock::wall_ms(&SystemClock) + IN_TWO_DAYS_MS
}

#[tokio::test]
async fn an_old_query_without_an_owner_is_swept_with_its_pointer_and_output() {
    let (board, query) = board();
    board.open_query(&question(query), Bytes::new()).await.unwrap();
    let file = apiary_bucket::layout::out(&query, 1, 0, "nonce-of-pi-1", "1/0/data.arrow");
    board.bucket().put(&file, Bytes::from_static(b"rows")).await.unwrap();
    let dangling = QueryId::new(&SystemClock, &SystemRng);
    board.point(&dangling).await.unwrap();
    let report = board.sweep_at(later_ms(), &[], &SweepAges::default()).await.unwrap();
    assert_eq!((report.queries_seen, report.queries_swept, report.objects_deleted), (2, 2, 3));
    assert!(board.bucket().list(apiary_bucket::layout::queries_prefix(), None, 9).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_old_query_of_a_live_owner_stays_and_of_its_past_life_goes() {
    let (board, query) = board();
    let (now, ages) = (life(), SweepAges::default());
    board.open_query(&question(query), Bytes::new()).await.unwrap();
    board.take_ownership(&query, 1, &OwnerRecord::new(worker("queen"), now)).await.unwrap();
    let seen = |incarnation| crate::NodeView {
        heartbeat: crate::heartbeat::tests::sample("queen", incarnation, 1),
        state: crate::NodeState::Alive,
        seen_ago: std::time::Duration::ZERO,
    };
    assert_eq!(board.sweep_at(later_ms(), &[seen(now)], &ages).await.unwrap().queries_swept, 0);
    assert_eq!(board.sweep_at(later_ms(), &[seen(life())], &ages).await.unwrap().queries_swept, 1);
}

#[tokio::test]
async fn a_pointer_to_a_query_of_a_dead_owner_goes_soon_and_asking_again_finds_the_query() {
    let (board, query) = board();
    let ages = SweepAges::default();
    board.open_query(&question(query), Bytes::new()).await.unwrap();
    board.take_ownership(&query, 1, &OwnerRecord::new(worker("queen"), life())).await.unwrap();
    let in_minutes = |n: i64| apiary_core::Clock::wall_ms(&SystemClock) + n * 60_000;
    assert_eq!(board.sweep_at(in_minutes(1), &[], &ages).await.unwrap().pointers_swept, 0);
    assert_eq!(board.sweep_at(in_minutes(3), &[], &ages).await.unwrap().pointers_swept, 1);
    assert_eq!(board.list_open().await.unwrap(), []);
    assert_eq!(board.sweep_at(in_minutes(3), &[], &ages).await.unwrap().pointers_swept, 0, "once is enough");
    assert_eq!(board.read_query(&query).await.unwrap(), Some(question(query)));
    board.point(&query).await.unwrap();
    assert_eq!(board.list_open().await.unwrap(), [query]);
}

#[tokio::test]
async fn what_a_late_worker_wrote_behind_a_query_goes_within_the_hour() {
    let (board, query) = board();
    board
        .mark_done(&TaskId::new(query, 1, 0), &DoneRecord::of(1, "nonce-of-late", &worker("pi-1"), life()))
        .await
        .unwrap();
    let ages = SweepAges::default();
    let in_minutes = |n: i64| apiary_core::Clock::wall_ms(&SystemClock) + n * 60_000;
    assert_eq!(board.sweep_at(in_minutes(59), &[], &ages).await.unwrap().queries_swept, 0);
    assert_eq!(board.sweep_at(in_minutes(61), &[], &ages).await.unwrap().queries_swept, 1);
}
