//! What a window function holds, counted.
//!
//! A window over a whole group of rows (`sum(v) OVER (PARTITION BY k)`) is computed when all rows of the task are
//! there, and DataFusion 55.2 tells no memory pool that it holds them. In a chamber that is how one task takes the
//! memory of its neighbours. So its input goes over a scale, which asks the pool for each batch twice, once for the
//! batch and once for the copy that is made of all of them, and gives it back when the window is done.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use datafusion::{
    arrow::{
        array::{Array, ArrayRef, AsArray, RecordBatch},
        datatypes::SchemaRef,
    },
    common::tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    error::{DataFusionError, Result},
    execution::{
        TaskContext,
        memory_pool::{MemoryConsumer, MemoryReservation},
    },
    physical_expr::PhysicalExpr,
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, RecordBatchStream, SendableRecordBatchStream,
        replace_children_if_necessary, windows::WindowAggExec,
    },
};
use futures::{Stream, StreamExt, ready};

/// `plan` with a scale under each window that holds all of its rows. For a plan that is about to run: a scale is
/// never encoded.
pub fn weigh_windows(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let weighed = plan.transform_up(|node| {
        let Some(window) = node.downcast_ref::<WindowAggExec>() else { return Ok(Transformed::no(node)) };
        let scale = Arc::new(Scale { input: Arc::clone(window.input()) });
        replace_children_if_necessary(node, vec![scale]).map(Transformed::yes)
    })?;
    Ok(weighed.data)
}

/// Passes its input through and counts it as held.
#[derive(Debug)]
struct Scale {
    input: Arc<dyn ExecutionPlan>,
}

impl DisplayAs for Scale {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Scale")
    }
}

impl ExecutionPlan for Scale {
    fn name(&self) -> &'static str {
        "Scale"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let input = children.pop().ok_or_else(|| DataFusionError::Internal("a scale has one input".to_owned()))?;
        Ok(Arc::new(Self { input }))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let held = MemoryConsumer::new(format!("Window[{partition}]")).register(context.memory_pool());
        let input = self.input.execute(partition, context)?;
        Ok(Box::pin(Weighed { input, held }))
    }
}

/// Holds what it counted until the window drops it.
struct Weighed {
    input: SendableRecordBatchStream,
    held: MemoryReservation,
}

impl Stream for Weighed {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let weighed = ready!(self.input.poll_next_unpin(context)).map(|batch| {
            let batch = batch?;
            self.held.try_grow(bytes_of(&batch).saturating_mul(2))?;
            Ok(batch)
        });
        Poll::Ready(weighed)
    }
}

/// Bytes of the rows themselves: what a batch shares with others counts once for each.
fn bytes_of(batch: &RecordBatch) -> usize {
    let texts = |column: &ArrayRef| {
        let strings = column.as_string_view_opt().map(|views| views.total_buffer_bytes_used());
        strings.or_else(|| Some(column.as_binary_view_opt()?.total_buffer_bytes_used())).unwrap_or(0)
    };
    let of = |column: &ArrayRef| column.to_data().get_slice_memory_size().unwrap_or(0) + texts(column);
    batch.columns().iter().map(of).sum()
}

impl RecordBatchStream for Weighed {
    fn schema(&self) -> SchemaRef {
        self.input.schema()
    }
}

#[cfg(test)]
mod tests {
    use datafusion::{
        execution::{memory_pool::GreedyMemoryPool, runtime_env::RuntimeEnvBuilder},
        physical_plan::{collect, displayable},
        prelude::{SessionConfig, SessionContext},
    };

    use super::*;

    async fn rows(pool_bytes: usize) -> Result<usize> {
        let pool = Arc::new(GreedyMemoryPool::new(pool_bytes));
        let runtime = RuntimeEnvBuilder::new().with_memory_pool(Arc::clone(&pool) as _).build_arc()?;
        let config = SessionConfig::new().with_target_partitions(1);
        let context = SessionContext::new_with_config_rt(config, runtime);
        let sql = "SELECT value, sum(value) OVER (PARTITION BY value % 3) FROM generate_series(1, 100000)";
        let plan = context.sql(sql).await?.create_physical_plan().await?;
        let weighed = weigh_windows(plan)?;
        let told = displayable(weighed.as_ref()).indent(false).to_string();
        assert!(told.contains("WindowAggExec") && told.contains("Scale"), "{told}");
        let batches = collect(weighed, context.task_ctx()).await?;
        let left = datafusion::execution::memory_pool::MemoryPool::reserved(pool.as_ref());
        assert_eq!(left, 0);
        Ok(batches.iter().map(RecordBatch::num_rows).sum())
    }

    #[tokio::test]
    async fn what_a_window_holds_is_counted_and_given_back() {
        assert_eq!(rows(64 << 20).await.unwrap(), 100_000);
        let error = rows(3 << 20).await.unwrap_err();
        assert!(matches!(error.find_root(), DataFusionError::ResourcesExhausted(_)), "{error}");
    }
}
