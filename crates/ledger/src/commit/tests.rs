//! The decisions, one by one.

use apiary_core::Version;

use super::decide::*;

const V: Version = Version(7);

fn run(events: &[(Event, bool)]) -> Vec<Step> {
    let mut protocol = Protocol::new();
    events.iter().map(|(event, late)| protocol.on(event, *late)).collect()
}

fn last(events: &[Event]) -> Step {
    run(&events.iter().map(|event| (event.clone(), false)).collect::<Vec<_>>()).pop().unwrap()
}

#[test]
fn the_plain_way_is_one_read_and_one_put() {
    let steps = [Event::End, Event::Ours, Event::Unfenced].map(|event| (event, false));
    assert_eq!(run(&steps), [Step::Put, Step::Fence, Step::End(Ending::CommittedHere)]);
}

#[test]
fn an_undecided_slot_is_sent_the_same_bytes() {
    let undecided = [Event::Undecided, Event::Unfenced];
    let mut steps = vec![Event::End];
    for wait in [10, 20] {
        steps.extend(undecided.clone());
        assert_eq!(last(&steps), Step::BackOff(wait, Then::PutAgain));
    }
    steps.extend([Event::Theirs(V, Sight::Mine), Event::Unfenced]);
    assert_eq!(last(&steps), Step::End(Ending::Committed(V)));
}

#[test]
fn a_lost_slot_leads_on_after_a_wait() {
    assert_eq!(last(&[Event::End, Event::Theirs(V, Sight::Passed)]), Step::BackOff(10, Then::Read));
    let again = [Event::End, Event::Theirs(V, Sight::Passed), Event::Entry(V, Sight::Passed), Event::End];
    assert_eq!(last(&again), Step::Put);
}

#[test]
fn twenty_lost_slots_are_enough() {
    let mut protocol = Protocol::new();
    for _ in 0..ATTEMPTS_MAX {
        assert_eq!(protocol.on(&Event::End, false), Step::Put);
        assert!(matches!(protocol.on(&Event::Theirs(V, Sight::Passed), false), Step::BackOff(..)));
    }
    assert_eq!(protocol.on(&Event::End, false), Step::Fence);
    assert_eq!(protocol.on(&Event::Unfenced, false), Step::End(Ending::Crowded));
}

#[test]
fn a_deadline_with_an_undecided_slot_seals_it() {
    let until_seal = [(Event::End, false), (Event::Undecided, true)];
    assert_eq!(run(&until_seal).pop(), Some(Step::Seal));
    for (event, ending) in [
        (Event::Ours, Ending::Aborted),
        (Event::Theirs(V, Sight::Mine), Ending::Committed(V)),
        (Event::Theirs(V, Sight::Passed), Ending::Aborted),
        (Event::Theirs(V, Sight::Applied), Ending::Applied(V)),
    ] {
        let mut events = until_seal.to_vec();
        events.extend([(event, true), (Event::Unfenced, true)]);
        assert_eq!(run(&events).pop(), Some(Step::End(ending)));
    }
}

#[test]
fn a_seal_that_is_undecided_too_is_an_unknown_outcome() {
    let mut events = vec![(Event::End, false), (Event::Undecided, true)];
    events.extend(std::iter::repeat_n((Event::Undecided, true), SEALS_MAX as usize));
    assert_eq!(run(&events).pop(), Some(Step::End(Ending::Unknown)));
}

#[test]
fn a_deadline_without_an_undecided_slot_is_definite() {
    assert_eq!(run(&[(Event::End, true)]).pop(), Some(Step::End(Ending::Crowded)));
    assert_eq!(run(&[(Event::ReadFailed, true)]).pop(), Some(Step::End(Ending::ReadFailed)));
}

#[test]
fn a_refusal_is_definite_only_for_the_first_send() {
    assert_eq!(last(&[Event::End, Event::Refused]), Step::End(Ending::Refused));
    let later = [Event::End, Event::Undecided, Event::Unfenced, Event::Refused, Event::Unfenced];
    assert_eq!(last(&later), Step::BackOff(20, Then::PutAgain));
}

