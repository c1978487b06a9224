//! A plan that runs on this machine: on bees' threads, in a chamber of its own, and once more where memory was short.
//!
//! ```text
//!   as planned ──▶ joins that spill, if there is much memory for each bee ──▶ the same in one partition ──▶ told
//!              memory was not enough, and no row had left
//! ```
//!
//! In a small chamber many operators side by side hold more than the pool can count (what Parquet decodes into, what
//! merges read ahead): TPC-H Q9 at SF10 with two partitions came to 1 046 MB on a machine of 1 GiB, and to 908 MB in one
//! partition, in less time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use apiary_core::Clock;
use apiary_engine::{merge_joins, weigh_windows};
use apiary_node::{Bees, Chamber};
use apiary_query::{Pinned, Planned, conform, gather, spilling_config, within_chamber};
use datafusion::{
    error::{DataFusionError, Result as DfResult},
    execution::{SendableRecordBatchStream, TaskContext, memory_pool::MemoryPool, runtime_env::RuntimeEnv},
    physical_plan::{
        ExecutionPlan, ExecutionPlanProperties, joins::SortMergeJoinExec, stream::RecordBatchReceiverStreamBuilder,
    },
};
use futures::StreamExt;
use tokio_util::sync::CancellationToken;

use crate::{Result, state::State};

/// Batches that are computed before the client takes them.
const BATCHES_AHEAD: usize = 2;

/// Memory for each bee with which a plan is run again by all of them.
const WIDE_BYTES_MIN: u64 = 512 << 20;

/// How long a run that failed may take to let go of its memory before the next begins, and how often that is looked at.
const LETS_GO_MAX: Duration = Duration::from_secs(5);
const LETS_GO_LOOK: Duration = Duration::from_millis(10);

/// What a local query holds while it runs.
pub(super) struct Local {
    pub(super) stream: SendableRecordBatchStream,
    pub(super) chamber: Option<Chamber>,
    pub(super) bees: Option<Bees>,
    /// How often it was run again.
    pub(super) retries: Arc<AtomicU32>,
}

/// A plan, and all that it takes to plan it again.
pub(super) struct Question {
    pub(super) pinned: Pinned,
    pub(super) planned: Planned,
    pub(super) runtime: Arc<RuntimeEnv>,
}

/// Runs a plan here: as many free bees as it has partitions, and the sum of their chambers. A plan that reads no
/// cell takes neither.
pub(super) async fn open(state: &State, question: Question, token: &CancellationToken) -> Result<Local> {
    let (mut bees, mut chamber) = (None, None);
    let mut room = None;
    if question.planned.cells_kept() > 0 {
        let partitions = widest(question.planned.physical.as_ref()).min(state.node.bees.total());
        let leased = state.node.bees.lease_up_to(partitions, token).await?;
        let built = state.node.chambers.build(leased.count(), token)?;
        room = Some(Room {
            runtime: built.runtime(&question.runtime)?,
            pool: built.memory_pool(),
            bytes: built.budget_bytes(),
            widths: Room::widths_of(built.budget_bytes(), leased.count()),
        });
        (bees, chamber) = (Some(leased), Some(built));
    }
    let retries: Arc<AtomicU32> = Arc::default();
    let clock = Arc::clone(state.node.clock());
    let stream = on_bees(state, Tries { question, room, retries: Arc::clone(&retries), clock });
    Ok(Local { stream, chamber, bees, retries })
}

/// What a chamber gives to the plans that run in it.
struct Room {
    runtime: Arc<RuntimeEnv>,
    pool: Arc<dyn MemoryPool>,
    bytes: u64,
    /// Into how many partitions a plan is cut that is run again.
    widths: Vec<usize>,
}

impl Room {
    fn widths_of(bytes: u64, bees: usize) -> Vec<usize> {
        let is_wide = bees > 1 && bytes / bees as u64 >= WIDE_BYTES_MIN;
        if is_wide { vec![bees, 1] } else { vec![1] }
    }
}

struct Tries {
    question: Question,
    room: Option<Room>,
    retries: Arc<AtomicU32>,
    clock: Arc<dyn Clock>,
}

