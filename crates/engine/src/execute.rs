//! One attempt at one task, on a worker: bytes in, files and a `done` out.
//!
//! ```text
//!   read task ─▶ claim ─▶ decode ─▶ readers replaced, tap put in ─▶ Ballista's writer, into files of the attempt's own
//!                                                                        │
//!        late: delete own output ◀── not first ── mark done ◀── inline, or upload under out/<stage>/<task>@<nonce>/
//! ```
//!
//! Whatever goes wrong ends in a `.failed` record of this attempt, never in the node: errors are classified, panics
//! caught, cancelling and deadlines end the plan's input. Two attempts at a task share a folder, no file, and the
//! key of the one `done` that the first of them gets.

use std::{panic::AssertUnwindSafe, path::PathBuf, sync::Arc, time::Duration};

use apiary_bucket::{Bucket, Counters};
use apiary_core::{Incarnation, NodeId, QueryId};
use apiary_swarm::{
    AttemptId, Board, TaskId,
    board::{ClaimRecord, DoneRecord, FailedRecord, FailureCause, MemoryReport, TaskMetrics, TaskObject},
};
use ballista_core::{JobId, serde::protobuf::ShuffleWritePartition};
use ballista_executor::execution_engine::{DefaultExecutionEngine, ExecutionEngine};
use datafusion::{execution::runtime_env::RuntimeEnv, prelude::SessionContext};
use futures::FutureExt;
use prost::Message;
use tokio_util::sync::CancellationToken;

use crate::{
    EngineError, Result, cause, codec, comb_reader, config, filters, last_word,
    output::Work,
    pieces::{self, TaskExtra},
    room::Room,
    tap, task_cells,
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
        tokio::select! {
            () = cancel.cancelled() => {}
            () = self.bucket.clock().sleep(self.delay) => {}
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
        let (files, id) = (pieces::files_dir(&self.scratch, task), pieces::file_id(nonce));
        let _ = tokio::task::spawn_blocking(move || pieces::sweep(&files, id)).await;
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
        let work = Work {
            bucket: self.bucket.with_counters(Arc::clone(&counters)),
            dir: pieces::query_dir(&self.scratch, &id.task.query),
            files: pieces::files_dir(&self.scratch, &id.task),
            file_id: pieces::file_id(nonce),
            stop: CancellationToken::new(),
        };
        let working = async {
            let (written, written_for) = self.execute(task, &id, &work, room).await?;
            let computed = self.bucket.clock().monotonic();
            let mut done = DoneRecord::of(id.attempt, nonce, &self.node, self.incarnation);
            done.pieces = work.pieces(&id.task, &written)?;
            work.keep(&id.task, task.inline_output, &mut done).await?;
            let kept_for = self.bucket.clock().monotonic().saturating_sub(computed);
            Ok((done, written_for + kept_for))
        };
        let (mut done, writing) = self.watched(working, task, &work, cancel, drain).await?;
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
            writing_us: micros(writing),
        });
        Ok(done)
    }

    /// `work` until it ends, panics, is cancelled, handed back, or runs out of time.
    async fn watched<T>(
        &self,
        running: impl Future<Output = Result<T>>,
        task: &TaskObject,
        work: &Work,
        cancel: &CancellationToken,
        drain: &CancellationToken,
    ) -> Result<T> {
        // What is still running when this returns, whichever way, sees its input end.
        let _stop = work.stop.clone().drop_guard();
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

    async fn execute(
        &self,
        task: &TaskObject,
        id: &AttemptId,
        work: &Work,
        room: &Room,
    ) -> Result<(Vec<ShuffleWritePartition>, Duration)> {
        let context = self.context(task, work, room)?;
        let plan = codec::decode_plan(&task.plan, &context.task_ctx())?;
        task_cells::check(plan.as_ref(), &task.cells)?;
        let extra = TaskExtra::decode(task.extra.clone()).map_err(EngineError::decode)?;
        let plan = comb_reader::replace_readers(plan, &work.bucket, &id.task.query, &extra, &self.scratch)?;
        let plan = filters::push_down(plan, context.copied_config().options())?;
        let plan = weigh::weigh_windows(plan)?;
        let plan = tap::put_under(plan, &work.stop)?;
        let stage = DefaultExecutionEngine::new().create_query_stage_exec(
            JobId::new(pieces::JOB),
            id.task.stage as usize,
            work.file_id,
            task.output_ids.iter().map(|id| *id as usize).collect(),
            plan,
            &work.dir.to_string_lossy(),
            &context.copied_config(),
        )?;
        let written = stage.execute_query_stage(id.task.task as usize, context.task_ctx()).await?;
        // The writer's own figures come first.
        let figures = stage.collect_plan_metrics().into_iter().next();
        let nanos = figures.and_then(|figures| figures.sum_by_name("write_time")).map_or(0, |time| time.as_usize());
        Ok((written, Duration::from_nanos(nanos as u64)))
    }

    /// A session of the task's own: its settings, its memory, its counted store.
    fn context(&self, task: &TaskObject, work: &Work, room: &Room) -> Result<SessionContext> {
        let settings: Vec<_> = task.settings.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        let config = filters::within_a_task(config::for_bucket(config::rebuild(&settings)?, &work.bucket));
        let config = apiary_query::within_chamber(config, room.budget_bytes());
        let runtime = apiary_query::runtime_like(&self.runtime, &work.bucket, Some(room.pool()), room.disk())
            .map_err(|error| EngineError::Attempt { cause: FailureCause::Other, message: error.to_string() })?;
        Ok(SessionContext::new_with_config_rt(config, runtime))
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn panic_words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}
