//! Committing to a frame: what is checked before, who flies together, and what an ending means to the caller.

use std::{collections::HashSet, sync::Arc};

use apiary_core::{TxnId, Version};
use bytes::Bytes;
use tokio::sync::oneshot;

use super::{FrameLog, Frames, check::check};
use crate::{
    CellId, CommitOutcome, FrameRecord, IdempotencyKey, LedgerError, Result, Snapshot, Transaction,
    commit::{Answer, Flight, Proposal, Settled},
    conflict::Mine,
    entry::{self, FrameEntry, Part},
    header::Place,
    log::{Log, LogKind, Read, within},
    replay::Replay,
    sum,
};

/// Entries that are looked at to find out whether rows changed after an expected version.
const EXPECTED_ENTRIES_MAX: u64 = 256;

/// A transaction on its way into a frame's ledger.
#[derive(Debug)]
pub(super) struct FrameProposal {
    pub(super) mine: Mine,
    /// Its `add` lines.
    pub(super) adds: Vec<u8>,
    /// Who waits for its answer, if it flies with others.
    pub(super) reply: Option<oneshot::Sender<Result<CommitOutcome>>>,
}

impl FrameProposal {
    fn new(base: Arc<Snapshot>, txn: Arc<Transaction>) -> Result<Self> {
        let mine = Mine::new(base, txn);
        check(&mine)?;
        let adds = entry::add_lines(&mine.txn, &mine.base.schema)?;
        Ok(Self { mine, adds, reply: None })
    }

    #[cfg(test)]
    pub(super) fn for_test(base: &Arc<Snapshot>, txn: Transaction) -> Self {
        Self::new(Arc::clone(base), Arc::new(txn)).unwrap()
    }

    fn part(&self) -> Result<Part<'_>> {
        let about = self.mine.txn.change.as_ref().map(|change| entry::changed(&self.mine.about, change)).transpose()?;
        let removed = self.mine.removed().map(AsRef::as_ref).collect();
        Ok(Part { txn: &self.mine.txn, removed, adds: &self.adds, about })
    }
}

impl Proposal<FrameLog> for FrameProposal {
    fn id(&self) -> TxnId {
        self.mine.txn.id
    }

    fn idem(&self) -> Option<&IdempotencyKey> {
        self.mine.txn.idem.as_ref()
    }

    fn node(&self) -> &str {
        &self.mine.txn.node
    }

    fn base(&self) -> Option<Version> {
        Some(self.mine.base.version)
    }

    fn pass(&mut self, entry: &FrameEntry) -> Result<(), String> {
        self.mine.meet(entry)
    }

    fn is_unfinished(&self) -> bool {
        self.mine.is_unfinished()
    }

    fn encode(&self, place: &Place) -> Result<Bytes> {
        entry::commit_all(place, &[self.part()?])
    }

    fn encode_all(members: &[Self], place: &Place) -> Result<Bytes> {
        let parts = members.iter().map(Self::part).collect::<Result<Vec<_>>>()?;
        entry::commit_all(place, &parts)
    }
}

impl Frames {
    /// Commits a transaction whose cells are in the bucket already, against the snapshot it was made from. At least 1
    /// PUT and 1 GET; a GET before them unless this process wrote the last entry, and more of each for every slot lost
    /// to others; at most 20 of those and 10 minutes. Appends to one frame that come while another is on its way share
    /// an entry, each with its own answer.
    ///
    /// After [`CommitOutcome::Committed`] its cells stay; [`CommitOutcome::cells_are_garbage`] says when they may go.
    /// After any error but one of kind `OutcomeUnknown` they may, too. The base must have been read before the first cell was
    /// written: what dooms a transaction is found by reading on from its base (see `vacuum`). Dropping the future leaves the outcome unknown.
    /// Coming back with the same transaction and base is safe as long as the log keeps the entries since.
    pub async fn commit(&self, frame: &FrameRecord, base: Arc<Snapshot>, txn: Transaction) -> Result<CommitOutcome> {
        if base.folder != frame.folder {
            let why = format!("a snapshot of '{}' is no base for '{}'", base.folder, frame.path);
            return Err(LedgerError::Internal(why));
        }
        let txn = Arc::new(txn);
        match self.commit_on(frame, base, Arc::clone(&txn)).await {
            // Nothing was sent now. But what was cleaned away may have said that the transaction is doomed, and then its
            // cells are gone: it must never go on from another base.
            Err(error) if error.is_fenced() => {
                tracing::info!(frame = %frame.path, %error, "the base of a commit was cleaned away");
                let newest = self.cold(frame).await;
                if txn.adds.is_empty() {
                    return self.commit_on(frame, newest?, txn).await;
                }
                match after_cleaning(frame, &txn, Some(&newest.map_err(|error| error.to_string()))) {
                    Err(LedgerError::OutcomeUnknown { txn, object: folder, why }) => {
                        Err(LedgerError::BaseCleaned { txn, folder, why })
                    }
                    known => known,
                }
            }
            done => done,
        }
    }

