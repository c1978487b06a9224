//! Where sieves stand, and that what passes them is what a filter keeps, in its order.

use std::sync::Arc;

use apiary_core::{Rng, SeededRng};
use datafusion::{
    arrow::{
        array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray},
        datatypes::Int64Type,
    },
    datasource::{memory::MemorySourceConfig, source::DataSourceExec},
    execution::TaskContext,
    logical_expr::Operator,
    physical_expr::{
        PhysicalExpr,
        expressions::{BinaryExpr, Column, DynamicFilterPhysicalExpr, lit},
    },
    physical_plan::{ExecutionPlan, displayable},
    prelude::SessionConfig,
};
use futures::TryStreamExt;

use super::exec::SieveExec;
use crate::{
    Session, local_config,
    tests::kit::{Colony, lines, query},
};

fn numbers(rows: i64, of: impl Fn(i64) -> i64) -> ArrayRef {
    Arc::new((0..rows).map(of).collect::<Int64Array>())
}

/// Three frames whose joins are a chain: few of the first, so few of the last, which DataFusion learns while it runs.
async fn chain() -> Colony {
    let colony = Colony::new();
    let frame = |columns: Vec<(&str, ArrayRef)>| RecordBatch::try_from_iter(columns).unwrap();
    let colour = |n: i64| if n % 50 == 7 { "red" } else { "grey" };
    let colours: ArrayRef = Arc::new((0..200).map(|n| Some(colour(n))).collect::<StringArray>());
    colony.frame("h.b.parts", &[], &[frame(vec![("part", numbers(200, |n| n)), ("colour", colours)])]).await;
    let items = vec![("part", numbers(9000, |n| n * 7 % 200)), ("amount", numbers(9000, |n| n % 13))];
    colony.frame("h.b.items", &[], &[frame(items)]).await;
    colony
}

const FAR: &str = "SELECT p.part, a.total FROM h.b.parts p JOIN (SELECT part, sum(amount) AS total FROM h.b.items \
                   GROUP BY part) a ON a.part = p.part WHERE p.colour = 'red'";

async fn shown(colony: &Colony, sql: &str, session: &Session, config: SessionConfig) -> String {
    let pinned = colony.planner.pin(&query(sql).unwrap(), session).await.unwrap();
    let planned = pinned.plan(config, colony.planner.runtime()).await.unwrap();
    displayable(planned.physical.as_ref()).indent(true).to_string()
}

#[tokio::test]
async fn a_sieve_stands_on_a_scan_whose_rows_have_far_to_go() {
    let colony = chain().await;
    let plan = shown(&colony, FAR, &Session::default(), local_config(2)).await;
    let lines: Vec<&str> = plan.lines().map(str::trim).collect();
    let at =
        lines.iter().position(|line| line.starts_with("SieveExec: DynamicFilter")).unwrap_or_else(|| panic!("{plan}"));
    assert!(lines[at + 1].contains("items"), "{plan}");
    assert_eq!(plan.matches("SieveExec").count(), 1, "{plan}");
}

#[tokio::test]
async fn there_is_no_sieve_right_below_a_join_nor_for_another_machine_nor_if_told_so() {
    let colony = chain().await;
    let near = "SELECT count(*) FROM h.b.parts p JOIN h.b.items i ON i.part = p.part WHERE p.colour = 'red'";
    let session = Session::default();
    let mut without = Session::default();
    without.settings.set("plan_without", "sieves").unwrap();
    for (sql, session, config) in [
        (near, &session, local_config(1)),
        (FAR, &session, SessionConfig::new().with_target_partitions(2)),
        (FAR, &without, local_config(2)),
    ] {
        let plan = shown(&colony, sql, session, config).await;
        assert!(!plan.contains("SieveExec") && plan.contains("DynamicFilter"), "{plan}");
    }
}

#[tokio::test]
async fn a_sieve_drops_rows_and_the_answer_stays() {
    let colony = chain().await;
    let (planned, rows) = colony.ask(FAR, &Session::default()).await.unwrap();
    let mut without = Session::default();
    without.settings.set("plan_without", "sieves").unwrap();
    let (_, plain) = colony.ask(FAR, &without).await.unwrap();
    assert_eq!((lines(&rows), lines(&rows).len()), (lines(&plain), 4));
    let mut dropped = 0;
    let mut nodes = vec![planned.physical];
    while let Some(node) = nodes.pop() {
        let metrics = (node.name() == "SieveExec").then(|| node.metrics()).flatten();
        dropped += metrics.and_then(|metrics| metrics.sum_by_name("rows_dropped")).map_or(0, |count| count.as_usize());
        nodes.extend(node.children().into_iter().map(Arc::clone));
    }
    assert_eq!(dropped, 9000 - 4 * 45);
}

/// `n < less`, where NULL is not less.
fn less(less: i64) -> Arc<dyn PhysicalExpr> {
    Arc::new(BinaryExpr::new(Arc::new(Column::new("n", 0)), Operator::Lt, lit(less)))
}

#[tokio::test]
async fn what_passes_is_in_order_and_has_every_row_that_the_filters_keep() {
    let rng = SeededRng::new(5);
    for _ in 0..200 {
        let below = |n: u64| i64::try_from(rng.below(n)).unwrap();
        let (limits, batches) = ([below(120), below(120)], 1 + below(12));
        let value = |_| (below(9) > 0).then(|| below(100));
        let made: Vec<RecordBatch> = (0..batches)
            .map(|_| {
                let column = (0..below(40)).map(value).collect::<Int64Array>();
                RecordBatch::try_from_iter_with_nullable([("n", Arc::new(column) as ArrayRef, true)]).unwrap()
            })
            .collect();
        let filters: Vec<_> = (0..2)
            .map(|_| Arc::new(DynamicFilterPhysicalExpr::new(vec![Arc::new(Column::new("n", 0))], lit(true))))
            .collect();
        let input = MemorySourceConfig::try_new(std::slice::from_ref(&made), made[0].schema(), None).unwrap();
        let kept = filters.iter().map(|filter| Arc::clone(filter) as Arc<dyn PhysicalExpr>).collect();
        let sieve = SieveExec::new(kept, DataSourceExec::from_data_source(input));
        let config = SessionConfig::new().with_batch_size(16);
        let context = Arc::new(TaskContext::default().with_session_config(config));
        let mut stream = sieve.execute(0, context).unwrap();
        // The filters become known after some batches, one after the other.
        let mut passed = Vec::new();
        for (filter, limit) in filters.iter().zip(limits) {
            for _ in 0..below(4) {
                passed.extend(stream.try_next().await.unwrap());
            }
            filter.update(less(limit)).unwrap();
        }
        passed.extend(stream.try_collect::<Vec<_>>().await.unwrap());
        let values = |batches: &[RecordBatch]| -> Vec<Option<i64>> {
            batches
                .iter()
                .flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().iter().collect::<Vec<_>>())
                .collect()
        };
        let (given, passed) = (values(&made), values(&passed));
        let mut rest = given.iter();
        assert!(passed.iter().all(|value| rest.any(|given| given == value)), "in order: {given:?} → {passed:?}");
        let stays = |value: &&Option<i64>| value.is_some_and(|value| limits.iter().all(|limit| value < *limit));
        assert_eq!(given.iter().filter(stays).count(), passed.iter().filter(stays).count());
    }
}
