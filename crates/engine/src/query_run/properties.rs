//! What the state machine promises, over random histories, and what a successor makes of what they left on the board.

use std::collections::BTreeMap;

use apiary_core::{Rng, SeededRng};
use apiary_swarm::behaviour::abandonment::{ATTEMPTS_IN_ALL_MAX, ATTEMPTS_MAX};
use proptest::prelude::*;

use super::{
    tests::{done, failed, gone, node, record, shape},
    *,
};

/// A random plan: each stage reads some of those before it, and the last reads all that nobody else reads.
fn shapes() -> impl Strategy<Value = Vec<StageShape>> {
    prop::collection::vec((1..5u32, any::<u8>()), 1..6).prop_map(|stages| {
        let count = stages.len();
        let inputs = |index: usize, bits: u8| (0..index).filter(move |i| index + 1 == count || bits >> i & 1 == 1);
        let shape = |(index, (tasks, bits)): (usize, (u32, u8))| {
            shape(index as u32 + 1, tasks, &inputs(index, bits).map(|i| i as u32 + 1).collect::<Vec<_>>())
        };
        stages.into_iter().enumerate().map(shape).collect()
    })
}

/// What the world does next, to whichever attempt is picked.
#[derive(Debug, Clone, Copy)]
enum Move {
    Done,
    Fail(FailureCause),
    Lose,
    Claim,
    Straggle,
    Take,
    Stale,
}

fn moves() -> impl Strategy<Value = Vec<(Move, u16)>> {
    let one = prop_oneof![
        6 => Just(Move::Done),
        1 => Just(Move::Fail(FailureCause::Store)),
        1 => Just(Move::Fail(FailureCause::HandedBack)),
        1 => Just(Move::Lose),
        2 => Just(Move::Claim),
        2 => Just(Move::Straggle),
        2 => Just(Move::Take),
        1 => Just(Move::Stale),
    ];
    prop::collection::vec((one, any::<u16>()), 0..120)
}

/// The world, checking every action against what was promised. It is the board as well: what a listing would show.
#[derive(Clone, Default)]
struct Board {
    published: BTreeMap<(u32, u32), u32>,
    failed: BTreeMap<Attempt, FailedRecord>,
    done: BTreeSet<(u32, u32)>,
}

struct World {
    shapes: Vec<StageShape>,
    run: QueryRun,
    grain: Grain,
    /// How many tasks each open stage has; none if another does its work.
    opened: BTreeMap<u32, u32>,
    board: Board,
    taken: u32,
    ends: Vec<bool>,
}

impl World {
    fn new(shapes: Vec<StageShape>, grain: Grain) -> Self {
        let run = QueryRun::new(shapes.clone(), 2, grain);
        let opened = BTreeMap::new();
        Self { shapes, run, grain, opened, board: Board::default(), taken: 0, ends: Vec::new() }
    }

    /// A successor over what is on the board, told in an order of `chance`'s.
    fn successor(&self, chance: u64) -> Self {
        let mut next =
            Self { board: self.board.clone(), taken: self.taken, ..Self::new(self.shapes.clone(), self.grain) };
        let published = self.board.published.iter();
        let published =
            published.map(|(&(stage, task), &attempt)| Event::Published { attempt: Attempt { stage, task, attempt } });
        let done = self.board.done.iter().map(|&(stage, task)| done(stage, task));
        let failures = self.board.failed.iter();
        let failures = failures.map(|(&attempt, failed)| Event::AttemptFailed { attempt, failed: failed.clone() });
        let taken = std::iter::once(Event::Taken { tasks: self.taken });
        let rng = SeededRng::new(chance);
        let mut events: Vec<_> =
            published.chain(done).chain(failures).chain(taken).map(|event| (rng.next_u64(), event)).collect();
        events.sort_by_key(|(order, _)| *order);
        events.into_iter().for_each(|(_, event)| next.tell(event));
        next.tell(Event::Start);
        next
    }

    fn tell(&mut self, event: Event) {
        match &event {
            Event::TaskDone { stage, task, .. } => drop(self.board.done.insert((*stage, *task))),
            Event::AttemptFailed { attempt, failed } => self.note_failed(*attempt, failed),
            _ => {}
        }
        for action in self.run.on(event) {
            assert!(self.ends.is_empty(), "nothing comes after the end: {action:?}");
            self.check(&action);
        }
    }

    fn note_failed(&mut self, id: Attempt, failed: &FailedRecord) {
        let is_there = self.board.published.get(&(id.stage, id.task)).is_some_and(|number| id.attempt <= *number);
        if is_there && id.attempt > 0 {
            self.board.failed.entry(id).or_insert_with(|| failed.clone());
        }
    }

