//! Creating: a frame's own version 0 first, then the registry names it, so that a name never leads nowhere.
//!
//! Creating twice is creating once: what is there already and identical is no error, and what differs is one that
//! names the difference. A version 0 that was made in vain is deleted where it is certain that nothing will ever name it;
//! what else is left, by a crash for one, has no name and is for vacuum.

use apiary_bucket::{Created, Key, layout};
use apiary_core::{BoxName, ErrorKind, FrameId, FramePath, HiveName, TxnId, Version, failpoint};
use arrow::datatypes::Schema;

use super::{NODE, ROUNDS_MAX, Registry, contended};
use crate::{
    FrameRecord, FrameSpec, Frames, LedgerError, Namespace, Result, Snapshot, entry,
    header::Place,
    log::within,
    registry_entry::{Change, Thing},
};

impl Registry {
    /// Creates a hive; false if it is there already. At least 2 GETs and 1 PUT.
    pub async fn create_hive(&self, hive: &HiveName) -> Result<bool> {
        for _ in 0..ROUNDS_MAX {
            let names = self.namespace().await?;
            if let Ok(there) = names.hive(hive.as_str()) {
                return same_spelling("hive", hive.as_str(), there.as_str());
            }
            if self.write(&names, vec![Change::Create(Thing::Hive { hive: hive.clone() })]).await? {
                return Ok(true);
            }
        }
        Err(contended())
    }

    /// Creates a box in a hive that is there, or in the default one; false if it is there already. At least 2 GETs and
    /// 1 PUT.
    pub async fn create_box(&self, hive: &HiveName, box_name: &BoxName) -> Result<bool> {
        for _ in 0..ROUNDS_MAX {
            let names = self.namespace().await?;
            let (hive, mut changes) = hive_for(&names, hive)?;
            if let Ok(there) = names.box_name(hive.as_str(), box_name.as_str()) {
                return same_spelling("box", box_name.as_str(), there.as_str());
            }
            changes.push(Change::Create(Thing::Box { hive, box_name: box_name.clone() }));
            if self.write(&names, changes).await? {
                return Ok(true);
            }
        }
        Err(contended())
    }

    /// Creates a frame in a box that is there, or in a default one, which needs no making; false if an identical frame
    /// is there already. At least 4 GETs, 1 LIST and 2 PUTs.
    pub async fn create_frame(&self, path: &FramePath, spec: &FrameSpec) -> Result<bool> {
        spec.check()?;
        let mut made = None;
        let created = self.name_frame(path, spec, &mut made).await;
        if let Some(made) = made
            && surely_unnamed(&created)
        {
            self.delete_unnamed(&made).await;
        }
        created
    }

    /// `made` is the frame that has been made for it, named or not.
    async fn name_frame(&self, path: &FramePath, spec: &FrameSpec, made: &mut Option<FrameRecord>) -> Result<bool> {
        for _ in 0..ROUNDS_MAX {
            let names = self.namespace().await?;
            let (hive, box_name, mut changes) = box_for(&names, path)?;
            if let Ok(there) = names.frame(hive.as_str(), box_name.as_str(), path.frame.as_str()) {
                match self.same_frame(path, spec, &there).await {
                    // Its drop stopped half way, and is done now: the name is free.
                    Err(LedgerError::Dropped { .. }) => continue,
                    same => return same,
                }
            }
            let path = FramePath { hive, box_name, frame: path.frame.clone() };
            let record = match made.take() {
                // The hive or the box may be spelled otherwise by now; the folder stays.
                Some(record) => FrameRecord { path, ..record },
                None => self.make_frame(&names, path, spec).await?,
            };
            *made = Some(record.clone());
            changes.push(Change::Create(Thing::Frame(record.clone())));
            failpoint::hit("between_frame_and_registry");
            if self.write(&names, changes).await? {
                if !self.was_swept(&record).await {
                    return Ok(true);
                }
                *made = None;
            }
        }
        Err(contended())
    }

