//! A plan's partitions as one stream, on this machine.
//!
//! DataFusion starts all partitions of the last step at once. `UNION ALL` has as many as all its inputs together, each
//! with an open file, a row group in memory and a batch that waits, so that an answer's memory would grow with the
//! statement. Where partitions know nothing of each other, no more of them run than the session has
//! `target_partitions`, or [`AT_ONCE_MIN`]; the next begins when one has ended. Where they share something (an exchange
//! would buffer for those that nobody reads, a join's build side may wait for all), DataFusion's way stands.

use std::sync::Arc;

use datafusion::{
    datasource::source::DataSourceExec,
    error::{DataFusionError, Result},
    execution::{SendableRecordBatchStream, TaskContext},
    physical_plan::{
        ExecutionPlan, common::spawn_buffered, coop::CooperativeExec, execute_stream, filter::FilterExec,
        projection::ProjectionExec, stream::RecordBatchStreamAdapter, union::UnionExec,
    },
};
use futures::{StreamExt, future::ready, stream};

/// Partitions that run at once on however few cores: enough that waits for a far store overlap.
const AT_ONCE_MIN: usize = 8;

/// What one partition may have ready before the reader takes it.
const READY_BATCHES: usize = 1;

/// Runs all partitions of `plan`, in any order. Dropping the stream stops it.
pub fn gather(plan: Arc<dyn ExecutionPlan>, ctx: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
    let partitions = plan.properties().partitioning.partition_count();
    let at_once = ctx.session_config().target_partitions().max(AT_ONCE_MIN);
    if partitions <= at_once || !are_alone(&plan) {
        return execute_stream(plan, ctx);
    }
    let schema = plan.schema();
    let running = stream::iter(0..partitions).map(move |partition| match plan.execute(partition, Arc::clone(&ctx)) {
        Ok(rows) => spawn_buffered(rows, READY_BATCHES).left_stream(),
        Err(error) => stream::once(ready(Err::<_, DataFusionError>(error))).right_stream(),
    });
    Ok(Box::pin(RecordBatchStreamAdapter::new(schema, running.flatten_unordered(at_once))))
}

/// Whether each partition can run to its end while others have not begun.
fn are_alone(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let by_itself = plan.is::<DataSourceExec>()
        || plan.is::<FilterExec>()
        || plan.is::<ProjectionExec>()
        || plan.is::<CooperativeExec>()
        || plan.is::<UnionExec>();
    by_itself && plan.children().into_iter().all(are_alone)
}
