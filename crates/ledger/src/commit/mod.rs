//! The commit protocol, for both logs. A log is a row of slots, one object each, and a slot belongs to whoever
//! creates its object; that is the only thing that is ever agreed upon.
//!
//! ```text
//! base                                        slot
//!  │                                           │
//! [5]   A: read forward   [6] [7] [8]   404    │    B: put-if-absent(9, e)
//!  └────────────────────►  │   │   │ ──────────┴─►  Mine ............ Committed(9)
//!                          │   │   │                Taken, another's . back off, A   (9 is read now)
//!                each one: │   │   │                Absent, Unknown .. B with THE SAME BYTES
//!                  holds my id ...... Committed     deadline ......... seal 9: {sealed: [my id]}
//!                  holds my key ..... AlreadyApplied | KeyReused         Mine ........... Aborted
//!                  sealed, doomed ... Aborted                            Taken, my txn .. Committed(9)
//!                  conflict ......... Conflict                           Taken, other ... Aborted
//!                  else ............. pass it                            store silent ... OutcomeUnknown
//!
//! before any of it is believed: GET fence/<epoch of the slot that decided>
//!      absent ... so be it      present ... delete what I wrote there, ask the newest checkpoint, else OutcomeUnknown
//! ```
//!
//! **Why it is safe.** Put-if-absent on a slot is consensus on that slot: of all the puts that are ever sent to it,
//! one wins, for good. A transaction goes for slot n+1 only after it has *read* another's entry in slot n; from then
//! on a put of its own that is still under way to slot n, held up in some network, can only lose. So at most one slot
//! is undecided for it at any time, and it can be in the log at most once. While a slot is undecided, the same
//! bytes are sent to it: whichever copy lands, it is the same entry. Its identity is the transaction's id *inside*
//! the entry, never the store's answer: stores report "exists already" for our own write, and conflicts where
//! nothing was written.
//!
//! **Giving up** needs care only if a slot is undecided. Then the slot is *sealed*: an entry that commits nothing and
//! names our id as dead is put there. If the seal wins, the transaction is definitely not in the log and never will be;
//! if it loses, whoever won is there to be read. Only when the store cannot be reached at all does the outcome stay
//! unknown; then, and only then, the transaction's cells must not be deleted.
//!
//! Coming back with the same transaction (same id) is safe at any time: the way forward from its base passes over every
//! slot in which it could be.
//!
//! **Sleepers.** Put-if-absent forgets a deleted key. A writer whose base is so old that the entries after it were
//! cleaned away finds the next slot empty and wins it, or reads there what another sleeper wrote: garbage, both. Before
//! anything is deleted its epoch gets a fence (see `fence`), so one look at the fence of the slot that decides, *after*
//! it decided, tells. Behind a fence only the newest checkpoint knows what became of the transaction, and what it does
//! not tell is unknown: an empty slot is no proof any more.
//!
//! **Together.** Several transactions can share a flight: one entry carries them all, in their order. Each looks at
//! each entry on the way for itself, and leaves the flight with its own answer when one decides it; those that remain
//! go on to the next slot together. They share the slot, so they share its fate, the seal, and the fence.
//!
//! `decide` holds the decisions, `flight` and `landing` carry them out. Cancellation: dropping the future is like a lost
//! connection, the outcome is unknown to the caller.

mod decide;
mod flight;
mod landing;

use apiary_core::{TxnId, Version};
use bytes::Bytes;

pub(crate) use self::{
    flight::Flight,
    landing::{Answer, Flown},
};
use crate::{
    LedgerError, Result,
    header::{Head, Place},
    log::{Log, LogKind, Read},
    transaction::IdempotencyKey,
};

/// What wants to get into a log.
pub(crate) trait Proposal<K: LogKind>: Send + Sized {
    fn id(&self) -> TxnId;
    fn idem(&self) -> Option<&IdempotencyKey>;
    fn node(&self) -> &str;
    /// Whether it may pass this entry, which came first; if not, why.
    fn pass(&mut self, entry: &K::Entry) -> Result<(), String>;
    /// What it was made against, if it need not look at entries up to there.
    fn base(&self) -> Option<Version> {
        None
    }
    /// Whether what it passed makes it necessary to do it again in part before it can be written.
    fn is_unfinished(&self) -> bool {
        false
    }
    /// Its entry at this place.
    fn encode(&self, place: &Place) -> Result<Bytes>;
    /// One entry for all of these.
    fn encode_all(members: &[Self], place: &Place) -> Result<Bytes> {
        match members {
            [one] => one.encode(place),
            _ => Err(LedgerError::Internal(format!("{} proposals for one entry", members.len()))),
        }
    }
}

impl<K: LogKind, P: Proposal<K>> Proposal<K> for &mut P {
    fn id(&self) -> TxnId {
        P::id(self)
    }

    fn idem(&self) -> Option<&IdempotencyKey> {
        P::idem(self)
    }

    fn node(&self) -> &str {
        P::node(self)
    }

    fn pass(&mut self, entry: &K::Entry) -> Result<(), String> {
        P::pass(self, entry)
    }

    fn base(&self) -> Option<Version> {
        P::base(self)
    }

    fn is_unfinished(&self) -> bool {
        P::is_unfinished(self)
    }

    fn encode(&self, place: &Place) -> Result<Bytes> {
        P::encode(self, place)
    }
}

/// How it ended.
#[derive(Debug)]
pub(crate) enum Settled {
    Committed {
        version: Version,
        retries: u32,
    },
    AlreadyApplied(Version),
    Excluded(Version, String),
    /// It may be written once it is finished; it passed everything up to this version.
    Unfinished(Version),
    Aborted(String),
    Crowded {
        version: Version,
        attempts: u32,
    },
    /// Decided in a slot that was cleaned away: only the newest checkpoint can tell.
    Cleaned,
}

/// How it ended, and the entries that were read since the base, the own one among them.
pub(crate) struct Commit<E> {
    pub(crate) settled: Settled,
    pub(crate) read: Vec<Read<E>>,
}

/// Brings a proposal into a log. At least 1 GET and 1 PUT, and 1 GET for the fence if the log has any; one more of
/// each for every slot lost to others. After any error but `OutcomeUnknown` it is not in the log.
pub(crate) async fn commit<K: LogKind, P: Proposal<K>>(
    log: &Log<K>,
    base: Option<Head>,
    proposal: P,
) -> Result<Commit<K::Entry>> {
    let mut landed = Flight::new(log, base, vec![proposal]).fly(false).await.land(log).await;
    match landed.answers.pop() {
        Some((_, settled)) => Ok(Commit { settled: settled?, read: landed.read }),
        None => Err(LedgerError::Internal("a proposal got no answer".to_owned())),
    }
}

#[cfg(test)]
mod tests;
