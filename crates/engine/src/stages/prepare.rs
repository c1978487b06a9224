//! What must be so of a plan before Ballista cuts it, and of each stage after.
//!
//! Three things are right within one process and wrong once a plan's halves run on different machines:
//!
//! * A join that remembers unmatched rows of its collected side does so in one process's memory: several tasks would
//!   each report the same rows as unmatched. Its probe side is gathered into one partition. So is that of a NOT IN.
//! * A hash join that collects its left side is cut as a broadcast. Where that cannot be (its type reports rows of the
//!   left side, or the left side is not known to be small), Ballista's planner parts both sides anew, by the join's keys
//!   and into as many partitions as there are bees, and does not look at what stands above: an aggregate over what was
//!   one partition would see one part of the rows. So the join is parted here, and DataFusion's own rule puts right what
//!   stands above it.
//! * Whatever else a cut may change: each stage is held against what its nodes require of their children. A plan that
//!   fails is not cut; it runs in one process, which is slower and right.

use std::{collections::BTreeMap, sync::Arc};

use apiary_query::SideSize;
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
        limit::GlobalLimitExec,
        repartition::RepartitionExec,
        replace_children_if_necessary,
    },
};

use crate::config::broadcast_bytes_max;

/// A plan that can be cut. Pure.
pub(super) fn prepare(plan: Arc<dyn ExecutionPlan>, options: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
    let parted = plan.transform_up(|node| part_collected_join(node, options))?;
    let plan = if parted.transformed { EnsureRequirements::new().optimize(parted.data, options)? } else { parted.data };
    let plan = plan.transform_up(gather_probe_side)?.data;
    Ok(plan.transform_up(limit_in_one_place)?.data)
}

/// A gathering that ends after some rows is not taken for a mere gathering: what is sent to other tasks is all that a
/// side gives, and a LIMIT of it must have been kept before. (Ballista takes a gathering off a side that it sends, with
/// its limit, and each partition would give that many rows.)
fn limit_in_one_place(node: Arc<dyn ExecutionPlan>) -> Result<Transformed<Arc<dyn ExecutionPlan>>> {
    let Some(join) = node.downcast_ref::<HashJoinExec>() else { return Ok(Transformed::no(node)) };
    let limit = join.left().downcast_ref::<CoalescePartitionsExec>().and_then(|gathering| gathering.fetch());
    let Some(limit) = limit else { return Ok(Transformed::no(node)) };
    let left = Arc::new(GlobalLimitExec::new(Arc::clone(join.left()), 0, Some(limit)));
    let right = Arc::clone(join.right());
    replace_children_if_necessary(node, vec![left, right]).map(Transformed::yes)
}

/// Every join whose left side is sent whole, and how often it is there.
pub(super) fn broadcasts<'a>(plans: impl IntoIterator<Item = &'a Arc<dyn ExecutionPlan>>) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    let mut plans: Vec<_> = plans.into_iter().collect();
    while let Some(plan) = plans.pop() {
        let join = plan.downcast_ref::<HashJoinExec>();
        if let Some(join) = join.filter(|join| *join.partition_mode() == PartitionMode::CollectLeft) {
            *found.entry(format!("{} {:?}", join.join_type(), join.on())).or_default() += 1;
        }
        plans.extend(plan.children());
    }
    found
}

/// Whether all sides that were to be sent whole are. One that was parted instead is right by itself, but the rows that it
/// is joined with go another way, and an order that they had is lost.
pub(super) fn check_broadcasts(meant: &BTreeMap<String, usize>, made: &BTreeMap<String, usize>) -> Result<()> {
    match meant.iter().find(|(join, times)| made.get(*join).copied().unwrap_or(0) < **times) {
        Some((join, _)) => plan_err!("a side that was to be sent whole would be parted: {join}"),
        None => Ok(()),
    }
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
    match remembering_join(plan.as_ref()).map(|probe| plan.children()[probe].output_partitioning().partition_count()) {
        Some(parts) if parts > 1 => plan_err!("{} would look up in {parts} tasks what one must remember", plan.name()),
        _ => Ok(()),
    }
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
    let parted = join.builder().with_partition_mode(PartitionMode::Partitioned).with_new_children(sides)?;
    let parted = parted.with_fetch(None).build_exec()?;
    // Each part would give as many rows as were wanted of all together.
    Ok(Transformed::yes(match join.fetch() {
        Some(fetch) => Arc::new(GlobalLimitExec::new(Arc::new(CoalescePartitionsExec::new(parted)), 0, Some(fetch))),
        None => parted,
    }))
}

/// What stands under a side's gathering, which parting makes needless.
fn gathered(side: &Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    let inner = side.downcast_ref::<CoalescePartitionsExec>().filter(|gather| gather.fetch().is_none());
    Arc::clone(inner.map_or(side, CoalescePartitionsExec::input))
}

/// Whether sending the left side whole to every task is right, and known to be cheap. Ballista, which asks again, is told a
/// size under which all of these are ([`largest_broadcast`]).
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
        // In one task alone; what is not known to be too large may be sent.
        _ if join.null_aware => broadcast_bytes(join).map_or(1, |bytes| bytes + 1).min(bytes_max),
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
    // A join does not say that it needs this, so Ballista, which lets DataFusion put right what stands below a gathering,
    // would have a mere gathering taken out again. A limit says so, be it none.
    let gathered = Arc::new(CoalescePartitionsExec::new(Arc::clone(&children[probe])));
    children[probe] = Arc::new(GlobalLimitExec::new(gathered, 0, None));
    replace_children_if_necessary(node, children).map(Transformed::yes)
}

/// The index of the probe side, if `plan` is a join that remembers in one process what all of that side has found: it
/// reports rows of its collected side at the end, or none at all if there was a NULL.
fn remembering_join(plan: &dyn ExecutionPlan) -> Option<usize> {
    let does = if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        if join.null_aware {
            return Some(1);
        }
        *join.partition_mode() == PartitionMode::CollectLeft && remembers(*join.join_type())
    } else if let Some(join) = plan.downcast_ref::<NestedLoopJoinExec>() {
        remembers(*join.join_type())
    } else {
        remembers(plan.downcast_ref::<PiecewiseMergeJoinExec>()?.join_type())
    };
    does.then_some(1)
}

fn remembers(join_type: JoinType) -> bool {
    use JoinType as T;
    matches!(join_type, T::Left | T::Full | T::LeftSemi | T::LeftAnti | T::LeftMark)
}
