//! What must be so of a plan before Ballista cuts it, and of each stage after.
//!
//! Three things are right within one process and wrong once a plan's halves run on different machines:
//!
//! * A join that remembers unmatched rows of its collected side does so in one process's memory: several tasks would
//!   each report the same rows as unmatched. Its probe side is gathered into one partition.
//! * A hash join that collects its left side is cut as a broadcast. Where that cannot be (its type reports rows of the
//!   left side, or the left side is not known to be small), Ballista's planner parts both sides anew, by the join's keys
//!   and into as many partitions as there are bees, and does not look at what stands above: an aggregate over what was
//!   one partition would see one part of the rows. So the join is parted here, and DataFusion's own rule puts right what
//!   stands above it.
//! * Whatever else a cut may change: each stage is held against what its nodes require of their children. A plan that
//!   fails is not cut; it runs in one process, which is slower and right.

use std::sync::Arc;

use datafusion::{
    common::{
        JoinType, plan_err,
        tree_node::{Transformed, TreeNode},
    },
    config::ConfigOptions,
    error::Result,
    physical_expr::Partitioning,
    physical_optimizer::{PhysicalOptimizerRule, ensure_requirements::EnsureRequirements},
    physical_plan::{
        ChildSatisfactionOptions, ExecutionPlan, ExecutionPlanProperties,
        coalesce_partitions::CoalescePartitionsExec,
        joins::{HashJoinExec, NestedLoopJoinExec, PartitionMode, PiecewiseMergeJoinExec},
        repartition::RepartitionExec,
        replace_children_if_necessary,
    },
};

use apiary_query::SideSize;

use crate::config::broadcast_bytes_max;

/// A plan that can be cut. Pure.
pub(super) fn prepare(plan: Arc<dyn ExecutionPlan>, options: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
    let parted = plan.transform_up(|node| part_collected_join(node, options))?;
    let plan = if parted.transformed { EnsureRequirements::new().optimize(parted.data, options)? } else { parted.data };
    Ok(plan.transform_up(gather_probe_side)?.data)
}

/// Whether every node of a stage finds its children parted as it needs. Orders are not looked at: what reads another
/// stage's output keeps its order and does not say so.
pub(super) fn check(plan: &Arc<dyn ExecutionPlan>) -> Result<()> {
    let needs = plan.input_distribution_requirements();
    for (at, child) in plan.children().into_iter().enumerate() {
        let loosely = ChildSatisfactionOptions::new().with_allow_subset(true);
        if !needs.child_satisfaction(at, child.as_ref(), loosely)?.is_satisfied() {
            let (node, parted) = (plan.name(), child.output_partitioning());
            return plan_err!("the input {at} of {node} would be parted as {parted} in its stage");
        }
        check(child)?;
    }
    Ok(())
}

/// Parts both sides of a join that collects its left side and cannot be a broadcast.
fn part_collected_join(
    node: Arc<dyn ExecutionPlan>,
    options: &ConfigOptions,
) -> Result<Transformed<Arc<dyn ExecutionPlan>>> {
    let Some(join) = node.downcast_ref::<HashJoinExec>() else { return Ok(Transformed::no(node)) };
    let collected = *join.partition_mode() == PartitionMode::CollectLeft;
    // A null-aware join is right in one task alone, and is cut so.
    if !collected || join.null_aware || can_be_broadcast(join, broadcast_bytes_max(options)) {
        return Ok(Transformed::no(node));
    }
    let partitions = options.execution.target_partitions;
    let (left, right) = join.on().iter().map(|(left, right)| (Arc::clone(left), Arc::clone(right))).unzip();
    let part = |side: &Arc<dyn ExecutionPlan>, keys| {
        let parted = RepartitionExec::try_new(gathered(side), Partitioning::Hash(keys, partitions))?;
        Ok::<_, datafusion::error::DataFusionError>(Arc::new(parted) as Arc<dyn ExecutionPlan>)
    };
    let sides = vec![part(join.left(), left)?, part(join.right(), right)?];
    let parted =
        join.builder().with_partition_mode(PartitionMode::Partitioned).with_new_children(sides)?.build_exec()?;
    Ok(Transformed::yes(parted))
}

/// What stands under a side's gathering, which parting makes needless.
fn gathered(side: &Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    let inner = side.downcast_ref::<CoalescePartitionsExec>().filter(|gather| gather.fetch().is_none());
    Arc::clone(inner.map_or(side, CoalescePartitionsExec::input))
}

/// Whether sending the left side whole to every task is right, and known to be cheap. Stricter than Ballista's own
/// question, so that what is left to it is never parted again.
fn can_be_broadcast(join: &HashJoinExec, bytes_max: usize) -> bool {
    let probe_driven = matches!(
        join.join_type(),
        JoinType::Inner | JoinType::Right | JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark
    );
    probe_driven && broadcast_bytes(join).is_some_and(|bytes| bytes < bytes_max)
}

fn broadcast_bytes(join: &HashJoinExec) -> Option<usize> {
    SideSize::of(join.left().as_ref()).bytes.filter(|bytes| *bytes > 0)
}

/// The size under which Ballista is to send a side whole: just over that of the largest which was decided to be sent.
/// Ballista asks itself of every other join as well, and where its answer is yes it deals both sides first and sends one
/// of them whole then, through a stage that copies it.
pub(super) fn largest_broadcast(plan: &dyn ExecutionPlan, bytes_max: usize) -> usize {
    let below = plan.children().into_iter().map(|child| largest_broadcast(child.as_ref(), bytes_max)).max();
    let here = plan.downcast_ref::<HashJoinExec>().map_or(0, |join| match join.partition_mode() {
        // In one task alone, and of any size that may be sent.
        _ if join.null_aware => bytes_max,
        PartitionMode::CollectLeft => broadcast_bytes(join).map_or(0, |bytes| bytes + 1),
        _ => 0,
    });
    here.max(below.unwrap_or(0))
}

fn gather_probe_side(node: Arc<dyn ExecutionPlan>) -> Result<Transformed<Arc<dyn ExecutionPlan>>> {
    let probe = match remembering_join(node.as_ref()) {
        Some(probe) if node.children()[probe].output_partitioning().partition_count() > 1 => probe,
        _ => return Ok(Transformed::no(node)),
    };
    let mut children: Vec<_> = node.children().into_iter().map(Arc::clone).collect();
    children[probe] = Arc::new(CoalescePartitionsExec::new(Arc::clone(&children[probe])));
    replace_children_if_necessary(node, children).map(Transformed::yes)
}

/// The index of the probe side, if `plan` is a join that reports rows of its collected side at the end.
fn remembering_join(plan: &dyn ExecutionPlan) -> Option<usize> {
    let join_type = match plan.downcast_ref::<NestedLoopJoinExec>() {
        Some(join) => *join.join_type(),
        None => plan.downcast_ref::<PiecewiseMergeJoinExec>()?.join_type(),
    };
    let remembers = matches!(
        join_type,
        JoinType::Left | JoinType::Full | JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark
    );
    remembers.then_some(1)
}
