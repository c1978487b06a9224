//! A plan, cut into stages.
//!
//! ```text
//!   SortPreservingMerge          stage 3: ShuffleWriter ─ SortPreservingMerge ─ (stage 2)
//!     Sort                       stage 2: ShuffleWriter ─ Sort ─ Aggregate(final) ─ (stage 1)
//!       Aggregate(final)         stage 1: SortShuffleWriter(hash k) ─ Aggregate(partial) ─ scan
//!         Repartition(hash k)
//!           Aggregate(partial)
//!             scan
//! ```
//!
//! Ballista cuts; this file decides what may be cut at all and keeps the pieces. One output partition of a stage's
//! plan is a task, and a task's plan is the stage's with its leaves restricted to that partition. Ballista restricts
//! only the leaves that it knows, and a leaf that is not restricted is read whole by every task: rows N times over.
//! Hence the allow-list. [`prepare`] makes a plan fit to be cut, and every stage is checked afterwards: a node whose
//! children are not parted as it needs would answer with a part of the rows.
//!
//! All stages are encoded once, before any worker can see the query: whoever takes the query over decodes them and
//! never plans again, because another machine's settings would cut other stages.

mod fold;
mod prepare;
mod reduce;
pub(crate) mod sizing;

use std::{collections::HashMap, sync::Arc};

use apiary_core::QueryId;
use apiary_query::plain_schema;
use ballista_core::{JobId, execution_plans::UnresolvedShuffleExec, serde::scheduler::PartitionLocation};
use ballista_scheduler::{
    planner::{DefaultDistributedPlanner, DistributedPlanner, find_unresolved_shuffles, remove_unresolved_shuffles},
    state::task_builder::restrict_plan_to_partitions,
};
use bytes::Bytes;
use datafusion::{
    arrow::datatypes::SchemaRef,
    config::ConfigOptions,
    datasource::{memory::MemorySourceConfig, physical_plan::FileScanConfig, source::DataSourceExec},
    execution::TaskContext,
    physical_plan::{ExecutionPlan, ExecutionPlanProperties, empty::EmptyExec, placeholder_row::PlaceholderRowExec},
};
use prost::Message;

use crate::{
    EngineError, Result, codec,
    comb::pieces,
    config,
    fragment_sql::{self, FrameNames},
    merge_joins,
    stages::{fold::Cut, sizing::Grain},
};

/// Most stages of one query: TPC-DS reaches 72.
const STAGES_MAX: usize = 256;

/// Most tasks of one query; beyond this coordination costs more than the work.
const TASKS_MAX: usize = 20_000;

/// Where each finished stage's output lies: stage, output partition, pieces.
pub(crate) type Locations = HashMap<usize, HashMap<usize, Vec<PartitionLocation>>>;

/// One stage.
#[derive(Debug, Clone)]
pub struct StagePlan {
    /// Counted from 1, in an order in which inputs come first.
    pub id: u32,
    /// Stages whose output this one reads.
    pub inputs: Vec<u32>,
    /// Its partitions, and the most tasks that it can have.
    pub tasks: u32,
    /// Bytes of cells that it reads.
    pub scan_bytes: u64,
    /// The stage in words or SQL, for people.
    pub sql: String,
    plan: Arc<dyn ExecutionPlan>,
    /// The inputs of which the smallest is to reduce it: it keeps the keys that are there (see `reduce`).
    reduced_by: Vec<u32>,
}

impl StagePlan {
    fn new(Cut { id, plan, reduced_by }: Cut, names: &FrameNames) -> Result<Self> {
        let inputs = find_unresolved_shuffles(&plan).map_err(cannot_cut)?;
        let mut inputs: Vec<u32> = inputs.iter().map(|input| input.stage_id as u32).collect();
        inputs.sort_unstable();
        inputs.dedup();
        let tasks = plan.children().first().map_or(1, |child| child.output_partitioning().partition_count());
        let (sql, scan_bytes) = (fragment_sql::describe(&plan, names), sizing::scan_bytes(plan.as_ref()));
        let reduced_by = reduced_by.into_iter().map(|id| id as u32).collect();
        Ok(Self { id: id as u32, inputs, tasks: tasks as u32, scan_bytes, sql, plan, reduced_by })
    }