/// The rows of a plan, computed on the bees' threads: between two awaits it may burn a core for seconds. A batch or
/// two wait for the client, so a slow one slows the plan; dropping the stream stops it.
fn on_bees(state: &State, tries: Tries) -> SendableRecordBatchStream {
    let mut builder = RecordBatchReceiverStreamBuilder::new(Arc::clone(&tries.question.planned.schema), BATCHES_AHEAD);
    let batches = builder.tx();
    // What is spawned inside the guard is spawned there.
    let threads = state.node.bees.threads();
    let _there = threads.enter();
    builder.spawn(async move { tries.run(&batches).await });
    builder.build()
}

type Batches = tokio::sync::mpsc::Sender<DfResult<datafusion::arrow::array::RecordBatch>>;

impl Tries {
    async fn run(self, batches: &Batches) -> DfResult<()> {
        let mut sent = false;
        let mut ended = self.once(&self.question.planned, None, batches, &mut sent).await;
        let Some(room) = &self.room else { return ended };
        for &partitions in &room.widths {
            let Err(error) = &ended else { break };
            if sent || !matches!(error.find_root(), DataFusionError::ResourcesExhausted(_)) {
                break;
            }
            let (planned, plan) = match self.again(room, partitions).await {
                Ok(Some(again)) => again,
                Ok(None) => continue,
                // What the client is told is why the query failed, not why it could not be helped.
                Err(why) => {
                    tracing::warn!(%error, %why, "memory was not enough, and planning for less failed");
                    break;
                }
            };
            tracing::info!(%error, partitions, "memory was not enough; running again with joins that spill");
            self.retries.fetch_add(1, Ordering::Relaxed);
            self.is_free(room).await;
            ended = self.once(&planned, Some(plan), batches, &mut sent).await;
        }
        ended
    }

    /// One run, to its end or its first error. `plan` goes before what was planned.
    async fn once(
        &self,
        planned: &Planned,
        plan: Option<Arc<dyn ExecutionPlan>>,
        batches: &Batches,
        sent: &mut bool,
    ) -> DfResult<()> {
        let mut context = TaskContext::from(&*planned.ctx.state_ref().read());
        if let Some(room) = &self.room {
            let config = within_chamber(context.session_config().clone(), room.bytes);
            context = context.with_session_config(config).with_runtime(Arc::clone(&room.runtime));
        }
        let plan = weigh_windows(plan.unwrap_or_else(|| Arc::clone(&planned.physical)))?;
        let mut stream = gather(plan, Arc::new(context))?;
        while let Some(batch) = stream.next().await {
            let batch = conform(batch?, &self.question.planned.schema)?;
            *sent |= batch.num_rows() > 0;
            if batches.send(Ok(batch)).await.is_err() {
                break;
            }
        }
        Ok(())
    }

    /// The same question planned for a small chamber; nothing if that would be the same plan.
    async fn again(&self, room: &Room, partitions: usize) -> DfResult<Option<(Planned, Arc<dyn ExecutionPlan>)>> {
        let config = spilling_config(partitions, room.bytes);
        let planned = self.question.pinned.plan(config, Arc::clone(&self.question.runtime)).await;
        let planned = planned.map_err(|error| DataFusionError::External(Box::new(error)))?;
        let plan = merge_joins(Arc::clone(&planned.physical))?;
        let narrower = widest(plan.as_ref()) < widest(self.question.planned.physical.as_ref());
        Ok((narrower || merges(plan.as_ref())).then_some((planned, plan)))
    }

    /// Waits until the run that failed has let go of its memory: its threads end a moment later than its stream.
    async fn is_free(&self, room: &Room) {
        let begun = self.clock.monotonic();
        while room.pool.reserved() > 0 && self.clock.monotonic().saturating_sub(begun) < LETS_GO_MAX {
            self.clock.sleep(LETS_GO_LOOK).await;
        }
    }
}

fn merges(plan: &dyn ExecutionPlan) -> bool {
    plan.downcast_ref::<SortMergeJoinExec>().is_some() || plan.children().iter().any(|child| merges(child.as_ref()))
}

/// The most partitions that any operator of the plan has.
fn widest(plan: &dyn ExecutionPlan) -> usize {
    let here = plan.output_partitioning().partition_count();
    plan.children().into_iter().map(|child| widest(child.as_ref())).fold(here.max(1), usize::max)
}
