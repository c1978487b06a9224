//! Before a large side of a join is dealt out, the rows that nobody will look up are left where they are.
//!
//! Some joins have one small side and must deal both all the same: `EXISTS`, `NOT EXISTS` and outer joins answer with
//! rows of the small side, so no task may see only a part of the other. Then millions of rows are written to files, with
//! sums, and read again, for the few that have a partner. (Within one process a filter that the small side fills
//! keeps most of them from being read at all. Across stages there is none: a filter that fills elsewhere may be late.)
//!
//! ```text
//!   stage 3   Join (keys)                      stage 3   Join (keys)
//!               ├─ stage 1: small                          ├─ stage 1: small
//!               └─ stage 2: large                          └─ stage 2: large ⋉ stage 1
//! ```
//!
//! So the stage of the large side reads what the small side's wrote, all of it in each task, and keeps the rows whose
//! keys are there (a semi-join, as Bernstein and Chiu used it in SDD-1). The join above has the same rows to look up as
//! before, but for those that find nothing; and it is one that drops those. Nothing is computed twice: what the small
//! side wrote is read by both, from the same `done`. The price is that the large side's stage begins later.
//!
//! Which joins are worth it is asked when the plan is cut, of the rows that are expected ([`worthwhile`]). Once the
//! small side is done its size is known: if it is not small after all, the semi-join is left out; and where several
//! small sides could do it, the one that is smallest does ([`by_the_smallest`]). Both are pure functions of the plan and
//! of what is `done`, so whoever takes the query over decides the same.
//!
//! Of groups that are filtered (`HAVING sum(x) > 300`) nobody expects anything: it may be all of them, or three. They
//! are made where they are needed, in the stage of the join, when all that could have been left out was dealt out. So
//! where such a join has a large side they get a stage of their own ([`apart`]), whose size tells. The price, if they
//! are many after all: they are written and read once more, and the large side waited for them in vain.
//!
//! A task holds the keys of the small side in memory that it cannot spill. One that had not enough is tried again without
//! them: it keeps more rows than others of its stage, and all of those are dropped by the join above.
//!
//! And several joins by one key may stand in one stage, a side of one being another. There whatever was dealt on the
//! left reduces whatever was dealt on the right ([`origins`]): what has no partner in it has none in what was joined with
//! it.
//!
//! ```text
//!   Join (k)                                   stage 2   groups, filtered
//!     ├─ Join (k)                              stage 3   a ⋉ stage 2
//!     │    ├─ groups, filtered                 stage 4   b ⋉ stage 2
//!     │    └─ a                                stage 5   Join (Join (stage 2, stage 3), stage 4)
//!     └─ b
//! ```

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use apiary_query::SideSize;
use ballista_core::execution_plans::{SortShuffleWriterExec, UnresolvedShuffleExec};
use datafusion::{
    arrow::datatypes::SchemaRef,
    common::{
        JoinType, internal_err,
        tree_node::{Transformed, TreeNode},
    },
    error::Result,
    physical_expr::{Partitioning, PhysicalExpr, expressions::Column},
    physical_plan::{
        ExecutionPlan, ExecutionPlanProperties,
        aggregates::AggregateExec,
        filter::FilterExec,
        joins::{HashJoinExec, HashJoinExecBuilder, PartitionMode},
        projection::ProjectionExec,
        repartition::RepartitionExec,
        replace_children_if_necessary,
    },
};

use super::{
    fold::{Cut, readers},
    sizing::Grain,
};

/// What a small side may have written in any case: every task of the large side's stage reads it.
const REDUCING_BYTES: u64 = 16 << 20;

/// What it may have written beside a large side of any size.
const REDUCING_BYTES_MAX: u64 = 96 << 20;

/// A side that reads so many times as many bytes of cells is worth reading the small one for.
const REDUCED_SHARE: u64 = 4;

/// Rows that it may have: every task has their keys in its chamber, in a table that takes some 30 bytes a row, and twice as
/// many for one row more.
const REDUCING_ROWS_MAX: u64 = 3_500_000;