#[test]
fn what_an_entry_says_ends_the_way() {
    for (sight, ending) in [
        (Sight::Dead, Ending::Aborted),
        (Sight::KeyReused, Ending::KeyReused(V)),
        (Sight::Excluded, Ending::Excluded(V)),
    ] {
        // Nothing was sent, so nothing of it is in the log, whatever became of the entry.
        assert_eq!(last(&[Event::Entry(V, sight)]), Step::End(ending));
    }
    for (sight, ending) in [(Sight::Mine, Ending::Committed(V)), (Sight::Applied, Ending::Applied(V))] {
        assert_eq!(last(&[Event::Entry(V, sight.clone())]), Step::Fence);
        assert_eq!(last(&[Event::Entry(V, sight), Event::Unfenced]), Step::End(ending));
    }
}

/// Every way to an ending of a transaction of which something was sent.
fn ways_after_a_put() -> Vec<(Vec<(Event, bool)>, Ending)> {
    let theirs = |sight| vec![(Event::End, false), (Event::Theirs(V, sight), false)];
    let sealed = |event| vec![(Event::End, false), (Event::Undecided, true), (event, true)];
    let mut broken = theirs(Sight::Passed);
    broken.push((Event::ReadBroken, false));
    let mut crowded = theirs(Sight::Passed);
    crowded.push((Event::End, true));
    vec![
        (vec![(Event::End, false), (Event::Ours, false)], Ending::CommittedHere),
        (theirs(Sight::Mine), Ending::Committed(V)),
        (theirs(Sight::Applied), Ending::Applied(V)),
        (theirs(Sight::KeyReused), Ending::KeyReused(V)),
        (theirs(Sight::Dead), Ending::Aborted),
        (theirs(Sight::Excluded), Ending::Excluded(V)),
        (sealed(Event::Ours), Ending::Aborted),
        (sealed(Event::Theirs(V, Sight::Passed)), Ending::Aborted),
        (broken, Ending::ReadFailed),
        (crowded, Ending::Crowded),
    ]
}

#[test]
fn nothing_is_believed_below_a_fence() {
    for (events, ending) in ways_after_a_put() {
        let after = |more: &[Event]| {
            let more = more.iter().map(|event| (event.clone(), true));
            run(&events.iter().cloned().chain(more).collect::<Vec<_>>()).pop().unwrap()
        };
        assert_eq!(after(&[]), Step::Fence, "{ending:?}");
        assert_eq!(after(&[Event::Unfenced]), Step::End(ending));
        assert_eq!(after(&[Event::Fenced]), Step::End(Ending::Cleaned), "{ending:?}");
        assert_eq!(after(&[Event::FenceUnread]), Step::BackOff(10, Then::Fence), "{ending:?}");
        assert_eq!(after(&[Event::FenceUnread, Event::Fenced]), Step::End(Ending::Cleaned), "{ending:?}");
        let never = vec![Event::FenceUnread; FENCE_FAILURES_MAX as usize + 1];
        assert_eq!(after(&never), Step::End(Ending::Unknown), "{ending:?}");
    }
}

#[test]
fn nothing_is_sent_again_below_a_fence() {
    assert_eq!(last(&[Event::End, Event::Undecided]), Step::Fence);
    assert_eq!(last(&[Event::End, Event::Undecided, Event::Fenced]), Step::End(Ending::Cleaned));
    // The look is not the last one, so one that fails stops nobody.
    assert_eq!(last(&[Event::End, Event::Undecided, Event::FenceUnread]), Step::BackOff(10, Then::PutAgain));
}

#[test]
fn straight_at_the_slot_counts_as_an_attempt() {
    let mut protocol = Protocol::straight();
    assert_eq!(protocol.on(&Event::Theirs(V, Sight::Passed), false), Step::BackOff(10, Then::Read));
    assert_eq!(protocol.on(&Event::End, false), Step::Put);
    assert_eq!(protocol.retries(), 1);
}
