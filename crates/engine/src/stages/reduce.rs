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
//! small side is done its size is known: if it is not small after all, the semi-join is left out ([`without`]). Both are
//! pure functions of the plan and of what is `done`, so whoever takes the query over decides the same.

use std::{collections::HashMap, sync::Arc};

use apiary_query::SideSize;
use ballista_core::execution_plans::{SortShuffleWriterExec, UnresolvedShuffleExec};
use datafusion::{
    common::{JoinType, internal_err},
    error::Result,
    physical_plan::{
        ExecutionPlan, ExecutionPlanProperties,
        joins::{HashJoinExec, HashJoinExecBuilder, PartitionMode},
        replace_children_if_necessary,
    },
};

use super::{
    fold::{Cut, readers},
    sizing::Grain,
};

/// Most bytes that a small side may have written: every task of the large side's stage reads them.
pub(super) const REDUCING_BYTES_MAX: u64 = 16 << 20;

/// Whether each join of a plan, by what it says of itself, is worth it. One of two that say the same is enough to say no.
pub(super) type Worth = HashMap<String, bool>;

/// The joins of a plan that is to be cut whose right side is much larger than their left.
pub(super) fn worthwhile(plan: &dyn ExecutionPlan, grain: &Grain) -> Worth {
    let mut worth = Worth::new();
    let mut plans = vec![plan];
    while let Some(plan) = plans.pop() {
        if let Some(join) = plan.downcast_ref::<HashJoinExec>().filter(|join| can_be_reduced(join)) {
            let rows = |side: &Arc<dyn ExecutionPlan>| SideSize::of(side.as_ref()).rows;
            let is_worth_it = grain.is_worth_reducing(rows(join.left()), rows(join.right()));
            worth.entry(name_of(join)).and_modify(|worth| *worth &= is_worth_it).or_insert(is_worth_it);
        }
        plans.extend(plan.children().into_iter().map(AsRef::as_ref));
    }
    worth
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

/// The stages with the large sides reduced, and for each stage that is the one that reduces it.
pub(super) fn reduce(mut stages: Vec<Cut>, worth: &Worth) -> Result<Vec<Cut>> {
    for at in 0..stages.len() {
        let mut joins = Vec::new();
        dealt_joins(&stages[at].plan, &mut joins);
        let joins = joins.iter().filter_map(|join| join.downcast_ref::<HashJoinExec>());
        for join in joins.filter(|join| worth.get(&name_of(join)).copied().unwrap_or(false)) {
            if let Some((large, reduced)) = reduced(join, &stages)? {
                stages[large] = reduced;
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

/// The stage of a join's right side, by its place, with only those rows that find something on the left; nothing if that
/// stage is not the join's alone, or does not come after the left one.
fn reduced(join: &HashJoinExec, stages: &[Cut]) -> Result<Option<(usize, Cut)>> {
    let dealt = |side: &Arc<dyn ExecutionPlan>| {
        let read = side.downcast_ref::<UnresolvedShuffleExec>().filter(|read| !read.broadcast)?;
        stages.iter().position(|stage| stage.id == read.stage_id)
    };
    let (Some(small), Some(large)) = (dealt(join.left()), dealt(join.right())) else { return Ok(None) };
    let (reducing, stage) = (&stages[small], &stages[large]);
    let writer = stage.plan.downcast_ref::<SortShuffleWriterExec>();
    let is_free = small < large && stage.reduced_by.is_none() && readers(stage.id, stages)?.len() == 1;
    let (Some(writer), true) = (writer.map(|writer| writer.children()), is_free) else { return Ok(None) };
    let [body] = writer[..] else { return Ok(None) };
    let parts = join.left().output_partitioning().partition_count();
    let small = UnresolvedShuffleExec::new_broadcast(reducing.id, join.left().schema(), parts);
    let kept = HashJoinExecBuilder::new(Arc::new(small), Arc::clone(body), join.on().to_vec(), JoinType::RightSemi)
        .with_partition_mode(PartitionMode::CollectLeft)
        .with_null_equality(join.null_equality())
        .build_exec()?;
    let plan = replace_children_if_necessary(Arc::clone(&stage.plan), vec![kept])?;
    Ok(Some((large, Cut { id: stage.id, plan, reduced_by: Some(reducing.id) })))
}

/// A reduced stage's plan as it was.
pub(super) fn without(plan: &Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let kept = plan.children().first().and_then(|kept| kept.downcast_ref::<HashJoinExec>());
    let Some(kept) = kept.filter(|kept| *kept.join_type() == JoinType::RightSemi) else {
        return internal_err!("a stage is said to be reduced and is not");
    };
    replace_children_if_necessary(Arc::clone(plan), vec![Arc::clone(kept.right())])
}
