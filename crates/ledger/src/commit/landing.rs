//! The end of a flight: no answer is given before the fence of the slot that decided was looked for.

use std::{collections::BTreeMap, mem, sync::Arc, time::Duration};

use apiary_bucket::Key;
use apiary_core::{TxnId, Version, within};

use super::{
    Proposal, Settled,
    decide::{Ending, Event, Protocol, Step},
    flight::Shared,
};
use crate::{
    LedgerError, Result,
    log::{self, Log, LogKind, Read},
};

/// How long one look for a fence may take.
const FENCE_MAX: Duration = Duration::from_secs(60);

/// An answer for one member.
pub(crate) type Answer<P> = (P, Result<Settled>);

/// A flight whose slot is decided, but for the fence.
pub(crate) struct Flown<K: LogKind, P> {
    pub(super) protocol: Protocol,
    /// An end of those who stayed that needs no look at a fence; `None` while it is still to be looked for.
    pub(super) ending: Option<Ending>,
    pub(super) members: Vec<P>,
    pub(super) shared: Shared<K::Entry, P>,
    pub(super) deadline: Duration,
    /// The last version read.
    pub(super) at: Version,
}

/// Everyone's answer.
pub(crate) struct Landed<E, P> {
    pub(crate) answers: Vec<Answer<P>>,
    /// The entries that were read since the base, the own one among them; none if they say nothing.
    pub(crate) read: Vec<Read<E>>,
    /// Whether the slot that decides was cleaned away.
    pub(crate) cleaned: bool,
}

impl<K: LogKind, P: Proposal<K>> Flown<K, P> {
    /// The entry that the flight wrote, if it won its slot and was not a seal.
    pub(crate) fn written(&self) -> Option<&Read<K::Entry>> {
        let committed = self.protocol.believing() == Some(Ending::CommittedHere);
        self.shared.sent.as_ref().filter(|_| committed).map(|sent| &sent.read)
    }

    /// The entries of others that it read on its way.
    pub(crate) fn passed(&self) -> &[Read<K::Entry>] {
        &self.shared.read
    }

    /// Looks for the fences, and gives everyone an answer.
    pub(crate) async fn land(self, log: &Log<K>) -> Landed<K::Entry, P> {
        let sent = self.shared.sent.as_ref().map(|sent| sent.read.head.version);
        let left = self.shared.left.iter();
        let (ending, of_left) = match self.ending {
            None => {
                let slots: Vec<Version> = left.map(|(_, version, _)| *version).chain(sent).collect();
                let ending = believe(log, self.protocol.clone(), &slots, self.deadline).await;
                (ending, ending)
            }
            Some(ending @ (Ending::Cleaned | Ending::Unknown)) => (ending, ending),
            // That end needs no look, but what was told to those who had left before does.
            Some(ending) => {
                let hangs = left.filter(|(_, _, answer)| hangs_on_a_fence(answer, sent.is_some()));
                let slots: Vec<Version> = hangs.map(|(_, version, _)| *version).collect();
                (ending, believe(log, Protocol::over(), &slots, self.deadline).await)
            }
        };
        if ending == Ending::Cleaned {
            self.delete_garbage(log).await;
        }
        self.answer(log, ending, of_left)
    }

    /// What was written below a fence says nothing to anyone, and should not be there.
    async fn delete_garbage(&self, log: &Log<K>) {
        let Some(sent) = self.shared.sent.as_ref().filter(|_| self.shared.won) else { return };
        if look_for_fences(log, &[sent.read.head.version]).await != Event::Fenced {
            return;
        }
        let deleted = log::within(&log.bucket, sent.key.as_ref(), log.bucket.delete(&sent.key));
        match deleted.await {
            Ok(()) => tracing::info!(key = %sent.key, "an entry in a slot that was cleaned away was taken back"),
            Err(error) => tracing::warn!(key = %sent.key, %error, "an entry below a fence is left"),
        }
    }