    /// Waits until every commit that is on its way has its answer, also those whose callers went away, and large ones
    /// their checkpoint. For the end of a process, after its callers have stopped.
    pub async fn drain(&self) {
        self.lines.drain().await;
    }

    async fn commit_on(
        &self,
        frame: &FrameRecord,
        base: Arc<Snapshot>,
        txn: Arc<Transaction>,
    ) -> Result<CommitOutcome> {
        if let Some(known) = already(&base, &txn) {
            return known;
        }
        if let Some(expected) = txn.expected
            && let Some(unmet) = self.unmet(frame, &base, expected).await?
        {
            return Ok(unmet);
        }
        // Bounds of a thousand cells are written and read back here: not on a thread that others wait for.
        let proposal = FrameProposal::new(base, txn)?;
        if self.lines.takes(&proposal) {
            return self.lines.fly(self, frame, proposal).await;
        }
        let log = self.log(frame);
        let base = Arc::clone(&proposal.mine.base);
        let flight = Flight::new(&log, Some(base.head.clone()), vec![proposal]);
        let mut landed = flight.fly(false).await.land(&log).await;
        self.learn(&log, &base, &landed.read);
        let newest = self.newest_if_cleaned(frame, &landed.answers).await;
        match landed.answers.pop() {
            Some((proposal, answer)) => {
                let outcome = conclude(frame, &proposal.mine, answer, newest.as_ref());
                if let Ok(CommitOutcome::Committed { version, .. }) = &outcome {
                    self.relieve(frame, *version, &landed.read);
                }
                outcome
            }
            None => Err(LedgerError::Internal("a transaction got no answer".to_owned())),
        }
    }

    /// What the newest version tells, if any answer depends on it.
    pub(super) async fn newest_if_cleaned(
        &self,
        frame: &FrameRecord,
        answers: &[Answer<FrameProposal>],
    ) -> Option<Newest> {
        if !answers.iter().any(|(_, settled)| matches!(settled, Ok(Settled::Cleaned))) {
            return None;
        }
        Some(self.cold(frame).await.map_err(|error| error.to_string()))
    }

    /// The answer for a transaction that is meant for rows as they were at `expected`, if they are others.
    async fn unmet(&self, frame: &FrameRecord, base: &Snapshot, expected: Version) -> Result<Option<CommitOutcome>> {
        let conflict = |version: Version, reason: String| Ok(Some(CommitOutcome::Conflict { version, reason }));
        if expected > base.version {
            return conflict(base.version, format!("version {expected} was expected and is not there yet"));
        }
        if base.version.0 - expected.0 > EXPECTED_ENTRIES_MAX {
            let reason =
                format!("version {expected} was expected and is more than {EXPECTED_ENTRIES_MAX} versions old");
            return conflict(base.version, reason);
        }
        let log = self.log(frame);
        for version in (expected.0 + 1..=base.version.0).map(Version) {
            let key = log.kind.key(version);
            let Some(body) = within(&self.bucket, key.as_ref(), self.bucket.get(&key)).await? else {
                return conflict(base.version, format!("version {expected} was expected, and its entries are gone"));
            };
            sum::check(key.as_ref(), &body)?;
            let entry = entry::decode(key.as_ref(), &body)?;
            let changes = |word: &str| crate::Kind::from_word(word).is_none_or(crate::Kind::changes_rows);
            if entry.header.txns.iter().any(|txn| changes(&txn.kind)) {
                return conflict(
                    version,
                    format!("version {version} changed rows, and version {expected} was expected"),
                );
            }
        }
        Ok(None)
    }

