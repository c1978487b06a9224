//! What goes into a query on the board and what comes out of it.

use std::sync::Arc;

use apiary_bucket::Bucket;
use apiary_core::{Incarnation, NodeId, QueryId};
use apiary_swarm::{NodeView, board::QueryRecord};
use datafusion::{
    arrow::datatypes::SchemaRef, execution::runtime_env::RuntimeEnv, physical_plan::SendableRecordBatchStream,
};
use tokio_util::task::TaskTracker;

use crate::{BoardMetrics, NewTask, Nudger, StagePlans, wake};

/// What a coordinator lends to its queries.
#[derive(Clone)]
pub struct BoardEnv {
    /// The colony's bucket.
    pub bucket: Bucket,
    /// This coordinator.
    pub node: NodeId,
    /// Its life.
    pub incarnation: Incarnation,
    /// What it sees of the colony.
    pub world: Arc<dyn Fn() -> Vec<NodeView> + Send + Sync>,
    /// Its nudge streams.
    pub nudger: Arc<dyn Nudger>,
    /// Its environment; stored plans are decoded in it.
    pub runtime: Arc<RuntimeEnv>,
    /// What drives its queries: a coordinator that leaves waits for it, so that their objects go with them.
    pub tasks: TaskTracker,
}

impl std::fmt::Debug for BoardEnv {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BoardEnv").field("node", &self.node).finish_non_exhaustive()
    }
}

/// A query and its stages.
#[derive(Debug)]
pub struct BoardQuery {
    /// What was asked.
    pub record: QueryRecord,
    /// How it was cut.
    pub plans: StagePlans,
}

/// An answer that is being made.
pub struct BoardResult {
    /// Its schema.
    pub schema: SchemaRef,
    /// Its rows. An [`EngineError`] comes as `DataFusionError::External`. Dropping it cancels the query.
    pub stream: SendableRecordBatchStream,
    /// What it costs; complete when the stream has ended.
    pub metrics: Arc<BoardMetrics>,
}

impl std::fmt::Debug for BoardResult {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BoardResult").field("metrics", &self.metrics).finish_non_exhaustive()
    }
}

impl BoardEnv {
    /// Wakes workers in this process and elsewhere.
    pub(crate) fn nudge(&self, query: &QueryId, task: Option<NewTask<'_>>, cancelled: bool) {
        wake::nudge(self.bucket.uri(), query, task, cancelled);
        self.nudger.nudge(query, task, cancelled);
    }
}