    /// The inputs that could reduce it.
    #[cfg(test)]
    pub(crate) fn reduced_by(&self) -> &[u32] {
        &self.reduced_by
    }

    /// Whether the rows of each partition have an order.
    fn is_ordered(&self) -> bool {
        self.plan.children().first().is_some_and(|child| child.output_ordering().is_some())
    }

    /// The plan as text, for EXPLAIN VERBOSE.
    #[must_use]
    pub fn display(&self) -> String {
        datafusion::physical_plan::displayable(self.plan.as_ref()).indent(false).to_string()
    }
}

/// A resolved stage's plan with its leaves restricted to a task's partitions.
pub(crate) fn restrict(resolved: &Arc<dyn ExecutionPlan>, partitions: &[usize]) -> Result<Arc<dyn ExecutionPlan>> {
    restrict_plan_to_partitions(Arc::clone(resolved), partitions).map_err(EngineError::from)
}

/// All stages of a query; the last one writes the answer.
#[derive(Debug, Clone)]
pub struct StagePlans {
    /// Inputs first.
    pub stages: Vec<StagePlan>,
    /// The answer's schema.
    pub schema: SchemaRef,
    /// Whether the answer's partitions must be read in their order.
    pub(crate) ordered: bool,
    /// Settings that the workers need, where they differ from the board's own.
    pub(crate) settings: Vec<(String, String)>,
    /// How many bytes a task gets.
    pub(crate) grain: Grain,
}

impl StagePlans {
    /// The most tasks that all stages can have.
    #[must_use]
    pub fn task_count(&self) -> u32 {
        self.stages.iter().map(|stage| self.tasks_max(stage)).sum()
    }

    /// The most tasks that a stage can have: all that are known of one that reads cells, and of another as many as it
    /// has partitions, before its inputs say how much they wrote.
    #[must_use]
    pub fn tasks_max(&self, stage: &StagePlan) -> u32 {
        if stage.inputs.is_empty() { self.grain.tasks(stage.tasks, stage.scan_bytes) } else { stage.tasks }
    }

    /// How many tasks a query should have whose rows go straight from cells to the client, however many bees there are:
    /// a client that reads slowly is followed by a window over them. Nothing where rows are brought together first.
    #[must_use]
    pub fn tasks_of_a_stream(&self) -> Option<usize> {
        let [only] = &self.stages[..] else { return None };
        Some(self.grain.tasks(u32::MAX, only.scan_bytes) as usize).filter(|_| self.grain != Grain::FINE)
    }

    /// A stage that does the work of `folded` stages as well, inputs first, with its inputs' outputs filled in.
    pub(crate) fn resolve(&self, id: u32, folded: &[u32], locations: &Locations) -> Result<Arc<dyn ExecutionPlan>> {
        self.resolved(id, folded, locations, |id| written_by(id, locations))
    }

    /// The same without what reduces it, if something could: for a task that had not enough memory with it.
    pub(crate) fn resolve_bare(
        &self,
        id: u32,
        folded: &[u32],
        locations: &Locations,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let is_reduced = self.stage(id).is_some_and(|stage| !stage.reduced_by.is_empty());
        is_reduced.then(|| self.resolved(id, folded, locations, |_| reduce::TOO_MUCH)).transpose()
    }

    fn resolved(
        &self,
        id: u32,
        folded: &[u32],
        locations: &Locations,
        written: impl Fn(u32) -> (u64, u64),
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let find = |id| self.stage(id).ok_or_else(|| EngineError::decode(format!("there is no stage {id}")));
        let stage = find(id)?;
        let mut plan = Arc::clone(&stage.plan);
        if !stage.reduced_by.is_empty() {
            plan = reduce::by_the_smallest(&plan, &stage.reduced_by, stage.scan_bytes, written)?;
        }
        for inner in folded.iter().rev() {
            plan = fold::unfold(plan, *inner as usize, &find(*inner)?.plan)?;
        }
        if !folded.is_empty() {
            prepare::check(&plan)?;
        }
        remove_unresolved_shuffles(plan, locations).map_err(|error| EngineError::encode(format!("stage {id}: {error}")))
    }

