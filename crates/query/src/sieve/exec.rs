//! The operator: passes batches on, without the rows that its filters drop.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use datafusion::{
    arrow::{
        array::{Array, BooleanArray, RecordBatch},
        compute::{BatchCoalescer, filter_record_batch, prep_null_mask_filter},
        datatypes::SchemaRef,
    },
    common::{ScalarValue, cast::as_boolean_array, tree_node::TreeNodeRecursion},
    error::{DataFusionError, Result as DfResult},
    execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext},
    logical_expr::ColumnarValue,
    physical_expr::PhysicalExpr,
    physical_plan::{
        ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions,
        apply_expression_roots,
        execution_plan::CardinalityEffect,
        metrics::{BaselineMetrics, Count, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet},
    },
};
use futures::{Stream, StreamExt};

use super::worth::Worth;

/// Asks filters of each row of its input, as long as that is worth it.
#[derive(Debug)]
pub(super) struct SieveExec {
    filters: Vec<Arc<dyn PhysicalExpr>>,
    input: Arc<dyn ExecutionPlan>,
    metrics: ExecutionPlanMetricsSet,
}

impl SieveExec {
    pub(super) fn new(filters: Vec<Arc<dyn PhysicalExpr>>, input: Arc<dyn ExecutionPlan>) -> Self {
        Self { filters, input, metrics: ExecutionPlanMetricsSet::new() }
    }
}

impl DisplayAs for SieveExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let filters: Vec<String> = self.filters.iter().map(ToString::to_string).collect();
        write!(f, "SieveExec: {}", filters.join(" AND "))
    }
}

impl ExecutionPlan for SieveExec {
    fn name(&self) -> &'static str {
        "SieveExec"
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

    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::LowerEqual
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DfResult<TreeNodeRecursion>,
    ) -> DfResult<TreeNodeRecursion> {
        apply_expression_roots(&self.filters, f)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let input = children.pop().ok_or_else(|| DataFusionError::Internal("a sieve stands on one node".to_owned()))?;
        Ok(Arc::new(Self::new(self.filters.clone(), input)))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> DfResult<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        let batch_rows = context.session_config().batch_size();
        let input = self.input.execute(partition, context)?;
        let filters = self.filters.iter().map(|filter| (Arc::clone(filter), Worth::new())).collect();
        let schema = input.schema();
        Ok(Box::pin(Sieve {
            // A batch that lost less than half of its rows is not worth copying.
            kept: BatchCoalescer::new(Arc::clone(&schema), batch_rows)
                .with_biggest_coalesce_batch_size(Some(batch_rows / 2)),
            whole: None,
            ended: false,
            dropped: MetricBuilder::new(&self.metrics).counter("rows_dropped", partition),
            metrics: BaselineMetrics::new(&self.metrics, partition),
            filters,
            input,
            schema,
        }))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

/// One partition's rows.
struct Sieve {
    input: SendableRecordBatchStream,
    schema: SchemaRef,
    filters: Vec<(Arc<dyn PhysicalExpr>, Worth)>,
    /// Rows that were kept of batches, gathered.
    kept: BatchCoalescer,
    /// A batch that passed unasked, to go after what is gathered.
    whole: Option<RecordBatch>,
    ended: bool,
    metrics: BaselineMetrics,
    dropped: Count,
}

impl Sieve {
    /// Takes a batch in, without the rows that some filter drops.
    fn take(&mut self, batch: RecordBatch) -> DfResult<()> {
        let mut batch = batch;
        let mut pending: Option<BooleanArray> = None;
        let mut some_gone = false;
        for (filter, worth) in &mut self.filters {
            if !worth.ask() {
                continue;
            }
            if let Some(mask) = pending.take() {
                batch = filter_record_batch(&batch, &mask)?;
                some_gone = true;
            }
            let rows = batch.num_rows();
            if rows == 0 {
                return Ok(());
            }
            // A filter that is not known yet is the literal true.
            let mask = match filter.evaluate(&batch)? {
                ColumnarValue::Scalar(ScalarValue::Boolean(Some(true))) => continue,
                told => told.into_array(rows)?,
            };
            let mask = as_boolean_array(&mask)?;
            let mask = if mask.null_count() > 0 { prep_null_mask_filter(mask) } else { mask.clone() };
            let kept = mask.true_count();
            worth.kept(kept, rows);
            self.dropped.add(rows - kept);
            if kept < rows {
                pending = Some(mask);
            }
        }
        match pending {
            Some(mask) => self.kept.push_batch_with_filter(batch, &mask)?,
            None if some_gone => self.kept.push_batch(batch)?,
            None => {
                self.kept.finish_buffered_batch()?;
                self.whole = Some(batch);
            }
        }
        Ok(())
    }

    /// What can go on.
    fn ready(&mut self) -> Option<RecordBatch> {
        self.kept.next_completed_batch().or_else(|| self.whole.take())
    }
}

impl Stream for Sieve {
    type Item = DfResult<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let sieve = &mut *self;
        loop {
            if let Some(batch) = sieve.ready() {
                return sieve.metrics.record_poll(Poll::Ready(Some(Ok(batch))));
            }
            if sieve.ended {
                return Poll::Ready(None);
            }
            let taken = match ready!(sieve.input.poll_next_unpin(cx)) {
                Some(Ok(batch)) => {
                    let timer = sieve.metrics.elapsed_compute().clone();
                    let _timer = timer.timer();
                    sieve.take(batch)
                }
                Some(Err(error)) => Err(error),
                None => {
                    sieve.ended = true;
                    sieve.kept.finish_buffered_batch().map_err(Into::into)
                }
            };
            if let Err(error) = taken {
                sieve.ended = true;
                return Poll::Ready(Some(Err(error)));
            }
        }
    }
}

impl RecordBatchStream for Sieve {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}
