//! Tasks, made and put on the board.
//!
//! A task object carries all that a worker needs besides the bucket: the stage's plan restricted to the task, where
//! its inputs lie, small inputs themselves, settings, limits and versions. Wake-up calls go out after the object is
//! there, and nothing depends on their arrival.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use apiary_bucket::layout;
use apiary_core::{NodeId, QueryId};
use apiary_swarm::{
    Board, TaskId,
    behaviour::abandonment::{ATTEMPTS_MAX, Remedy},
    board::TaskObject,
    placement::TaskLoad,
};
use ballista_core::execution_plans::compute_global_output_partition_ids;
use bytes::Bytes;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use futures::{StreamExt, TryStreamExt, stream};
use prost::Message;

use crate::{
    BoardEnv, Result, codec,
    comb::pieces::{self, DoneTasks},
    merge_joins,
    query_run::Attempt,
    stages::{self, sizing},
    task_cells,
};

/// How many tasks are put on the board at once.
const PUBLISH_AT_ONCE: usize = 16;

/// How long a first attempt may run.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(600);

/// The longest that an attempt of this number may run: each that was late before it may have doubled its deadline.
pub(crate) fn attempt_timeout_max(attempt: u32) -> Duration {
    ATTEMPT_TIMEOUT * (1 << (attempt.saturating_sub(1) as usize).min(ATTEMPTS_MAX))
}

/// Room that an attempt wants after one that ran out of memory; a worker gives two bees' chambers at most.
const ROOMIER_BYTES: u64 = u64::MAX;

/// A task object larger than this is not sent with a nudge: every worker gets every nudge, and one of them the task.
const NUDGED_BYTES_MAX: usize = 16 << 10;

/// A task that was just published.
#[derive(Debug, Clone, Copy)]
pub struct NewTask<'a> {
    /// The key of its object.
    pub key: &'a str,
    /// The object where it is small, else nothing: then it is read.
    pub body: &'a Bytes,
    /// The node that would do it best; empty: whichever.
    pub preferred_node: &'a str,
}

/// Wakes workers. Losing a nudge costs time, never rows.
pub trait Nudger: Send + Sync + std::fmt::Debug {
    /// A task was published, or with `cancelled` the query is over.
    fn nudge(&self, query: &QueryId, task: Option<NewTask<'_>>, cancelled: bool);

    /// Whether a node listens, and so says what it has ended.
    fn listens(&self, _: &NodeId) -> bool {
        false
    }

    /// Nodes that listened and do not any more, and for how long; for a while only.
    fn out_of_touch(&self) -> Vec<(NodeId, Duration)> {
        Vec::new()
    }
}

/// Nobody listens: workers find their tasks by polling.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoNudges;

impl Nudger for NoNudges {
    fn nudge(&self, _: &QueryId, _: Option<NewTask<'_>>, _: bool) {}
}

/// An attempt to be published.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    pub(crate) attempt: Attempt,
    pub(crate) avoid: Vec<NodeId>,
    pub(crate) remedy: Remedy,
}

/// What all tasks of a stage have in common.
#[derive(Debug)]
pub(crate) struct OpenStage {
    pub(crate) plan: Arc<dyn ExecutionPlan>,
    /// The same without what reduces it, where something does: see `stages::reduce`.
    pub(crate) bare: Option<Arc<dyn ExecutionPlan>>,
    pub(crate) sql: String,
    pub(crate) tasks: u32,
}

impl OpenStage {
    /// The partitions of one of its tasks.
    fn partitions(&self, task: u32) -> Vec<usize> {
        let input = self.plan.children().first().map_or(1, |input| input.output_partitioning().partition_count());
        sizing::slice(u32::try_from(input).unwrap_or(u32::MAX), self.tasks, task).collect()
    }
}

/// The query's share of every task.
#[derive(Debug)]
pub(crate) struct Common<'a> {
    pub(crate) query: QueryId,
    pub(crate) settings: &'a [(String, String)],
    pub(crate) done: &'a DoneTasks,
    pub(crate) timeout: Duration,
}

/// The object for an attempt, and what it asks of the node that does it. Pure but for CPU.
pub(crate) fn task_object(common: &Common<'_>, stage: &OpenStage, order: &Order) -> Result<(TaskObject, TaskLoad)> {
    let Attempt { stage: stage_id, task, attempt } = order.attempt;
    let partitions = stage.partitions(task);
    let spills = order.remedy == Remedy::RoomierOrSpilling;
    let whole = stage.bare.as_ref().filter(|_| spills).unwrap_or(&stage.plan);
    // One task does all there is, and what was folded into the stage has partitions of its own.
    let plan = match stage.tasks {
        1 => Arc::clone(whole),
        _ => stages::restrict(whole, &partitions)?,
    };
    let plan = if spills { merge_joins::everywhere(plan)? } else { plan };
    let cells = task_cells::cells_of(plan.as_ref());
    let mut inputs = BTreeSet::new();
    pieces::inputs_of(&common.query, plan.as_ref(), &mut inputs);
    let factor = match order.remedy {
        Remedy::LongerDeadline(factor) => factor,
        _ => 1,
    };
    let timeout = (ATTEMPT_TIMEOUT * factor).min(common.timeout).max(Duration::from_secs(1));
    let memory_bytes = if spills { ROOMIER_BYTES } else { 0 };
    let output_ids = compute_global_output_partition_ids(&stage.plan, &partitions);
    let object = TaskObject {
        engine_version: codec::engine_version(),
        output_ids: output_ids.into_iter().map(|id| id as u64).collect(),
        settings: common.settings.iter().cloned().collect(),
        extra: pieces::extra_for(plan.as_ref(), common.done).encode_to_vec().into(),
        plan: codec::encode_plan(plan)?,
        cells: cells.iter().map(|(key, _)| key.clone()).collect(),
        inputs: inputs.into_iter().collect(),
        timeout_ms: timeout.as_millis() as u64,
        memory_bytes,
        avoid_nodes: order.avoid.iter().map(ToString::to_string).collect(),
        inline_output: true,
        ..TaskObject::of(TaskId::new(common.query, stage_id, task).attempt(attempt))
    };
    let name = format!("{}/{stage_id}/{task}", common.query);
    Ok((object, TaskLoad { name, cells, memory_bytes, avoid: order.avoid.clone() }))
}

/// Puts tasks on the board, several at once, and wakes workers. 1 PUT each, and 1 more for the first task of a stage: the
/// stage's text for people, which no worker waits for and no query fails for.
pub(crate) async fn publish(board: &Board, env: &BoardEnv, tasks: Vec<(TaskObject, Option<String>)>) -> Result<()> {
    stream::iter(tasks)
        .map(|(task, sql)| async move {
            let body = board.publish_task(&task).await?;
            if let Some(id) = task.id() {
                let key = layout::task(&id.task.query, id.task.stage, id.task.task, id.attempt);
                let body = body.filter(|body| body.len() <= NUDGED_BYTES_MAX).unwrap_or_default();
                env.nudge(
                    &id.task.query,
                    Some(NewTask { key: key.as_ref(), body: &body, preferred_node: &task.preferred_node }),
                    false,
                );
                if let Some(sql) = sql
                    && let Err(error) = board.describe_task(&id.task, &sql).await
                {
                    tracing::debug!(%error, "a fragment's text could not be written");
                }
            }
            Ok(())
        })
        .buffer_unordered(PUBLISH_AT_ONCE)
        .try_collect()
        .await
}
