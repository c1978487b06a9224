//! The protocol's decisions, pure: what was seen goes in, what to do next comes out. The essay is in `commit`.

use apiary_core::{TxnId, Version};

use crate::{
    header::{Header, Idem},
    transaction::IdempotencyKey,
};

/// How often a transaction may go for a new slot.
pub(crate) const ATTEMPTS_MAX: u32 = 20;

/// How often the same bytes are sent to one slot: some seconds of a store that answers without deciding.
const SENDS_MAX: u32 = 12;

/// How often a seal is sent.
const SEALS_MAX: u32 = 6;

/// How often a failed read is tried again.
const READ_FAILURES_MAX: u32 = 4;

/// What another entry, or our own, says about our transaction.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Sight {
    /// It holds it.
    Mine,
    /// It holds its idempotency key, with the same digest.
    Applied,
    /// It holds its idempotency key, with another digest.
    KeyReused,
    /// It says that it will never be committed.
    Dead,
    /// It excludes it.
    Excluded,
    /// It may be passed.
    Passed,
}

/// What an entry's header says about a transaction; never [`Sight::Excluded`], which is for the conflict rules.
pub(crate) fn recognise(header: &Header, id: TxnId, idem: Option<&IdempotencyKey>) -> Sight {
    if header.txns.iter().any(|txn| txn.id == id) {
        return Sight::Mine;
    }
    if let Some(key) = idem {
        let idem = Idem::of(key);
        if let Some(txn) = header.txns.iter().find(|txn| txn.idem.as_ref() == Some(&idem)) {
            let same = txn.digest.as_ref() == Some(&key.digest);
            return if same { Sight::Applied } else { Sight::KeyReused };
        }
    }
    let dead = header.sealed.contains(&id) || header.doomed.contains(&id);
    if dead { Sight::Dead } else { Sight::Passed }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Event {
    /// The next entry was read.
    Entry(Version, Sight),
    /// There is no next entry.
    End,
    /// The next entry could not be read.
    ReadFailed,
    /// What was sent to the slot, the transaction or its seal, is there.
    Ours,
    /// Another entry is there.
    Theirs(Version, Sight),
    /// Nothing is there, or nobody knows.
    Undecided,
    /// The store understood and refused.
    Refused,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    /// Read the next entry.
    Read,
    /// Make an entry for the slot after the last entry read, and send it.
    Put,
    /// Make a seal for the same slot, and send it.
    Seal,
    /// Wait, at most this many milliseconds, and then do that.
    BackOff(u64, Then),
    /// It is over.
    End(Ending),
}

/// What follows a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Then {
    Read,
    /// Send the same bytes to the same slot.
    PutAgain,
    /// Send the same seal to the same slot.
    SealAgain,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Ending {
    /// The slot that was sent to last is ours.
    CommittedHere,
    /// An entry that was read is ours.
    Committed(Version),
    Applied(Version),
    KeyReused(Version),
    Excluded(Version),
    /// The transaction will never be committed.
    Aborted,
    /// Others were faster every time; no slot is undecided.
    Crowded,
    /// The last read failed; no slot is undecided.
    ReadFailed,
    /// The last put was refused; no slot is undecided.
    Refused,
    /// The slot that was sent to last is undecided.
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum State {
    Reading { failures: u32 },
    Putting { sends: u32 },
    Sealing { sends: u32 },
}

/// One transaction on its way. Small and comparable, so that a model checker can walk through every history of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Protocol {
    state: State,
    attempts: u32,
}

impl Protocol {
    pub(crate) fn new() -> Self {
        Self { state: State::Reading { failures: 0 }, attempts: 0 }
    }

    /// Slots tried before the last one.
    pub(crate) fn retries(&self) -> u32 {
        self.attempts.saturating_sub(1)
    }

    /// Slots tried.
    pub(crate) fn attempts(&self) -> u32 {
        self.attempts
    }

    /// `late`: the deadline has passed.
    pub(crate) fn on(&mut self, event: &Event, late: bool) -> Step {
        match self.state {
            State::Reading { failures } => self.reading(event, failures, late),
            State::Putting { sends } => self.putting(event, sends, late),
            State::Sealing { sends } => self.sealing(event, sends),
        }
    }

    /// No slot is undecided: any end is definite.
    fn reading(&mut self, event: &Event, failures: u32, late: bool) -> Step {
        match event {
            Event::Entry(_, Sight::Passed) if late => Step::End(Ending::Crowded),
            Event::Entry(version, sight) => self.seen(*version, sight).unwrap_or(Step::Read),
            Event::End if late || self.attempts >= ATTEMPTS_MAX => Step::End(Ending::Crowded),
            Event::End => {
                self.attempts += 1;
                self.state = State::Putting { sends: 1 };
                Step::Put
            }
            _ if late || failures >= READ_FAILURES_MAX => Step::End(Ending::ReadFailed),
            _ => {
                self.state = State::Reading { failures: failures + 1 };
                Step::BackOff(jitter_ms(failures), Then::Read)
            }
        }
    }

    /// One slot may be undecided, the one sent to.
    fn putting(&mut self, event: &Event, sends: u32, late: bool) -> Step {
        match event {
            Event::Ours => Step::End(Ending::CommittedHere),
            Event::Theirs(version, sight) => self.seen(*version, sight).unwrap_or_else(|| {
                self.state = State::Reading { failures: 0 };
                let lost = self.attempts - 1;
                if late { Step::End(Ending::Crowded) } else { Step::BackOff(jitter_ms(lost), Then::Read) }
            }),
            // A refusal of the first send is the whole story; of a later one it is not, since an earlier one may land.
            Event::Refused if sends == 1 => Step::End(Ending::Refused),
            _ if late || sends >= SENDS_MAX => {
                self.state = State::Sealing { sends: 1 };
                Step::Seal
            }
            _ => {
                self.state = State::Putting { sends: sends + 1 };
                Step::BackOff(jitter_ms(sends - 1), Then::PutAgain)
            }
        }
    }

    /// The slot is decided by giving it away: a delayed put of ours can only lose from then on.
    fn sealing(&mut self, event: &Event, sends: u32) -> Step {
        match event {
            Event::Ours => Step::End(Ending::Aborted),
            Event::Theirs(version, sight) => self.seen(*version, sight).unwrap_or(Step::End(Ending::Aborted)),
            _ if sends >= SEALS_MAX => Step::End(Ending::Unknown),
            _ => {
                self.state = State::Sealing { sends: sends + 1 };
                Step::BackOff(jitter_ms(sends - 1), Then::SealAgain)
            }
        }
    }

    /// What an entry decides, or nothing if it may be passed.
    fn seen(&self, version: Version, sight: &Sight) -> Option<Step> {
        let ending = match sight {
            Sight::Mine => Ending::Committed(version),
            Sight::Applied => Ending::Applied(version),
            Sight::KeyReused => Ending::KeyReused(version),
            Sight::Dead => Ending::Aborted,
            Sight::Excluded => Ending::Excluded(version),
            Sight::Passed => return None,
        };
        Some(Step::End(ending))
    }
}

/// Longest wait after `n` earlier ones: 10 ms, doubling to 200 ms.
fn jitter_ms(n: u32) -> u64 {
    10u64.saturating_mul(1 << n.min(10)).min(200)
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(run(&[(Event::End, false), (Event::Ours, false)]), [Step::Put, Step::End(Ending::CommittedHere)]);
    }

    #[test]
    fn an_undecided_slot_is_sent_the_same_bytes() {
        let steps = [Event::End, Event::Undecided, Event::Undecided, Event::Theirs(V, Sight::Mine)];
        assert_eq!(last(&steps[..2]), Step::BackOff(10, Then::PutAgain));
        assert_eq!(last(&steps[..3]), Step::BackOff(20, Then::PutAgain));
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
        assert_eq!(protocol.on(&Event::End, false), Step::End(Ending::Crowded));
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
            events.push((event, true));
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
        assert_eq!(last(&[Event::End, Event::Undecided, Event::Refused]), Step::BackOff(20, Then::PutAgain));
    }

    #[test]
    fn what_an_entry_says_ends_the_way() {
        for (sight, ending) in [
            (Sight::Mine, Ending::Committed(V)),
            (Sight::Dead, Ending::Aborted),
            (Sight::KeyReused, Ending::KeyReused(V)),
            (Sight::Excluded, Ending::Excluded(V)),
        ] {
            assert_eq!(last(&[Event::Entry(V, sight)]), Step::End(ending));
        }
    }
}