    /// `ending` is for those who stayed; those who had left keep what they were told, unless `of_left` is that their
    /// slots were cleaned away, or that nobody could tell.
    fn answer(mut self, log: &Log<K>, ending: Ending, of_left: Ending) -> Landed<K::Entry, P> {
        let retries = self.protocol.retries();
        let sent = self.shared.sent.is_some();
        let left = mem::take(&mut self.shared.left);
        let mut answers: Vec<Answer<P>> = Vec::with_capacity(left.len() + self.members.len());
        for (member, version, answer) in left {
            let hangs = hangs_on_a_fence(&answer, sent);
            let answer = match (of_left, answer) {
                (Ending::Cleaned, _) if hangs || ending == Ending::Cleaned => Ok(Settled::Cleaned),
                (Ending::Unknown, Ok(Settled::Committed { .. } | Settled::AlreadyApplied(_))) => {
                    let (object, why) = (log.kind.key(version).to_string(), format!("version {version}"));
                    Err(LedgerError::OutcomeUnknown { txn: member.id(), object, why })
                }
                (Ending::Unknown, _) if hangs => Err(self.unknown(member.id(), &format!("version {version}"))),
                (_, Ok(Settled::Committed { version, .. })) => Ok(Settled::Committed { version, retries }),
                (_, answer) => answer,
            };
            answers.push((member, answer));
        }
        let mut error = self.shared.error.take().map(Arc::new);
        let mut members = mem::take(&mut self.members);
        while let Some(member) = members.pop() {
            // The last one gets the error itself.
            let its = if members.is_empty() { error.take() } else { error.clone() };
            let answer = self.end(ending, member.id(), its);
            answers.push((member, answer));
        }
        let mut read = mem::take(&mut self.shared.read);
        match of_left {
            Ending::CommittedHere => read.extend(self.shared.sent.take().map(|sent| sent.read)),
            Ending::Cleaned | Ending::Unknown => read.clear(),
            _ => {}
        }
        Landed { answers, read, cleaned: of_left == Ending::Cleaned }
    }

    /// The answer of a member that stayed to the end.
    fn end(&self, ending: Ending, id: TxnId, error: Option<Arc<LedgerError>>) -> Result<Settled> {
        let retries = self.protocol.retries();
        let sent = self.shared.sent.as_ref().map(|sent| sent.read.head.version);
        match ending {
            Ending::CommittedHere => Ok(Settled::Committed { version: sent.unwrap_or(self.at), retries }),
            Ending::Aborted => {
                let why = error.map_or_else(String::new, |error| format!(" ({error})"));
                Ok(Settled::Aborted(format!("the store did not decide in time, so the transaction was sealed{why}")))
            }
            Ending::Crowded => Ok(Settled::Crowded { version: self.at, attempts: self.protocol.attempts() }),
            Ending::ReadFailed | Ending::Refused => Err(error.map_or_else(
                || LedgerError::Internal("no error kept".to_owned()),
                |error| Arc::try_unwrap(error).unwrap_or_else(LedgerError::Shared),
            )),
            Ending::Cleaned => Ok(Settled::Cleaned),
            Ending::Unknown => {
                let why = error.map_or_else(|| "no put was answered".to_owned(), |error| error.to_string());
                Err(self.unknown(id, &why))
            }
            // An entry that was read decides each member by itself.
            Ending::Committed(_) | Ending::Applied(_) | Ending::KeyReused(_) | Ending::Excluded(_) => {
                Err(LedgerError::Internal(format!("transaction {id} stayed in a flight that was decided")))
            }
        }
    }

    fn unknown(&self, txn: TxnId, why: &str) -> LedgerError {
        let object = self.shared.sent.as_ref().map(|sent| sent.key.to_string()).unwrap_or_default();
        LedgerError::OutcomeUnknown { txn, object, why: why.to_owned() }
    }
}

/// Whether what a member was told when it left may be false if its slot was cleaned away: that it is in the log, or
/// that what was sent is not.
fn hangs_on_a_fence(answer: &Result<Settled>, sent: bool) -> bool {
    sent || matches!(answer, Ok(Settled::Committed { .. } | Settled::AlreadyApplied(_)))
}

/// Looks for the fences of these slots until it is known what may be believed, or nobody could tell. Bounded by the
/// protocol's own counter.
async fn believe<K: LogKind>(log: &Log<K>, mut protocol: Protocol, slots: &[Version], deadline: Duration) -> Ending {
    let clock = log.bucket.clock();
    loop {
        let event = look_for_fences(log, slots).await;
        match protocol.on(&event, clock.monotonic() >= deadline) {
            Step::End(ending) => return ending,
            Step::BackOff(most_ms, _) => {
                clock.sleep(Duration::from_millis(log.bucket.rng().below(most_ms + 1))).await;
            }
            _ => return Ending::Unknown,
        }
    }
}

/// Looks for the fences of these slots: 1 GET for each epoch, nearly always one.
pub(super) async fn look_for_fences<K: LogKind>(log: &Log<K>, slots: &[Version]) -> Event {
    let fences: BTreeMap<String, Key> =
        slots.iter().filter_map(|slot| log.kind.fence(*slot)).map(|key| (key.to_string(), key)).collect();
    for (_, key) in fences {
        match within(log.bucket.clock().as_ref(), FENCE_MAX, log.bucket.get(&key)).await {
            Some(Ok(None)) => {}
            Some(Ok(Some(_))) => return Event::Fenced,
            Some(Err(error)) => {
                tracing::debug!(%key, %error, "a fence could not be looked for");
                return Event::FenceUnread;
            }
            None => return Event::FenceUnread,
        }
    }
    Event::Unfenced
}
