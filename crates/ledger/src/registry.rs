//! Reading and writing the colony's names. Clones share one cached namespace.
//!
//! Creating twice is creating once: what is there already and identical is no error, and what differs is one that
//! names the difference. A frame's own version 0 comes first, then the registry names it, so that a name never leads
//! nowhere; a folder that was never named is garbage.

use std::sync::{Arc, Mutex, PoisonError};

use apiary_bucket::{Bucket, Created, Key, layout};
use apiary_core::{BoxName, FrameId, FramePath, HiveName, TxnId, Version};
use arrow::datatypes::Schema;
use bytes::Bytes;

use crate::{
    FrameRecord, FrameSpec, Frames, IdempotencyKey, LedgerError, Namespace, Result, Snapshot,
    commit::{self, Proposal, Settled},
    entry,
    header::{Header, Place},
    log::{Log, LogKind, Read, Recorded},
    registry_entry::{self, Change, Made, RegistryEntry},
};

/// How often a creation begins again because another name was created in between.
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

    fn seal(&self, place: &Place, id: TxnId, node: &str) -> Result<Bytes> {
        registry_entry::encode(place, id, node, &[], Some(id))
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

    /// Creates a hive; false if it is there already. At least 2 GETs and 1 PUT.
    pub async fn create_hive(&self, hive: &HiveName) -> Result<bool> {
        for _ in 0..ROUNDS_MAX {
            let names = self.namespace().await?;
            if let Ok(there) = names.hive(hive.as_str()) {
                return same_spelling("hive", hive.as_str(), there.as_str());
            }
            if self.name(&names, Made::Hive { hive: hive.clone() }).await? {
                return Ok(true);
            }
        }
        Err(contended())
    }

    /// Creates a box in a hive that is there; false if it is there already. At least 2 GETs and 1 PUT.
    pub async fn create_box(&self, hive: &HiveName, box_name: &BoxName) -> Result<bool> {
        for _ in 0..ROUNDS_MAX {
            let names = self.namespace().await?;
            let hive = names.hive(hive.as_str())?.clone();
            if let Ok(there) = names.box_name(hive.as_str(), box_name.as_str()) {
                return same_spelling("box", box_name.as_str(), there.as_str());
            }
            if self.name(&names, Made::Box { hive, box_name: box_name.clone() }).await? {
                return Ok(true);
            }
        }
        Err(contended())
    }

    /// Creates a frame in a box that is there; false if an identical one is there already. At least 2 GETs and 2 PUTs.
    pub async fn create_frame(&self, path: &FramePath, spec: &FrameSpec) -> Result<bool> {
        spec.check()?;
        let mut made: Option<FrameRecord> = None;
        for _ in 0..ROUNDS_MAX {
            let names = self.namespace().await?;
            let (hive, in_box) = (path.hive.as_str(), path.box_name.as_str());
            let box_name = names.box_name(hive, in_box)?.clone();
            if let Ok(there) = names.frame(hive, in_box, path.frame.as_str()) {
                return self.same_frame(path, spec, &there).await;
            }
            let record = match made.take() {
                Some(record) => record,
                None => {
                    let hive = names.hive(hive)?.clone();
                    self.make_frame(FramePath { hive, box_name, frame: path.frame.clone() }, spec).await?
                }
            };
            if self.name(&names, Made::Frame(record.clone())).await? {
                return Ok(true);
            }
            made = Some(record);
        }
        Err(contended())
    }

    /// Writes version 0 of a frame that has no name yet. 1 PUT.
    async fn make_frame(&self, path: FramePath, spec: &FrameSpec) -> Result<FrameRecord> {
        let bucket = &self.log.bucket;
        let (clock, rng) = (bucket.clock().as_ref(), bucket.rng().as_ref());
        let (id, txn) = (FrameId::random(rng), TxnId::new(clock, rng));
        let folder = layout::frame_folder(&path, &id);
        let place = Place::after(None, None, clock.wall_ms());
        let body = entry::create(&place, txn, NODE, &id, spec)?;
        let key = layout::ledger_entry(&folder, Version(0));
        // What cannot be read back must not be written.
        entry::decode(key.as_ref(), &body)?;
        match bucket.put_if_absent_decided(&key, body).await? {
            Created::Mine => Ok(FrameRecord { path, id, folder }),
            // A folder's name ends in 32 random bits.
            Created::Taken(_) => Err(LedgerError::Contended { what: "frame's folder", attempts: 1 }),
        }
    }

    /// Commits one new name; false if another entry came first that may bear upon it.
    async fn name(&self, names: &Namespace, made: Made) -> Result<bool> {
        let bucket = &self.log.bucket;
        let id = TxnId::new(bucket.clock().as_ref(), bucket.rng().as_ref());
        let mut proposal = NameProposal { id, name: made.folded(), changes: vec![Change::Create(made)] };
        let done = commit::commit(&self.log, names.head.clone(), &mut proposal).await?;
        match done.settled {
            Settled::Committed { .. } => Ok(true),
            Settled::Excluded(..) | Settled::AlreadyApplied(_) => Ok(false),
            Settled::Crowded { attempts, .. } => Err(LedgerError::Contended { what: "registry", attempts }),
            Settled::Aborted(why) => Err(LedgerError::Aborted(why)),
        }
    }

    async fn same_frame(&self, path: &FramePath, spec: &FrameSpec, there: &FrameRecord) -> Result<bool> {
        same_spelling("frame", path.frame.as_str(), there.path.frame.as_str())?;
        let snapshot = Frames::new(self.log.bucket.clone()).snapshot(there).await?;
        match difference(spec, &snapshot) {
            None => Ok(false),
            Some(difference) => Err(LedgerError::AlreadyExists { what: "frame", name: path.to_string(), difference }),
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

/// A new name on its way into the registry.
struct NameProposal {
    id: TxnId,
    name: String,
    changes: Vec<Change>,
}

impl Proposal<RegistryLog> for NameProposal {
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
        let same = |Change::Create(made): &&Change| made.folded() == self.name;
        match entry.changes.iter().find(same) {
            Some(_) => Err(format!("version {} created '{}'", entry.header.v, self.name)),
            None => Ok(()),
        }
    }

    fn encode(&self, place: &Place) -> Result<Bytes> {
        registry_entry::encode(place, self.id, NODE, &self.changes, None)
    }
}

/// Takes the next entry into a namespace.
fn take(names: &mut Namespace, read: &Read<RegistryEntry>) -> Result<()> {
    for Change::Create(made) in read.entry.changes.iter().cloned() {
        let taken = match made {
            Made::Hive { hive } => names.add_hive(hive),
            Made::Box { hive, box_name } => names.add_box(&hive, box_name),
            Made::Frame(record) => names.add_frame(record),
        };
        taken.map_err(|why| LedgerError::corrupt(layout::registry(read.head.version), why))?;
    }
    names.version = Some(read.head.version);
    names.head = Some(read.head.clone());
    Ok(())
}

fn contended() -> LedgerError {
    LedgerError::Contended { what: "registry", attempts: ROUNDS_MAX }
}

fn same_spelling(what: &'static str, wanted: &str, there: &str) -> Result<bool> {
    if wanted == there {
        return Ok(false);
    }
    let difference = format!("it is spelled '{there}', and names are compared without case");
    Err(LedgerError::AlreadyExists { what, name: wanted.to_owned(), difference })
}

/// In what a frame that is there differs from the one that shall be.
fn difference(spec: &FrameSpec, there: &Snapshot) -> Option<String> {
    columns_difference(&spec.schema, &there.schema).or_else(|| {
        let (ours, theirs) = (&spec.partition_by, &there.partition_by);
        (ours != theirs).then(|| format!("it is partitioned by {theirs:?}, not by {ours:?}"))
    })
}

fn columns_difference(ours: &Schema, theirs: &Schema) -> Option<String> {
    for field in ours.fields() {
        let Ok(there) = theirs.field_with_name(field.name()) else {
            return Some(format!("it has no column '{}'", field.name()));
        };
        if there.data_type() != field.data_type() {
            let (theirs, ours) = (there.data_type(), field.data_type());
            return Some(format!("its column '{}' is {theirs}, not {ours}", field.name()));
        }
        if there.is_nullable() != field.is_nullable() {
            let word = if there.is_nullable() { "may" } else { "must not" };
            return Some(format!("its column '{}' {word} be NULL", field.name()));
        }
    }
    let names = |schema: &Schema| schema.fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>();
    let (ours, theirs) = (names(ours), names(theirs));
    if let Some(more) = theirs.iter().find(|name| !ours.contains(name)) {
        return Some(format!("it has a further column '{more}'"));
    }
    (ours != theirs).then(|| format!("its columns stand in another order: {}", theirs.join(", ")))
}

#[cfg(test)]
mod tests;
