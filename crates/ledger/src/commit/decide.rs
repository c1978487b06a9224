//! The protocol's decisions, pure: what was seen goes in, what to do next comes out. The essay is in `commit`.
//!
//! ```text
//!            Entry            End                     Undecided: Fence, then the same bytes again
//!           ┌─────┐        ┌──────► putting ◄──────┐
//!  begin ─► reading ───────┘        │  │  └─────────┘
//!             ▲   └──────┐   Theirs │  │ late
//!             └──────────┼──────────┘  ▼
//!                        │          sealing
//!                        ▼             ▼
//!                      believing an ending ── Fence ──► Unfenced: End(it)   Fenced: End(Cleaned)
//! ```
//!
//! No ending that an entry or a slot decides is believed before the fence of that slot was looked for, but for a
//! transaction of which nothing was ever sent and that is not to be in the log: that is so whatever is there.

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
pub(super) const SEALS_MAX: u32 = 6;

/// How often a failed read is tried again.
const READ_FAILURES_MAX: u32 = 4;

/// How often a fence that could not be looked for is looked for again.
pub(super) const FENCE_FAILURES_MAX: u32 = 6;

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
    /// The next entry could not be read; it may be another time.
    ReadFailed,
    /// The next entry is not what it must be.
    ReadBroken,
    /// What was sent to the slot, the transaction or its seal, is there.
    Ours,
    /// Another entry is there.
    Theirs(Version, Sight),
    /// Nothing is there, or nobody knows.
    Undecided,
    /// The store understood and refused, and no copy of what was sent can arrive later.
    Refused,
    /// The fence that was looked for is not there.
    Unfenced,
    /// It is there: the slot was cleaned away, and what is in it says nothing.
    Fenced,
    /// It could not be looked for.
    FenceUnread,
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
    /// Look for the fence of the slot that decides: the one that was sent to last, or whose entry was read.
    Fence,
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
    Fence,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
    /// The slot that was sent to last is undecided, or nobody could say whether it was cleaned away.
    Unknown,
    /// The slot that decides was cleaned away. Only the newest checkpoint can tell what became of the transaction.
    Cleaned,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum State {
    Reading {
        failures: u32,
    },
    Putting {
        sends: u32,
    },
    Sealing {
        sends: u32,
    },
    /// Between two sends of the same bytes.
    Checking {
        sends: u32,
    },
    Believing {
        ending: Ending,
        failures: u32,
    },
}

/// One transaction on its way. Small and comparable, so that a model checker can walk through every history of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Protocol {
    state: State,
    attempts: u32,
}

impl Protocol {
    /// Begins with [`Step::Read`].
    pub(crate) fn new() -> Self {
        Self { state: State::Reading { failures: 0 }, attempts: 0 }
    }

    /// Begins with [`Step::Put`]: the slot after the base is thought to be free, and if not its entry is read anyway.
    pub(crate) fn straight() -> Self {
        Self { state: State::Putting { sends: 1 }, attempts: 1 }
    }

    /// Begins at its end: everyone has an answer, which must be believed.
    pub(crate) fn over() -> Self {
        Self { state: State::Believing { ending: Ending::Crowded, failures: 0 }, attempts: 0 }
    }

