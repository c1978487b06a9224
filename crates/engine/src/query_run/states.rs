//! What the state machine remembers of a stage, a task and an attempt.

use apiary_core::NodeId;
use apiary_swarm::{
    behaviour::abandonment::{self, ATTEMPTS_IN_ALL_MAX},
    board::FailedRecord,
};

use super::StageShape;
use crate::stages::sizing::Grain;

#[derive(Debug, Default)]
pub(super) struct AttemptState {
    pub(super) node: Option<NodeId>,
    pub(super) ended: bool,
}

#[derive(Debug, Default)]
pub(super) struct TaskState {
    pub(super) done: bool,
    pub(super) attempts: Vec<AttemptState>,
    /// How attempts ended without a result, in the order in which that became known.
    pub(super) failures: Vec<FailedRecord>,
}

impl TaskState {
    /// Learns that attempts up to this number exist; the attempt, unless the number is none that anybody publishes.
    pub(super) fn attempt_mut(&mut self, number: u32) -> Option<&mut AttemptState> {
        let number = number as usize;
        if !(1..=ATTEMPTS_IN_ALL_MAX).contains(&number) {
            return None;
        }
        while self.attempts.len() < number {
            self.attempts.push(AttemptState::default());
        }
        self.attempts.get_mut(number - 1)
    }

    /// The numbers of attempts that may still end well.
    pub(super) fn running(&self) -> impl Iterator<Item = u32> + '_ {
        let open = self.attempts.iter().zip(1..).filter(|(attempt, _)| !attempt.ended && !self.done);
        open.map(|(_, number)| number)
    }

    /// Whether another attempt may run beside the only one that does: there is one, and those that count are not used
    /// up.
    pub(super) fn may_double(&self) -> bool {
        let counted = self.failures.iter().filter(|failure| abandonment::counts(failure.cause)).count();
        self.running().count() == 1
            && counted + 2 <= abandonment::ATTEMPTS_MAX
            && self.attempts.len() < ATTEMPTS_IN_ALL_MAX
    }
}

#[derive(Debug)]
pub(super) struct StageState {
    pub(super) shape: StageShape,
    pub(super) open: bool,
    pub(super) published: u32,
    pub(super) done: u32,
    pub(super) bytes: u64,
    pub(super) folded: Vec<u32>,
    pub(super) tasks: Vec<TaskState>,
}

impl StageState {
    /// Opens with `tasks` tasks, as any coordinator would: what is done already was cut the same way.
    pub(super) fn open(&mut self, tasks: u32) {
        self.open = true;
        self.shape.tasks = tasks;
        self.tasks.truncate(tasks as usize);
    }

    /// Lets `reader` do its work: done, without a task.
    pub(super) fn fold(&mut self, reader: &mut Self) {
        self.open(0);
        reader.shape.inputs.clone_from(&self.shape.inputs);
        reader.shape.scan_bytes = reader.shape.scan_bytes.saturating_add(self.shape.scan_bytes);
        reader.folded.append(&mut self.folded);
        reader.folded.push(self.shape.id);
    }

    pub(super) fn is_done(&self) -> bool {
        self.open && self.done == self.shape.tasks
    }

    /// Whether a task's turn has come.
    pub(super) fn is_due(&self, task: u32) -> bool {
        self.open && task < self.published
    }
}

/// The stage that does a stage's work along with its own, if there is one: it reads that stage and no other, and both
/// together read so little that one task does it. That is known from the plan and from what the stage's inputs wrote,
/// and from nothing that happens later: who takes the query over sees it the same way.
pub(super) fn fold_into<'a>(
    stage: &StageState,
    later: &'a mut [StageState],
    read: u64,
    grain: &Grain,
) -> Option<&'a mut StageState> {
    let id = stage.shape.id;
    let readers = later.iter().filter(|reader| reader.shape.inputs.contains(&id)).count();
    let reader = later.iter_mut().find(|reader| reader.shape.inputs == [id])?;
    let is_one_task = grain.is_one_task(read.saturating_add(reader.shape.scan_bytes));
    (readers == 1 && is_one_task && !stage.shape.inputs.is_empty()).then_some(reader)
}