    /// Extends the cache with what a commit read, so that the next reader need not. Nothing depends on it.
    pub(super) fn learn(&self, log: &Log<FrameLog>, base: &Snapshot, read: &[Read<FrameEntry>]) {
        let known = self.lock().get(&base.folder);
        let from = known.as_deref().filter(|known| known.version >= base.version).unwrap_or(base);
        let mut next = from.version.next();
        let mut replay: Option<Replay> = None;
        for read in read.iter().filter(|read| read.head.version > from.version) {
            if read.head.version != next {
                break;
            }
            next = next.next();
            let replay = replay.get_or_insert_with(|| Replay::after(from));
            if let Err(error) = replay.take(log.kind.key(read.head.version).as_ref(), read) {
                tracing::warn!(folder = base.folder, %error, "an entry that was read cannot be replayed");
                return;
            }
        }
        if let Some(snapshot) = replay.and_then(Replay::finish) {
            self.lock().put(Arc::new(snapshot), &log.vouch);
        }
    }
}

impl Snapshot {
    /// Whether this idempotency key was used up to this version, as far as keys are remembered.
    #[must_use]
    pub fn knows_key(&self, scope: &str, key: &str) -> bool {
        let idem = IdempotencyKey { scope: scope.to_owned(), key: key.to_owned(), digest: String::new() };
        self.idem.find(&idem).is_some()
    }
}

/// The newest version of a frame, or why it cannot be read.
pub(super) type Newest = Result<Arc<Snapshot>, String>;

/// What an ending means to the caller. `newest` is there if it depends on that.
pub(super) fn conclude(
    frame: &FrameRecord,
    mine: &Mine,
    settled: Result<Settled>,
    newest: Option<&Newest>,
) -> Result<CommitOutcome> {
    Ok(match settled? {
        Settled::Committed { version, retries } => CommitOutcome::Committed { version, retries },
        Settled::AlreadyApplied(version) => CommitOutcome::AlreadyApplied { version, may_be_own: false },
        Settled::Excluded(..) if mine.dropped => {
            return Err(LedgerError::Dropped { name: frame.path.to_string() });
        }
        Settled::Excluded(version, reason) => CommitOutcome::Conflict { version, reason },
        Settled::Unfinished(version) => CommitOutcome::Rerun {
            version,
            cells: mine.fresh.iter().map(CellId::path).collect(),
            gone: mine.gone.iter().map(CellId::path).collect(),
        },
        Settled::Aborted(reason) => CommitOutcome::Aborted { reason },
        Settled::Crowded { version, attempts } => {
            let reason = format!("{attempts} attempts were lost to other writers");
            CommitOutcome::Conflict { version, reason }
        }
        Settled::Cleaned => return after_cleaning(frame, &mine.txn, newest),
    })
}

/// The slot that decided was cleaned away: what the newest checkpoint and its tail tell of a transaction.
fn after_cleaning(frame: &FrameRecord, txn: &Transaction, newest: Option<&Newest>) -> Result<CommitOutcome> {
    let unknown = |why: &str| {
        let (object, why) = (frame.folder.clone(), format!("its slot was cleaned away since its base was read{why}"));
        Err(LedgerError::OutcomeUnknown { txn: txn.id, object, why })
    };
    let newest = match newest {
        Some(Ok(newest)) => newest,
        Some(Err(why)) => return unknown(&format!(", and the frame cannot be read: {why}")),
        None => return unknown(""),
    };
    if holds(newest, txn) {
        return Ok(CommitOutcome::Committed { version: newest.version, retries: 0 });
    }
    match txn.idem.as_ref().and_then(|idem| Some((idem, newest.idem.find(idem)?))) {
        Some((idem, used)) if used.digest == idem.digest => {
            Ok(CommitOutcome::AlreadyApplied { version: used.version, may_be_own: true })
        }
        _ => unknown(""),
    }
}

/// Whether a version holds a transaction's own cells.
fn holds(snapshot: &Snapshot, txn: &Transaction) -> bool {
    let own: HashSet<CellId> = txn.adds.iter().map(|add| add.id).collect();
    snapshot.cells.any(&own).is_some()
}

/// The answer for a key that the base knows.
fn already(base: &Snapshot, txn: &Transaction) -> Option<Result<CommitOutcome>> {
    let idem = txn.idem.as_ref()?;
    let used = base.idem.find(idem)?;
    if used.digest != idem.digest {
        return Some(Err(LedgerError::KeyReused { key: idem.key.clone(), version: used.version }));
    }
    Some(Ok(if holds(base, txn) {
        CommitOutcome::Committed { version: used.version, retries: 0 }
    } else {
        CommitOutcome::AlreadyApplied { version: used.version, may_be_own: false }
    }))
}
