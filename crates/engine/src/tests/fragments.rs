//! A fragment that says all of what its plan does gives the task's rows when it is run over the task's cells.

use std::sync::Arc;

use datafusion::{
    physical_plan::{ExecutionPlan, collect},
    prelude::{ParquetReadOptions, SessionConfig, SessionContext},
};

use super::colony::{Colony, rows};
use crate::{FrameNames, board_config, fragment_sql, stages, stages::Locations, task_cells};

/// Statements whose first stage can be said in SQL: scans, filters, projections, partial aggregates. No sorts with a
/// limit: their tasks, run in one process from one plan, share a filter that is found while they run.
const SAID: &[&str] = &[
    "SELECT * FROM t",
    "SELECT id, v FROM t WHERE v > 50 AND s <> 's3'",
    "SELECT id FROM t WHERE s = 'it''s' OR s LIKE 's1%' OR v IS NULL",
    "SELECT id, v FROM t WHERE v IN (1, 2, 77) OR NOT (k = 3) AND day < DATE '2026-01-20'",
    "SELECT id * 2 + k AS twice, (id + k) * 2 AS other, -k AS less, upper(s) AS loud FROM t WHERE (v + 1) * 2 > k - 3",
    "SELECT CASE WHEN v IS NULL THEN 'none' WHEN v > 50 THEN 'high' ELSE 'low' END AS c, id FROM t WHERE id < 700",
    "SELECT k, sum(v), count(v), count(*), min(day), max(s) FROM t GROUP BY k",
    "SELECT k, s, avg(v), avg(d), sum(d) FROM t WHERE v IS NOT NULL GROUP BY k, s",
    "SELECT sum(v) FILTER (WHERE k = 2), count(*) FILTER (WHERE s > 's2') FROM t",
    "SELECT v % 10 AS digit, sum(v * 2) FROM t WHERE k BETWEEN 1 AND 4 GROUP BY v % 10",
    "SELECT DISTINCT k, s FROM t WHERE s > 's2'",
];

/// Statements of whose first stage something is left unsaid.
const NOT_SAID: &[&str] = &[
    "SELECT k, stddev(v) FROM t GROUP BY k",
    "SELECT k, count(DISTINCT s), sum(v) FROM t GROUP BY ROLLUP (k)",
    "SELECT k, array_agg(id ORDER BY id) FROM t GROUP BY k",
];

fn names() -> FrameNames {
    FrameNames::new([("frames/t".to_owned(), "t".to_owned())])
}

/// The work under the writer of the first stage's task, as SQL, with its plan.
async fn tasks(colony: &Colony, sql: &str) -> Vec<(Option<String>, Arc<dyn ExecutionPlan>)> {
    let (query, _) = colony.cut(sql, board_config(3)).await.unwrap();
    let stage = &query.plans.stages[0];
    let plan = query.plans.resolve(stage.id, &[], &Locations::new()).unwrap();
    let restricted = (0..stage.tasks).map(|task| stages::restrict(&plan, &[task as usize]).unwrap());
    let work = restricted.map(|plan| Arc::clone(plan.children()[0]));
    work.map(|work| (fragment_sql::exact(work.as_ref(), &names()), work)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fragment_over_the_tasks_cells_gives_the_tasks_rows() {
    let colony = Colony::new();
    colony.fill().await;
    let context = colony.session(board_config(1)).await;
    for sql in SAID {
        let tasks = tasks(&colony, sql).await;
        assert!(!tasks.is_empty(), "{sql}");
        for (fragment, work) in tasks {
            let fragment = fragment.unwrap_or_else(|| panic!("{sql} is not said"));
            let cells: Vec<_> = task_cells::cells_of(work.as_ref()).into_iter().map(|(cell, _)| cell).collect();
            let expected = collect(work, context.task_ctx()).await.unwrap();
            let got = over(&colony, &cells, &fragment).await;
            assert_eq!(got, rows(&expected, false), "{sql}\n{fragment}");
        }
    }
}

/// The rows of a fragment over some cells alone.
async fn over(colony: &Colony, cells: &[String], fragment: &str) -> Vec<String> {
    let context = SessionContext::new_with_config_rt(SessionConfig::new(), Arc::clone(&colony.runtime));
    let urls: Vec<String> = cells.iter().map(|cell| format!("apiary://cells/{cell}")).collect();
    let frame = context.read_parquet(urls, ParquetReadOptions::default()).await.unwrap();
    context.register_table("t", frame.into_view()).unwrap();
    let rows_of = context.sql(fragment).await.unwrap_or_else(|error| panic!("{fragment}: {error}"));
    rows(&rows_of.collect().await.unwrap_or_else(|error| panic!("{fragment}: {error}")), false)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fragment_that_leaves_something_unsaid_does_not_say_that_it_is_exact() {
    let colony = Colony::new();
    colony.fill().await;
    for sql in NOT_SAID {
        let tasks = tasks(&colony, sql).await;
        assert!(tasks.iter().all(|(fragment, _)| fragment.is_none()), "{sql}: {:?}", tasks[0].0);
    }
}