    /// Stages that a stage reads when it does the work of `folded` stages as well.
    pub(crate) fn inputs(&self, id: u32, folded: &[u32]) -> Vec<u32> {
        let stages = folded.iter().chain([&id]).filter_map(|id| self.stage(*id));
        let mut inputs: Vec<u32> = stages.flat_map(|stage| stage.inputs.iter().copied()).collect();
        inputs.retain(|input| !folded.contains(input));
        inputs
    }

    pub(crate) fn stage(&self, id: u32) -> Option<&StagePlan> {
        self.stages.iter().find(|stage| stage.id == id)
    }

    /// The bytes of `stages.bin`.
    pub fn encode(&self) -> Result<Bytes> {
        let entry = |stage: &StagePlan| {
            let plan = codec::encode_plan(Arc::clone(&stage.plan))?;
            Ok(StageEntry { id: stage.id, plan, sql: stage.sql.clone(), reduced_by: stage.reduced_by.clone() })
        };
        let file = StagesFile {
            format: StagesFile::FORMAT,
            engine_version: codec::engine_version(),
            settings: self.settings.iter().cloned().collect(),
            stages: self.stages.iter().map(entry).collect::<Result<_>>()?,
            task_bytes: self.grain.task_bytes,
        };
        Ok(file.encode_to_vec().into())
    }

    /// What [`Self::encode`] wrote, by a program of the same engine version.
    pub fn decode(bytes: &[u8], context: &TaskContext) -> Result<Self> {
        let file = StagesFile::decode(bytes).map_err(EngineError::decode)?;
        codec::check_version(&file.engine_version)?;
        let stage = |entry: StageEntry| {
            let plan = codec::decode_plan(&entry.plan, context)?;
            let reduced_by = entry.reduced_by.into_iter().map(|id| id as usize).collect();
            let cut = Cut { id: entry.id as usize, plan, reduced_by };
            let stage = StagePlan::new(cut, &FrameNames::default())?;
            Ok(StagePlan { sql: entry.sql, ..stage })
        };
        let stages = file.stages.into_iter().map(stage).collect::<Result<Vec<_>>>()?;
        let last = stages.last().ok_or_else(|| EngineError::decode("there is no stage"))?;
        let (schema, ordered) = (plain_schema(&last.plan.schema()), last.is_ordered());
        let grain = Grain { task_bytes: file.task_bytes, ..Grain::FINE };
        Ok(Self { stages, schema, ordered, settings: file.settings.into_iter().collect(), grain })
    }
}

#[derive(Clone, PartialEq, Message)]
struct StagesFile {
    #[prost(uint32, tag = "1")]
    format: u32,
    #[prost(string, tag = "2")]
    engine_version: String,
    #[prost(btree_map = "string, string", tag = "3")]
    settings: std::collections::BTreeMap<String, String>,
    #[prost(message, repeated, tag = "4")]
    stages: Vec<StageEntry>,
    #[prost(uint64, tag = "5")]
    task_bytes: u64,
}

impl StagesFile {
    const FORMAT: u32 = 1;
}

#[derive(Clone, PartialEq, Message)]
struct StageEntry {
    #[prost(uint32, tag = "1")]
    id: u32,
    #[prost(bytes = "bytes", tag = "2")]
    plan: Bytes,
    #[prost(string, tag = "3")]
    sql: String,
    #[prost(uint32, repeated, tag = "4")]
    reduced_by: Vec<u32>,
}

