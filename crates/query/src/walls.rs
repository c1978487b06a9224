//! Filters that are found while a query runs, kept away from where they would be taken for another column's.
//!
//! A hash join tells the scans of its other side which keys it has (DataFusion calls that a dynamic filter). On its
//! way down the filter finds its columns in each node *by name*, and takes the first of that name. Between the join
//! and the scan there may be two: `x JOIN y` has `x.b` and `y.b`, and both are `b`. The filter of the one then drops
//! rows by the other, and rows are missing from the answer (DataFusion 55.2; joins themselves look at positions).
//!
//! So for as long as filters are pushed down, a wall stands on top of every node that would have to choose between
//! two columns of one name. It lets nothing through, which costs speed and never rows; what lies below it still
//! pushes filters of its own.

use std::{collections::HashSet, fmt, sync::Arc};

use datafusion::{
    common::tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    config::ConfigOptions,
    error::{DataFusionError, Result as DfResult},
    execution::{SendableRecordBatchStream, TaskContext},
    physical_expr::PhysicalExpr,
    physical_optimizer::{PhysicalOptimizerRule, filter_pushdown::FilterPushdown, optimizer::PhysicalOptimizer},
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions, joins::HashJoinExec,
    },
};

/// DataFusion's rules for physical plans, those that push filters down between walls.
pub(crate) fn physical_rules() -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    let walled = |rule: Arc<dyn PhysicalOptimizerRule + Send + Sync>| {
        let pushes = rule.name().starts_with("FilterPushdown");
        if pushes { Arc::new(Walled(rule)) as Arc<dyn PhysicalOptimizerRule + Send + Sync> } else { rule }
    };
    PhysicalOptimizer::new().rules.into_iter().map(walled).collect()
}

/// Lets filters that are found at run time fill within `plan`, which was planned without them, between walls.
pub fn push_filters_down(plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> DfResult<Arc<dyn ExecutionPlan>> {
    Walled(Arc::new(FilterPushdown::new_post_optimization())).optimize(plan, config)
}

/// A rule that sees a plan with walls.
struct Walled(Arc<dyn PhysicalOptimizerRule + Send + Sync>);

impl fmt::Debug for Walled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Walled").field(&self.0.name()).finish()
    }
}

impl PhysicalOptimizerRule for Walled {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> DfResult<Arc<dyn ExecutionPlan>> {
        let walled =
            plan.transform_up(|node| Ok(if must_choose(&node) { raised(node) } else { Transformed::no(node) }))?;
        let raised = walled.transformed;
        let plan = self.0.optimize(walled.data, config)?;
        if raised { plan.transform_up(|node| Ok(lowered(node))).map(|plan| plan.data) } else { Ok(plan) }
    }

    fn name(&self) -> &str {
        self.0.name()
    }

    fn schema_check(&self) -> bool {
        self.0.schema_check()
    }
}

/// Whether a filter on its way through the node may find two columns of one name. A hash join looks at positions
/// among its own columns, and at names among its inputs'.
fn must_choose(node: &Arc<dyn ExecutionPlan>) -> bool {
    let twice = |plan: &Arc<dyn ExecutionPlan>| {
        let schema = plan.schema();
        let mut names = HashSet::with_capacity(schema.fields().len());
        !schema.fields().iter().all(|field| names.insert(field.name().clone()))
    };
    let by_position = node.downcast_ref::<HashJoinExec>().is_some();
    (!by_position && twice(node)) || node.children().into_iter().any(twice)
}

fn raised(node: Arc<dyn ExecutionPlan>) -> Transformed<Arc<dyn ExecutionPlan>> {
    Transformed::yes(Arc::new(Wall(node)))
}

fn lowered(node: Arc<dyn ExecutionPlan>) -> Transformed<Arc<dyn ExecutionPlan>> {
    match node.downcast_ref::<Wall>() {
        Some(wall) => Transformed::yes(Arc::clone(&wall.0)),
        None => Transformed::no(node),
    }
}

/// Stands on a node while filters are pushed down; never in a plan that runs. A node lets no filter through unless it
/// says otherwise, and this one says nothing.
#[derive(Debug)]
struct Wall(Arc<dyn ExecutionPlan>);

impl DisplayAs for Wall {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wall")
    }
}

impl ExecutionPlan for Wall {
    fn name(&self) -> &'static str {
        "Wall"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.0.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.0]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DfResult<TreeNodeRecursion>,
    ) -> DfResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let child = children.pop().ok_or_else(|| DataFusionError::Internal("a wall stands on one node".to_owned()))?;
        Ok(Arc::new(Self(child)))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> DfResult<Arc<dyn ExecutionPlan>> {
        self.replace_children(
            children,
            ReplaceChildrenOptions::new(datafusion::physical_plan::ChildrenPropertiesMode::Recompute),
        )
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        self.0.execute(partition, context)
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch};

    use crate::{Session, tests::kit::Colony};

    use super::*;

    #[tokio::test]
    async fn a_filter_found_while_running_is_never_taken_for_a_column_of_the_same_name() {
        let colony = Colony::new();
        let column = |of: fn(i64) -> i64| Arc::new((0..9).map(of).collect::<Int64Array>()) as ArrayRef;
        let frame = |a: (&str, ArrayRef), b: (&str, ArrayRef)| RecordBatch::try_from_iter([a, b]).unwrap();
        let (same, hundred, of_three) = (column(|i| i), column(|_| 100), column(|i| i % 3));
        colony.frame("h.b.x", &[], &[frame(("a", Arc::clone(&same)), ("b", hundred))]).await;
        colony.frame("h.b.y", &[], &[frame(("k", Arc::clone(&same)), ("b", of_three))]).await;
        colony.frame("h.b.z", &[], &[frame(("k", Arc::clone(&same)), ("s", same))]).await;
        // The keys of z are those of y.b; taken for those of x.b, they leave no row.
        let sql = "SELECT x.a, x.b FROM h.b.x x JOIN h.b.y y ON x.a = y.k JOIN h.b.z z ON z.k = y.b WHERE z.s < 3";
        assert_eq!(colony.rows(sql).await.len(), 9);
        let planned = colony.plan(sql, &Session::default()).await.unwrap();
        let shown = datafusion::physical_plan::displayable(planned.physical.as_ref()).indent(true).to_string();
        assert!(!shown.contains("Wall") && shown.contains("DynamicFilter"), "{shown}");
    }
}
