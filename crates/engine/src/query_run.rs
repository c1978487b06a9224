//! The life of one query on the board, as a pure state machine: events in, actions out.
//!
//! ```text
//!              Start                      every input stage done
//!   waiting ───────────▶ (leaf stages) ─────────────────────────▶ open ──every task done──▶ done
//!                                                                  │
//!    a task of an open stage:                                      ▼ PublishStage, PublishTask a1 …
//!
//!       a1 published ──▶ claimed by a node ──▶ TaskDone  (whichever attempt: the first `done` is the truth)
//!            │                  │
//!            │                  ├──▶ AttemptFailed{cause} ──▶ a2 published, or the query fails
//!            │                  ├──▶ AttemptLost          ──▶ MarkLost, a2 published, or the query fails
//!            │                  └──▶ Straggles            ──▶ a2 published beside it: the first to end well wins
//!            └── nobody claims it: it just waits; any worker that comes may take it
//! ```
//!
//! What it guarantees, whatever order events come in, doubled or late (the properties in `query_run/properties.rs`):
//! a task is published only when all it reads is done; attempt numbers of a task count up without gaps and end; at most
//! two run at once; a done task is never published again; exactly one of `Finish` and `Fail` comes, as the last action;
//! `Finish` comes only when every task is done. So losing, repeating or reordering what the drive loop saw in a listing
//! costs time and never rows.
//!
//! A successor begins with an empty run and tells it what the listing shows: attempts, results and failures in any
//! order. It ends where the predecessor stood, and publishes nothing that stands there.
//!
//! The last stage is published in a window: a few tasks ahead of what the client has taken, so that a slow client
//! slows the workers and no answer piles up in the bucket.
//!
//! How many tasks a stage has is decided when it opens, by what it will have to read (see [`Grain`]): a pure function of
//! the plan and of its inputs' `done`, so that whoever takes the query over decides the same.
//!
//! What follows from a failure is [`abandonment`]'s to say: at most four attempts that count, and a task over which
//! three nodes crashed is poison. What this file must never do: read a clock, the bucket or a plan. It knows stages
//! as counts.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use apiary_core::NodeId;
use apiary_swarm::{
    behaviour::abandonment::{self, Answer, Reason},
    board::{FailedRecord, FailureCause},
};

use crate::stages::sizing::Grain;

mod states;
mod words;

use states::{AttemptState, StageState, TaskState, fold_into};
pub use words::{Action, Attempt, Event, Failure, Progress, StageShape};

/// The machine.
#[derive(Debug)]
pub struct QueryRun {
    stages: Vec<StageState>,
    window: u32,
    grain: Grain,
    taken: u32,
    started: bool,
    ended: bool,
}

impl QueryRun {
    /// A query of these stages, the answer's last, whose last stage is published `window` tasks ahead of the client.
    #[must_use]
    pub fn new(shapes: Vec<StageShape>, window: u32, grain: Grain) -> Self {
        let state = |shape: StageShape| {
            let tasks = (0..shape.tasks).map(|_| TaskState::default()).collect();
            StageState { shape, open: false, published: 0, done: 0, bytes: 0, folded: Vec::new(), tasks }
        };
        let stages = shapes.into_iter().map(state).collect();
        Self { stages, window: window.max(1), grain, taken: 0, started: false, ended: false }
    }

    /// Takes an event in, gives the actions out, to be performed in their order.
    #[must_use]
    pub fn on(&mut self, event: Event) -> Vec<Action> {
        if self.ended {
            return Vec::new();
        }
        let mut actions = Vec::new();
        match event {
            Event::Start => self.started = true,
            Event::Published { attempt } => drop(self.attempt_mut(attempt)),
            Event::Claimed { attempt, node } => {
                if let Some(attempt) = self.attempt_mut(attempt) {
                    attempt.node = Some(node);
                }
            }
            Event::TaskDone { stage, task, bytes } => self.task_done(stage, task, bytes),
            Event::AttemptFailed { attempt, failed } => self.attempt_ended(attempt, failed, &mut actions),
            Event::AttemptLost { attempt, failed } => self.attempt_lost(attempt, failed, &mut actions),
            Event::Straggles { attempt } => self.double(attempt, &mut actions),
            Event::NodeGone { node, failed } => {
                for attempt in self.open_attempts_of(&node) {
                    self.attempt_lost(attempt, failed.clone(), &mut actions);
                }
            }
            Event::Taken { tasks } => self.taken = self.taken.max(tasks),
            Event::NoWorkers => self.fail(Failure::NoWorkers, &mut actions),
            Event::Cancel => self.fail(Failure::Cancelled, &mut actions),
            Event::TimedOut => self.fail(Failure::TimedOut, &mut actions),
        }
        self.advance(&mut actions);
        actions
    }

