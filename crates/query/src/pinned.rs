//! A statement bound to its snapshots, and what it becomes: a plan that DataFusion runs or the engine cuts.

use std::{collections::BTreeMap, sync::Arc};

use apiary_core::FramePath;
use apiary_ledger::{Frames, Namespace, Snapshot};
use datafusion::{
    arrow::datatypes::SchemaRef,
    datasource::{physical_plan::FileScanConfig, source::DataSourceExec},
    error::DataFusionError,
    execution::{SessionStateBuilder, context::SQLOptions, runtime_env::RuntimeEnv},
    logical_expr::LogicalPlan,
    physical_plan::ExecutionPlan,
    prelude::{SessionConfig, SessionContext},
    sql::{
        parser::Statement as DfStatement,
        sqlparser::ast::{Query, Statement as Ast},
    },
};

use crate::{
    ColonyRows, PlanStep, Result, ScanReport, Session, SystemFrame, advice, builds,
    case::Spellings,
    catalog::{Colony, Hives},
    order,
    runtime::{cells_url, is_local, text_views},
    system,
    table::ScanLog,
    views::{self, plain_schema, viewed_schema},
    walls,
};

/// A statement and one snapshot of each frame that it names.
#[derive(Debug, Clone)]
pub struct Pinned {
    pub(crate) sql: String,
    pub(crate) ast: Query,
    pub(crate) spellings: Spellings,
    pub(crate) session: Session,
    pub(crate) namespace: Option<Arc<Namespace>>,
    pub(crate) snapshots: Vec<(FramePath, Arc<Snapshot>)>,
    pub(crate) frames: Frames,
    pub(crate) system: Vec<SystemFrame>,
    pub(crate) colony: ColonyRows,
    pub(crate) verbose: bool,
}

impl Pinned {
    /// The frames and the versions that will be read.
    #[must_use]
    pub fn snapshots(&self) -> &[(FramePath, Arc<Snapshot>)] {
        &self.snapshots
    }

    /// The session it was pinned in.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The same, but scans report every cell, for EXPLAIN VERBOSE.
    #[must_use]
    pub fn verbose(mut self, verbose: bool) -> Self {
        self.verbose = verbose;
        self
    }

    /// The system frames that it names: their rows are told here, so it must run here.
    #[must_use]
    pub fn system_frames(&self) -> &[SystemFrame] {
        &self.system
    }

    /// The same with what the colony knows of itself, for a statement that asks (see [`Pinned::system_frames`]).
    #[must_use]
    pub fn with_colony(mut self, colony: ColonyRows) -> Self {
        self.colony = colony;
        self
    }

    /// Plans it with `config`, to run in `runtime`. Reads no cell and costs no request, except that a statement on
    /// `information_schema`, `apiary.cells` or `apiary.ledger` looks up the frames it lists. The session's `target_partitions` goes before `config`'s.
    /// Fails with kind `SqlSyntax` or `NotFound`.
    pub async fn plan(&self, config: SessionConfig, runtime: Arc<RuntimeEnv>) -> Result<Planned> {
        let config = self.config(config);
        if let Some(bytes) = text_views(&config).filter(|_| self.suits_views())
            && let Ok(planned) = self.plan_as(config.clone(), Arc::clone(&runtime), true).await
            && !views::hold_too_much(order::filters::cautious(Arc::clone(&planned.physical))?.as_ref(), bytes)
        {
            return Ok(planned);
        }
        self.plan_as(config, runtime, false).await
    }

    /// Whether its texts may be views, as far as can be told before it is planned.
    fn suits_views(&self) -> bool {
        self.session.settings.plans_with(PlanStep::TextViews)
            && views::suit(&self.sql)
            && self.snapshots.iter().all(|(_, snapshot)| views::suit_columns(&snapshot.schema))
    }

    async fn plan_as(&self, mut config: SessionConfig, runtime: Arc<RuntimeEnv>, viewed: bool) -> Result<Planned> {
        let planned = self.plan_once(config.clone(), Arc::clone(&runtime), viewed).await?;
        if !planned.may_hide_nan || !config.options().optimizer.enable_dynamic_filter_pushdown {
            return Ok(planned);
        }
        // Filters found while running prune row groups by footers, whose float bounds leave NaN out.
        config.options_mut().optimizer.enable_dynamic_filter_pushdown = false;
        config.options_mut().optimizer.enable_topk_dynamic_filter_pushdown = false;
        config.options_mut().optimizer.enable_join_dynamic_filter_pushdown = false;
        config.options_mut().optimizer.enable_aggregate_dynamic_filter_pushdown = false;
        self.plan_once(config, runtime, viewed).await
    }

