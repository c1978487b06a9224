//! Joins that sort both sides and spill, in place of joins that hold one side in memory.
//!
//! DataFusion plans such joins itself if it is told to, but then its rules go over them, and in release 55.2 the one
//! that moves projections below a join leaves the join's filter behind: it reads other columns than were meant, and
//! rows are wrong (datafusion#24414). Besides, it is all joins of a query or none. So a plan is made with hash joins,
//! and here, after every rule has run, those that do not fit are exchanged one by one:
//!
//! ```text
//!   HashJoin (left ⋈ right, filter, picks columns)      Projection (the columns that were picked)
//!     left          parted by the keys                    SortMergeJoin (the filter, left columns first)
//!     right                                                 Sort by the keys ─ left
//!                                                           Sort by the keys ─ right
//! ```
//!
//! What is exchanged answers the same rows, parted the same way, and in the order that the hash join promised, if it
//! promised one. A merge join hands its filter the left side's columns first, whatever order the filter counts them in
//! (datafusion#25489), so the filter is told in that order. What is not known to be right stays as it is: a null-aware
//! join, keys of types that the merge cannot compare or orders otherwise than they are equal (floats), a join whose
//! side waits for a filter of it.

use std::sync::Arc;

use datafusion::{
    arrow::{
        compute::SortOptions,
        datatypes::{DataType, Schema},
    },
    common::{
        JoinSide,
        tree_node::{Transformed, TreeNode},
    },
    error::Result,
    physical_expr::{LexOrdering, Partitioning, PhysicalExpr, PhysicalSortExpr, expressions::Column},
    physical_plan::{
        ExecutionPlan, ExecutionPlanProperties, StatisticsArgs,
        coalesce_partitions::CoalescePartitionsExec,
        joins::{HashJoinExec, PartitionMode, SortMergeJoinExec, utils::JoinFilter},
        limit::LocalLimitExec,
        projection::ProjectionExec,
        repartition::RepartitionExec,
        sorts::sort::SortExec,
        statistics::StatisticsContext,
    },
};

/// A side that is sent whole and known to be smaller than this is not what a chamber was too small for.
const SMALL_BYTES: u64 = 1 << 20;

/// `plan` with joins that spill wherever a hash join would hold more than a third of `chamber_bytes` per task, as far
/// as sizes are known; one that nobody knows counts as fitting into anything but nothing.
pub(crate) fn instead_of_large(plan: Arc<dyn ExecutionPlan>, chamber_bytes: u64) -> Result<Arc<dyn ExecutionPlan>> {
    exchange(plan, &|join| build_bytes(join).map_or(chamber_bytes == 0, |bytes| bytes >= chamber_bytes / 3))
}

/// `plan` with joins that spill wherever they can be, for another try after memory was not enough. Only what is known
/// to be small stays.
pub fn everywhere(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let collected = |join: &HashJoinExec| *join.partition_mode() == PartitionMode::CollectLeft;
    exchange(plan, &|join| !(collected(join) && build_bytes(join).is_some_and(|bytes| bytes < SMALL_BYTES)))
}

fn exchange(plan: Arc<dyn ExecutionPlan>, wanted: &dyn Fn(&HashJoinExec) -> bool) -> Result<Arc<dyn ExecutionPlan>> {
    // From above, so that each join is judged by what it was given and not by orders that joins below it now have.
    let exchanged = plan.transform_down(|node| {
        let join = node.downcast_ref::<HashJoinExec>().filter(|join| wanted(join));
        match join.map(merged).transpose()?.flatten() {
            Some(merged) => Ok(Transformed::yes(merged)),
            None => Ok(Transformed::no(node)),
        }
    })?;
    Ok(exchanged.data)
}

/// What one task's hash table would hold, as far as statistics know.
fn build_bytes(join: &HashJoinExec) -> Option<u64> {
    let build = apiary_query::cautious(Arc::clone(join.left())).ok()?;
    let known = StatisticsContext::new().compute(build.as_ref(), &StatisticsArgs::new()).ok()?;
    let bytes = apiary_query::known_bytes(&known)? as u64;
    Some(match join.partition_mode() {
        PartitionMode::Partitioned => bytes / (build.output_partitioning().partition_count().max(1) as u64),
        _ => bytes,
    })
}