    /// Whether nothing more will happen.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.ended
    }

    /// How many tasks of the last stage the client has taken.
    pub(crate) fn taken(&self) -> u32 {
        self.taken
    }

    /// Where it stands.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let attempts = |task: &TaskState| task.attempts.len().saturating_sub(1) as u32;
        Progress {
            tasks_done: self.stages.iter().map(|stage| stage.done).sum(),
            tasks_total: self.stages.iter().map(|stage| stage.shape.tasks).sum(),
            stages_done: self.stages.iter().filter(|stage| stage.is_done()).count() as u32,
            stages_total: self.stages.len() as u32,
            retries: self.stages.iter().flat_map(|stage| &stage.tasks).map(attempts).sum(),
        }
    }

    /// Every attempt that may still bring a result.
    #[must_use]
    pub fn in_flight(&self) -> Vec<Attempt> {
        let mut open = Vec::new();
        for stage in &self.stages {
            for (task, state) in (0..).zip(&stage.tasks) {
                open.extend(state.running().map(|attempt| Attempt { stage: stage.shape.id, task, attempt }));
            }
        }
        open
    }

    /// How many attempts at a task are known.
    #[must_use]
    pub fn attempts(&self, stage: u32, task: u32) -> u32 {
        let stage = self.stages.iter().find(|state| state.shape.id == stage);
        stage.and_then(|stage| stage.tasks.get(task as usize)).map_or(0, |task| task.attempts.len() as u32)
    }

    fn stage_mut(&mut self, stage: u32) -> Option<&mut StageState> {
        self.stages.iter_mut().find(|state| state.shape.id == stage)
    }

    fn task_mut(&mut self, stage: u32, task: u32) -> Option<&mut TaskState> {
        self.stage_mut(stage)?.tasks.get_mut(task as usize)
    }

    fn attempt_mut(&mut self, id: Attempt) -> Option<&mut AttemptState> {
        self.task_mut(id.stage, id.task)?.attempt_mut(id.attempt)
    }

    fn task_done(&mut self, stage: u32, task: u32, bytes: u64) {
        let Some(stage) = self.stage_mut(stage) else { return };
        if let Some(task) = stage.tasks.get_mut(task as usize)
            && !task.done
        {
            task.done = true;
            stage.done += 1;
            stage.bytes = stage.bytes.saturating_add(bytes);
        }
    }

    fn open_attempts_of(&mut self, node: &NodeId) -> Vec<Attempt> {
        let mut open = self.in_flight();
        open.retain(|id| self.attempt_mut(*id).is_some_and(|attempt| attempt.node.as_ref() == Some(node)));
        open
    }

    fn attempt_lost(&mut self, id: Attempt, failed: FailedRecord, actions: &mut Vec<Action>) {
        if !self.ended && self.in_flight().contains(&id) {
            actions.push(Action::MarkLost { attempt: id, failed: failed.clone() });
            self.attempt_ended(id, failed, actions);
        }
    }

    /// Ends an attempt and decides what follows; what has ended or is done already is old news.
    fn attempt_ended(&mut self, id: Attempt, mut failed: FailedRecord, actions: &mut Vec<Action>) {
        if self.ended {
            return;
        }
        let Some(stage) = self.stage_mut(id.stage) else { return };
        let is_due = stage.is_due(id.task);
        let Some(task) = stage.tasks.get_mut(id.task as usize).filter(|task| !task.done) else { return };
        let Some(attempt) = task.attempt_mut(id.attempt).filter(|attempt| !attempt.ended) else { return };
        attempt.ended = true;
        failed.worker = failed.worker.or(attempt.node.take());
        task.failures.push(failed);
        if is_due {
            self.follow(id.stage, id.task, actions);
        }
    }

    /// What follows from the failures of a task that is due: the next attempt if none runs, or the end.
    fn follow(&mut self, stage: u32, task: u32, actions: &mut Vec<Action>) {
        if self.ended {
            return;
        }
        let Some(state) = self.task_mut(stage, task) else { return };
        let is_idle = state.running().next().is_none();
        match abandonment::decide(&state.failures) {
            Answer::Retry { avoid, remedy, wait } if is_idle => {
                state.attempts.push(AttemptState::default());
                let attempt = Attempt { stage, task, attempt: state.attempts.len() as u32 };
                actions.push(Action::PublishTask { attempt, avoid, remedy, wait });
            }
            // The attempt that runs may still end well.
            Answer::Retry { .. } => {}
            Answer::Abandon(Reason::AttemptsUsedUp) if !is_idle => {}
            Answer::Abandon(reason) => {
                let failure = given_up(stage, task, reason, &state.failures);
                self.fail(failure, actions);
            }
        }
    }

    /// Publishes an attempt beside the only one that runs, for another node.
    fn double(&mut self, id: Attempt, actions: &mut Vec<Action>) {
        let Some(task) = self.task_mut(id.stage, id.task) else { return };
        if !task.running().any(|number| number == id.attempt) || !task.may_double() {
            return;
        }
        let (avoid, remedy) = match abandonment::decide(&task.failures) {
            Answer::Retry { avoid, remedy, .. } => (avoid, remedy),
            Answer::Abandon(_) => return,
        };
        let slow = task.attempt_mut(id.attempt).and_then(|attempt| attempt.node.clone());
        task.attempts.push(AttemptState::default());
        let attempt = Attempt { attempt: task.attempts.len() as u32, ..id };
        let avoid = avoid.into_iter().chain(slow).collect();
        actions.push(Action::PublishTask { attempt, avoid, remedy, wait: Duration::ZERO });
    }

    fn fail(&mut self, failure: Failure, actions: &mut Vec<Action>) {
        if !self.ended {
            self.ended = true;
            actions.push(Action::Fail { failure });
        }
    }

    /// Opens stages whose inputs are done, fills the last stage's window, and finishes.
    fn advance(&mut self, actions: &mut Vec<Action>) {
        if !self.started || self.ended {
            return;
        }
        // A stage without tasks is done as soon as it opens, which may open the next: at most once per stage.
        for _ in 0..self.stages.len() {
            let before = actions.len();
            self.open_stages(actions);
            if actions.len() == before || self.ended {
                break;
            }
        }
        if !self.ended && self.stages.iter().all(StageState::is_done) {
            self.ended = true;
            actions.push(Action::Finish);
        }
    }

    fn open_stages(&mut self, actions: &mut Vec<Action>) {
        let done: BTreeSet<u32> = self.stages.iter().filter(|stage| stage.is_done()).map(|s| s.shape.id).collect();
        let written: BTreeMap<u32, u64> = self.stages.iter().map(|stage| (stage.shape.id, stage.bytes)).collect();
        let last = self.stages.len().saturating_sub(1);
        let mut due = Vec::new();
        for index in 0..self.stages.len() {
            let Some((stage, later)) = self.stages[index..].split_first_mut() else { break };
            if !stage.open && stage.shape.inputs.iter().all(|input| done.contains(input)) {
                let read = stage.shape.inputs.iter().filter_map(|input| written.get(input)).sum::<u64>();
                let read = read.saturating_add(stage.shape.scan_bytes);
                if let Some(reader) = fold_into(stage, later, read, &self.grain) {
                    stage.fold(reader);
                    continue;
                }
                stage.open(self.grain.tasks(stage.shape.tasks, read));
                let folded = std::mem::take(&mut stage.folded);
                actions.push(Action::PublishStage { stage: stage.shape.id, tasks: stage.shape.tasks, folded });
            }
            let ahead = if index == last { self.taken.saturating_add(self.window) } else { u32::MAX };
            let until = if stage.open { stage.shape.tasks.min(ahead) } else { 0 };
            due.extend((stage.published..until).map(|task| (stage.shape.id, task)));
            stage.published = stage.published.max(until);
        }
        for (stage, task) in due {
            // A predecessor may have been here: its attempts run, failed, or are done.
            let wants_word = |task: &TaskState| task.running().next().is_none() || !task.failures.is_empty();
            if self.task_mut(stage, task).is_some_and(|task| !task.done && wants_word(task)) {
                self.follow(stage, task, actions);
            }
        }
    }
}

/// What the query's caller is told.
fn given_up(stage: u32, task: u32, reason: Reason, failures: &[FailedRecord]) -> Failure {
    let decisive = |failure: &&FailedRecord| matches!(failure.cause, FailureCause::Query | FailureCause::CorruptCell);
    let Some(last) = failures.iter().find(decisive).or(failures.last()) else { return Failure::Cancelled };
    match last.cause {
        FailureCause::Query => Failure::Query(last.message.clone()),
        FailureCause::Cancelled => Failure::Cancelled,
        cause => {
            let report = abandonment::report(&format!("task {task} of stage {stage}"), reason, failures);
            Failure::Abandoned { stage, cause, report, advice: abandonment::advice(failures) }
        }
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
