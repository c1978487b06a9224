//! One life of one machine: its own caches over the common bucket, and the way a transaction goes, cells first, and
//! what its outcome means for them. A crash drops all of it.

use std::{sync::Arc, time::Duration};

use apiary_bucket::{Bucket, Key};
use apiary_core::{Clock, ErrorKind, Rng, SeededRng, TxnId, within};
use apiary_ledger::{CommitOutcome, FrameRecord, Frames, LedgerError, Registry, Snapshot, Transaction};
use apiary_tests::linear::Told;
use bytes::Bytes;

use super::{
    clock::NodeClock,
    target::Target,
    world::{RETENTION, Sabotage, World},
};

/// How long one request for a cell may take.
const CELL_TIME_MAX: Duration = Duration::from_secs(60);

/// How often an upload, or a read of a cell, is tried.
const CELL_TRIES: usize = 3;

pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) world: Arc<World>,
    pub(crate) bucket: Bucket,
    pub(crate) frames: Frames,
    pub(crate) registry: Registry,
    pub(crate) rng: SeededRng,
}

impl Node {
    pub(crate) fn new(name: &str, world: &Arc<World>, clock: &NodeClock, rng: &SeededRng) -> Self {
        let chance = Arc::new(SeededRng::new(rng.next_u64()));
        let bucket = Bucket::over(Arc::new(world.store.clone()), Arc::new(clock.clone()), chance);
        Self {
            name: name.to_owned(),
            world: Arc::clone(world),
            frames: Frames::new(bucket.clone()),
            registry: Registry::new(bucket.clone()),
            bucket,
            rng: SeededRng::new(rng.next_u64()),
        }
    }

    pub(crate) fn record(&self, target: Target) -> &FrameRecord {
        &self.world.frames[&target]
    }

    pub(crate) fn new_txn(&self) -> TxnId {
        TxnId::new(self.bucket.clock().as_ref(), self.bucket.rng().as_ref())
    }

    /// Reads a frame, and has the judge look at what was seen.
    pub(crate) async fn look(&self, target: Target) -> Option<Arc<Snapshot>> {
        match self.look_in(self.record(target)).await {
            Ok(snapshot) => Some(snapshot),
            Err(error) => {
                self.failed("read", self.record(target), &error);
                None
            }
        }
    }

    pub(crate) async fn look_in(&self, record: &FrameRecord) -> Result<Arc<Snapshot>, LedgerError> {
        let began = self.world.clock.monotonic();
        let nth = self.world.asked(record, &self.name, None, None);
        let cached = self.frames.known(record).filter(|_| self.world.sabotage == Some(Sabotage::StaleReads));
        let snapshot = match cached {
            Some(cached) => cached,
            None => self.frames.snapshot(record).await?,
        };
        self.world.told(record, nth, Told::Saw(snapshot.version.0));
        let is_fresh = self.world.clock.monotonic().saturating_sub(began) < RETENTION / 2;
        self.world.look_at(&snapshot, is_fresh);
        Ok(snapshot)
    }

    pub(crate) fn failed(&self, what: &str, record: &FrameRecord, error: &LedgerError) {
        let line = format!("{} cannot {what} {}: {error}", self.name, record.path);
        if may_fail(error.kind()) { self.world.tell(line) } else { self.world.fault(line) }
    }

    /// The rows of a cell, from the bucket.
    pub(crate) async fn rows(&self, key: &Key) -> Option<Vec<i64>> {
        for _ in 0..CELL_TRIES {
            let got = within(self.bucket.clock().as_ref(), CELL_TIME_MAX, self.bucket.get(key)).await;
            if let Some(Ok(Some(body))) = got
                && let Ok(rows) = serde_json::from_slice::<Vec<i64>>(&body)
                && self.world.ghost.rows(key.as_ref()) == Some(rows.clone())
            {
                return Some(rows);
            }
        }
        None
    }

