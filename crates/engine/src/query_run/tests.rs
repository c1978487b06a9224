//! What the state machine promises: small cases by hand, then properties over random histories.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn shape(id: u32, tasks: u32, inputs: &[u32]) -> StageShape {
    StageShape { id, tasks, inputs: inputs.to_vec() }
}

fn attempt(stage: u32, task: u32, attempt: u32) -> Attempt {
    Attempt { stage, task, attempt }
}

fn publish(stage: u32, task: u32, number: u32) -> Action {
    first(attempt(stage, task, number))
}

fn node(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

fn record(cause: FailureCause, on: &str) -> FailedRecord {
    let incarnation = "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap();
    FailedRecord::by_worker(node(on), incarnation, cause, "m")
}

fn failed(id: Attempt, cause: FailureCause, on: &str) -> Event {
    Event::AttemptFailed { attempt: id, failed: record(cause, on) }
}

fn gone(on: &str) -> Event {
    Event::NodeGone { node: node(on), failed: record(FailureCause::NodeLost, on) }
}

fn two_stages() -> QueryRun {
    QueryRun::new(vec![shape(1, 2, &[]), shape(2, 1, &[1])], 4)
}

#[test]
fn a_stage_opens_when_all_that_it_reads_is_done() {
    let mut run = two_stages();
    let first = run.on(Event::Start);
    assert_eq!(first, [Action::PublishStage { stage: 1 }, publish(1, 0, 1), publish(1, 1, 1)]);
    assert_eq!(run.on(Event::TaskDone { stage: 1, task: 1 }), []);
    let second = run.on(Event::TaskDone { stage: 1, task: 0 });
    assert_eq!(second, [Action::PublishStage { stage: 2 }, publish(2, 0, 1)]);
    assert_eq!(run.on(Event::TaskDone { stage: 2, task: 0 }), [Action::Finish]);
    assert_eq!(run.on(Event::Cancel), []);
}

#[test]
fn the_same_done_twice_counts_once() {
    let mut run = two_stages();
    let _ = run.on(Event::Start);
    assert_eq!(run.on(Event::TaskDone { stage: 1, task: 0 }), []);
    assert_eq!(run.on(Event::TaskDone { stage: 1, task: 0 }), []);
    assert_eq!(run.progress().tasks_done, 1);
}

#[test]
fn a_lost_attempt_is_marked_and_followed_by_the_next() {
    let mut run = two_stages();
    let _ = run.on(Event::Start);
    let _ = run.on(Event::Claimed { attempt: attempt(1, 0, 1), node: node("pi-1") });
    let actions = run.on(gone("pi-1"));
    let next = attempt(1, 0, 2);
    assert!(
        matches!(&actions[..], [Action::MarkLost { attempt: lost, .. }, Action::PublishTask { attempt, avoid, .. }]
        if *lost == self::attempt(1, 0, 1) && *attempt == next && *avoid == [node("pi-1")]),
        "{actions:?}"
    );
    assert_eq!(run.on(gone("pi-1")), []);
    assert_eq!(run.progress().retries, 1);
}

#[test]
fn news_of_an_old_attempt_is_old_news() {
    let mut run = two_stages();
    let _ = run.on(Event::Start);
    let _ = run.on(failed(attempt(1, 0, 1), FailureCause::Store, "a"));
    assert_eq!(run.on(failed(attempt(1, 0, 1), FailureCause::Store, "a")), []);
    let _ = run.on(Event::TaskDone { stage: 1, task: 0 });
    assert_eq!(run.on(failed(attempt(1, 0, 2), FailureCause::Query, "a")), []);
}

#[test]
fn the_querys_own_fault_is_not_tried_again() {
    let mut run = two_stages();
    let _ = run.on(Event::Start);
    let actions = run.on(failed(attempt(1, 1, 1), FailureCause::Query, "a"));
    assert_eq!(actions, [Action::Fail { failure: Failure::Query("m".into()) }]);
}

#[test]
fn four_attempts_and_the_query_is_given_up_with_all_of_them() {
    let mut run = two_stages();
    let _ = run.on(Event::Start);
    for number in 1..4 {
        let actions = run.on(failed(attempt(1, 0, number), FailureCause::Store, "a"));
        assert!(matches!(&actions[..], [Action::PublishTask { .. }]), "{actions:?}");
    }
    let actions = run.on(failed(attempt(1, 0, 4), FailureCause::Store, "b"));
    let [Action::Fail { failure: Failure::Abandoned { report, .. } }] = &actions[..] else {
        unreachable!("{actions:?}")
    };
    assert!(report.contains("attempt 4 on b"), "{report}");
}

#[test]
fn a_task_that_takes_down_three_nodes_is_poison() {
    let mut run = two_stages();
    let _ = run.on(Event::Start);
    let lost = |number, on: &str| Event::AttemptLost {
        attempt: attempt(1, 0, number),
        failed: record(FailureCause::NodeLost, on),
    };
    assert_eq!(run.on(lost(1, "a")).len(), 2);
    assert_eq!(run.on(lost(2, "b")).len(), 2);
    let actions = run.on(lost(3, "c"));
    assert!(matches!(actions.last(), Some(Action::Fail { failure: Failure::Abandoned { .. } })), "{actions:?}");
}

#[test]
fn memory_is_tried_once_more_and_a_damaged_cell_never() {
    let mut run = two_stages();
    let _ = run.on(Event::Start);
    assert_eq!(run.on(failed(attempt(1, 0, 1), FailureCause::Memory, "a")).len(), 1);
    let actions = run.on(failed(attempt(1, 0, 2), FailureCause::Memory, "b"));
    assert!(matches!(&actions[..], [Action::Fail { .. }]));
    let mut run = two_stages();
    let _ = run.on(Event::Start);
    let actions = run.on(failed(attempt(1, 0, 1), FailureCause::CorruptCell, "a"));
    assert!(matches!(&actions[..], [Action::Fail { .. }]));
}

#[test]
fn handing_back_costs_no_attempt() {
    let mut run = two_stages();
    let _ = run.on(Event::Start);
    for number in 1..=9 {
        let actions = run.on(failed(attempt(1, 0, number), FailureCause::HandedBack, "a"));
        assert!(matches!(&actions[..], [Action::PublishTask { .. }]), "{actions:?}");
    }
}

#[test]
fn the_last_stage_waits_for_the_client() {
    let mut run = QueryRun::new(vec![shape(1, 10, &[])], 3);
    assert_eq!(run.on(Event::Start).len(), 1 + 3);
    let _ = run.on(Event::TaskDone { stage: 1, task: 0 });
    assert_eq!(run.on(Event::Taken { tasks: 1 }), [publish(1, 3, 1)]);
    assert_eq!(run.on(Event::Taken { tasks: 1 }), []);
}

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
        2 => Just(Move::Take),
        1 => Just(Move::Stale),
    ];
    prop::collection::vec((one, any::<u16>()), 0..120)
}

