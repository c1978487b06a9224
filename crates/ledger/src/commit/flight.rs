//! Carries out what `decide` decides, for one transaction or for several that share a slot.
//!
//! A flight has two parts. [`Flight::fly`] ends when the slot is decided, [`Flown::land`] looks for the fence: between
//! the two the next flight can take off, since whoever won a slot knows where the next one is.

use std::{mem, sync::Arc, time::Duration};

use apiary_bucket::{Key, PutAnswer};
use apiary_core::{TxnId, Version, failpoint, within};
use bytes::Bytes;

use super::{
    Proposal, Settled,
    decide::{Ending, Event, Protocol, Sight, Step, Then, recognise},
    landing::{Flown, look_for_fences},
};
use crate::{
    LedgerError, Result,
    header::{Head, Place},
    log::{ENTRY_BYTES_MAX, Log, LogKind, Read, Reader, Recorded},
};

/// How long a transaction tries.
const DEADLINE: Duration = Duration::from_secs(600);

/// How long one put may take before its outcome counts as unknown.
const PUT_MAX: Duration = Duration::from_secs(120);

/// Transactions on their way to one slot after the other.
pub(crate) struct Flight<'a, K: LogKind, P> {
    log: &'a Log<K>,
    reader: Reader<'a, K>,
    base: Option<Version>,
    members: Vec<P>,
    shared: Shared<K::Entry, P>,
}

/// What outlives the part that reads and puts.
pub(super) struct Shared<E, P> {
    /// Members that an entry decided, and its version.
    pub(super) left: Vec<(P, Version, Result<Settled>)>,
    /// What was sent to the slot last.
    pub(super) sent: Option<Sent<E>>,
    /// Whether it is there.
    pub(super) won: bool,
    pub(super) read: Vec<Read<E>>,
    /// The last error, for an end that is one.
    pub(super) error: Option<LedgerError>,
}

pub(super) struct Sent<E> {
    pub(super) key: Key,
    pub(super) body: Bytes,
    /// The body, read back before it was sent.
    pub(super) read: Read<E>,
}

impl<'a, K: LogKind, P: Proposal<K>> Flight<'a, K, P> {
    pub(crate) fn new(log: &'a Log<K>, base: Option<Head>, members: Vec<P>) -> Self {
        let base_version = base.as_ref().map(|head| head.version);
        let shared = Shared { left: Vec::new(), sent: None, won: false, read: Vec::new(), error: None };
        Self { log, reader: log.read_after(base), base: base_version, members, shared }
    }