/// Cuts `plan`, which was made under [`crate::board_config`]. [`EngineError::CannotCut`] says why it cannot be; the
/// query then runs locally. Pure but for CPU.
pub fn split(
    plan: &Arc<dyn ExecutionPlan>,
    options: &ConfigOptions,
    query: &QueryId,
    names: &FrameNames,
    grain: Grain,
    chamber_bytes: u64,
) -> Result<StagePlans> {
    check_leaves(plan.as_ref())?;
    let plan = prepare::prepare(Arc::clone(plan), options).map_err(cannot_cut)?;
    let plan = merge_joins::instead_of_large(plan, chamber_bytes).map_err(cannot_cut)?;
    let job = JobId::new(query.to_string());
    let apart = reduce::apart(Arc::clone(&plan), &grain).map_err(cannot_cut)?;
    let stages = match cut(apart.data, options, &job, names, grain) {
        // What stands above may rely on what is known of the groups where they are made.
        Err(EngineError::CannotCut(why)) if apart.transformed => {
            tracing::debug!(%query, why, "filtered groups stay where they are");
            cut(Arc::clone(&plan), options, &job, names, grain)?
        }
        stages => stages?,
    };
    let (schema, ordered) = (plain_schema(&plan.schema()), stages.last().is_some_and(StagePlan::is_ordered));
    let plans = StagePlans { stages, schema, ordered, settings: config::differences(options), grain };
    check_size(&plans)?;
    Ok(plans)
}

/// The stages of a plan that is fit to be cut.
fn cut(
    plan: Arc<dyn ExecutionPlan>,
    options: &ConfigOptions,
    job: &JobId,
    names: &FrameNames,
    grain: Grain,
) -> Result<Vec<StagePlan>> {
    let largest = prepare::largest_broadcast(plan.as_ref(), config::broadcast_bytes_max(options));
    let worth = reduce::worthwhile(plan.as_ref(), &grain);
    let (cutting, meant) = (config::broadcasting(options, largest)?, prepare::broadcasts([&plan]));
    let cut = DefaultDistributedPlanner::new().plan_query_stages(job, plan, &cutting).map_err(cannot_cut)?;
    let cut = cut.into_iter().map(|stage| Cut { id: stage.stage_id(), plan: stage as _, reduced_by: Vec::new() });
    let cut: Vec<Cut> = cut.collect();
    prepare::check_broadcasts(&meant, &prepare::broadcasts(cut.iter().map(|stage| &stage.plan))).map_err(cannot_cut)?;
    let cut = reduce::reduce(fold::fold(cut, job, &grain).map_err(cannot_cut)?, &worth).map_err(cannot_cut)?;
    let stages = cut.into_iter().map(|cut| StagePlan::new(cut, names));
    let stages = stages.collect::<Result<Vec<_>>>()?;
    for stage in &stages {
        check_leaves(stage.plan.as_ref())?;
        prepare::check(&stage.plan).map_err(cannot_cut)?;
    }
    Ok(stages)
}

/// Rows and bytes that a stage wrote.
fn written_by(stage: u32, locations: &Locations) -> (u64, u64) {
    let written = || locations.get(&(stage as usize)).into_iter().flat_map(HashMap::values).flatten();
    let rows = written().map(pieces::rows_of).fold(0, u64::saturating_add);
    (rows, written().filter_map(|piece| piece.partition_stats.num_bytes()).fold(0, u64::saturating_add))
}

fn cannot_cut(error: impl std::fmt::Display) -> EngineError {
    EngineError::CannotCut(error.to_string())
}

fn check_size(plans: &StagePlans) -> Result<()> {
    let (stages, tasks) = (plans.stages.len(), plans.task_count() as usize);
    if stages == 0 || stages > STAGES_MAX || tasks > TASKS_MAX {
        return Err(EngineError::CannotCut(format!("it would take {stages} stages and {tasks} tasks")));
    }
    Ok(())
}

/// Whether every leaf can be restricted to one task's share.
fn check_leaves(plan: &dyn ExecutionPlan) -> Result<()> {
    if !plan.children().is_empty() {
        return plan.children().into_iter().try_for_each(|child| check_leaves(child.as_ref()));
    }
    let known = plan.is::<PlaceholderRowExec>() || plan.is::<EmptyExec>() || plan.is::<UnresolvedShuffleExec>();
    let source = plan.downcast_ref::<DataSourceExec>().map(DataSourceExec::data_source);
    let stored = source.is_some_and(|source| {
        let source: &dyn std::any::Any = source.as_ref();
        source.is::<FileScanConfig>() || source.is::<MemorySourceConfig>()
    });
    if known || stored { Ok(()) } else { Err(EngineError::CannotCut(format!("it reads from {}", plan.name()))) }
}
