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
//! `decide` holds the decisions, this file carries them out. Cancellation: dropping the future is like a lost
//! connection, the outcome is unknown to the caller.

mod decide;

use std::time::Duration;

use apiary_bucket::{Key, PutAnswer};
use apiary_core::{TxnId, Version};
use bytes::Bytes;

use self::decide::{Ending, Event, Protocol, Sight, Step, Then, recognise};
use crate::{
    LedgerError, Result,
    header::{Head, Place},
    log::{ENTRY_BYTES_MAX, Log, LogKind, Read, Reader, Recorded},
    transaction::IdempotencyKey,
};

/// How long a transaction tries.
const DEADLINE: Duration = Duration::from_secs(600);

/// How long one put may take before its outcome counts as unknown.
const PUT_MAX: Duration = Duration::from_secs(120);

/// What wants to get into a log.
pub(crate) trait Proposal<K: LogKind>: Send {
    fn id(&self) -> TxnId;
    fn idem(&self) -> Option<&IdempotencyKey>;
    fn node(&self) -> &str;
    /// Whether it may pass this entry, which came first; if not, why.
    fn pass(&mut self, entry: &K::Entry) -> Result<(), String>;
    /// Its entry at this place.
    fn encode(&self, place: &Place) -> Result<Bytes>;
}

/// How it ended.
#[derive(Debug)]
pub(crate) enum Settled {
    Committed { version: Version, retries: u32 },
    AlreadyApplied(Version),
    Excluded(Version, String),
    Aborted(String),
    Crowded { version: Version, attempts: u32 },
}

/// How it ended, and the entries that were read since the base, the own one among them.
pub(crate) struct Commit<E> {
    pub(crate) settled: Settled,
    pub(crate) read: Vec<Read<E>>,
}

/// Brings a proposal into a log. At least 1 GET and 1 PUT; one more of each for every slot lost to others. After any
/// error but `OutcomeUnknown` it is not in the log.
pub(crate) async fn commit<K: LogKind, P: Proposal<K>>(
    log: &Log<K>,
    base: Option<Head>,
    proposal: &mut P,
) -> Result<Commit<K::Entry>> {
    let base_version = base.as_ref().map(|head| head.version);
    let reader = log.read_after(base);
    let protocol = Protocol::new();
    let run = Run { log, proposal, reader, base: base_version, sent: None, read: Vec::new(), error: None, why: None };
    run.finish(protocol).await
}

/// One commit under way.
struct Run<'a, K: LogKind, P> {
    log: &'a Log<K>,
    proposal: &'a mut P,
    reader: Reader<'a, K>,
    base: Option<Version>,
    /// What was sent to the slot last.
    sent: Option<Sent<K::Entry>>,
    read: Vec<Read<K::Entry>>,
    /// The last error, for an end that is one.
    error: Option<LedgerError>,
    /// Why another entry excludes this one.
    why: Option<String>,
}

struct Sent<E> {
    key: Key,
    body: Bytes,
    /// The body, read back before it was sent.
    read: Read<E>,
}