/// The join that sorts and spills, if there is one that is known to answer the same.
fn merged(join: &HashJoinExec) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let waited_for = !join.dynamic_expressions_produced().is_empty();
    if join.null_aware || waited_for || join.on().is_empty() || !keys_can_be_merged(join)? {
        return Ok(None);
    }
    let orders = join.properties().equivalence_properties().oeq_class();
    if orders.len() > 1 {
        return Ok(None);
    }
    let order = orders.iter().next().cloned();
    let Some((left, right)) = sides(join)? else { return Ok(None) };
    let options = SortOptions::default();
    let sorted = |side: Arc<dyn ExecutionPlan>, key: fn(&(Key, Key)) -> &Key| {
        let keys = join.on().iter().map(|on| PhysicalSortExpr::new(Arc::clone(key(on)), options));
        by(side, LexOrdering::new(keys))
    };
    let merge = SortMergeJoinExec::try_new(
        sorted(left, |on| &on.0),
        sorted(right, |on| &on.1),
        join.on().to_vec(),
        join.filter().map(left_first).transpose()?,
        *join.join_type(),
        vec![options; join.on().len()],
        join.null_equality(),
    )?;
    let mut plan: Arc<dyn ExecutionPlan> = Arc::new(merge);
    if let Some(picked) = &join.projection {
        plan = pick(plan, picked)?;
    }
    if plan.schema().fields() != join.schema().fields() {
        return Ok(None);
    }
    plan = by(plan, order);
    if let Some(rows) = join.fetch() {
        plan = Arc::new(LocalLimitExec::new(plan, rows));
    }
    Ok(Some(plan))
}

type Key = Arc<dyn PhysicalExpr>;
type Side = Arc<dyn ExecutionPlan>;

/// Whether the merge compares such keys, and finds equal what hashing finds equal.
fn keys_can_be_merged(join: &HashJoinExec) -> Result<bool> {
    let (left, right) = (join.left().schema(), join.right().schema());
    for (of_left, of_right) in join.on() {
        let data_type = of_left.data_type(&left)?;
        if data_type != of_right.data_type(&right)? || !can_be_merged(&data_type) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn can_be_merged(data_type: &DataType) -> bool {
    use DataType as T;
    let text = matches!(data_type, T::Utf8 | T::Utf8View | T::LargeUtf8 | T::Binary | T::BinaryView | T::LargeBinary);
    let time = matches!(data_type, T::Date32 | T::Date64 | T::Timestamp(_, None));
    text || time || data_type.is_integer() || matches!(data_type, T::Boolean | T::Decimal128(..))
}

/// Both sides, parted by the keys as a merge needs them; nothing if what stands above could miss the parting that the
/// hash join kept.
fn sides(join: &HashJoinExec) -> Result<Option<(Side, Side)>> {
    let (left, right) = (Arc::clone(join.left()), Arc::clone(join.right()));
    let parts = right.output_partitioning().partition_count();
    match join.partition_mode() {
        PartitionMode::Partitioned => Ok(Some((left, right))),
        PartitionMode::Auto => Ok(None),
        PartitionMode::CollectLeft if parts == 1 => Ok(Some((gathered(left), right))),
        PartitionMode::CollectLeft if matches!(right.output_partitioning(), Partitioning::UnknownPartitioning(_)) => {
            let (of_left, of_right) = join.on().iter().map(|(l, r)| (Arc::clone(l), Arc::clone(r))).unzip();
            let part = |side, keys| RepartitionExec::try_new(side, Partitioning::Hash(keys, parts));
            Ok(Some((Arc::new(part(left, of_left)?), Arc::new(part(right, of_right)?))))
        }
        PartitionMode::CollectLeft => Ok(None),
    }
}

fn gathered(side: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    match side.output_partitioning().partition_count() {
        0 | 1 => side,
        _ => Arc::new(CoalescePartitionsExec::new(side)),
    }
}

/// Each partition in this order.
fn by(plan: Arc<dyn ExecutionPlan>, order: Option<LexOrdering>) -> Arc<dyn ExecutionPlan> {
    match order {
        Some(order) => Arc::new(SortExec::new(order, plan).with_preserve_partitioning(true)),
        None => plan,
    }
}

fn pick(plan: Arc<dyn ExecutionPlan>, picked: &[usize]) -> Result<Arc<dyn ExecutionPlan>> {
    let schema = plan.schema();
    let columns = picked.iter().map(|index| {
        let name = schema.field(*index).name().clone();
        (Arc::new(Column::new(&name, *index)) as Key, name)
    });
    Ok(Arc::new(ProjectionExec::try_new(columns.collect::<Vec<_>>(), plan)?))
}

/// The same condition over its columns in another order: the left side's first. A row of an outer join that meets none
/// is put to the condition with NULLs for the other side, whatever that side promises; the answer is not used.
fn left_first(filter: &JoinFilter) -> Result<JoinFilter> {
    let indices = filter.column_indices();
    let mut order: Vec<usize> = (0..indices.len()).collect();
    order.sort_by_key(|at| indices[*at].side != JoinSide::Left);
    let expression = Arc::clone(filter.expression()).transform_up(|node| match node.downcast_ref::<Column>() {
        Some(column) => {
            let at = order.iter().position(|at| *at == column.index()).unwrap_or(column.index());
            Ok(Transformed::yes(Arc::new(Column::new(column.name(), at)) as Key))
        }
        None => Ok(Transformed::no(node)),
    })?;
    let fields: Vec<_> = order.iter().map(|at| filter.schema().field(*at).clone().with_nullable(true)).collect();
    let indices = order.iter().map(|at| indices[*at].clone()).collect();
    Ok(JoinFilter::new(expression.data, indices, Arc::new(Schema::new(fields))))
}

#[cfg(test)]
mod tests;
