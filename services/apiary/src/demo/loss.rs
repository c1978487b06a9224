//! A worker is stopped in the middle of a query, without warning and without a chance to clean up. The query
//! goes on, and its rows are compared with those of a run that nobody disturbed.

use std::time::Duration;

use apiary_core::{Clock, NodeId, QueryId, SystemClock, SystemRng};
use apiary_swarm::Board;

use super::{
    ask::{Answer, ask, ask_as},
    colony::Colony,
    stage::Stage,
};
use crate::{failure::CliError, footer::footer};

const SQL: &str = "SELECT sensor, CAST(timestamp AS DATE) AS day,
       count(*) AS readings, min(temperature) AS lowest, max(temperature) AS highest
FROM demo.sensors.temperature
GROUP BY sensor, day";
/// How often the board is looked at for a task that somebody works on.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// Looks before the wait is given up: 30 s, far longer than a task takes to be claimed.
const LOOKS_MAX: u32 = 1500;

/// What was hit.
struct Hit {
    worker: NodeId,
    stage: u32,
    task: u32,
}

/// Tells it.
pub(super) async fn run(colony: &mut Colony, stage: &Stage) -> Result<(), CliError> {
    stage.chapter("Lose a worker in the middle of a query");
    stage.say("First undisturbed, then again while the worker that holds a task is stopped without warning.");
    stage.blank();
    stage.sql(&format!("SET execution = board;\n{SQL}"));
    let progress = stage.progress("undisturbed", "tasks", None);
    let calm = ask(colony.client(), SQL, "board", &progress).await?;
    stage.aside(format_args!("undisturbed: {}", footer(&calm.stats)));
    let (disturbed, hit) = disturbed(colony, stage).await?;
    stage.aside(format_args!("disturbed:   {}", footer(&disturbed.stats)));
    verdict(stage, &calm, &disturbed, hit.as_ref())
}

async fn disturbed(colony: &mut Colony, stage: &Stage) -> Result<(Answer, Option<Hit>), CliError> {
    let id = QueryId::new(&SystemClock, &SystemRng);
    let client = colony.client().clone();
    let progress = stage.progress("disturbed", "tasks", None);
    let shown = progress.clone();
    let query = tokio::spawn(async move { ask_as(id, &client, SQL, "board", &shown).await });
    let hit = stop_a_busy_worker(colony, id, || query.is_finished()).await?;
    if let Some(Hit { worker, stage: number, task }) = &hit {
        progress.beside(|| {
            stage.line(format_args!(
                "stopped {worker} while it worked on task {task} of stage {number}; nobody is told"
            ));
            stage.line("with only the bucket to tell, the others notice when six heartbeats are missing: 10 to 30 s");
        });
    }
    let answer = query.await.map_err(|error| CliError::defect(format!("the query broke off: {error}")))?;
    Ok((answer?, hit))
}

/// Waits until some worker holds a task of the query, and stops that worker. `None`: the query was faster.
async fn stop_a_busy_worker(
    colony: &mut Colony,
    query: QueryId,
    over: impl Fn() -> bool,
) -> Result<Option<Hit>, CliError> {
    let board = Board::new(colony.bucket().clone());
    for _ in 0..LOOKS_MAX {
        if over() {
            return Ok(None);
        }
        let view = board.list_query(&query).await?;
        let running = view.tasks.iter().flat_map(|(&(stage, task), state)| {
            state.running().map(move |attempt| (stage, task, attempt)).collect::<Vec<_>>()
        });
        for (stage, task, attempt) in running {
            let id = apiary_swarm::TaskId::new(query, stage, task).attempt(attempt);
            let Some(claim) = board.read_claim(&id).await? else { continue };
            if colony.kill_worker(&claim.worker) {
                return Ok(Some(Hit { worker: claim.worker, stage, task }));
            }
        }
        SystemClock.sleep(LOOK_INTERVAL).await;
    }
    Ok(None)
}

fn verdict(stage: &Stage, calm: &Answer, disturbed: &Answer, hit: Option<&Hit>) -> Result<(), CliError> {
    let (before, after) = (calm.rows_sorted()?, disturbed.rows_sorted()?);
    if before != after {
        let differ = before.iter().zip(&after).filter(|(a, b)| a != b).count() + before.len().abs_diff(after.len());
        let message = format!("{differ} of {} rows differ after the loss of a worker", before.len());
        return Err(CliError::defect(message));
    }
    let rows = apiary_core::units::counted(before.len() as u64, "row");
    match hit {
        Some(_) if disturbed.stats.retries > 0 => {
            let retries = disturbed.stats.retries;
            let again = if retries == 1 {
                "1 task was done again".to_owned()
            } else {
                format!("{retries} tasks were done again")
            };
            stage.good(format_args!("{rows}, every one the same; {again} by the workers that were left"));
        }
        Some(_) => stage.good(format_args!("{rows}, every one the same; the lost task had just been delivered")),
        None => stage.say(format_args!("{rows}, the same; the query was over before a worker could be stopped")),
    }
    Ok(())
}