    /// Brings a transaction into the frame, and says what its client is told.
    pub(crate) async fn write(
        &self,
        record: &FrameRecord,
        base: &Arc<Snapshot>,
        txn: Transaction,
        cells: Vec<(Key, Bytes)>,
    ) -> Told {
        let key = txn.idem.as_ref().map(|idem| idem.key.clone());
        let nth = self.world.asked(record, &self.name, Some(txn.id), key);
        let told = match self.upload(&cells).await {
            true => self.commit(record, base, txn, &cells).await,
            false => {
                self.delete(&cells).await;
                Told::Nothing
            }
        };
        self.world.told(record, nth, told);
        told
    }

    async fn commit(
        &self,
        record: &FrameRecord,
        base: &Arc<Snapshot>,
        txn: Transaction,
        cells: &[(Key, Bytes)],
    ) -> Told {
        let (mut comes_back, mut was_unknown) = (self.rng.below(2), false);
        let sabotage = self.world.sabotage;
        loop {
            let outcome = self.frames.commit(record, Arc::clone(base), txn.clone()).await;
            self.world.tell(format!("{} {} {:?}: {outcome:?}", self.name, txn.id, txn.kind));
            let told = match outcome {
                Ok(CommitOutcome::Committed { version, .. }) => return self.committed(record, &txn, version.0),
                // It may have been this very transaction, then: its cells stay.
                Ok(CommitOutcome::AlreadyApplied { version, may_be_own: true }) => {
                    return Told::AlreadyApplied(version.0);
                }
                Ok(CommitOutcome::AlreadyApplied { version, may_be_own: false }) => Told::AlreadyApplied(version.0),
                Ok(_) => Told::Nothing,
                // Who comes back and then cannot even read knows no more than before.
                Err(error) if error.kind() != ErrorKind::OutcomeUnknown && !was_unknown => {
                    if !matches!(error, LedgerError::Dropped { .. }) {
                        self.failed("commit to", record, &error);
                    }
                    Told::Nothing
                }
                Err(_) if sabotage == Some(Sabotage::UnknownTakenForNone) => Told::Nothing,
                Err(_) if sabotage == Some(Sabotage::UnknownAcknowledged) => {
                    return Told::Committed(base.version.0 + 1);
                }
                Err(_) if comes_back > 0 => {
                    // The same transaction against the same base is safe at any time.
                    (comes_back, was_unknown) = (comes_back - 1, true);
                    self.world.count("came back");
                    continue;
                }
                Err(_) => return Told::Unknown,
            };
            self.delete(cells).await;
            return told;
        }
    }

    /// Where a slot was cleaned away meanwhile, a version is told that holds the rows, not the one they came with.
    fn committed(&self, record: &FrameRecord, txn: &Transaction, told: u64) -> Told {
        let id = txn.id.to_string();
        let came = self.world.ghost.log(&record.folder, |log| {
            let entry = log.entries.iter().find(|entry| entry.txns.iter().any(|txn| txn.id == id))?;
            log.deleted.contains(&entry.version).then_some(entry.version)
        });
        match came.filter(|came| *came < told) {
            Some(came) => {
                self.world.count("told by a checkpoint");
                Told::Committed(came)
            }
            None => Told::Committed(told),
        }
    }

    async fn upload(&self, cells: &[(Key, Bytes)]) -> bool {
        for (key, body) in cells {
            let mut there = false;
            for _ in 0..CELL_TRIES {
                let put = self.bucket.put(key, body.clone());
                there = matches!(within(self.bucket.clock().as_ref(), CELL_TIME_MAX, put).await, Some(Ok(())));
                if there {
                    break;
                }
            }
            if !there {
                return false;
            }
        }
        true
    }

    /// Deletes cells that nobody will ever name; what is left of them is vacuum's.
    async fn delete(&self, cells: &[(Key, Bytes)]) {
        for (key, _) in cells {
            let _ = within(self.bucket.clock().as_ref(), CELL_TIME_MAX, self.bucket.delete(key)).await;
        }
    }
}

/// What faults of the store may lead to; anything else is a fault of the program.
pub(crate) fn may_fail(kind: ErrorKind) -> bool {
    use ErrorKind::{Conflict, Corrupt, OutcomeUnknown, PermissionDenied, Storage, Timeout};
    // A body that was cut short is corrupt to who reads it.
    matches!(kind, Conflict | Corrupt | OutcomeUnknown | PermissionDenied | Storage | Timeout)
}