    /// The ending that is certain but for a fence.
    pub(crate) fn believing(&self) -> Option<Ending> {
        if let State::Believing { ending, .. } = self.state { Some(ending) } else { None }
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
            State::Checking { sends } => self.checking(event, sends),
            State::Believing { ending, failures } => self.believe_on(event, ending, failures),
        }
    }

    /// No slot is undecided: any end is definite.
    fn reading(&mut self, event: &Event, failures: u32, late: bool) -> Step {
        match event {
            Event::Entry(_, Sight::Passed) if late => self.believe(Ending::Crowded),
            Event::Entry(version, sight) => self.seen(*version, sight).unwrap_or(Step::Read),
            Event::End if late || self.attempts >= ATTEMPTS_MAX => self.believe(Ending::Crowded),
            Event::End => {
                self.attempts += 1;
                self.state = State::Putting { sends: 1 };
                Step::Put
            }
            Event::ReadBroken => self.believe(Ending::ReadFailed),
            _ if late || failures >= READ_FAILURES_MAX => self.believe(Ending::ReadFailed),
            _ => {
                self.state = State::Reading { failures: failures + 1 };
                Step::BackOff(jitter_ms(failures), Then::Read)
            }
        }
    }

    /// One slot may be undecided, the one sent to.
    fn putting(&mut self, event: &Event, sends: u32, late: bool) -> Step {
        match event {
            Event::Ours => self.believe(Ending::CommittedHere),
            Event::Theirs(version, sight) => self.seen(*version, sight).unwrap_or_else(|| {
                self.state = State::Reading { failures: 0 };
                let lost = self.attempts - 1;
                if late { self.believe(Ending::Crowded) } else { Step::BackOff(jitter_ms(lost), Then::Read) }
            }),
            // A refusal of the first send is the whole story; of a later one it is not, since an earlier one may land.
            Event::Refused if sends == 1 => Step::End(Ending::Refused),
            _ if late || sends >= SENDS_MAX => {
                self.state = State::Sealing { sends: 1 };
                Step::Seal
            }
            _ => {
                self.state = State::Checking { sends };
                Step::Fence
            }
        }
    }

    /// The slot is empty, or nobody knows: what was sent may have been committed and cleaned away since.
    fn checking(&mut self, event: &Event, sends: u32) -> Step {
        if *event == Event::Fenced {
            return Step::End(Ending::Cleaned);
        }
        // An answer that did not come is no matter here: the fence is looked for again before the end.
        self.state = State::Putting { sends: sends + 1 };
        Step::BackOff(jitter_ms(sends - 1), Then::PutAgain)
    }

    /// The slot is decided by giving it away: a delayed put of ours can only lose from then on.
    fn sealing(&mut self, event: &Event, sends: u32) -> Step {
        match event {
            Event::Ours => self.believe(Ending::Aborted),
            Event::Theirs(version, sight) => {
                self.seen(*version, sight).unwrap_or_else(|| self.believe(Ending::Aborted))
            }
            _ if sends >= SEALS_MAX => Step::End(Ending::Unknown),
            _ => {
                self.state = State::Sealing { sends: sends + 1 };
                Step::BackOff(jitter_ms(sends - 1), Then::SealAgain)
            }
        }
    }

    /// What an entry decides, or nothing if it may be passed.
    fn seen(&mut self, version: Version, sight: &Sight) -> Option<Step> {
        let ending = match sight {
            Sight::Mine => Ending::Committed(version),
            Sight::Applied => Ending::Applied(version),
            Sight::KeyReused => Ending::KeyReused(version),
            Sight::Dead => Ending::Aborted,
            Sight::Excluded => Ending::Excluded(version),
            Sight::Passed => return None,
        };
        Some(self.believe(ending))
    }

    /// Ends, once no fence is in the way.
    fn believe(&mut self, ending: Ending) -> Step {
        let in_log = matches!(ending, Ending::CommittedHere | Ending::Committed(_) | Ending::Applied(_));
        if !in_log && self.attempts == 0 {
            return Step::End(ending);
        }
        self.state = State::Believing { ending, failures: 0 };
        Step::Fence
    }

    fn believe_on(&mut self, event: &Event, ending: Ending, failures: u32) -> Step {
        match event {
            Event::Unfenced => Step::End(ending),
            Event::Fenced => Step::End(Ending::Cleaned),
            _ if failures >= FENCE_FAILURES_MAX => Step::End(Ending::Unknown),
            _ => {
                self.state = State::Believing { ending, failures: failures + 1 };
                Step::BackOff(jitter_ms(failures), Then::Fence)
            }
        }
    }
}

/// Longest wait after `n` earlier ones: 10 ms, doubling to 200 ms.
fn jitter_ms(n: u32) -> u64 {
    10u64.saturating_mul(1 << n.min(10)).min(200)
}
