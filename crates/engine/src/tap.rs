//! A tap under the writer: what flows through a task's plan can be stopped here.
//!
//! Ballista's writers run in tasks of their own that nobody can abort from outside; they end when their input ends.
//! So their input ends, with an error, as soon as the attempt is cancelled. On the way strings take the form in which
//! they are written (see `apiary_query::conform`).

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use apiary_query::{conform, plain_schema};
use ballista_core::execution_plans::SortShuffleWriterExec;
use datafusion::{
    arrow::{array::RecordBatch, datatypes::SchemaRef},
    common::tree_node::TreeNodeRecursion,
    error::{DataFusionError, Result as DataFusionResult},
    execution::TaskContext,
    physical_expr::{EquivalenceProperties, PhysicalExpr},
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties, RecordBatchStream,
        SendableRecordBatchStream, replace_children_if_necessary,
    },
};
use futures::{Future, Stream, StreamExt, ready};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::views;

/// Passes its input through until it is cancelled.
#[derive(Debug)]
pub(crate) struct Tap {
    input: Arc<dyn ExecutionPlan>,
    cancel: CancellationToken,
    properties: Arc<PlanProperties>,
}

/// `writer` with a tap between it and its input.
pub(crate) fn put_under(
    writer: Arc<dyn ExecutionPlan>,
    cancel: &CancellationToken,
) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
    let [input] = writer.children()[..] else {
        return Err(DataFusionError::Internal("a writer has one input".to_owned()));
    };
    let schema = input.schema();
    let tap = Arc::new(Tap::new(Arc::clone(input), cancel.clone()));
    let Some(sort) = writer.downcast_ref::<SortShuffleWriterExec>() else {
        return replace_children_if_necessary(writer, vec![tap]);
    };
    let Partitioning::Hash(exprs, count) = sort.shuffle_output_partitioning() else {
        return Err(DataFusionError::Internal("a sort shuffle deals rows by hash".to_owned()));
    };
    let exprs = exprs.iter().map(|expr| views::over_written(expr, &schema)).collect::<DataFusionResult<_>>()?;
    let (job, stage) = (sort.job_id().clone(), sort.stage_id());
    let partitioning = Partitioning::Hash(exprs, *count);
    let sort = SortShuffleWriterExec::try_new(job, stage, tap, String::new(), partitioning, sort.config().clone())?;
    Ok(Arc::new(sort))
}

impl Tap {
    fn new(input: Arc<dyn ExecutionPlan>, cancel: CancellationToken) -> Self {
        let given = input.properties();
        let schema = plain_schema(&input.schema());
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(given.output_partitioning().partition_count()),
            given.emission_type,
            given.boundedness,
        );
        Self { input, cancel, properties: Arc::new(properties) }
    }
}

impl DisplayAs for Tap {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tap")
    }
}

impl ExecutionPlan for Tap {
    fn name(&self) -> &'static str {
        "Tap"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DataFusionResult<TreeNodeRecursion>,
    ) -> DataFusionResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let input = children.pop().ok_or_else(|| DataFusionError::Internal("a tap has one input".to_owned()))?;
        Ok(Arc::new(Self::new(input, self.cancel.clone())))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> DataFusionResult<SendableRecordBatchStream> {
        let input = self.input.execute(partition, context)?;
        let cancelled = Box::pin(self.cancel.clone().cancelled_owned());
        Ok(Box::pin(TapStream { input: Some(input), schema: self.schema(), cancelled }))
    }
}

struct TapStream {
    input: Option<SendableRecordBatchStream>,
    schema: SchemaRef,
    cancelled: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Stream for TapStream {
    type Item = DataFusionResult<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.cancelled.as_mut().poll(context).is_ready() {
            // Dropping the input frees its memory at once; the writer sees the error and lets go of the file.
            self.input = None;
            return Poll::Ready(Some(Err(DataFusionError::Execution("the attempt was cancelled".to_owned()))));
        }
        match self.input.as_mut() {
            Some(input) => match ready!(input.poll_next_unpin(context)) {
                Some(Ok(batch)) => Poll::Ready(Some(conform(batch, &self.schema))),
                other => Poll::Ready(other),
            },
            None => Poll::Ready(None),
        }
    }
}

impl RecordBatchStream for TapStream {
    fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.schema)
    }
}