impl<K: LogKind, P: Proposal<K>> Run<'_, K, P> {
    async fn finish(mut self, mut protocol: Protocol) -> Result<Commit<K::Entry>> {
        let clock = self.log.bucket.clock();
        let deadline = clock.monotonic() + DEADLINE;
        let mut step = Step::Read;
        // Bounded by the protocol's own counters and the deadline.
        loop {
            let event = match step {
                Step::Read | Step::BackOff(_, Then::Read) => self.next().await?,
                Step::Put => {
                    self.prepare(false)?;
                    self.put().await?
                }
                Step::Seal => {
                    // The slot is undecided: not even a defect in here makes it definite.
                    let key = self.log.kind.key(self.reader.slot());
                    self.prepare(true).map_err(|error| self.unknown(&key, &error))?;
                    self.put().await?
                }
                Step::BackOff(_, Then::PutAgain | Then::SealAgain) => self.put().await?,
                Step::End(ending) => return self.end(ending, &protocol),
            };
            step = protocol.on(&event, clock.monotonic() >= deadline);
            if let Step::BackOff(most_ms, _) = step {
                tracing::debug!(txn = %self.proposal.id(), ?event, most_ms, "commit waits");
                clock.sleep(Duration::from_millis(self.log.bucket.rng().below(most_ms + 1))).await;
            }
        }
    }

    async fn next(&mut self) -> Result<Event> {
        match self.reader.next().await {
            Ok(Some(read)) => Ok(self.look(read)).map(|(version, sight)| Event::Entry(version, sight)),
            Ok(None) => Ok(Event::End),
            Err(error) if error.is_retryable() => {
                self.error = Some(error);
                Ok(Event::ReadFailed)
            }
            Err(error) => Err(error),
        }
    }

    /// What an entry that was read says about our transaction.
    fn look(&mut self, read: Read<K::Entry>) -> (Version, Sight) {
        let version = read.head.version;
        let mut sight = recognise(read.entry.header(), self.proposal.id(), self.proposal.idem());
        if sight == Sight::Passed
            && let Err(why) = self.proposal.pass(&read.entry)
        {
            (sight, self.why) = (Sight::Excluded, Some(why));
        }
        self.read.push(read);
        (version, sight)
    }

    /// Makes the bytes for the slot after the last entry read, and reads them back before anyone else can.
    fn prepare(&mut self, seal: bool) -> Result<()> {
        let head = self.reader.at.as_ref();
        let place = Place::after(head, self.base, self.log.bucket.clock().wall_ms());
        let body = if seal {
            self.log.kind.seal(&place, self.proposal.id(), self.proposal.node())
        } else {
            self.proposal.encode(&place)
        }?;
        if body.len() > ENTRY_BYTES_MAX {
            let why = format!("its entry would have {} bytes; at most {ENTRY_BYTES_MAX} are allowed", body.len());
            return Err(LedgerError::Transaction { txn: self.proposal.id(), why });
        }
        let read = self.log.admit(head, &body)?;
        self.sent = Some(Sent { key: self.log.kind.key(place.slot), body, read });
        Ok(())
    }

    async fn put(&mut self) -> Result<Event> {
        let Some(sent) = &self.sent else { return Err(LedgerError::Internal("nothing to send".to_owned())) };
        let put = self.log.bucket.put_if_absent_once(&sent.key, sent.body.clone());
        match apiary_core::within(self.log.bucket.clock().as_ref(), PUT_MAX, put).await {
            Some(Ok(PutAnswer::Mine)) => Ok(Event::Ours),
            Some(Ok(PutAnswer::Taken(body))) => {
                // From here on the slot is decided. An entry that cannot be read leaves open whose it is.
                let key = sent.key.clone();
                let read = self.reader.admit(&body).map_err(|error| self.unknown(&key, &error))?;
                let (version, sight) = self.look(read);
                Ok(Event::Theirs(version, sight))
            }
            Some(Ok(PutAnswer::Absent)) => Ok(Event::Undecided),
            Some(Ok(PutAnswer::Unknown(error))) => {
                self.error = Some(error.into());
                Ok(Event::Undecided)
            }
            Some(Err(error)) => {
                self.error = Some(error.into());
                Ok(Event::Refused)
            }
            None => {
                self.error = Some(LedgerError::Timeout { object: sent.key.to_string(), seconds: PUT_MAX.as_secs() });
                Ok(Event::Undecided)
            }
        }
    }

    fn unknown(&self, key: &Key, why: &dyn std::fmt::Display) -> LedgerError {
        LedgerError::OutcomeUnknown { txn: self.proposal.id(), object: key.to_string(), why: why.to_string() }
    }

    fn end(mut self, ending: Ending, protocol: &Protocol) -> Result<Commit<K::Entry>> {
        let retries = protocol.retries();
        let settled = match ending {
            Ending::CommittedHere => {
                let Some(sent) = self.sent.take() else { return Err(LedgerError::Internal("nothing sent".to_owned())) };
                let version = sent.read.head.version;
                self.read.push(sent.read);
                Settled::Committed { version, retries }
            }
            Ending::Committed(version) => Settled::Committed { version, retries },
            Ending::Applied(version) => Settled::AlreadyApplied(version),
            Ending::KeyReused(version) => {
                let key = self.proposal.idem().map(|idem| idem.key.clone()).unwrap_or_default();
                return Err(LedgerError::KeyReused { key, version });
            }
            Ending::Excluded(version) => Settled::Excluded(version, self.why.take().unwrap_or_default()),
            Ending::Aborted => {
                let why = self.error.map_or_else(String::new, |error| format!(" ({error})"));
                Settled::Aborted(format!("the store did not decide in time, so the transaction was sealed{why}"))
            }
            Ending::Crowded => {
                let version = self.reader.at.as_ref().map_or(Version(0), |head| head.version);
                Settled::Crowded { version, attempts: protocol.attempts() }
            }
            Ending::ReadFailed | Ending::Refused => {
                return Err(self.error.unwrap_or_else(|| LedgerError::Internal("no error kept".to_owned())));
            }
            Ending::Unknown => {
                let key = self.log.kind.key(self.reader.slot());
                let why = self.error.as_ref().map_or_else(|| "no put was answered".to_owned(), ToString::to_string);
                return Err(self.unknown(&key, &why));
            }
        };
        Ok(Commit { settled, read: self.read })
    }
}
