//! What a merge join answers is what the hash join answered.

use std::sync::Arc;

use datafusion::{
    arrow::util::pretty::pretty_format_batches,
    execution::{memory_pool::FairSpillPool, runtime_env::RuntimeEnvBuilder},
    physical_plan::{ExecutionPlan, collect, displayable},
    prelude::{SessionConfig, SessionContext},
};

use super::exchange;

/// How the sides are asked for.
const SHAPES: &[&str] = &[
    "SELECT * FROM {l} l JOIN {r} r ON {on}",
    "SELECT l.v, r.name FROM {l} l JOIN {r} r ON {on}",
    "SELECT r.w FROM {l} l JOIN {r} r ON {on}",
    "SELECT count(*) FROM {l} l JOIN {r} r ON {on}",
    "SELECT * FROM {l} l LEFT JOIN {r} r ON {on}",
    "SELECT r.name, l.id FROM {l} l LEFT JOIN {r} r ON {on}",
    "SELECT * FROM {l} l RIGHT JOIN {r} r ON {on}",
    "SELECT l.s FROM {l} l RIGHT JOIN {r} r ON {on}",
    "SELECT * FROM {l} l FULL JOIN {r} r ON {on}",
    "SELECT l.id, r.name FROM {l} l FULL JOIN {r} r ON {on}",
    "SELECT l.id FROM {l} l LEFT SEMI JOIN {r} r ON {on}",
    "SELECT l.s FROM {l} l LEFT ANTI JOIN {r} r ON {on}",
    "SELECT r.name FROM {l} l RIGHT SEMI JOIN {r} r ON {on}",
    "SELECT r.w FROM {l} l RIGHT ANTI JOIN {r} r ON {on}",
    "SELECT l.id FROM {l} l WHERE EXISTS (SELECT 1 FROM {r} r WHERE {on}) OR l.v < 9",
    "SELECT l.id FROM {l} l WHERE NOT EXISTS (SELECT 1 FROM {r} r WHERE {on}) OR l.v < 9",
    "SELECT l.id, sum(r.w), max(r.name) FROM {l} l JOIN {r} r ON {on} GROUP BY l.id",
];

/// What the sides meet on.
const CONDITIONS: &[&str] = &[
    "l.k = r.k",
    "l.k = r.k AND r.w < l.v",
    "l.k = r.k AND l.v > r.w",
    "l.k = r.k AND r.w + l.v > 60 AND r.name <> l.s",
    "l.k = r.k AND r.w IS NULL",
    "l.k = r.k AND (r.w < l.v OR l.v IS NULL)",
    "l.k = r.k AND l.v < 40",
    "l.k = r.k AND r.w > 1000",
    "r.name = l.s",
    "r.name = l.s AND r.k < l.id AND l.k < r.w",
    "l.k = r.k AND l.s = r.name",
    "l.k = r.k AND l.s = r.name AND r.w < l.v",
    "l.day = r.day AND r.w < l.v AND l.id > r.k",
    "l.k = r.k AND l.id = r.k AND r.w < l.v",
    "l.k + 1 = r.k AND r.w < l.v",
    "(l.k IS NOT DISTINCT FROM r.k) AND r.w < l.v",
];

async fn session(partitions: usize, batch_rows: usize, pool_bytes: usize) -> SessionContext {
    let config = SessionConfig::new()
        .with_target_partitions(partitions)
        .with_batch_size(batch_rows)
        .with_sort_spill_reservation_bytes(64 << 10)
        .set_bool("datafusion.optimizer.enable_dynamic_filter_pushdown", false)
        .set_u64("datafusion.optimizer.hash_join_single_partition_threshold", if partitions == 3 { 0 } else { 9_000 })
        .set_u64(
            "datafusion.optimizer.hash_join_single_partition_threshold_rows",
            if partitions == 3 { 0 } else { 99 },
        );
    let pool = Arc::new(FairSpillPool::new(pool_bytes));
    let runtime = RuntimeEnvBuilder::new().with_memory_pool(pool).build_arc().unwrap();
    let context = SessionContext::new_with_config_rt(config, runtime);
    let of = |name: &str, rows: i64| {
        format!(
            "CREATE TABLE {name} AS SELECT value AS id, CASE WHEN value % 17 = 0 THEN NULL ELSE value * 7 % 23 END AS k, \
             CASE WHEN value % 11 = 0 THEN NULL ELSE value * 31 % 101 END AS v, concat('n', value % 13) AS s, \
             DATE '2026-01-01' + arrow_cast(value % 9, 'Int32') AS day FROM generate_series(1, {rows})"
        )
    };
    let other = |name: &str, rows: i64| {
        format!(
            "CREATE TABLE {name} AS SELECT concat('n', value % 19) AS name, \
             CASE WHEN value % 13 = 0 THEN NULL ELSE value % 29 END AS k, \
             CASE WHEN value % 7 = 0 THEN NULL ELSE value * 37 % 89 END AS w, \
             DATE '2026-01-03' + arrow_cast(value % 9, 'Int32') AS day FROM generate_series(1, {rows})"
        )
    };
    for create in [of("many", 240), of("few", 31), other("most", 260), other("least", 27)] {
        context.sql(&create).await.unwrap().collect().await.unwrap();
    }
    context
}

async fn answer(context: &SessionContext, plan: Arc<dyn ExecutionPlan>) -> Vec<String> {
    let told = text(&plan);
    let batches = collect(plan, context.task_ctx()).await.unwrap_or_else(|error| unreachable!("{error}\n{told}"));
    let text = pretty_format_batches(&batches).unwrap().to_string();
    let squeezed = |line: &str| line.split('|').map(str::trim).collect::<Vec<_>>().join("|");
    let mut rows: Vec<_> = text.lines().filter(|line| line.starts_with('|')).skip(1).map(squeezed).collect();
    rows.sort();
    rows
}

fn text(plan: &Arc<dyn ExecutionPlan>) -> String {
    displayable(plan.as_ref()).indent(false).to_string()
}

/// Asks everything both ways; how many answers came from merge joins, and how many joins stayed.
async fn agree(context: &SessionContext, sides: &[(&str, &str)]) -> (usize, usize) {
    let (mut merges, mut hashes) = (0, 0);
    for (left, right) in sides {
        for shape in SHAPES {
            for condition in CONDITIONS {
                let sql = shape.replace("{l}", left).replace("{r}", right).replace("{on}", condition);
                let plan = || async { context.sql(&sql).await.unwrap().create_physical_plan().await.unwrap() };
                let exchanged = exchange(plan().await, &|_| true).unwrap();
                let told = text(&exchanged);
                merges += told.matches("SortMergeJoin").count();
                hashes += told.matches("HashJoin").count();
                assert_eq!(answer(context, plan().await).await, answer(context, exchanged).await, "{sql}\n{told}");
            }
        }
    }
    (merges, hashes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_merge_join_answers_as_the_hash_join_did_in_one_partition() {
    let (merges, hashes) = agree(&session(1, 8192, 64 << 20).await, &[("many", "least"), ("few", "most")]).await;
    assert!(merges > 400 && hashes == 0, "{merges} {hashes}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn and_in_several_that_are_parted() {
    let (merges, hashes) = agree(&session(3, 16, 64 << 20).await, &[("many", "most")]).await;
    assert!(merges > 200 && hashes == 0, "{merges} {hashes}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn and_in_several_with_a_side_that_was_collected() {
    let (merges, _) = agree(&session(4, 5, 64 << 20).await, &[("few", "most")]).await;
    assert!(merges > 100, "{merges}");
}