/// Most bytes that a small side may have written to reduce one that reads so many.
pub(super) fn reducing_bytes_max(large: u64) -> u64 {
    (large / REDUCED_SHARE).clamp(REDUCING_BYTES, REDUCING_BYTES_MAX)
}

/// Most stages that one waits for to be reduced by the smallest of them.
const REDUCING_MAX: usize = 3;

/// What is worth it in each join of a plan, by what the join says of itself: for each of the origins of its keys on the
/// right, which of those on the left could reduce it; of two joins that say the same of themselves, what both agree on.
pub(super) type Worth = HashMap<String, Vec<Vec<usize>>>;

/// What in the joins of a plan that is to be cut is much larger than what would reduce it.
pub(super) fn worthwhile(plan: &dyn ExecutionPlan, grain: &Grain) -> Worth {
    let mut worth = Worth::new();
    let mut plans = vec![plan];
    while let Some(plan) = plans.pop() {
        if let Some(join) = plan.downcast_ref::<HashJoinExec>().filter(|join| can_be_reduced(join)) {
            let of_join = worth_of(join, grain);
            match worth.entry(name_of(join)) {
                Entry::Vacant(place) => drop(place.insert(of_join)),
                Entry::Occupied(of_another) => {
                    let both = of_another.into_mut().iter_mut().zip(of_join);
                    both.for_each(|(worth, too)| worth.retain(|small| too.contains(small)));
                }
            }
        }
        plans.extend(plan.children().into_iter().map(AsRef::as_ref));
    }
    worth
}

fn worth_of(join: &HashJoinExec, grain: &Grain) -> Vec<Vec<usize>> {
    let [left, right] = origins_of(join, |plan| plan.is::<RepartitionExec>());
    // How many filtered groups there are is a guess; that they are few is what is worth a try.
    let expected = |(at, (plan, _)): (usize, &Origin)| match are_dealt_groups(plan) {
        true => (Some(0), at),
        false => (rows(plan), at),
    };
    let mut smallest: Vec<_> = left.iter().enumerate().map(expected).collect();
    smallest.sort_by_key(|(rows, _)| rows.unwrap_or(usize::MAX));
    // What is taken to be small is not worth waiting for others.
    let is_enough = smallest.first().is_some_and(|(rows, _)| rows.is_some_and(|rows| rows < grain.reduce_rows_min));
    smallest.truncate(if is_enough { 1 } else { REDUCING_MAX });
    let reduced_by = |(large, _): &Origin| {
        let small = smallest.iter().filter(|(small, _)| grain.is_worth_reducing(*small, rows(large)));
        small.map(|(_, at)| *at).collect()
    };
    right.iter().map(reduced_by).collect()
}

fn rows(side: &Arc<dyn ExecutionPlan>) -> Option<usize> {
    SideSize::of(side.as_ref()).rows
}

/// The plan with filtered groups dealt out, so that they get a stage of their own, where they can reduce a large side.
pub(super) fn apart(plan: Arc<dyn ExecutionPlan>, grain: &Grain) -> Result<Transformed<Arc<dyn ExecutionPlan>>> {
    let deal = |node: Arc<dyn ExecutionPlan>| {
        let join = node.downcast_ref::<HashJoinExec>().filter(|join| can_be_reduced(join));
        let is_worth_it = |large: &(_, _)| grain.is_worth_reducing(Some(0), rows(&large.0));
        let is_larger = |join: &&HashJoinExec| {
            let [_, right] = origins_of(join, |plan| plan.is::<RepartitionExec>());
            right.iter().any(is_worth_it)
        };
        let join = join.filter(|join| are_filtered_groups(join.left().as_ref())).filter(is_larger);
        let Some(join) = join else { return Ok(Transformed::no(node)) };
        let keys = join.on().iter().map(|(left, _)| Arc::clone(left)).collect();
        let parts = Partitioning::Hash(keys, join.left().output_partitioning().partition_count());
        let dealt = Arc::new(RepartitionExec::try_new(Arc::clone(join.left()), parts)?);
        let right = Arc::clone(join.right());
        replace_children_if_necessary(node, vec![dealt, right]).map(Transformed::yes)
    };
    plan.transform_up(deal)
}