/// The world, checking every action against what was promised.
struct World {
    shapes: Vec<StageShape>,
    run: QueryRun,
    published: BTreeMap<(u32, u32), u32>,
    done: BTreeSet<(u32, u32)>,
    taken: u32,
    ends: usize,
}

impl World {
    fn new(shapes: Vec<StageShape>) -> Self {
        let run = QueryRun::new(shapes.clone(), 2);
        Self { shapes, run, published: BTreeMap::new(), done: BTreeSet::new(), taken: 0, ends: 0 }
    }

    fn tell(&mut self, event: Event) {
        if let Event::TaskDone { stage, task } = event {
            self.done.insert((stage, task));
        }
        for action in self.run.on(event) {
            assert_eq!(self.ends, 0, "nothing comes after the end");
            self.check(&action);
        }
    }

    fn all_done(&self, stage: u32) -> bool {
        let shape = self.shapes.iter().find(|shape| shape.id == stage).unwrap();
        (0..shape.tasks).all(|task| self.done.contains(&(stage, task)))
    }

    fn check(&mut self, action: &Action) {
        match action {
            Action::PublishTask { attempt, .. } => {
                let shape = self.shapes.iter().find(|shape| shape.id == attempt.stage).unwrap();
                assert!(shape.inputs.iter().all(|input| self.all_done(*input)), "inputs first");
                assert!(!self.done.contains(&(attempt.stage, attempt.task)), "a done task stays done");
                let number = self.published.entry((attempt.stage, attempt.task)).or_default();
                *number += 1;
                assert_eq!(*number, attempt.attempt, "attempts count up");
            }
            Action::Finish => {
                self.ends += 1;
                assert!(self.shapes.iter().all(|shape| self.all_done(shape.id)), "all is done");
            }
            Action::Fail { .. } => self.ends += 1,
            Action::PublishStage { .. } | Action::MarkLost { .. } => {}
        }
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
            Move::Done => self.tell(Event::TaskDone { stage: id.stage, task: id.task }),
            Move::Fail(cause) => self.tell(failed(id, cause, &on)),
            Move::Lose => self.tell(gone(&on)),
            Move::Claim => self.tell(Event::Claimed { attempt: id, node: node(&on) }),
            Move::Take => {}
            Move::Stale => self.tell(failed(Attempt { attempt: id.attempt - 1, ..id }, FailureCause::Store, &on)),
        }
    }
}

proptest! {
    #[test]
    fn whatever_happens_the_promises_hold_and_it_ends(shapes in shapes(), history in moves()) {
        let mut world = World::new(shapes);
        world.tell(Event::Start);
        for (step, pick) in history {
            world.play(step, pick);
        }
        // From here on everything goes well; then it must come to an end.
        for _ in 0..1000 {
            if world.run.is_ended() {
                break;
            }
            world.play(Move::Take, 0);
            world.play(Move::Done, 0);
        }
        prop_assert_eq!(world.ends, 1);
        prop_assert!(world.run.is_ended());
    }
}
