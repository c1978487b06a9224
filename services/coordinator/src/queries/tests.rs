//! The lines of queries, without a bucket.

use apiary_core::{NodeId, SystemClock, SystemRng, ids::Incarnation};
use apiary_proto::v1::QueryStats;

use super::*;

const NOW_MS: i64 = 1_000_000_000;

fn line(statement: &str, started_ms: i64) -> QueryLine {
    QueryLine::begun(QueryId::new(&SystemClock, &SystemRng), statement, "client", started_ms)
}

fn told(queries: &Queries) -> Vec<(String, &'static str)> {
    let lines = queries.lines(Duration::from_secs(9), NOW_MS);
    lines.into_iter().map(|line| (line.statement, line.state.as_str())).collect()
}

fn ended(rows: u64) -> Result<QueryFinished> {
    let stats = QueryStats { rows, stages: 2, tasks: 5, ..QueryStats::default() };
    Ok(QueryFinished { stats: Some(stats), session: None })
}

#[test]
fn a_query_is_told_of_from_its_beginning_to_its_end() {
    let queries = Queries::default();
    let (one, two) = (line("SELECT 1", NOW_MS - 2), line("SELECT 2", NOW_MS - 1));
    let ids = (one.query, two.query);
    queries.begin(one, Duration::from_secs(1));
    queries.begin(two, Duration::from_secs(2));
    let progress = Progress { tasks_done: 3, tasks_total: 5, stages_done: 1, stages_total: 2, retries: 1 };
    queries.progress(ids.0, progress);
    let seen = &queries.lines(Duration::from_secs(9), NOW_MS)[0];
    assert_eq!((seen.tasks_done, seen.tasks, seen.elapsed_us), (3, 5, 8_000_000));
    queries.end(ids.0, &ended(7), Duration::from_secs(9), NOW_MS);
    queries.end(ids.1, &Err(CoordinatorError::TimedOut(Duration::from_secs(1))), Duration::from_secs(9), NOW_MS);
    assert_eq!(told(&queries), [("SELECT 1".to_owned(), "finished"), ("SELECT 2".to_owned(), "failed")]);
    let lines = queries.lines(Duration::ZERO, NOW_MS);
    assert_eq!((lines[0].rows, lines[0].tasks_done), (7, 5));
    assert_eq!((lines[1].code.as_str(), lines[1].message.contains("longer than")), ("TIMEOUT", true));
}

#[test]
fn a_query_that_was_stopped_is_no_failure_and_one_that_goes_on_is_told_of_once() {
    let queries = Queries::default();
    let one = line("SELECT 1", NOW_MS);
    queries.begin(one.clone(), Duration::ZERO);
    queries.end(one.query, &Err(CoordinatorError::Cancelled), Duration::ZERO, NOW_MS);
    assert_eq!(told(&queries), [("SELECT 1".to_owned(), "cancelled")]);
    queries.begin(one, Duration::ZERO);
    assert_eq!(told(&queries), [("SELECT 1".to_owned(), "running")]);
}

#[test]
fn what_is_a_day_old_or_too_much_goes() {
    let queries = Queries::default();
    let day_ms = 24 * 3600 * 1000;
    let end = |started_ms: i64| {
        let line = line("SELECT 1", started_ms);
        let id = line.query;
        queries.begin(line, Duration::ZERO);
        queries.end(id, &ended(0), Duration::ZERO, NOW_MS);
    };
    end(NOW_MS - day_ms - 1);
    assert!(told(&queries).is_empty());
    (0..QUERIES_MAX as i64 + 5).for_each(|n| end(NOW_MS - n));
    assert_eq!(told(&queries).len(), QUERIES_MAX);
}

#[test]
fn what_an_earlier_life_left_running_is_lost_and_read_once() {
    let queries = Queries::default();
    let (old, new) = (line("SELECT 'old'", NOW_MS - 5), line("SELECT 'new'", NOW_MS));
    let incarnation = Incarnation::new(&SystemClock, &SystemRng);
    let log = QueryLog::new(NodeId::new("pi-1").unwrap(), incarnation, vec![old, new.clone()]);
    queries.begin(new, Duration::ZERO);
    queries.adopt(Some(log.clone()));
    queries.adopt(Some(log));
    assert_eq!(told(&queries), [("SELECT 'old'".to_owned(), "lost"), ("SELECT 'new'".to_owned(), "running")]);
}

#[test]
fn the_bucket_is_told_of_ends_and_of_long_queries_only() {
    let queries = Queries::default();
    assert!(!queries.is_worth_saving(Duration::ZERO));
    let one = line("SELECT 1", NOW_MS);
    let id = one.query;
    queries.begin(one, Duration::ZERO);
    assert!(!queries.is_worth_saving(SAVE_INTERVAL / 2) && queries.is_worth_saving(SAVE_INTERVAL));
    queries.end(id, &ended(0), Duration::ZERO, NOW_MS);
    assert!(queries.is_worth_saving(Duration::ZERO));
}
