//! Runs a stage's plan to its end and keeps its rows, in the place of Ballista's writers.
//!
//! Each input partition of a task runs by itself, with lanes of its own. Their bytes stay in memory until all have ended;
//! a little travels in the `done`, the rest becomes one object. Who has [`RUN_BYTES_MAX`], or gets no more memory, puts
//! what it has into the bucket as an object of its own, a *run*, and goes on with empty lanes: rows of a partition then lie
//! in several pieces, which are read one after the other. So nothing is spilled to be read and written again, whatever
//! comes out of a stage.
//!
//! Dropping the future ends all of it at the next batch. A request that is on its way then may still leave an object, which
//! goes with its query.

use std::{sync::Arc, time::Duration};

use apiary_swarm::board::{InlineFile, OutputPiece};
use ballista_core::{
    config::BallistaConfig,
    execution_plans::{ShuffleWriterExec, SortShuffleWriterExec},
    utils::create_write_options,
};
use datafusion::{
    arrow::ipc::writer::IpcWriteOptions,
    error::DataFusionError,
    execution::{
        TaskContext,
        memory_pool::{MemoryConsumer, MemoryLimit, MemoryReservation},
    },
    physical_plan::{ExecutionPlan, ExecutionPlanProperties, Partitioning, SendableRecordBatchStream},
};
use futures::StreamExt;
use tokio::task::JoinSet;

use super::{
    deal::{Dealer, Lane, Way},
    output::Output,
};
use crate::{EngineError, Result};

/// Bytes that all inputs of a task together hold before they go to the bucket, and the part of the task's memory that this
/// is at most: what is below the writer needs it more.
const RUN_BYTES_MAX: usize = 32 << 20;
const RUN_SHARE: usize = 8;

/// Less than this is no run of its own, whoever wants the memory.
const RUN_BYTES_MIN: usize = 1 << 20;

/// What a task wrote.
#[derive(Debug, Default)]
pub(crate) struct Written {
    /// By partition; of each in the order of its rows.
    pub(crate) pieces: Vec<OutputPiece>,
    /// Where they lie, if there was so little.
    pub(crate) inline: Option<InlineFile>,
    /// Spent on making bytes and on keeping them, by all inputs together.
    pub(crate) writing: Duration,
}

/// What one input partition came to.
#[derive(Debug)]
struct Dealt {
    partition: usize,
    pieces: Vec<OutputPiece>,
    rest: Vec<Lane>,
    /// For `rest`, until it is kept.
    held: MemoryReservation,
    writing: Duration,
}

/// Runs the plan below `writer`, one of Ballista's. `ids` names the output partitions where each input is one; up to
/// `inline_bytes_max` bytes are not put anywhere.
pub(crate) async fn write(
    writer: &dyn ExecutionPlan,
    ids: &[u64],
    inline_bytes_max: u64,
    output: Arc<Output>,
    context: Arc<TaskContext>,
) -> Result<Written> {
    let ways = ways(writer, ids)?;
    let [input] = writer.children()[..] else { return Err(internal("a writer has one input")) };
    let options = ipc_options(&context)?;
    let run_bytes_max = input_bytes_max(&context, ways.len());
    let mut running = JoinSet::new();
    for (partition, way) in ways.into_iter().enumerate() {
        let stream = input.execute(partition, Arc::clone(&context))?;
        let batch_rows = context.session_config().batch_size();
        let dealer = Dealer::new(way, &input.schema(), options.clone(), batch_rows, run_bytes_max)?;
        let held = MemoryConsumer::new(format!("ShuffleWriter[{partition}]")).with_can_spill(true);
        let held = held.register(context.memory_pool());
        let dealt = Dealt { partition, pieces: Vec::new(), rest: Vec::new(), held, writing: Duration::ZERO };
        running.spawn(deal(stream, dealer, dealt, Arc::clone(&output), run_bytes_max));
    }
    gather(running, inline_bytes_max, &output).await
}

/// What each of so many inputs holds before it puts a run away.
fn input_bytes_max(context: &TaskContext, inputs: usize) -> usize {
    let together = match context.memory_pool().memory_limit() {
        MemoryLimit::Finite(bytes) => RUN_BYTES_MAX.min(bytes / RUN_SHARE),
        _ => RUN_BYTES_MAX,
    };
    (together / inputs.max(1)).max(RUN_BYTES_MIN)
}