    /// An id that no frame has, and none that was dropped and left its fences: a fence is known by the id alone, so a
    /// frame with another's id would find its slots cleaned away. Nearly always 1 LIST.
    async fn free_id(&self, names: &Namespace) -> Result<FrameId> {
        let bucket = &self.log.bucket;
        for _ in 0..ROUNDS_MAX {
            let id = FrameId::random(bucket.rng().as_ref());
            let prefix = layout::fence_prefix(&id);
            if !names.has_id(&id) && within(bucket, &prefix, bucket.list(&prefix, None, 1)).await?.is_empty() {
                return Ok(id);
            }
        }
        Err(LedgerError::Contended { what: "frame's id", attempts: ROUNDS_MAX })
    }

    /// Writes version 0 of a frame that has no name yet. 1 LIST and 1 PUT.
    async fn make_frame(&self, names: &Namespace, path: FramePath, spec: &FrameSpec) -> Result<FrameRecord> {
        let bucket = &self.log.bucket;
        let (clock, rng) = (bucket.clock().as_ref(), bucket.rng().as_ref());
        let (id, txn) = (self.free_id(names).await?, TxnId::new(clock, rng));
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

    /// Whether a vacuum ended the frame before it had its name, which is gone again then: only a creator who slept for a
    /// day has to ask, and none knows that he did. What cannot be read now was named all the same. 2 GETs.
    async fn was_swept(&self, record: &FrameRecord) -> bool {
        let [first, next] = [Version(0), Version(1)].map(|version| layout::ledger_entry(&record.folder, version));
        let bucket = &self.log.bucket;
        let look = |key| async move { within(bucket, Key::as_ref(key), bucket.get(key)).await };
        if let (Ok(Some(_)), Ok(None)) = tokio::join!(look(&first), look(&next)) {
            return false;
        }
        matches!(Frames::new(bucket.clone()).snapshot(record).await, Err(LedgerError::Dropped { .. }))
    }

    /// Takes back a version 0 that got no name. Nobody else knows its folder.
    async fn delete_unnamed(&self, record: &FrameRecord) {
        let key = layout::ledger_entry(&record.folder, Version(0));
        if let Err(error) = within(&self.log.bucket, key.as_ref(), self.log.bucket.delete(&key)).await {
            tracing::warn!(%key, %error, "a frame that got no name is left to vacuum");
        }
    }

    async fn same_frame(&self, path: &FramePath, spec: &FrameSpec, there: &FrameRecord) -> Result<bool> {
        let snapshot = Frames::new(self.log.bucket.clone()).snapshot(there).await?;
        same_spelling("frame", path.frame.as_str(), there.path.frame.as_str())?;
        match difference(spec, &snapshot) {
            None => Ok(false),
            Some(difference) => Err(LedgerError::AlreadyExists { what: "frame", name: path.to_string(), difference }),
        }
    }
}

/// Whether it was others' entries that kept a frame from its name. After any other end the entry that names it may
/// still be on its way.
fn surely_unnamed(created: &Result<bool>) -> bool {
    match created {
        Ok(created) => !created,
        Err(error) => matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::NotFound | ErrorKind::Conflict),
    }
}

/// The hive called `hive`, and what must be created first: the default hive needs no making.
fn hive_for(names: &Namespace, hive: &HiveName) -> Result<(HiveName, Vec<Change>)> {
    match names.hive(hive.as_str()) {
        Ok(there) => Ok((there.clone(), Vec::new())),
        Err(_) if hive.is_default() => {
            Ok((HiveName::default(), vec![Change::Create(Thing::Hive { hive: HiveName::default() })]))
        }
        Err(missing) => Err(missing),
    }
}

/// The hive and the box of `path`, and what must be created first: a default box needs no making.
fn box_for(names: &Namespace, path: &FramePath) -> Result<(HiveName, BoxName, Vec<Change>)> {
    match names.box_name(path.hive.as_str(), path.box_name.as_str()) {
        Ok(there) => Ok((names.hive(path.hive.as_str())?.clone(), there.clone(), Vec::new())),
        Err(_) if path.box_name.is_default() => {
            let (hive, mut changes) = hive_for(names, &path.hive)?;
            changes.push(Change::Create(Thing::Box { hive: hive.clone(), box_name: BoxName::default() }));
            Ok((hive, BoxName::default(), changes))
        }
        Err(missing) => Err(missing),
    }
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