/// Whether a plan filters groups, and does nothing else with them.
fn are_filtered_groups(plan: &dyn ExecutionPlan) -> bool {
    match plan.children()[..] {
        [input] if plan.is::<ProjectionExec>() => are_filtered_groups(input.as_ref()),
        [input] if plan.is::<FilterExec>() => plan.fetch().is_none() && input.is::<AggregateExec>(),
        _ => false,
    }
}

fn are_dealt_groups(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.downcast_ref::<RepartitionExec>().is_some_and(|deal| are_filtered_groups(deal.input().as_ref()))
}

/// A node that deals rows, or reads what was dealt, and columns of it.
type Origin = (Arc<dyn ExecutionPlan>, Vec<usize>);

/// Where the keys of a join come from, on its left and on its right; `is_dealt` says of a node whether it deals rows.
fn origins_of(join: &HashJoinExec, is_dealt: impl Fn(&Arc<dyn ExecutionPlan>) -> bool) -> [Vec<Origin>; 2] {
    let (left, right): (Vec<_>, Vec<_>) =
        join.on().iter().map(|(left, right)| (column_of(left), column_of(right))).unzip();
    [(join.left(), left), (join.right(), right)].map(|(side, keys)| {
        let mut found = Vec::new();
        if let Some(keys) = keys.into_iter().collect() {
            origins(side, keys, &is_dealt, &mut found);
        }
        found
    })
}

fn column_of(expr: &Arc<dyn PhysicalExpr>) -> Option<usize> {
    expr.downcast_ref::<Column>().map(Column::index)
}

/// The nodes wanted, each with the columns that have the values of `columns` of `plan`. From each down to it there is
/// nothing but joins that give no row without one from there with the same values: whatever values a row has, there is one
/// with them in every origin; and if rows are missing in one, so are here only those that have their values.
fn origins(
    plan: &Arc<dyn ExecutionPlan>,
    columns: Vec<usize>,
    is_wanted: &dyn Fn(&Arc<dyn ExecutionPlan>) -> bool,
    found: &mut Vec<Origin>,
) {
    if is_wanted(plan) {
        found.push((Arc::clone(plan), columns));
    } else if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        let kept = |column: usize| join.projection.as_ref().map_or(Some(column), |kept| kept.get(column).copied());
        let columns: Option<Vec<usize>> = columns.into_iter().map(kept).collect();
        let sides = columns.map(|columns| sides_of(join, &columns)).unwrap_or_default();
        sides.into_iter().for_each(|(side, columns)| origins(side, columns, is_wanted, found));
    }
}

/// The sides of a join in which the values occur that its rows have in `columns` (of what the join makes before it leaves
/// columns out), and where they stand there.
fn sides_of<'a>(join: &'a HashJoinExec, columns: &[usize]) -> Vec<(&'a Arc<dyn ExecutionPlan>, Vec<usize>)> {
    use JoinType as T;
    let left_columns = join.left().schema().fields().len();
    // How many columns of the left side come first, and whether each row has a partner: then its keys are on both sides.
    let (before, paired) = match join.join_type() {
        T::Inner => (left_columns, true),
        T::RightSemi => (0, true),
        T::RightAnti => (0, false),
        T::LeftSemi => (usize::MAX, true),
        T::LeftAnti => (usize::MAX, false),
        _ => return Vec::new(),
    };
    let key = |on: &(Arc<dyn PhysicalExpr>, Arc<dyn PhysicalExpr>)| Some((column_of(&on.0)?, column_of(&on.1)?));
    let keys: Vec<_> = join.on().iter().filter(|_| paired).filter_map(key).collect();
    let on_the_left = |column: &usize| match column.checked_sub(before) {
        None => Some(*column),
        Some(right) => keys.iter().find(|(_, key)| *key == right).map(|(left, _)| *left),
    };
    let on_the_right = |column: &usize| match column.checked_sub(before) {
        None => keys.iter().find(|(key, _)| key == column).map(|(_, right)| *right),
        Some(right) => Some(right),
    };
    let left = columns.iter().map(on_the_left).collect::<Option<Vec<_>>>().map(|columns| (join.left(), columns));
    let right = columns.iter().map(on_the_right).collect::<Option<Vec<_>>>().map(|columns| (join.right(), columns));
    left.into_iter().chain(right).collect()
}

