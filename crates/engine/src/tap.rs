//! A tap under the writer: what flows through a task's plan can be stopped here.
//!
//! Ballista's writers run in tasks of their own that nobody can abort from outside; they end when their input ends.
//! So their input ends, with an error, as soon as the attempt is cancelled.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use datafusion::{
    arrow::{array::RecordBatch, datatypes::SchemaRef},
    common::tree_node::TreeNodeRecursion,
    error::{DataFusionError, Result as DataFusionResult},
    execution::TaskContext,
    physical_expr::PhysicalExpr,
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, RecordBatchStream, SendableRecordBatchStream,
        replace_children_if_necessary,
    },
};
use futures::{Future, Stream, StreamExt};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Passes its input through until it is cancelled.
#[derive(Debug)]
pub(crate) struct Tap {
    input: Arc<dyn ExecutionPlan>,
    cancel: CancellationToken,
}

/// `writer` with a tap between it and its input.
pub(crate) fn put_under(
    writer: Arc<dyn ExecutionPlan>,
    cancel: &CancellationToken,
) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
    let tapped = |input: &Arc<dyn ExecutionPlan>| {
        Arc::new(Tap { input: Arc::clone(input), cancel: cancel.clone() }) as Arc<dyn ExecutionPlan>
    };
    let children = writer.children().into_iter().map(tapped).collect();
    replace_children_if_necessary(writer, children)
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
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DataFusionResult<TreeNodeRecursion>,
    ) -> DataFusionResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let input = children.pop().ok_or_else(|| DataFusionError::Internal("a tap has one input".to_owned()))?;
        Ok(Arc::new(Self { input, cancel: self.cancel.clone() }))
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
            Some(input) => input.poll_next_unpin(context),
            None => Poll::Ready(None),
        }
    }
}

impl RecordBatchStream for TapStream {
    fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.schema)
    }
}
