//! The leaf that reads other stages' output on a worker, in the place of Ballista's own.
//!
//! Ballista's reader asks executors over Flight; ours asks the bucket. It is put in after decoding, so it never has
//! to be encoded, and it keeps the reader's partitioning exactly: a broadcast reader serves the same rows whichever
//! partition is asked for.

use std::{path::Path, sync::Arc};

use apiary_bucket::Bucket;
use apiary_core::QueryId;
use ballista_core::execution_plans::ShuffleReaderExec;
use datafusion::{
    common::tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    error::{DataFusionError, Result as DataFusionResult},
    execution::TaskContext,
    physical_expr::PhysicalExpr,
    physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, SendableRecordBatchStream},
};

use super::{
    pieces::{self, TaskExtra},
    read::{self, Piece},
};
use crate::Result;

/// Reads pieces, by partition.
#[derive(Debug)]
struct CombReader {
    bucket: Bucket,
    stage: usize,
    partitions: Vec<Vec<Piece>>,
    broadcast: bool,
    properties: Arc<PlanProperties>,
}

/// `plan` with every one of Ballista's readers replaced.
pub(crate) fn replace_readers(
    plan: Arc<dyn ExecutionPlan>,
    bucket: &Bucket,
    query: &QueryId,
    extra: &TaskExtra,
    scratch: Option<&Path>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let replace = |node: Arc<dyn ExecutionPlan>| {
        let Some(reader) = node.downcast_ref::<ShuffleReaderExec>() else { return Ok(Transformed::no(node)) };
        let partitions = pieces::pieces_of(reader, query, extra, scratch);
        let partitions = partitions.map_err(|error| DataFusionError::External(Box::new(error)))?;
        let comb = CombReader {
            bucket: bucket.clone(),
            stage: reader.stage_id,
            partitions,
            broadcast: reader.broadcast,
            properties: Arc::clone(reader.properties()),
        };
        Ok(Transformed::yes(Arc::new(comb) as Arc<dyn ExecutionPlan>))
    };
    Ok(plan.transform_up(replace)?.data)
}

impl DisplayAs for CombReader {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let pieces: usize = self.partitions.iter().map(Vec::len).sum();
        write!(f, "CombReader: stage={}, pieces={pieces}, broadcast={}", self.stage, self.broadcast)
    }
}

impl ExecutionPlan for CombReader {
    fn name(&self) -> &'static str {
        "CombReader"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DataFusionResult<TreeNodeRecursion>,
    ) -> DataFusionResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> DataFusionResult<SendableRecordBatchStream> {
        let partition = if self.broadcast { 0 } else { partition };
        let pieces = self.partitions.get(partition).cloned().ok_or_else(|| {
            DataFusionError::Internal(format!("stage {} has no partition {partition} for this task", self.stage))
        })?;
        let batch_rows = context.session_config().batch_size();
        Ok(read::read(self.bucket.clone(), pieces, self.schema(), batch_rows))
    }
}