fn name_of(join: &HashJoinExec) -> String {
    format!("{} {:?} {:?}", join.join_type(), join.on(), join.schema().fields())
}

/// Whether a join deals both sides, and drops rows of the right side that find no partner.
fn can_be_reduced(join: &HashJoinExec) -> bool {
    use JoinType as T;
    let drops = matches!(join.join_type(), T::Inner | T::Left | T::LeftSemi | T::LeftAnti | T::RightSemi);
    drops && *join.partition_mode() == PartitionMode::Partitioned && !join.null_aware && !join.on().is_empty()
}

/// The stages with the large sides reduced, and for each stage that is those of which one reduces it.
pub(super) fn reduce(mut stages: Vec<Cut>, worth: &Worth) -> Result<Vec<Cut>> {
    for at in 0..stages.len() {
        let mut joins = Vec::new();
        dealt_joins(&stages[at].plan, &mut joins);
        for join in joins.iter().filter_map(|join| join.downcast_ref::<HashJoinExec>()) {
            let Some(worth) = worth.get(&name_of(join)) else { continue };
            let [left, right] = origins_of(join, |plan| dealt(plan, &stages).is_some());
            for (large, small) in right.iter().zip(worth) {
                let small: Vec<_> = small.iter().filter_map(|small| left.get(*small)).collect();
                if let Some((large, reduced)) = reduced(join, &small, large, &stages)? {
                    stages[large] = reduced;
                }
            }
        }
    }
    Ok(stages)
}

/// The joins of a stage's plan, each with what it reads.
fn dealt_joins(plan: &Arc<dyn ExecutionPlan>, found: &mut Vec<Arc<dyn ExecutionPlan>>) {
    if plan.downcast_ref::<HashJoinExec>().is_some_and(can_be_reduced) {
        found.push(Arc::clone(plan));
    }
    plan.children().into_iter().for_each(|child| dealt_joins(child, found));
}

/// The stage that dealt something on a join's right side, by its place, with only those rows that find something in each of
/// what was dealt on the left; nothing if that stage is not the join's alone or is reduced already, or if none of those on
/// the left comes before it and has keys of its types.
fn reduced(
    join: &HashJoinExec,
    reducing: &[&Origin],
    (read, columns): &Origin,
    stages: &[Cut],
) -> Result<Option<(usize, Cut)>> {
    let Some(large) = dealt(read, stages) else { return Ok(None) };
    let stage = &stages[large];
    let writer = stage.plan.downcast_ref::<SortShuffleWriterExec>();
    // Those that it reduces read it as well, and may find fewer rows.
    let reduces = stages.iter().filter(|other| other.reduced_by.contains(&stage.id)).count();
    let is_free = stage.reduced_by.is_empty() && readers(stage.id, stages)?.len() == 1 + reduces;
    let (Some(writer), true) = (writer.map(|writer| writer.children()), is_free) else { return Ok(None) };
    let [body] = writer[..] else { return Ok(None) };
    let (mut kept, mut reduced_by) = (Arc::clone(body), Vec::new());
    for (small, keys) in reducing {
        let Some(id) = dealt(small, stages).filter(|small| *small < large).map(|small| stages[small].id) else {
            continue;
        };
        let (from, to) = (small.schema(), body.schema());
        let pairs = || keys.iter().zip(columns);
        let alike = pairs().all(|(key, column)| from.field(*key).data_type() == to.field(*column).data_type());
        if !alike || reduced_by.contains(&id) {
            continue;
        }
        let column = |schema: &SchemaRef, at: usize, place: usize| {
            Arc::new(Column::new(schema.field(at).name(), place)) as Arc<dyn PhysicalExpr>
        };
        let on = pairs().enumerate().map(|(n, (key, at))| (column(&from, *key, n), column(&to, *at, *at))).collect();
        let parts = small.output_partitioning().partition_count();
        let small = Arc::new(UnresolvedShuffleExec::new_broadcast(id, SchemaRef::clone(&from), parts));
        // What is no key is not held.
        let keys = keys.iter().map(|key| (column(&from, *key, *key), from.field(*key).name().clone()));
        let keys = Arc::new(ProjectionExec::try_new(keys.collect::<Vec<_>>(), small)?);
        kept = HashJoinExecBuilder::new(keys, kept, on, JoinType::RightSemi)
            .with_partition_mode(PartitionMode::CollectLeft)
            .with_null_equality(join.null_equality())
            .build_exec()?;
        reduced_by.push(id);
    }
    if reduced_by.is_empty() {
        return Ok(None);
    }
    let plan = replace_children_if_necessary(Arc::clone(&stage.plan), vec![kept])?;
    Ok(Some((large, Cut { id: stage.id, plan, reduced_by })))
}

