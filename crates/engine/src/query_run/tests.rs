//! What the state machine does in small cases by hand; `properties.rs` has the random histories.

use apiary_swarm::behaviour::abandonment::Remedy;

use super::*;

pub(super) fn shape(id: u32, tasks: u32, inputs: &[u32]) -> StageShape {
    StageShape { id, tasks, scan_bytes: 0, inputs: inputs.to_vec() }
}

pub(super) fn attempt(stage: u32, task: u32, attempt: u32) -> Attempt {
    Attempt { stage, task, attempt }
}

fn publish(stage: u32, task: u32, number: u32) -> Action {
    let attempt = attempt(stage, task, number);
    Action::PublishTask { attempt, avoid: Vec::new(), remedy: Remedy::Same, wait: Duration::ZERO }
}

pub(super) fn node(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

pub(super) fn record(cause: FailureCause, on: &str) -> FailedRecord {
    let incarnation = "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap();
    FailedRecord::by_worker(node(on), incarnation, cause, "m")
}

pub(super) fn failed(id: Attempt, cause: FailureCause, on: &str) -> Event {
    Event::AttemptFailed { attempt: id, failed: record(cause, on) }
}

pub(super) fn gone(on: &str) -> Event {
    Event::NodeGone { node: node(on), failed: record(FailureCause::NodeLost, on) }
}

pub(super) fn done(stage: u32, task: u32) -> Event {
    Event::TaskDone { stage, task, bytes: 10 }
}

fn two_stages() -> QueryRun {
    QueryRun::new(vec![shape(1, 2, &[]), shape(2, 1, &[1])], 4, Grain::FINE)
}

#[test]
fn a_stage_opens_when_all_that_it_reads_is_done() {
    let mut run = two_stages();
    let first = run.on(Event::Start);
    assert_eq!(
        first,
        [Action::PublishStage { stage: 1, tasks: 2, folded: vec![] }, publish(1, 0, 1), publish(1, 1, 1)]
    );
    assert_eq!(run.on(done(1, 1)), []);
    let second = run.on(done(1, 0));
    assert_eq!(second, [Action::PublishStage { stage: 2, tasks: 1, folded: vec![] }, publish(2, 0, 1)]);
    assert_eq!(run.on(done(2, 0)), [Action::Finish]);
    assert_eq!(run.on(Event::Cancel), []);
}

#[test]
fn the_same_done_twice_counts_once() {
    let mut run = two_stages();
    let _ = run.on(Event::Start);
    assert_eq!(run.on(done(1, 0)), []);
    assert_eq!(run.on(done(1, 0)), []);
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
    let _ = run.on(done(1, 0));
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
    let mut run = QueryRun::new(vec![shape(1, 10, &[])], 3, Grain::FINE);
    assert_eq!(run.on(Event::Start).len(), 1 + 3);
    let _ = run.on(done(1, 0));
    assert_eq!(run.on(Event::Taken { tasks: 1 }), [publish(1, 3, 1)]);
    assert_eq!(run.on(Event::Taken { tasks: 1 }), []);
}

fn straggles(id: Attempt) -> Event {
    Event::Straggles { attempt: id }
}

#[test]
fn a_stage_has_as_many_tasks_as_its_inputs_wrote_bytes_for() {
    let scan = StageShape { scan_bytes: 25, ..shape(1, 6, &[]) };
    let shapes = vec![scan, shape(2, 6, &[1]), shape(3, 6, &[1, 2])];
    let grain = Grain { task_bytes: 10, ..Grain::FINE };
    let mut run = QueryRun::new(shapes.clone(), 9, grain);
    assert_eq!(run.on(Event::Start).len(), 1 + 3);
    let write = |stage, task, bytes| Event::TaskDone { stage, task, bytes };
    let history = [write(1, 0, 3), write(1, 1, 3), write(1, 2, 5), write(2, 0, 40), write(2, 1, 0), write(3, 5, 0)];
    let opened: Vec<usize> = history.iter().map(|event| run.on(event.clone()).len()).collect();
    assert_eq!(opened, [0, 0, 1 + 2, 0, 1 + 6, 0]);
    // Who takes the query over hears the same in any order, and decides the same.
    let mut other = QueryRun::new(shapes, 9, grain);
    for event in history.iter().rev().chain([&Event::Start]) {
        let _ = other.on(event.clone());
    }
    assert_eq!(other.progress(), run.progress());
    assert_eq!((run.progress().tasks_done, run.progress().tasks_total), (6, 11));
}

#[test]
fn stages_that_read_little_are_done_by_the_one_task_that_reads_them() {
    let shapes = vec![shape(1, 6, &[]), shape(2, 6, &[1]), shape(3, 6, &[2]), shape(4, 1, &[3])];
    let opened = |bytes: u64| {
        let mut run = QueryRun::new(shapes.clone(), 9, Grain { task_bytes: 10, ..Grain::FINE });
        let _ = run.on(Event::Start);
        run.on(Event::TaskDone { stage: 1, task: 0, bytes })
    };
    let all = Action::PublishStage { stage: 4, tasks: 1, folded: vec![2, 3] };
    assert_eq!(opened(10), [all, publish(4, 0, 1)]);
    let two = Action::PublishStage { stage: 2, tasks: 2, folded: vec![] };
    assert_eq!(opened(11), [two, publish(2, 0, 1), publish(2, 1, 1)]);
}

#[test]
fn a_stage_with_other_inputs_folds_none_because_they_may_come_later() {
    let shapes = vec![shape(1, 1, &[]), shape(2, 1, &[]), shape(3, 1, &[1]), shape(4, 1, &[2, 3])];
    let mut run = QueryRun::new(shapes, 9, Grain { task_bytes: 10, ..Grain::FINE });
    assert_eq!(run.on(Event::Start).len(), 4);
    let third = Action::PublishStage { stage: 3, tasks: 1, folded: vec![] };
    assert_eq!(run.on(done(1, 0)), [third, publish(3, 0, 1)]);
}

fn claimed(id: Attempt, on: &str) -> Event {
    Event::Claimed { attempt: id, node: node(on) }
}

fn beside(id: Attempt, slow: &str) -> Action {
    Action::PublishTask { attempt: id, avoid: vec![node(slow)], remedy: Remedy::Same, wait: Duration::ZERO }
}

#[test]
fn a_straggler_gets_one_attempt_beside_it_and_whichever_ends_first_is_enough() {
    let mut run = two_stages();
    let _ = run.on(Event::Start);
    let _ = run.on(claimed(attempt(1, 0, 1), "slow"));
    assert_eq!(run.on(straggles(attempt(1, 0, 1))), [beside(attempt(1, 0, 2), "slow")]);
    assert_eq!(run.on(straggles(attempt(1, 0, 1))), [], "two at once are enough");
    assert_eq!(run.on(straggles(attempt(1, 0, 2))), []);
    assert_eq!(run.in_flight(), [attempt(1, 0, 1), attempt(1, 0, 2), attempt(1, 1, 1)]);
    assert_eq!(run.on(done(1, 0)), []);
    assert_eq!(run.in_flight(), [attempt(1, 1, 1)]);
    assert_eq!(run.on(straggles(attempt(1, 0, 1))), [], "what is done is done");
}

#[test]
fn one_of_two_that_fails_leaves_it_to_the_other() {
    let mut run = two_stages();
    let _ = run.on(Event::Start);
    let _ = run.on(straggles(attempt(1, 0, 1)));
    assert_eq!(run.on(failed(attempt(1, 0, 2), FailureCause::Store, "b")), []);
    let actions = run.on(failed(attempt(1, 0, 1), FailureCause::Store, "a"));
    assert!(matches!(&actions[..], [Action::PublishTask { attempt, .. }] if attempt.attempt == 3), "{actions:?}");
    let wrong = run.on(straggles(attempt(1, 0, 3)));
    assert_eq!(wrong.len(), 1);
    let actions = run.on(failed(attempt(1, 0, 3), FailureCause::Query, "a"));
    assert!(matches!(&actions[..], [Action::Fail { failure: Failure::Query(_) }]), "{actions:?}");
}

#[test]
fn four_attempts_are_all_even_where_two_run_at_once() {
    let mut run = two_stages();
    let _ = run.on(Event::Start);
    for number in [1, 3] {
        assert_eq!(run.on(straggles(attempt(1, 0, number))).len(), 1);
        assert_eq!(run.on(failed(attempt(1, 0, number), FailureCause::Store, "a")), []);
        let actions = run.on(failed(attempt(1, 0, number + 1), FailureCause::Store, "b"));
        assert_eq!(matches!(&actions[..], [Action::Fail { .. }]), number == 3, "{actions:?}");
    }
}

#[test]
fn a_successor_takes_up_what_the_board_shows_and_publishes_only_what_is_missing() {
    let mut run = QueryRun::new(vec![shape(1, 2, &[]), shape(2, 4, &[1])], 2, Grain::FINE);
    let shown = [attempt(1, 0, 1), attempt(1, 1, 2), attempt(2, 0, 1), attempt(2, 2, 1), attempt(2, 3, 1)];
    for attempt in shown {
        assert_eq!(run.on(Event::Published { attempt }), []);
    }
    // The failure of a task whose turn has not come is kept until it has.
    assert_eq!(run.on(failed(attempt(2, 3, 1), FailureCause::HandedBack, "a")), []);
    assert_eq!(run.on(done(1, 0)), []);
    assert_eq!(run.on(done(2, 2)), []);
    assert_eq!(run.on(Event::Start), [Action::PublishStage { stage: 1, tasks: 2, folded: vec![] }]);
    let actions = run.on(done(1, 1));
    assert_eq!(actions, [Action::PublishStage { stage: 2, tasks: 4, folded: vec![] }, publish(2, 1, 1)]);
    let actions = run.on(Event::Taken { tasks: 2 });
    assert!(matches!(&actions[..], [Action::PublishTask { attempt: next, .. }] if *next == attempt(2, 3, 2)));
}
