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
//!            │                  └──▶ AttemptLost          ──▶ MarkLost, a2 published, or the query fails
//!            └── nobody claims it: it just waits; any worker that comes may take it
//! ```
//!
//! What it guarantees, whatever order events come in, doubled or late (the properties at the end of
//! `query_run/tests.rs`): a task is published only when all it reads is done; attempt numbers of a task count up
//! without gaps and end; a done task is never published again; exactly one of `Finish` and `Fail` comes, as the last
//! action; `Finish` comes only when every task is done. So losing, repeating or reordering what the drive loop saw
//! in a listing costs time and never rows.
//!
//! The last stage is published in a window: a few tasks ahead of what the client has taken, so that a slow client
//! slows the workers and no answer piles up in the bucket.
//!
//! What follows from a failure is [`abandonment`]'s to say: at most four attempts that count, and a task over which
//! three nodes crashed is poison. What this file must never do: read a clock, the bucket or a plan. It knows stages
//! as counts.

use std::{collections::BTreeSet, time::Duration};

use apiary_core::NodeId;
use apiary_swarm::{
    behaviour::abandonment::{self, Answer, Reason, Remedy},
    board::{FailedRecord, FailureCause},
};

mod words;

pub use words::{Action, Attempt, Event, Failure, Progress, StageShape};

#[derive(Debug, Default)]
struct AttemptState {
    node: Option<NodeId>,
    ended: Option<FailedRecord>,
}

#[derive(Debug, Default)]
struct TaskState {
    done: bool,
    attempts: Vec<AttemptState>,
}

#[derive(Debug)]
struct StageState {
    shape: StageShape,
    open: bool,
    published: u32,
    done: u32,
    tasks: Vec<TaskState>,
}

impl StageState {
    fn is_done(&self) -> bool {
        self.open && self.done == self.shape.tasks
    }
}

/// The machine.
#[derive(Debug)]
pub struct QueryRun {
    stages: Vec<StageState>,
    window: u32,
    taken: u32,
    started: bool,
    ended: bool,
}

