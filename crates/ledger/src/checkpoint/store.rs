//! Reading and writing a checkpoint with its checksum and its hint. The order of the steps stands in the head of
//! `checkpoint`.

use std::sync::Arc;

use apiary_bucket::{Bucket, Created, Key, layout};
use apiary_core::{Version, failpoint};
use bytes::Bytes;

use super::{
    adds::Source,
    checksum::{Checksum, Mark},
    decode,
    encode::{self, Encoded},
    hint::Hint,
};
use crate::{LedgerError, Result, Snapshot, entry::FRAME_ID, log::within};

/// Largest checkpoint in bytes that is read: a frame of some million cells.
const CHECKPOINT_BYTES_MAX: u64 = 4 << 30;

/// A checkpoint that is decoded in a few milliseconds.
const SMALL_BYTES_MAX: usize = 64 * 1024;

/// Cells that are encoded, and read back, in as little time.
const SMALL_CELLS_MAX: usize = 256;

/// What reading a checkpoint came to.
#[derive(Debug)]
pub(crate) enum Loaded {
    /// It is what was written.
    Good(Box<Snapshot>),
    /// It is not, and why.
    Damaged(String),
    /// It, or what makes it believable, is not there.
    Absent,
}

/// What writing a checkpoint came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Written {
    /// Whether it was not there before.
    pub(crate) new: bool,
    pub(crate) bytes: u64,
}

/// The version that the hint names, whether or not it is true. 1 GET. No error: a hint may only ever cost time.
pub(crate) async fn hint(bucket: &Bucket, folder: &str) -> Option<Version> {
    let key = layout::last_checkpoint(folder);
    match within(bucket, key.as_ref(), bucket.get(&key)).await {
        Ok(body) => Hint::parse(&body?).map(|hint| hint.version),
        Err(error) => {
            tracing::debug!(%error, "no hint");
            None
        }
    }
}

/// Reads the checkpoint of a version of the frame `id`, and checks it. 2 GETs at once. An error is the store's.
pub(crate) async fn load(bucket: &Bucket, folder: &str, id: &str, version: Version) -> Result<Loaded> {
    let (checkpoint, checksum) = (layout::checkpoint(folder, version), layout::checksum(folder, version));
    let (body, line) = tokio::try_join!(
        within(bucket, checkpoint.as_ref(), bucket.get(&checkpoint)),
        within(bucket, checksum.as_ref(), bucket.get(&checksum)),
    )?;
    let (Some(body), Some(line)) = (body, line) else { return Ok(Loaded::Absent) };
    let is_small = body.len() <= SMALL_BYTES_MAX;
    let (folder, id) = (folder.to_owned(), id.to_owned());
    let work = move || {
        let checksum = Checksum::parse(version, &line).map_err(|why| format!("its checksum: {why}"))?;
        if checksum.metadata.configuration.get(FRAME_ID) != Some(&id) {
            return Err("it is of another frame".to_owned());
        }
        believe(&checkpoint, body, &checksum, &folder)
    };
    Ok(match worked(is_small, work).await {
        Ok(Ok(snapshot)) => Loaded::Good(Box::new(snapshot)),
        Ok(Err(why)) => Loaded::Damaged(why),
        Err(error) => Loaded::Damaged(error.to_string()),
    })
}

fn believe(object: &Key, body: Bytes, checksum: &Checksum, folder: &str) -> Result<Snapshot, String> {
    let mark = &checksum.apiary.checkpoint;
    if body.len() as u64 != mark.bytes || mark.bytes > CHECKPOINT_BYTES_MAX {
        return Err(format!("it has {} bytes, and {} were written", body.len(), mark.bytes));
    }
    if Mark::of(&body) != *mark {
        return Err("its bytes are not those that were written".to_owned());
    }
    let snapshot = decode::decode(object.as_ref(), body, folder, checksum.head())?;
    if (&snapshot.about.metadata, &snapshot.about.protocol) != (&checksum.metadata, &checksum.protocol) {
        return Err("it describes its frame otherwise than its checksum".to_owned());
    }
    if (snapshot.cells.len() as u64, snapshot.bytes()) != (checksum.num_files, checksum.table_size_bytes) {
        return Err("it holds other cells than its checksum counts".to_owned());
    }
    Ok(snapshot)
}

/// Writes the checkpoint of a snapshot, its checksum and the hint, and checks all that is believed later. 4 GETs and 3
/// PUTs; 3 GETs if it is there already. Safe to be cut anywhere and to be called by many at once.
pub(crate) async fn write(bucket: &Bucket, snapshot: &Arc<Snapshot>) -> Result<Written> {
    let (folder, version) = (snapshot.folder(), snapshot.version);
    if let Loaded::Good(there) = load(bucket, folder, frame_id(snapshot), version).await? {
        same(&there, snapshot).map_err(|why| LedgerError::corrupt(layout::checkpoint(folder, version), why))?;
        let bytes = advance_hint(bucket, snapshot).await?;
        return Ok(Written { new: false, bytes });
    }
    let entry = entry_mark(bucket, snapshot).await?;
    let encoded = proven(snapshot).await?;
    let key = layout::checkpoint(folder, version);
    put(bucket, &key, encoded.body.clone()).await?;
    let checksum = Checksum::new(snapshot, Mark::of(&encoded.body), entry).to_bytes()?;
    put(bucket, &layout::checksum(folder, version), checksum).await?;
    failpoint::hit("between_checkpoint_and_hint");
    let hint = Hint {
        version,
        size: encoded.actions,
        size_in_bytes: encoded.body.len() as u64,
        num_of_add_files: snapshot.cells.len() as u64,
    };
    point_to(bucket, folder, &hint).await;
    Ok(Written { new: true, bytes: encoded.body.len() as u64 })
}