    /// Has members that were made before the base look at entries up to it.
    pub(crate) fn catch_up<'e>(&mut self, entries: impl Iterator<Item = (Version, &'e K::Entry)>)
    where
        K::Entry: 'e,
    {
        for (version, entry) in entries {
            self.show(version, entry);
        }
    }

    /// Flies until the slot is decided. `straight`: the slot after the base is taken to be free without a look.
    pub(crate) async fn fly(mut self, straight: bool) -> Flown<K, P> {
        let clock = Arc::clone(self.log.bucket.clock());
        let deadline = clock.monotonic() + DEADLINE;
        let (mut protocol, mut step) = match straight {
            _ if self.members.is_empty() => (Protocol::over(), Step::Fence),
            true => (Protocol::straight(), Step::Put),
            false => (Protocol::new(), Step::Read),
        };
        // Bounded by the protocol's own counters and the deadline.
        let ending = loop {
            let event = match step {
                Step::Fence if protocol.believing().is_some() => break None,
                Step::End(ending) => break Some(ending),
                step => match self.act(step).await {
                    Ok(Some(event)) => event,
                    Ok(None) => {
                        protocol = Protocol::over();
                        break None;
                    }
                    Err(ending) => break Some(ending),
                },
            };
            step = protocol.on(&event, clock.monotonic() >= deadline);
            if let Step::BackOff(most_ms, _) = step {
                tracing::debug!(members = self.members.len(), ?event, most_ms, "commit waits");
                clock.sleep(Duration::from_millis(self.log.bucket.rng().below(most_ms + 1))).await;
            }
        };
        let at = self.reader.at.as_ref().map_or(Version(0), |head| head.version);
        Flown { protocol, ending, members: self.members, shared: self.shared, deadline, at }
    }

    /// Does one step. `None`: every member has left. An error is an end that needs no look at a fence, as far as those
    /// are concerned who are still there.
    async fn act(&mut self, step: Step) -> Result<Option<Event>, Ending> {
        match step {
            Step::Read | Step::BackOff(_, Then::Read) => Ok(Some(self.next().await)),
            Step::Put => {
                self.leave_unfinished();
                if self.members.is_empty() {
                    return Ok(None);
                }
                if let Err(error) = self.prepare(false) {
                    let ending = if self.shared.sent.is_none() { Ending::Refused } else { Ending::Unknown };
                    self.shared.error = Some(error);
                    return Err(ending);
                }
                Ok(Some(self.put().await?))
            }
            Step::Seal => {
                if let Err(error) = self.prepare(true) {
                    // The slot is undecided: not even a defect in here makes it definite.
                    self.shared.error = Some(error);
                    return Err(Ending::Unknown);
                }
                Ok(Some(self.put().await?))
            }
            Step::BackOff(_, Then::PutAgain | Then::SealAgain) => Ok(Some(self.put().await?)),
            Step::Fence | Step::BackOff(_, Then::Fence) => {
                Ok(Some(look_for_fences(self.log, &[self.reader.slot()]).await))
            }
            Step::End(ending) => Err(ending),
        }
    }

    async fn next(&mut self) -> Event {
        match self.reader.next().await {
            Ok(Some(read)) => {
                let (version, sight) = self.look(read);
                Event::Entry(version, sight)
            }
            Ok(None) => Event::End,
            Err(error) => {
                let again = error.is_retryable() && !matches!(error, LedgerError::Fenced { .. });
                self.shared.error = Some(error);
                if again { Event::ReadFailed } else { Event::ReadBroken }
            }
        }
    }

    /// What an entry that was read says about each member. Those that it decides leave; what it says of the last one
    /// to leave is what it says of the flight.
    fn look(&mut self, read: Read<K::Entry>) -> (Version, Sight) {
        let version = read.head.version;
        let sight = self.show(version, &read.entry);
        self.shared.read.push(read);
        (version, sight)
    }

    fn show(&mut self, version: Version, entry: &K::Entry) -> Sight {
        let mut last = Sight::Passed;
        for mut member in mem::take(&mut self.members) {
            if member.base().is_some_and(|base| version <= base) {
                self.members.push(member);
                continue;
            }
            let mut sight = recognise(entry.header(), member.id(), member.idem());
            let mut why = String::new();
            if sight == Sight::Passed
                && let Err(reason) = member.pass(entry)
            {
                (sight, why) = (Sight::Excluded, reason);
            }
            match told(&sight, version, &member, why) {
                None => self.members.push(member),
                Some(answer) => {
                    self.shared.left.push((member, version, answer));
                    last = sight;
                }
            }
        }
        if self.members.is_empty() { last } else { Sight::Passed }
    }

    fn leave_unfinished(&mut self) {
        let at = self.reader.at.as_ref().map_or(Version(0), |head| head.version);
        for member in mem::take(&mut self.members) {
            if member.is_unfinished() {
                self.shared.left.push((member, at, Ok(Settled::Unfinished(at))));
            } else {
                self.members.push(member);
            }
        }
    }

    /// Makes the bytes for the slot after the last entry read, and reads them back before anyone else can.
    fn prepare(&mut self, seal: bool) -> Result<()> {
        let head = self.reader.at.as_ref();
        let place = Place::after(head, self.base, self.log.bucket.clock().wall_ms());
        let body = if seal {
            let ids: Vec<TxnId> = self.members.iter().map(Proposal::id).collect();
            let node = self.members.first().map_or("", |member| member.node());
            self.log.kind.seal(&place, &ids, node)
        } else {
            P::encode_all(&self.members, &place)
        }?;
        if body.len() > ENTRY_BYTES_MAX {
            let why = format!("its entry would have {} bytes; at most {ENTRY_BYTES_MAX} are allowed", body.len());
            let txn = self.members.first().map(Proposal::id);
            return Err(txn.map_or_else(
                || LedgerError::Internal("an entry without a transaction".to_owned()),
                |txn| LedgerError::Transaction { txn, why },
            ));
        }
        let read = self.log.admit(head, &body)?;
        self.shared.sent = Some(Sent { key: self.log.kind.key(place.slot), body, read });
        Ok(())
    }

    /// Sends what was prepared. An error is an end: nobody can say whose the slot is.
    async fn put(&mut self) -> Result<Event, Ending> {
        let Some(sent) = &self.shared.sent else { return Err(Ending::Unknown) };
        let slot = sent.read.head.version;
        let may_fail = self.log.kind.fence(slot).is_some();
        if may_fail {
            failpoint::hit("before_put");
        }
        let put = self.log.bucket.put_if_absent_once(&sent.key, sent.body.clone());
        let error = match within(self.log.bucket.clock().as_ref(), PUT_MAX, put).await {
            Some(Ok(PutAnswer::Mine)) => {
                if may_fail {
                    failpoint::hit("after_put_before_ack");
                }
                self.shared.won = true;
                return Ok(Event::Ours);
            }
            Some(Ok(PutAnswer::Taken(body))) => {
                // From here on the slot is decided. An entry that cannot be read leaves open whose it is.
                let read = match self.reader.admit(&body) {
                    Ok(read) => read,
                    Err(error) => {
                        self.shared.error = Some(error);
                        return Err(Ending::Unknown);
                    }
                };
                let (version, sight) = self.look(read);
                return Ok(Event::Theirs(version, sight));
            }
            Some(Ok(PutAnswer::Absent)) => return Ok(Event::Undecided),
            Some(Ok(PutAnswer::Unknown(error))) => error.into(),
            Some(Err(error)) => {
                self.shared.error = Some(error.into());
                return Ok(Event::Refused);
            }
            None => LedgerError::Timeout { object: sent.key.to_string(), seconds: PUT_MAX.as_secs() },
        };
        self.shared.error = Some(error);
        Ok(Event::Undecided)
    }
}

/// What an entry decides for a member, or nothing if it may be passed.
fn told<K: LogKind, P: Proposal<K>>(
    sight: &Sight,
    version: Version,
    member: &P,
    why: String,
) -> Option<Result<Settled>> {
    Some(match sight {
        Sight::Passed => return None,
        Sight::Mine => Ok(Settled::Committed { version, retries: 0 }),
        Sight::Applied => Ok(Settled::AlreadyApplied(version)),
        Sight::KeyReused => {
            let key = member.idem().map(|idem| idem.key.clone()).unwrap_or_default();
            Err(LedgerError::KeyReused { key, version })
        }
        Sight::Dead => Ok(Settled::Aborted(format!("version {version} says that it will never be committed"))),
        Sight::Excluded => Ok(Settled::Excluded(version, why)),
    })
}
