//! One attempt at one task, on a worker: bytes in, files and a `done` out.
//!
//! ```text
//!   read task ─▶ claim ─▶ decode ─▶ readers replaced ─▶ the plan runs, its rows are dealt to partitions in memory
//!                                                                        │
//!        late: delete own output ◀── not first ── mark done ◀── inline, or objects out/<stage>/<task>@<nonce>/
//! ```
//!
//! Whatever goes wrong ends in a `.failed` record of this attempt, never in the node: errors are classified, panics
//! caught, cancelling and deadlines drop the plan. The claim is on the board before the plan is so much as decoded: one
//! that kills its node has cost an attempt then, and is given up after a few. Two attempts at a task share no object but
//! the key of the one `done` that the first of them gets.

use std::{
    panic::AssertUnwindSafe,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use apiary_bucket::{Bucket, Counters};
use apiary_core::{Incarnation, NodeId, QueryId, limits::INLINE_BYTES_MAX};
use apiary_swarm::{
    AttemptId, Board, TaskId,
    board::{ClaimRecord, DoneRecord, FailedRecord, FailureCause, MemoryReport, TaskMetrics, TaskObject},
};
use datafusion::execution::runtime_env::RuntimeEnv;
use futures::FutureExt;
use prost::Message;
use tokio_util::sync::CancellationToken;

use crate::{
    EngineError, Result, cause, codec,
    comb::{
        self, Output, Written,
        pieces::{self, TaskExtra},
    },
    filters, last_word,
    room::Room,
    task_cells,
    task_context::task_context,
    wake::{self, TaskEnd},
    weigh,
};

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Another bee claimed it first, or it is no longer there.
    NotOurs,
    /// This engine cannot read the task; it is left to others, untouched.
    OtherVersion,
    /// Its result is the task's truth.
    Done(TaskMetrics),
    /// Another attempt was first; what this one wrote is deleted.
    Late,
    /// It ended without a result, and the board says why.
    Failed(FailureCause),
}

/// Runs tasks on one node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct TaskRunner {
    bucket: Bucket,
    runtime: Arc<RuntimeEnv>,
    scratch: PathBuf,
    node: NodeId,
    incarnation: Incarnation,
    delay: Duration,
}

impl TaskRunner {
    /// A runner whose attempts write below `scratch`. `runtime` is the node's own environment; attempts
    /// share its footer cache.
    #[must_use]
    pub fn new(
        bucket: Bucket,
        runtime: Arc<RuntimeEnv>,
        scratch: PathBuf,
        node: NodeId,
        incarnation: Incarnation,
    ) -> Self {
        Self { bucket, runtime, scratch, node, incarnation, delay: Duration::ZERO }
    }