/// How each input partition's rows find theirs.
fn ways(writer: &dyn ExecutionPlan, ids: &[u64]) -> Result<Vec<Way>> {
    let inputs = writer.children().first().map_or(0, |input| input.output_partitioning().partition_count());
    if let Some(sort) = writer.downcast_ref::<SortShuffleWriterExec>() {
        let Partitioning::Hash(exprs, count) = sort.shuffle_output_partitioning() else {
            return Err(internal("rows are dealt by hash alone"));
        };
        return Ok(vec![Way::Hash(exprs.clone(), *count); inputs]);
    }
    if !writer.is::<ShuffleWriterExec>() {
        return Err(internal(&format!("{} is no writer of a stage", writer.name())));
    }
    if ids.len() != inputs {
        return Err(internal(&format!("{inputs} partitions are written, and {} have a number", ids.len())));
    }
    Ok(ids.iter().map(|id| Way::Through(*id)).collect())
}

fn ipc_options(context: &TaskContext) -> Result<IpcWriteOptions> {
    let ballista = context.session_config().options().extensions.get::<BallistaConfig>();
    let codec = ballista.map(BallistaConfig::shuffle_compression_codec).transpose();
    Ok(create_write_options(codec.map_err(|error| internal(&error.to_string()))?.flatten())?)
}

/// One input to its end.
async fn deal(
    mut stream: SendableRecordBatchStream,
    mut dealer: Dealer,
    mut dealt: Dealt,
    output: Arc<Output>,
    run_bytes_max: usize,
) -> Result<Dealt> {
    // Ends with the input, which ends with the attempt at the latest.
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        // Whoever wants this to end is heard, also if rows come without a wait.
        tokio::task::consume_budget().await;
        let began = output.now();
        dealer.push(batch)?;
        let refused = dealt.held.try_resize(dealer.held_bytes()).is_err();
        if refused {
            dealer.round()?;
        }
        let full = dealer.encoded_bytes() >= run_bytes_max;
        if full || (refused && dealer.encoded_bytes() >= RUN_BYTES_MIN) {
            let lanes = dealer.take()?;
            dealt.pieces.extend(output.keep(lanes).await?);
        }
        if full || refused {
            // Less than the least run: whoever cannot have that much cannot run at all.
            dealt.held.resize(dealer.held_bytes());
        }
        dealt.writing += output.now().saturating_sub(began);
    }
    let began = output.now();
    dealt.rest = dealer.take()?;
    dealt.held.resize(dealt.rest.iter().map(|lane| lane.bytes() as usize).sum());
    dealt.writing += output.now().saturating_sub(began);
    Ok(dealt)
}

/// What all inputs came to, once they have ended; the first error of one of them ends the others.
async fn gather(mut running: JoinSet<Result<Dealt>>, inline_bytes_max: u64, output: &Output) -> Result<Written> {
    let mut all = Vec::new();
    while let Some(ended) = running.join_next().await {
        match ended {
            Ok(Ok(dealt)) => all.push(dealt),
            Ok(Err(error)) => {
                running.shutdown().await;
                return Err(error);
            }
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => return Err(internal("an input was stopped")),
            },
        }
    }
    all.sort_by_key(|dealt| dealt.partition);
    let (mut written, mut rest, mut held) = (Written::default(), Vec::new(), Vec::new());
    for dealt in all {
        written.pieces.extend(dealt.pieces);
        rest.extend(dealt.rest);
        held.push(dealt.held);
        written.writing += dealt.writing;
    }
    rest.sort_by_key(|lane| lane.partition);
    let began = output.now();
    if written.pieces.is_empty() && rest.iter().map(Lane::bytes).sum::<u64>() <= inline_bytes_max {
        (written.pieces, written.inline) = Output::within(rest);
    } else {
        written.pieces.extend(output.keep(rest).await?);
        // Runs of one input are in the order of its rows, and stay so.
        written.pieces.sort_by_key(|piece| piece.partition);
    }
    written.writing += output.now().saturating_sub(began);
    Ok(written)
}

fn internal(what: &str) -> EngineError {
    EngineError::Plan(DataFusionError::Internal(what.to_owned()))
}