    fn all_done(&self, stage: u32) -> bool {
        let shape = self.shapes.iter().find(|shape| shape.id == stage).unwrap();
        let tasks = self.opened.get(&stage).copied().unwrap_or(shape.tasks);
        (0..tasks).all(|task| self.board.done.contains(&(stage, task)))
    }

    fn check(&mut self, action: &Action) {
        match action {
            Action::PublishTask { attempt, .. } => self.check_published(*attempt),
            Action::MarkLost { attempt, failed } => self.note_failed(*attempt, failed),
            Action::Finish => {
                self.ends.push(true);
                assert!(self.shapes.iter().all(|shape| self.all_done(shape.id)), "all is done");
            }
            Action::Fail { .. } => self.ends.push(false),
            Action::PublishStage { stage, tasks, folded } => {
                assert_eq!(self.opened.insert(*stage, *tasks), None, "a stage opens once");
                assert!(folded.is_empty() || *tasks == 1, "one task sees all of what was folded");
                for inner in folded {
                    assert_eq!(self.opened.insert(*inner, 0), None, "a stage is done once");
                }
            }
        }
    }

    fn check_published(&mut self, id: Attempt) {
        let shape = self.shapes.iter().find(|shape| shape.id == id.stage).unwrap();
        assert!(shape.inputs.iter().all(|input| self.all_done(*input)), "inputs first");
        assert!(!self.board.done.contains(&(id.stage, id.task)), "a done task stays done");
        let number = self.board.published.entry((id.stage, id.task)).or_default();
        *number += 1;
        assert_eq!(*number, id.attempt, "attempts count up");
        assert!(*number as usize <= ATTEMPTS_IN_ALL_MAX);
        let ended = |number: u32| self.board.failed.get(&Attempt { attempt: number, ..id });
        let counted = (1..=*number).filter(|n| ended(*n).is_none_or(|failed| abandonment::counts(failed.cause)));
        assert!(counted.count() <= ATTEMPTS_MAX, "an attempt too many");
        assert!((1..=*number).filter(|n| ended(*n).is_none()).count() <= 2, "two at once are enough");
    }

    fn play(&mut self, step: Move, pick: u16) {
        if matches!(step, Move::Take) {
            self.taken += 1;
            return self.tell(Event::Taken { tasks: self.taken });
        }
        let open = self.run.in_flight();
        let Some(id) = open.get(pick as usize % open.len().max(1)).copied() else { return };
        let on = format!("n{}", pick % 3);
        match step {
            Move::Done => self.tell(done(id.stage, id.task)),
            Move::Fail(cause) => self.tell(failed(id, cause, &on)),
            Move::Lose => self.tell(gone(&on)),
            Move::Claim => self.tell(Event::Claimed { attempt: id, node: node(&on) }),
            Move::Straggle => self.tell(Event::Straggles { attempt: id }),
            Move::Take => {}
            Move::Stale => self.tell(Event::AttemptFailed {
                attempt: Attempt { attempt: id.attempt - 1, ..id },
                failed: record(FailureCause::Store, &on),
            }),
        }
    }

    /// From here on everything goes well; then it must come to an end.
    fn finish(&mut self) {
        for _ in 0..1000 {
            if self.run.is_ended() {
                break;
            }
            self.play(Move::Take, 0);
            self.play(Move::Done, 0);
        }
    }

    /// What matters of the run: which attempts of which tasks may still end well, and how far it is.
    fn state(&self) -> (Vec<Attempt>, Progress, bool) {
        (self.run.in_flight(), self.run.progress(), self.run.is_ended())
    }
}

proptest! {
    #[test]
    fn whatever_happens_the_promises_hold_and_it_ends(shapes in shapes(), history in moves(), grain in 0..30u64) {
        let mut world = World::new(shapes, Grain { task_bytes: grain, ..Grain::FINE });
        world.tell(Event::Start);
        for (step, pick) in history {
            world.play(step, pick);
        }
        world.finish();
        prop_assert_eq!(world.ends.len(), 1);
        prop_assert!(world.run.is_ended());
    }

    #[test]
    fn a_successor_stands_where_its_predecessor_stood_and_ends_as_it_did(
        shapes in shapes(),
        history in moves(),
        chance in any::<u64>(),
        grain in 0..30u64,
    ) {
        let mut world = World::new(shapes, Grain { task_bytes: grain, ..Grain::FINE });
        world.tell(Event::Start);
        for (step, pick) in history {
            if world.run.is_ended() {
                break;
            }
            world.play(step, pick);
        }
        let before = world.board.published.clone();
        let mut next = world.successor(chance);
        prop_assert_eq!(&next.board.published, &before, "nothing is missing, and nothing is published twice");
        if world.run.is_ended() {
            prop_assert_eq!(&next.ends, &world.ends);
        } else {
            prop_assert_eq!(next.state(), world.state());
        }
        next.finish();
        prop_assert_eq!(next.ends.len(), 1);
    }
}