impl QueryRun {
    /// A query of these stages, the answer's last, whose last stage is published `window` tasks ahead of the client.
    #[must_use]
    pub fn new(shapes: Vec<StageShape>, window: u32) -> Self {
        let state = |shape: StageShape| {
            let tasks = (0..shape.tasks).map(|_| TaskState::default()).collect();
            StageState { shape, open: false, published: 0, done: 0, tasks }
        };
        let stages = shapes.into_iter().map(state).collect();
        Self { stages, window: window.max(1), taken: 0, started: false, ended: false }
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
            Event::Claimed { attempt, node } => self.claimed(attempt, node),
            Event::TaskDone { stage, task } => self.task_done(stage, task),
            Event::AttemptFailed { attempt, failed } => self.attempt_ended(attempt, failed, &mut actions),
            Event::AttemptLost { attempt, failed } => self.attempt_lost(attempt, failed, &mut actions),
            Event::NodeGone { node, failed } => {
                for attempt in self.open_attempts_of(&node) {
                    self.attempt_lost(attempt, failed.clone(), &mut actions);
                }
            }
            Event::Taken { tasks } => self.taken = self.taken.max(tasks),
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

    /// The newest attempt of every published task that has no result yet.
    #[must_use]
    pub fn in_flight(&self) -> Vec<Attempt> {
        let mut open = Vec::new();
        for stage in &self.stages {
            for (index, task) in stage.tasks.iter().enumerate() {
                let ended = task.attempts.last().is_none_or(|attempt| attempt.ended.is_some());
                if !task.done && !ended {
                    let attempt = task.attempts.len() as u32;
                    open.push(Attempt { stage: stage.shape.id, task: index as u32, attempt });
                }
            }
        }
        open
    }

    fn task_mut(&mut self, stage: u32, task: u32) -> Option<&mut TaskState> {
        let stage = self.stages.iter_mut().find(|state| state.shape.id == stage)?;
        stage.tasks.get_mut(task as usize)
    }

    fn claimed(&mut self, id: Attempt, node: NodeId) {
        let task = self.task_mut(id.stage, id.task);
        let attempt = task.and_then(|task| task.attempts.get_mut((id.attempt as usize).wrapping_sub(1)));
        if let Some(attempt) = attempt {
            attempt.node = Some(node);
        }
    }

    fn task_done(&mut self, stage: u32, task: u32) {
        let Some(stage) = self.stages.iter_mut().find(|state| state.shape.id == stage) else { return };
        if let Some(task) = stage.tasks.get_mut(task as usize)
            && !task.done
        {
            task.done = true;
            stage.done += 1;
        }
    }

    fn open_attempts_of(&self, node: &NodeId) -> Vec<Attempt> {
        let claimed_by = |id: &Attempt| {
            let stage = self.stages.iter().find(|stage| stage.shape.id == id.stage);
            let task = stage.and_then(|stage| stage.tasks.get(id.task as usize));
            task.and_then(|task| task.attempts.last()).and_then(|attempt| attempt.node.as_ref()) == Some(node)
        };
        self.in_flight().into_iter().filter(claimed_by).collect()
    }

    fn attempt_lost(&mut self, id: Attempt, failed: FailedRecord, actions: &mut Vec<Action>) {
        if !self.ended && self.in_flight().contains(&id) {
            actions.push(Action::MarkLost { attempt: id, failed: failed.clone() });
            self.attempt_ended(id, failed, actions);
        }
    }

    /// Ends the newest attempt of a task and decides what follows; anything else is old news.
    fn attempt_ended(&mut self, id: Attempt, mut failed: FailedRecord, actions: &mut Vec<Action>) {
        if self.ended {
            return;
        }
        let Some(task) = self.task_mut(id.stage, id.task) else { return };
        let newest = task.attempts.len() as u32 == id.attempt;
        let Some(attempt) = task.attempts.last_mut().filter(|last| newest && last.ended.is_none()) else { return };
        if task.done {
            return;
        }
        failed.worker = failed.worker.or(attempt.node.take());
        attempt.ended = Some(failed);
        let failures: Vec<FailedRecord> = task.attempts.iter().filter_map(|attempt| attempt.ended.clone()).collect();
        match abandonment::decide(&failures) {
            Answer::Retry { avoid, remedy, wait } => {
                task.attempts.push(AttemptState::default());
                let attempt = Attempt { attempt: id.attempt + 1, ..id };
                actions.push(Action::PublishTask { attempt, avoid, remedy, wait });
            }
            Answer::Abandon(reason) => self.fail(given_up(id, reason, &failures), actions),
        }
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
            if actions.len() == before {
                break;
            }
        }
        if self.stages.iter().all(StageState::is_done) {
            self.ended = true;
            actions.push(Action::Finish);
        }
    }

    fn open_stages(&mut self, actions: &mut Vec<Action>) {
        let done: BTreeSet<u32> = self.stages.iter().filter(|stage| stage.is_done()).map(|s| s.shape.id).collect();
        let last = self.stages.len().saturating_sub(1);
        for (index, stage) in self.stages.iter_mut().enumerate() {
            if !stage.open && stage.shape.inputs.iter().all(|input| done.contains(input)) {
                stage.open = true;
                actions.push(Action::PublishStage { stage: stage.shape.id });
            }
            let ahead = if index == last { self.taken.saturating_add(self.window) } else { u32::MAX };
            while stage.open && stage.published < stage.shape.tasks.min(ahead) {
                let attempt = Attempt { stage: stage.shape.id, task: stage.published, attempt: 1 };
                if let Some(task) = stage.tasks.get_mut(stage.published as usize) {
                    task.attempts.push(AttemptState::default());
                }
                stage.published += 1;
                actions.push(first(attempt));
            }
        }
    }
}

/// The first attempt at a task.
fn first(attempt: Attempt) -> Action {
    Action::PublishTask { attempt, avoid: Vec::new(), remedy: Remedy::Same, wait: Duration::ZERO }
}

/// What the query's caller is told.
fn given_up(id: Attempt, reason: Reason, failures: &[FailedRecord]) -> Failure {
    let Some(last) = failures.last() else { return Failure::Cancelled };
    match last.cause {
        FailureCause::Query => Failure::Query(last.message.clone()),
        FailureCause::Cancelled => Failure::Cancelled,
        cause => {
            let task = format!("task {} of stage {}", id.task, id.stage);
            let report = abandonment::report(&task, reason, failures);
            Failure::Abandoned { cause, report, advice: abandonment::advice(failures) }
        }
    }
}

#[cfg(test)]
mod tests;