    async fn plan_once(&self, config: SessionConfig, runtime: Arc<RuntimeEnv>, viewed: bool) -> Result<Planned> {
        let log = ScanLog::default();
        let (settings, local) = (&self.session.settings, is_local(&config));
        let mut rules = walls::physical_rules();
        if settings.plans_with(PlanStep::SharedBuilds) {
            builds::add_to(&mut rules, local);
        }
        if settings.plans_with(PlanStep::FilterEstimates) {
            order::filters::add_to(&mut rules);
        }
        let ctx = SessionContext::new_with_state(
            SessionStateBuilder::new_with_default_features()
                .with_config(config)
                .with_runtime_env(runtime)
                .with_physical_optimizer_rules(rules)
                .with_catalog_list(Arc::new(Hives(Arc::new(self.colony(log.clone(), viewed)?))))
                .build(),
        );
        let state = ctx.state();
        let statement = DfStatement::Statement(Box::new(Ast::Query(Box::new(self.ast.clone()))));
        let told = |error: DataFusionError| advice::of_plan(error, &self.sql);
        let logical = state.statement_to_plan(statement).await.map_err(told)?;
        let reading = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        reading.verify_plan(&logical).map_err(told)?;
        let logical = state.optimize(&logical).map_err(told)?;
        let in_order = settings.plans_with(PlanStep::JoinOrder);
        let logical = if in_order { order::reorder(logical, &state).map_err(told)? } else { logical };
        let reduced = settings.plans_with(PlanStep::SemiJoins);
        let logical = if reduced { order::reduce(logical, &state).map_err(told)? } else { logical };
        let physical = state.query_planner().create_physical_plan(&logical, &state).await.map_err(told)?;
        let (mut scans, may_hide_nan) = log.take();
        mark_answered(&physical, &mut scans);
        Ok(Planned { ctx, logical, schema: plain_schema(&physical.schema()), physical, scans, may_hide_nan })
    }

    fn config(&self, config: SessionConfig) -> SessionConfig {
        let config = config.with_information_schema(true).with_create_default_catalog_and_schema(false);
        let config = config.with_default_catalog_and_schema(self.session.hive_used(), self.session.box_used());
        match self.session.settings.target_partitions() {
            Some(partitions) => config.with_target_partitions(partitions),
            None => config,
        }
    }

    fn colony(&self, log: ScanLog, viewed: bool) -> Result<Colony> {
        let seen = |snapshot: &Arc<Snapshot>| {
            let mut seen = Arc::clone(snapshot);
            if viewed {
                Arc::make_mut(&mut seen).schema = viewed_schema(&snapshot.schema);
            }
            seen
        };
        let pinned = self.snapshots.iter().map(|(path, snapshot)| (path.folded(), (path.clone(), seen(snapshot))));
        Ok(Colony {
            namespace: self.namespace.as_ref().map(Arc::clone),
            pinned: pinned.collect(),
            frames: self.frames.clone(),
            cells_url: cells_url()?,
            spellings: self.spellings.clone(),
            system: system::tables(&self.system, &self.colony, self.namespace.as_ref(), &self.frames)?,
            log,
            verbose: self.verbose,
        })
    }
}

/// A plan, and what its scans kept.
#[derive(Clone)]
pub struct Planned {
    /// The context in which it was planned; its task context runs it.
    pub ctx: SessionContext,
    /// The optimised logical plan.
    pub logical: LogicalPlan,
    /// The physical plan.
    pub physical: Arc<dyn ExecutionPlan>,
    /// One report per scan of a frame.
    pub scans: Vec<ScanReport>,
    /// What comes out, with plain texts where the plan has views.
    pub schema: SchemaRef,
    may_hide_nan: bool,
}

impl std::fmt::Debug for Planned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Planned").field("scans", &self.scans).field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl Planned {
    /// Cells of all scanned frames, each frame as often as it is scanned.
    #[must_use]
    pub fn cells_total(&self) -> usize {
        self.scans.iter().map(|scan| scan.cells_total).sum()
    }

    /// Cells that will be read.
    #[must_use]
    pub fn cells_kept(&self) -> usize {
        self.scans.iter().filter(|scan| !scan.answered_by_ledger).map(|scan| scan.cells_kept).sum()
    }

    /// Their bytes: an upper bound of what is fetched, since columns that are not asked for stay.
    #[must_use]
    pub fn bytes_kept(&self) -> u64 {
        self.scans.iter().filter(|scan| !scan.answered_by_ledger).map(|scan| scan.bytes_kept).sum()
    }
}

/// Marks the scans that the optimiser answered from statistics: those that no leaf of the plan reads any more.
fn mark_answered(physical: &Arc<dyn ExecutionPlan>, scans: &mut [ScanReport]) {
    let mut leaves = BTreeMap::new();
    count_leaves(physical, &mut leaves);
    for scan in scans.iter_mut().filter(|scan| scan.cells_kept > 0) {
        match leaves.get_mut(&(scan.cells_kept, scan.bytes_kept)) {
            Some(count) if *count > 0 => *count -= 1,
            _ => scan.answered_by_ledger = true,
        }
    }
}

/// Counts the scans in a plan by their cells and bytes.
fn count_leaves(plan: &Arc<dyn ExecutionPlan>, leaves: &mut BTreeMap<(usize, u64), usize>) {
    let config =
        plan.downcast_ref::<DataSourceExec>().and_then(|leaf| leaf.data_source().downcast_ref::<FileScanConfig>());
    if let Some(config) = config {
        // A cell may stand in several groups, by ranges.
        let files: BTreeMap<_, _> = config
            .file_groups
            .iter()
            .flat_map(|group| group.iter())
            .map(|file| (file.path(), file.object_meta.size))
            .collect();
        *leaves.entry((files.len(), files.values().sum())).or_default() += 1;
    }
    plan.children().into_iter().for_each(|child| count_leaves(child, leaves));
}
