//! Stages that are not worth it, put back into the stage that reads them.
//!
//! Ballista makes a stage of every collected side of a join and of everything below a gathering, be it a scan of 25
//! rows. Here a stage that reads cells alone, and few, goes back to where it was cut from: each task of its reader
//! then reads those cells by itself. The result is the plan as DataFusion made it, with one cut less.
//!
//! That is right only where every task sees the whole of it: below a broadcast, which is a gathering once more, or
//! right below a gathering or a merge. Restricting a plan to a task's partitions leaves alone what is gathered. A side
//! that was dealt out by hash stays a stage: its rows belong to one task each.
//!
//! And a stage that does nothing but copy what another wrote, for readers that read all of it, is not needed: they read
//! the other.
//!
//! While the query runs the same is done with stages that turn out to have little to read ([`unfold`]): there one task
//! does the work of both, sees all of it, and any exchange can be put back.

use std::{collections::HashMap, sync::Arc};

use ballista_core::{
    JobId,
    error::BallistaError,
    execution_plans::{ShuffleWriterExec, SortShuffleWriterExec, UnresolvedShuffleExec},
};
use ballista_scheduler::planner::find_unresolved_shuffles;
use datafusion::{
    common::{
        internal_err,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    error::Result,
    physical_expr_common::physical_expr::is_volatile,
    physical_plan::{
        ExecutionPlan, ExecutionPlanProperties,
        coalesce_partitions::CoalescePartitionsExec,
        joins::{CrossJoinExec, NestedLoopJoinExec, PiecewiseMergeJoinExec},
        limit::{GlobalLimitExec, LocalLimitExec},
        repartition::RepartitionExec,
        replace_children_if_necessary,
        sorts::sort_preserving_merge::SortPreservingMergeExec,
        windows::{BoundedWindowAggExec, WindowAggExec},
    },
};

use super::sizing::{Grain, scan_bytes};

/// A stage with its writer on top.
#[derive(Debug, Clone)]
pub(super) struct Cut {
    pub(super) id: usize,
    pub(super) plan: Arc<dyn ExecutionPlan>,
    /// The stages of which one reduces it (see `reduce`).
    pub(super) reduced_by: Vec<usize>,
}

/// Fewer stages with the same answer, inputs first, counted from 1 again.
pub(super) fn fold(stages: Vec<Cut>, job: &JobId, grain: &Grain) -> Result<Vec<Cut>> {
    let mut stages = without_copies(stages)?;
    let mut at = 0;
    // Each turn takes a stage away or passes it over.
    while at + 1 < stages.len() {
        match folded(&stages[at], &stages[at + 1..], grain)? {
            Some((reader, plan)) => {
                stages[at + 1 + reader].plan = plan;
                stages.remove(at);
            }
            None => at += 1,
        }
    }
    renumbered(stages, job)
}

/// The stages without those that copy, each of whose readers reads what was copied instead.
fn without_copies(mut stages: Vec<Cut>) -> Result<Vec<Cut>> {
    let mut at = 0;
    // Each turn takes a stage away or passes it over.
    while at + 1 < stages.len() {
        match copied(&stages[at])
            .map(|origin| from_origin(&stages[at], &origin, &stages[at + 1..]))
            .transpose()?
            .flatten()
        {
            Some(later) => drop(stages.splice(at.., later)),
            None => at += 1,
        }
    }
    Ok(stages)
}

/// What a stage copies, if it does nothing else: read whole, as a broadcast.
fn copied(stage: &Cut) -> Option<UnresolvedShuffleExec> {
    let [body] = stage.plan.children()[..] else { return None };
    let read = body.downcast_ref::<UnresolvedShuffleExec>().filter(|read| !read.broadcast)?;
    let parts = read.properties().output_partitioning().partition_count();
    let origin = UnresolvedShuffleExec::new_broadcast(read.stage_id, Arc::clone(&read.schema), parts);
    stage.plan.is::<ShuffleWriterExec>().then_some(origin)
}

/// The `later` stages with `origin` wherever they read `copy`; nothing if one of them reads only a part of it.
fn from_origin(copy: &Cut, origin: &UnresolvedShuffleExec, later: &[Cut]) -> Result<Option<Vec<Cut>>> {
    let mut in_parts = false;
    let mut instead = |node: Arc<dyn ExecutionPlan>| match node.downcast_ref::<UnresolvedShuffleExec>() {
        Some(read) if read.stage_id == copy.id => {
            in_parts |= !read.broadcast;
            Ok(Transformed::yes(Arc::new(origin.clone()) as Arc<dyn ExecutionPlan>))
        }
        _ => Ok(Transformed::no(node)),
    };
    let anew =
        |stage: &Cut| Ok(Cut { plan: Arc::clone(&stage.plan).transform_up(&mut instead)?.data, ..stage.clone() });
    let later = later.iter().map(anew).collect::<Result<Vec<_>>>()?;
    Ok(Some(later).filter(|_| !in_parts))
}

/// The one stage that reads `stage`, by its place among the `later` ones, with `stage` put back into it.
fn folded(stage: &Cut, later: &[Cut], grain: &Grain) -> Result<Option<(usize, Arc<dyn ExecutionPlan>)>> {
    let [body] = stage.plan.children()[..] else { return Ok(None) };
    if !stage.plan.is::<ShuffleWriterExec>() || !is_repeatable(body.as_ref()) {
        return Ok(None);
    }
    let [at] = readers(stage.id, later)?[..] else { return Ok(None) };
    let reader = &later[at].plan;
    let tasks = reader.children().first().map_or(1, |child| child.output_partitioning().partition_count());
    if !grain.spares_a_stage(scan_bytes(body.as_ref()), tasks) {
        return Ok(None);
    }
    Ok(put_back(reader, stage.id, body)?.map(|plan| (at, plan)))
}

/// Who reads stage `id`, by their places among `stages`: one that reads it twice is there twice.
pub(super) fn readers(id: usize, stages: &[Cut]) -> Result<Vec<usize>> {
    let mut readers = Vec::new();
    for (at, reader) in stages.iter().enumerate() {
        let reads = find_unresolved_shuffles(&reader.plan).map_err(BallistaError::into_datafusion)?;
        readers.extend(reads.iter().filter(|read| read.stage_id == id).map(|_| at));
    }
    Ok(readers)
}

/// Whether every task may do it again: it reads cells and no other stage, gives the same rows each time, and does not make
/// much out of little. A LIMIT takes which rows it will, and random() is another each time: tasks that each had rows of
/// their own would together give an answer that no one of them would.
fn is_repeatable(plan: &dyn ExecutionPlan) -> bool {
    let is_limited = plan.fetch().is_some() || plan.is::<GlobalLimitExec>() || plan.is::<LocalLimitExec>();
    let mut is_certain = true;
    let looked = plan.apply_expressions(&mut |expr| {
        is_certain &= !is_volatile(expr);
        Ok(TreeNodeRecursion::Continue)
    });
    if is_limited || !is_certain || looked.is_err() {
        return false;
    }
    let grows = plan.is::<CrossJoinExec>()
        || plan.is::<NestedLoopJoinExec>()
        || plan.is::<PiecewiseMergeJoinExec>()
        || plan.is::<WindowAggExec>()
        || plan.is::<BoundedWindowAggExec>();
    !grows
        && !plan.is::<UnresolvedShuffleExec>()
        && plan.children().into_iter().all(|child| is_repeatable(child.as_ref()))
}

/// `plan` with `body` in the place of what reads stage `id`; `None` if not all of its tasks see all of it.
fn put_back(
    plan: &Arc<dyn ExecutionPlan>,
    id: usize,
    body: &Arc<dyn ExecutionPlan>,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let gathers = plan.is::<CoalescePartitionsExec>() || plan.is::<SortPreservingMergeExec>();
    let mut children: Vec<_> = plan.children().into_iter().map(Arc::clone).collect();
    for child in &mut children {
        let put = match child.downcast_ref::<UnresolvedShuffleExec>() {
            Some(read) if read.stage_id != id => None,
            Some(read) if read.broadcast => Some(gathered(body)),
            Some(_) if gathers => Some(Arc::clone(body)),
            Some(_) => None,
            None => put_back(child, id, body)?,
        };
        if let Some(put) = put {
            *child = put;
            return replace_children_if_necessary(Arc::clone(plan), children).map(Some);
        }
    }
    Ok(None)
}

/// The plan of `reader` with the stage `id`, whose plan is `writer`, put back where it reads it: for the one task that does
/// the work of both. What the cut took out between them is put back too, so that rows meet as if it had never been made.
pub(super) fn unfold(
    reader: Arc<dyn ExecutionPlan>,
    id: usize,
    writer: &Arc<dyn ExecutionPlan>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let [body] = writer.children()[..] else { return internal_err!("stage {id} has no plan below its writer") };
    let put = |node: Arc<dyn ExecutionPlan>| match node.downcast_ref::<UnresolvedShuffleExec>() {
        Some(read) if read.stage_id == id => exchange(read, writer, body).map(Transformed::yes),
        _ => Ok(Transformed::no(node)),
    };
    Ok(reader.transform_up(put)?.data)
}

fn exchange(
    read: &UnresolvedShuffleExec,
    writer: &Arc<dyn ExecutionPlan>,
    body: &Arc<dyn ExecutionPlan>,
) -> Result<Arc<dyn ExecutionPlan>> {
    if read.broadcast {
        return Ok(gathered(body));
    }
    match writer.downcast_ref::<SortShuffleWriterExec>() {
        Some(writer) => {
            let parts = writer.shuffle_output_partitioning().clone();
            Ok(Arc::new(RepartitionExec::try_new(Arc::clone(body), parts)?))
        }
        None => Ok(Arc::clone(body)),
    }
}

/// In one partition, behind a node that says so even if there was but one: what is below is never restricted.
fn gathered(body: &Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    Arc::new(CoalescePartitionsExec::new(Arc::clone(body)))
}

fn renumbered(stages: Vec<Cut>, job: &JobId) -> Result<Vec<Cut>> {
    let ids: HashMap<usize, usize> = stages.iter().enumerate().map(|(at, stage)| (stage.id, at + 1)).collect();
    let anew = |node: Arc<dyn ExecutionPlan>| match renamed(&node, &ids, job)? {
        Some(renamed) => Ok(Transformed::yes(renamed)),
        None => Ok(Transformed::no(node)),
    };
    let rename = |stage: Cut| {
        let reduced_by = stage.reduced_by.iter().map(|id| ids[id]).collect();
        Ok(Cut { id: ids[&stage.id], plan: stage.plan.transform_up(anew)?.data, reduced_by })
    };
    stages.into_iter().map(rename).collect()
}

/// The same node under its stage's new id, if it has one.
fn renamed(
    node: &Arc<dyn ExecutionPlan>,
    ids: &HashMap<usize, usize>,
    job: &JobId,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let new = |old: usize| ids.get(&old).copied().filter(|new| *new != old);
    if let Some(read) = node.downcast_ref::<UnresolvedShuffleExec>() {
        let Some(id) = new(read.stage_id) else { return Ok(None) };
        let schema = Arc::clone(&read.schema);
        let read = match read.broadcast {
            true => UnresolvedShuffleExec::new_broadcast(id, schema, read.upstream_partition_count),
            false => UnresolvedShuffleExec::new(id, schema, read.properties().output_partitioning().clone()),
        };
        return Ok(Some(Arc::new(read)));
    }
    if let Some(writer) = node.downcast_ref::<ShuffleWriterExec>() {
        let Some(id) = new(writer.stage_id()) else { return Ok(None) };
        let input = Arc::clone(writer.children()[0]);
        return Ok(Some(Arc::new(ShuffleWriterExec::try_new(job.clone(), id, input, String::new())?)));
    }
    if let Some(writer) = node.downcast_ref::<SortShuffleWriterExec>() {
        let Some(id) = new(writer.stage_id()) else { return Ok(None) };
        let (input, parts) = (Arc::clone(writer.children()[0]), writer.shuffle_output_partitioning().clone());
        let config = writer.config().clone();
        let writer = SortShuffleWriterExec::try_new(job.clone(), id, input, String::new(), parts, config)?;
        return Ok(Some(Arc::new(writer)));
    }
    Ok(None)
}