fn frame_id(snapshot: &Snapshot) -> &str {
    snapshot.about.metadata.configuration.get(FRAME_ID).map_or("", String::as_str)
}

/// Creates an object and reads it back: a store that wrote something else is found out before anyone relies on it.
async fn put(bucket: &Bucket, key: &Key, body: Bytes) -> Result<()> {
    let there = match bucket.put_if_absent_decided(key, body.clone()).await? {
        Created::Mine => within(bucket, key.as_ref(), bucket.get(key)).await?,
        Created::Taken(other) => Some(other),
    };
    if there.as_ref() == Some(&body) {
        return Ok(());
    }
    Err(LedgerError::corrupt(key, "another object stands where this checkpoint belongs; a later version will have one"))
}

/// The entry of the snapshot's version, which must be the one that the snapshot ends with.
async fn entry_mark(bucket: &Bucket, snapshot: &Snapshot) -> Result<Mark> {
    let key = layout::ledger_entry(snapshot.folder(), snapshot.version);
    let missing = || LedgerError::corrupt(&key, "it is missing");
    let mark = Mark::of(&within(bucket, key.as_ref(), bucket.get(&key)).await?.ok_or_else(missing)?);
    if mark.sha256 != snapshot.head.sha256 {
        return Err(LedgerError::corrupt(&key, "it is not the entry that was read before"));
    }
    Ok(mark)
}

/// Encodes a snapshot and reads it back before anyone else can: both copies of what is known of its cells.
async fn proven(snapshot: &Arc<Snapshot>) -> Result<Encoded> {
    let snapshot = Arc::clone(snapshot);
    let is_small = snapshot.cells.len() <= SMALL_CELLS_MAX;
    let work = move || {
        let encoded = encode::encode(&snapshot)?;
        let object = layout::checkpoint(snapshot.folder(), snapshot.version);
        let check = [Source::Packed, Source::Delta].into_iter().try_for_each(|source| {
            let (body, head) = (encoded.body.clone(), snapshot.head.clone());
            let read = decode::decode_from(object.as_ref(), body, snapshot.folder(), head, source)?;
            same(&read, &snapshot)
        });
        check.map_err(|why| LedgerError::Internal(format!("the checkpoint '{object}' would not read back: {why}")))?;
        Ok(encoded)
    };
    worked(is_small, work).await?
}

/// Whether two snapshots say the same; if not, in what they differ.
pub(crate) fn same(a: &Snapshot, b: &Snapshot) -> Result<(), String> {
    let differ = |what: &str| Err(format!("its {what} differ from those of the ledger"));
    if a.head != b.head {
        return differ("version and hash");
    }
    if (&a.schema, &a.partition_by, &a.about) != (&b.schema, &b.partition_by, &b.about) {
        return differ("columns or properties");
    }
    if a.cells != b.cells {
        return differ("cells");
    }
    if a.idem.sorted() != b.idem.sorted() { differ("idempotency keys") } else { Ok(()) }
}

/// A checkpoint that is there may have been left before its hint was written.
async fn advance_hint(bucket: &Bucket, snapshot: &Snapshot) -> Result<u64> {
    let (folder, version) = (snapshot.folder(), snapshot.version);
    let key = layout::checksum(folder, version);
    let line = within(bucket, key.as_ref(), bucket.get(&key)).await?.unwrap_or_default();
    let checksum = Checksum::parse(version, &line).map_err(|why| LedgerError::corrupt(&key, why))?;
    let size_in_bytes = checksum.apiary.checkpoint.bytes;
    let keys = snapshot.idem.sorted().len() as u64;
    let size = 2 + keys + checksum.num_files;
    point_to(bucket, folder, &Hint { version, size, size_in_bytes, num_of_add_files: checksum.num_files }).await;
    Ok(size_in_bytes)
}

/// Overwrites the hint unless it names a later version. Whatever goes wrong costs later readers time, so it is told
/// and forgotten.
async fn point_to(bucket: &Bucket, folder: &str, to: &Hint) {
    let key = layout::last_checkpoint(folder);
    if hint(bucket, folder).await.is_some_and(|there| there >= to.version) {
        return;
    }
    let Some(body) = to.to_bytes() else { return };
    if let Err(error) = within(bucket, key.as_ref(), bucket.put(&key, body)).await {
        tracing::warn!(%error, "the hint at the newest checkpoint could not be written");
    }
}

/// CPU work, off the threads that wait for the store unless it is small: then changing the thread costs more. A panic
/// in it is an error. A runtime of one thread is a test's, with time that jumps when nobody works on that thread: there
/// it is done at once.
async fn worked<T: Send + 'static>(is_small: bool, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    use tokio::runtime::{Handle, RuntimeFlavor};
    let guarded = move || std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).ok();
    let at_once = is_small || Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread;
    let done = if at_once { guarded() } else { tokio::task::spawn_blocking(guarded).await.ok().flatten() };
    done.ok_or_else(|| LedgerError::Internal("the work on a checkpoint did not end".to_owned()))
}