    /// A test hook: every attempt waits this long before it offers its result, so that a test can kill the node
    /// while it holds a claim.
    #[must_use]
    pub fn with_delay(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    /// Tries an attempt that was read from the board: claims, runs and ends it. 2 PUTs besides what the plan reads
    /// and the output needs. `drain` hands the task back; `cancel` means that nobody wants it any more. Dropping the
    /// future leaves a claim without an end, as a crash would.
    pub async fn attempt(
        &self,
        task: &TaskObject,
        room: &Room,
        cancel: &CancellationToken,
        drain: &CancellationToken,
    ) -> Result<Outcome> {
        let id = &task.id().ok_or_else(|| EngineError::decode("the task names no query"))?;
        if codec::check_version(&task.engine_version).is_err() {
            return Ok(Outcome::OtherVersion);
        }
        let board = Board::new(self.bucket.clone());
        let nonce = format!("{:016x}", self.bucket.rng().next_u64());
        let claim = ClaimRecord::new(self.node.clone(), self.incarnation, nonce.as_str());
        if !last_word::insist(&self.bucket, cancel, || board.claim(id, &claim)).await? {
            return Ok(Outcome::NotOurs);
        }
        let started = self.bucket.clock().monotonic();
        match self.run(task, &nonce, room, cancel, drain).await {
            Ok(done) => self.offer(&board, id, &done, cancel).await,
            Err(error) => {
                self.clean(&id.task, &nonce).await;
                board.discard_output(&id.task, &nonce).await.ok();
                let mut failed = self.failed(&error, room);
                failed.elapsed_ms = (self.bucket.clock().monotonic() - started).as_millis() as u64;
                // A query that is over has no board left to write to, and a claim made while it was swept stays there.
                match failed.cause {
                    FailureCause::Cancelled => board.unclaim(id).await?,
                    _ => last_word::insist(&self.bucket, cancel, || board.mark_failed(id, &failed)).await.map(drop)?,
                }
                self.tell(id);
                tracing::warn!(attempt = %id, cause = ?failed.cause, message = %failed.message, "attempt failed");
                Ok(Outcome::Failed(failed.cause))
            }
        }
    }

    fn tell(&self, id: &AttemptId) {
        wake::ended(TaskEnd { bucket: self.bucket.uri().to_owned(), task: id.task });
    }

    /// Deletes what this node kept of a query that is over.
    pub async fn forget(&self, query: &QueryId) {
        let _ = tokio::fs::remove_dir_all(pieces::query_dir(&self.scratch, query)).await;
    }

    async fn offer(
        &self,
        board: &Board,
        id: &AttemptId,
        done: &DoneRecord,
        cancel: &CancellationToken,
    ) -> Result<Outcome> {
        // A timer has a millisecond at least to it, and every stage waits for its last task.
        if !self.delay.is_zero() {
            tokio::select! {
                () = cancel.cancelled() => {}
                () = self.bucket.clock().sleep(self.delay) => {}
            }
        }
        if cancel.is_cancelled() {
            self.clean(&id.task, &done.nonce).await;
            board.discard_output(&id.task, &done.nonce).await?;
            board.unclaim(id).await?;
            return Ok(Outcome::Failed(FailureCause::Cancelled));
        }
        if last_word::insist(&self.bucket, cancel, || board.mark_done(&id.task, done)).await? {
            self.tell(id);
            return Ok(Outcome::Done(done.cost()));
        }
        self.clean(&id.task, &done.nonce).await;
        board.discard_output(&id.task, &done.nonce).await?;
        Ok(Outcome::Late)
    }

    fn failed(&self, error: &EngineError, room: &Room) -> FailedRecord {
        let cause = match error {
            EngineError::Attempt { cause, .. } => *cause,
            EngineError::Plan(error) => cause::classify(error),
            EngineError::Bucket(_) | EngineError::Scratch { .. } => FailureCause::Store,
            EngineError::Board(error) if error.kind() == apiary_core::ErrorKind::Storage => FailureCause::Store,
            _ => FailureCause::Other,
        };
        let message = match error {
            EngineError::Plan(error) => cause::words(error),
            error => error.to_string(),
        };
        let mut failed = FailedRecord::by_worker(self.node.clone(), self.incarnation, cause, &message);
        if cause == FailureCause::Memory {
            let (budget_bytes, peak_bytes) = (room.budget_bytes(), room.peak_bytes());
            failed.memory = Some(MemoryReport { budget_bytes, peak_bytes, spilled_bytes: 0 });
        }
        failed
    }

    async fn clean(&self, task: &TaskId, nonce: &str) {
        let Some(scratch) = self.copies().map(Path::to_owned) else { return };
        let (query, nonce) = (task.query, nonce.to_owned());
        let _ = tokio::task::spawn_blocking(move || pieces::sweep(&scratch, &query, &nonce)).await;
    }

    /// Runs a task that is claimed under `nonce` and uploads what it wrote. Not yet the truth: see
    /// [`Board::mark_done`].
    pub async fn run(
        &self,
        task: &TaskObject,
        nonce: &str,
        room: &Room,
        cancel: &CancellationToken,
        drain: &CancellationToken,
    ) -> Result<DoneRecord> {
        let id = task.id().ok_or_else(|| EngineError::decode("the task names no query"))?;
        codec::check_version(&task.engine_version)?;
        let started = self.bucket.clock().monotonic();
        let counters: Arc<Counters> = Arc::default();
        let bucket = self.bucket.with_counters(Arc::clone(&counters));
        let working = self.execute(task, &id.task, nonce, &bucket, room);
        let written = self.watched(working, task, cancel, drain).await?;
        let mut done = DoneRecord::of(id.attempt, nonce, &self.node, self.incarnation);
        done.pieces = written.pieces;
        done.inline.extend(written.inline);
        let cost = counters.snapshot();
        done.metrics = Some(TaskMetrics {
            rows: done.pieces.iter().map(|piece| piece.rows).sum(),
            gets: cost.gets,
            bytes_read: cost.bytes_read,
            elapsed_us: micros(self.bucket.clock().monotonic().saturating_sub(started)),
            peak_memory: room.peak_bytes(),
            bytes_written: cost.bytes_written,
            bytes_cached: cost.bytes_hit,
            fetching_us: micros(counters.read_for()),
            writing_us: micros(written.writing),
        });
        Ok(done)
    }

    /// `running` until it ends, panics, is cancelled, handed back, or runs out of time; then nothing of it runs on.
    async fn watched<T>(
        &self,
        running: impl Future<Output = Result<T>>,
        task: &TaskObject,
        cancel: &CancellationToken,
        drain: &CancellationToken,
    ) -> Result<T> {
        let stopped = |cause, message: &str| Err(EngineError::Attempt { cause, message: message.to_owned() });
        let timeout = Duration::from_millis(task.timeout_ms);
        tokio::select! {
            biased;
            () = cancel.cancelled() => stopped(FailureCause::Cancelled, "the query is over"),
            () = drain.cancelled() => stopped(FailureCause::HandedBack, "the worker is leaving"),
            () = self.bucket.clock().sleep(timeout) => stopped(FailureCause::Timeout, "it ran past its deadline"),
            ended = AssertUnwindSafe(running).catch_unwind() => match ended {
                Ok(ended) => ended,
                Err(panic) => stopped(FailureCause::Panic, &format!("panicked: {}", panic_words(panic.as_ref()))),
            },
        }
    }

    /// Runs the task's plan, and says what came of it.
    async fn execute(
        &self,
        task: &TaskObject,
        id: &TaskId,
        nonce: &str,
        bucket: &Bucket,
        room: &Room,
    ) -> Result<Written> {
        let context = task_context(task, bucket, room, &self.runtime)?;
        let plan = codec::decode_plan(&task.plan, &context)?;
        task_cells::check(plan.as_ref(), &task.cells)?;
        let extra = TaskExtra::decode(task.extra.clone()).map_err(EngineError::decode)?;
        let scratch = self.copies();
        let plan = comb::replace_readers(plan, bucket, &id.query, &extra, scratch)?;
        let plan = filters::push_down(plan, context.session_config().options())?;
        let plan = weigh::weigh_windows(plan)?;
        let output = Arc::new(Output::new(bucket.clone(), *id, nonce, scratch));
        let inline_bytes_max = if task.inline_output { INLINE_BYTES_MAX as u64 } else { 0 };
        comb::write(plan.as_ref(), &task.output_ids, inline_bytes_max, output, context).await
    }

    /// Where copies of what this node writes are kept: nowhere if the bucket is as near as the node's own disk.
    fn copies(&self) -> Option<&Path> {
        (!self.bucket.is_folder()).then_some(self.scratch.as_path())
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn panic_words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}