/// The stage, by its place, of which a node reads the part that was dealt to its task.
fn dealt(node: &Arc<dyn ExecutionPlan>, stages: &[Cut]) -> Option<usize> {
    let read = node.downcast_ref::<UnresolvedShuffleExec>().filter(|read| !read.broadcast)?;
    stages.iter().position(|stage| stage.id == read.stage_id)
}

/// Rows and bytes with which nothing is reduced.
pub(super) const TOO_MUCH: (u64, u64) = (u64::MAX, u64::MAX);

/// A reduced stage's plan with one of what could reduce it, the one that has the fewest rows of those that are not too large
/// beside the `scan_bytes` that the stage reads; with none if all are. `reduced_by` are those that could, in the order in
/// which they were put in, and `written` says of a stage how many rows and bytes it wrote.
pub(super) fn by_the_smallest(
    plan: &Arc<dyn ExecutionPlan>,
    reduced_by: &[u32],
    scan_bytes: u64,
    written: impl Fn(u32) -> (u64, u64),
) -> Result<Arc<dyn ExecutionPlan>> {
    let is_small = |(rows, bytes)| rows <= REDUCING_ROWS_MAX && bytes <= reducing_bytes_max(scan_bytes);
    let small = reduced_by.iter().enumerate().filter(|(_, id)| is_small(written(**id)));
    let smallest = small.min_by_key(|(_, id)| written(**id)).map(|(at, _)| at);
    let [mut kept] = plan.children()[..] else { return internal_err!("a stage is said to be reduced and is not") };
    let mut chosen = None;
    for at in (0..reduced_by.len()).rev() {
        let join = kept.downcast_ref::<HashJoinExec>().filter(|join| *join.join_type() == JoinType::RightSemi);
        let Some(join) = join else { return internal_err!("a stage is said to be reduced and is not") };
        if smallest == Some(at) {
            chosen = Some(Arc::clone(kept));
        }
        kept = join.right();
    }
    let kept = match chosen {
        Some(join) => {
            let [small, _] = join.children()[..] else { return internal_err!("a join has two sides") };
            let sides = vec![Arc::clone(small), Arc::clone(kept)];
            replace_children_if_necessary(join, sides)?
        }
        None => Arc::clone(kept),
    };
    replace_children_if_necessary(Arc::clone(plan), vec![kept])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_reads_more_may_be_reduced_by_more() {
        let mib = |bytes: u64| reducing_bytes_max(bytes << 20) >> 20;
        assert_eq!([mib(0), mib(64), mib(128), mib(384), mib(100_000)], [16, 16, 32, 96, 96]);
    }
}
