//! Reading and writing the colony's names. Clones share one cached namespace.
//!
//! The registry and the frames are two kinds of log, kept in step by an order: a frame's own ledger first, then the
//! registry. `create` writes a frame's version 0 before it names it, `drop` its terminal
//! entry before it takes the name away; `rename` touches the registry alone.
//!
//! ```text
//!   create   version 0 ──X──▶ name        X = a crash: a folder without a name, which is garbage
//!   drop     terminal  ──X──▶ no name     X = a crash: a name that leads to a dropped frame. Whoever follows it
//!                                             finishes the drop and is told that there is no such frame
//! ```
//!
//! A change that meets others on its way commits as long as it still fits what they made (`Namespace::fits`), so
//! that creators of different names never wait for each other; if it does not, it is decided again on what there is
//! now.

use std::sync::{Arc, Mutex, PoisonError};

use apiary_bucket::{Bucket, Key, layout};
use apiary_core::{TxnId, Version};
use bytes::Bytes;

use crate::{
    IdempotencyKey, LedgerError, Namespace, Result,
    commit::{self, Proposal, Settled},
    header::{Header, Place},
    log::{Log, LogKind, Read, Recorded},
    registry_entry::{self, Change, RegistryEntry},
};

mod create;
mod drop;
mod rename;

pub use self::drop::DropReport;

/// How often a change is decided again because others came first.
const ROUNDS_MAX: u32 = 20;

/// Names are written by whoever a client talks to; the ledger is not told who that is.
const NODE: &str = "registry";

/// The registry as a kind of log.
#[derive(Debug, Clone)]
pub(crate) struct RegistryLog;

impl LogKind for RegistryLog {
    type Entry = RegistryEntry;

    fn key(&self, version: Version) -> Key {
        layout::registry(version)
    }

    fn prefix(&self) -> String {
        layout::registry_prefix().to_owned()
    }

    fn version_of(&self, key: &str) -> Option<Version> {
        layout::parse_registry(key)
    }

    fn decode(&self, object: &str, body: &[u8]) -> Result<RegistryEntry> {
        registry_entry::decode(object, body)
    }

    /// The registry is never cleaned.
    fn fence(&self, _: Version) -> Option<Key> {
        None
    }

    fn seal(&self, place: &Place, ids: &[TxnId], node: &str) -> Result<Bytes> {
        match ids {
            [id] => registry_entry::encode(place, *id, node, &[], Some(*id)),
            _ => Err(LedgerError::Internal(format!("{} changes of names in one entry", ids.len()))),
        }
    }
}

impl Recorded for RegistryEntry {
    fn header(&self) -> &Header {
        &self.header
    }

    fn timestamp_ms(&self) -> i64 {
        self.timestamp_ms
    }
}

/// The registry of a bucket. Cheap to clone; clones share what they know.
#[derive(Debug, Clone)]
pub struct Registry {
    log: Log<RegistryLog>,
    cache: Arc<Mutex<Arc<Namespace>>>,
}

impl Registry {
    /// The registry of this bucket. No I/O.
    #[must_use]
    pub fn new(bucket: Bucket) -> Self {
        Self { log: Log::new(bucket, RegistryLog), cache: Arc::default() }
    }

    /// The newest names that are known in here, however old. No I/O.
    #[must_use]
    pub fn known(&self) -> Arc<Namespace> {
        Arc::clone(&self.lock())
    }

    /// The newest names. Warm: 1 GET, plus one for each new entry. Cold: 1 LIST, and 1 GET for each entry, 16 at once.
    pub async fn namespace(&self) -> Result<Arc<Namespace>> {
        let known = Arc::clone(&self.lock());
        let mut reader = self.log.read_after(known.head.clone());
        let mut next: Option<Namespace> = None;
        while let Some(read) = reader.next().await? {
            take(next.get_or_insert_with(|| (*known).clone()), &read)?;
        }
        Ok(next.map_or(known, |next| self.keep(next)))
    }

    /// Writes changes that fit `names`, in one entry. False if they do not fit any more after what others have written
    /// since: then nothing was written, and the caller looks again. At least 1 GET and 1 PUT.
    async fn write(&self, names: &Namespace, changes: Vec<Change>) -> Result<bool> {
        // Asserted before it is written; whoever reads it asserts it again.
        names.fits(&changes).map_err(|why| LedgerError::Internal(format!("a change of names does not fit: {why}")))?;
        let bucket = &self.log.bucket;
        let id = TxnId::new(bucket.clock().as_ref(), bucket.rng().as_ref());
        let mut proposal = NamesProposal { id, names: names.clone(), changes };
        let done = commit::commit(&self.log, names.head.clone(), &mut proposal).await?;
        self.learn(names, &done.read);
        match done.settled {
            Settled::Committed { .. } => Ok(true),
            // Each round is bounded, and so are the rounds.
            Settled::Excluded(..) | Settled::AlreadyApplied(_) | Settled::Crowded { .. } => Ok(false),
            Settled::Aborted(why) => Err(LedgerError::Aborted(why)),
            Settled::Unfinished(_) | Settled::Cleaned => {
                Err(LedgerError::Internal("a name has no such end".to_owned()))
            }
        }
    }

    /// Extends the cache with what a commit read, so that the next reader need not. Nothing depends on it.
    fn learn(&self, names: &Namespace, read: &[Read<RegistryEntry>]) {
        let mut next = names.clone();
        match read.iter().try_for_each(|read| take(&mut next, read)) {
            Ok(()) => drop(self.keep(next)),
            Err(error) => tracing::warn!(%error, "an entry that was read does not fit"),
        }
    }

    fn keep(&self, next: Namespace) -> Arc<Namespace> {
        let mut cache = self.lock();
        if cache.version < next.version {
            *cache = Arc::new(next);
        }
        Arc::clone(&cache)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Arc<Namespace>> {
        // One pointer cannot be half written, so a panic elsewhere cannot have broken it.
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Changes on their way into the registry.
struct NamesProposal {
    id: TxnId,
    /// The names as the entries read so far make them.
    names: Namespace,
    changes: Vec<Change>,
}

impl Proposal<RegistryLog> for NamesProposal {
    fn id(&self) -> TxnId {
        self.id
    }

    fn idem(&self) -> Option<&IdempotencyKey> {
        None
    }

    fn node(&self) -> &str {
        NODE
    }

    fn pass(&mut self, entry: &RegistryEntry) -> Result<(), String> {
        entry.changes.iter().try_for_each(|change| self.names.apply(change))?;
        let why = |why| format!("version {} came first: {why}", entry.header.v);
        self.names.fits(&self.changes).map_err(why)
    }

    fn encode(&self, place: &Place) -> Result<Bytes> {
        registry_entry::encode(place, self.id, NODE, &self.changes, None)
    }
}

/// Takes the next entry into a namespace.
fn take(names: &mut Namespace, read: &Read<RegistryEntry>) -> Result<()> {
    let fits = read.entry.changes.iter().try_for_each(|change| names.apply(change));
    fits.map_err(|why| LedgerError::corrupt(layout::registry(read.head.version), why))?;
    names.version = Some(read.head.version);
    names.head = Some(read.head.clone());
    Ok(())
}

fn contended() -> LedgerError {
    LedgerError::Contended { what: "registry", attempts: ROUNDS_MAX }
}

#[cfg(test)]
mod tests;
