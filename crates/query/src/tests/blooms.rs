//! Bloom filters are asked where a cell has them. Cells that Apiary writes have none yet; those of others may.

use std::sync::Arc;

use apiary_core::{CellStats, ColumnStats, StatValue};
use datafusion::{
    arrow::{
        array::{Int64Array, RecordBatch},
        datatypes::{DataType, Field, Schema},
    },
    parquet::{arrow::ArrowWriter, file::properties::WriterProperties},
    physical_plan::{ExecutionPlan, metrics::MetricValue},
};
use futures::TryStreamExt;

use super::kit::{Colony, query, run};
use crate::{Session, local_config};

const GROUP_ROWS: i64 = 1000;

/// Two row groups of even numbers over one range, so that bounds tell them apart from nothing.
fn parquet(blooms: bool) -> Vec<u8> {
    let schema = Arc::new(Schema::new(vec![Field::new("k", DataType::Int64, true)]));
    let properties = WriterProperties::builder()
        .set_bloom_filter_enabled(blooms)
        .set_max_row_group_row_count(Some(GROUP_ROWS as usize))
        .set_data_page_row_count_limit(GROUP_ROWS as usize);
    let mut writer = ArrowWriter::try_new(Vec::new(), Arc::clone(&schema), Some(properties.build())).unwrap();
    for group in 0..2 {
        let k = Int64Array::from_iter_values((0..GROUP_ROWS).map(|row| row * 4 + group * 2));
        writer.write(&RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(k)]).unwrap()).unwrap();
    }
    writer.into_inner().unwrap()
}

/// What was left out by a metric of that name, anywhere in the plan.
fn pruned(plan: &dyn ExecutionPlan, name: &str) -> usize {
    let metrics = plan.metrics();
    let values = metrics.iter().flat_map(|metrics| metrics.iter()).map(|metric| metric.value().clone());
    let here = values.map(|value| match value {
        MetricValue::PruningMetrics { name: known, pruning_metrics } if known == name => pruning_metrics.pruned(),
        _ => 0,
    });
    here.sum::<usize>() + plan.children().into_iter().map(|child| pruned(child.as_ref(), name)).sum::<usize>()
}

/// Rows with that key, and the row groups that bloom filters left out.
async fn asked(blooms: bool, key: i64) -> (usize, usize) {
    let colony = Colony::new();
    let schema = Arc::new(Schema::new(vec![Field::new("k", DataType::Int64, true)]));
    let bounds = ColumnStats {
        min: Some(StatValue::Int(0)),
        max: Some(StatValue::Int(GROUP_ROWS * 4)),
        null_count: Some(0),
        ..ColumnStats::default()
    };
    let rows = 2 * GROUP_ROWS as u64;
    let stats = CellStats { rows, columns: [("k".to_owned(), bounds)].into() };
    colony.of_parquet("h.b.evens", &schema, parquet(blooms), stats).await;
    let statement = query(&format!("SELECT k FROM h.b.evens WHERE k = {key}")).unwrap();
    let pinned = colony.planner.pin(&statement, &Session::default()).await.unwrap();
    let planned = pinned.plan(local_config(1), colony.planner.runtime()).await.unwrap();
    let batches: Vec<RecordBatch> = run(&planned).unwrap().try_collect().await.unwrap();
    let found = batches.iter().map(RecordBatch::num_rows).sum();
    (found, pruned(planned.physical.as_ref(), "row_groups_pruned_bloom_filter"))
}

#[tokio::test]
async fn row_groups_whose_bloom_filter_has_not_the_key_are_left_out() {
    assert_eq!([asked(true, 2001).await, asked(true, 2000).await], [(0, 2), (1, 1)]);
    assert_eq!([asked(false, 2001).await, asked(false, 2000).await], [(0, 0), (1, 0)]);
}
