//! The rest of the bucket: folders that no name leads to, leftovers of probes, pins of nobody.
//!
//! A folder without a name is a frame that was dropped, or one whose creator died before it named it. Which of them is
//! garbage is decided in `folder`. Before the first delete a folder's ledger is ended, and every epoch of it is fenced for
//! good: whoever slept with an old snapshot of it and wins a slot there finds the fence, and commits nothing.
//!
//! ```text
//!  list folders ─ read the registry ─ unnamed? ─ end (a terminal entry) ─ fences ─ read the registry ─ delete
//!                                                        ▲                              │
//!  a creator that slept:      version 0 ─ name ─ look ───┘ finds the end, makes another  └─ named meanwhile: it stays
//! ```
//!
//! The order of the first two matters: a folder that was listed before the registry was read, and has no name there, had
//! none when it was listed. A creator looks at its frame after it named it; so of the two, one sees the other.

use std::time::Duration;

use apiary_bucket::{Bucket, Created, Key, layout};
use apiary_core::{FrameId, FramePath, Version, failpoint};
use bytes::Bytes;

use super::{
    folder::{self, Contents, FolderFate, Mark},
    ms,
    pins::Pins,
    report::{Total, VacuumOptions},
};
use crate::{FrameRecord, LedgerError, Registry, Result, entry, fence::epoch_of, log::within, replay, sum};

/// Most folders looked at in one run.
const FOLDERS_MAX: usize = 100_000;

/// Most folders deleted in one run.
const FOLDERS_DELETED_MAX: u64 = 1_000;

/// Most objects of one folder that are looked at; a larger one waits for a larger program.
const OBJECTS_MAX: usize = 20_000_000;

/// How long the deletes of one folder may take; the next sweep goes on with it.
const FOLDER_TIME_MAX: Duration = Duration::from_secs(1800);

/// Objects asked of one listing.
const PAGE: usize = 10_000;

/// Most leftovers of probes looked at in one run.
const PROBES_MAX: usize = 10_000;

/// What stands in the fence of a folder that was never named. A name that its creator gave it all the same, late, leads
/// nowhere, and goes when somebody follows it.
const NEVER_NAMED: &[u8] = b"{\"never_named\":true}\n";

/// What stands in the fence of a frame that was dropped when nothing was left of its ledger.
const WITHOUT_LEDGER: &[u8] = b"{\"dropped_without_ledger\":true}\n";

/// Whether a frame whose ledger is not there is one that a sweep took before it had its name, or one that was dropped
/// without a ledger. 1 GET.
pub(crate) async fn took(bucket: &Bucket, frame: &FrameRecord) -> Result<bool> {
    let fence = layout::fence(&frame.id, 0);
    let mark = within(bucket, fence.as_ref(), bucket.get(&fence)).await?;
    Ok(mark.is_some_and(|mark| mark == NEVER_NAMED || mark == WITHOUT_LEDGER))
}

/// Marks a frame of whose ledger nothing is left as dropped, in the place of the terminal entry that it cannot have.
/// What stood in the fence before, if there was one, is for people alone. 1 GET, 1 PUT.
pub(crate) async fn mark_without_ledger(bucket: &Bucket, frame: &FrameRecord) -> Result<()> {
    let fence = layout::fence(&frame.id, 0);
    match bucket.put_if_absent_decided(&fence, Bytes::from_static(WITHOUT_LEDGER)).await? {
        Created::Taken(mark) if mark != WITHOUT_LEDGER => {
            within(bucket, fence.as_ref(), bucket.put(&fence, Bytes::from_static(WITHOUT_LEDGER))).await
        }
        _ => Ok(()),
    }
}

/// A folder that no name leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnnamedFolder {
    /// The folder.
    pub folder: String,
    /// What it holds.
    pub total: Total,
    /// How old its newest object is by the store's clock, in milliseconds.
    pub age_ms: i64,
    /// What becomes of it.
    pub fate: FolderFate,
}

/// What a sweep found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SweepReport {
    /// Whether it deleted; else this is what it would.
    pub run: bool,
    /// What time it was by the store's clock, in milliseconds since 1970.
    pub store_now_ms: i64,
    /// Frame folders looked at, with a name or without.
    pub folders_seen: u64,
    /// Those without.
    pub unnamed: Vec<UnnamedFolder>,
    /// Objects left by probes.
    pub probes: u64,
    /// Pins of queries that are gone.
    pub pins: u64,
    /// A limit was reached: run it again.
    pub more: bool,
    /// Why no folder was touched, if something is wrong with the bucket as a whole.
    pub refused: Option<String>,
}

/// Deletes, or only lists, what is garbage outside of the frames that have names.
///
/// Cost: the store's time, 1 LIST for each hive and box and for each 1 000 frames, the registry, 2 LISTs; for each unnamed
/// folder 1 LIST for each 1 000 objects and 1 GET, and if it goes its last entry, a fence for each 1 024 versions, and the
/// deletes. Dropping the future is like a crash: the next sweep finishes.
pub async fn sweep(bucket: &Bucket, registry: &Registry, options: &VacuumOptions) -> Result<SweepReport> {
    let now_ms = match options.store_now_ms {
        Some(now_ms) => now_ms,
        None => within(bucket, "the store's clock", bucket.store_now_ms()).await?,
    };
    let sweep = Sweep { bucket, registry, options, now_ms };
    let mut report = SweepReport { run: options.run, store_now_ms: now_ms, ..SweepReport::default() };
    sweep.folders(&mut report).await?;
    report.probes = sweep.probes().await?;
    report.pins = Pins::new(bucket.clone()).sweep(now_ms, options.run).await?;
    Ok(report)
}

struct Sweep<'a> {
    bucket: &'a Bucket,
    registry: &'a Registry,
    options: &'a VacuumOptions,
    now_ms: i64,
}

impl Sweep<'_> {
    async fn folders(&self, report: &mut SweepReport) -> Result<()> {
        let found = self.find(report).await?;
        report.folders_seen = found.len() as u64;
        let names = self.registry.namespace().await?;
        if names.version.is_none() && !found.is_empty() {
            let why =
                "there are frames in this bucket, and its registry is gone; restore it before anything is deleted";
            report.refused = Some(why.to_owned());
            return Ok(());
        }
        let mut deleted = 0;
        for (folder, id) in found.into_iter().filter(|(folder, _)| names.in_folder(folder).is_none()) {
            let contents = self.look(&folder, &id).await?;
            let mut fate = folder::judge(&contents, self.now_ms, ms(self.options.retention));
            if fate.goes() && deleted == FOLDERS_DELETED_MAX {
                (fate, report.more) = (FolderFate::Later, true);
            } else if fate.goes() {
                deleted += 1;
                if self.options.run && !self.delete(&folder, &id, &contents, &fate).await? {
                    fate = FolderFate::Named;
                }
            }
            let age_ms = self.now_ms.saturating_sub(contents.newest_ms);
            report.unnamed.push(UnnamedFolder { folder, total: contents.total, age_ms, fate });
        }
        Ok(())
    }

    /// Every frame folder. 1 LIST for each hive and box, and for each 1 000 frames.
    async fn find(&self, report: &mut SweepReport) -> Result<Vec<(String, FrameId)>> {
        let mut found = Vec::new();
        for hive in self.folders_in("").await?.into_iter().filter(|top| !layout::is_own_folder(top)) {
            for box_name in self.folders_in(&hive).await? {
                let in_box = format!("{hive}/{box_name}");
                for frame in self.folders_in(&in_box).await? {
                    let folder = format!("{in_box}/{frame}");
                    found.extend(layout::parse_frame_folder(&folder).map(|id| (folder, id)));
                }
                if found.len() > FOLDERS_MAX {
                    found.truncate(FOLDERS_MAX);
                    report.more = true;
                    return Ok(found);
                }
            }
        }
        Ok(found)
    }

    async fn folders_in(&self, prefix: &str) -> Result<Vec<String>> {
        within(self.bucket, prefix, self.bucket.folders(prefix)).await
    }

    /// What a folder holds. 1 LIST for each 1 000 objects, 1 GET.
    async fn look(&self, folder: &str, id: &FrameId) -> Result<Contents> {
        let mut contents = Contents::default();
        let mut after: Option<String> = None;
        for page in 0.. {
            let listed = within(self.bucket, folder, self.bucket.list(folder, after.as_deref(), PAGE)).await?;
            let full = listed.len() == PAGE;
            after = listed.last().map(|last| last.key.clone());
            for object in listed {
                contents.total.add(object.size);
                contents.newest_ms = contents.newest_ms.max(object.modified_ms);
                let path = object.key.get(folder.len() + 1..).unwrap_or_default();
                if let Some(version) = layout::parse_ledger_entry(folder, &object.key) {
                    contents.last = contents.last.max(Some((version, object.modified_ms)));
                } else if layout::parse_cell_path(path).is_some() {
                    contents.cells += 1;
                } else if layout::parse_ledger_object(folder, &object.key).is_some() {
                    contents.checkpoints += u64::from(object.key.ends_with(".parquet"));
                } else if object.key != layout::last_checkpoint(folder).as_str() {
                    contents.foreign = Some(object.key);
                }
            }
            if !full {
                break;
            }
            if page * PAGE > OBJECTS_MAX {
                contents.foreign = Some(format!("{folder}/…"));
                break;
            }
        }
        match contents.last {
            Some((version, _)) => contents.ended = self.is_end(folder, version).await?,
            None => contents.mark = self.mark(id).await?,
        }
        let pins = Pins::new(self.bucket.clone()).of_folder(folder, self.now_ms).await?;
        contents.pinned = pins.first().map(|(_, query)| *query);
        Ok(contents)
    }

    /// What the fence of the first epoch says. 1 LIST, and 1 GET if there is one.
    async fn mark(&self, id: &FrameId) -> Result<Option<Mark>> {
        let fence = layout::fence(id, 0);
        let listed = within(self.bucket, fence.as_ref(), self.bucket.list(&layout::fence_prefix(id), None, 1)).await?;
        let Some(first) = listed.into_iter().find(|first| first.key == fence.as_str()) else { return Ok(None) };
        let body = within(self.bucket, fence.as_ref(), self.bucket.get(&fence)).await?;
        let lost = body.is_some_and(|body| body == WITHOUT_LEDGER);
        Ok(Some(if lost { Mark::WithoutLedger { at_ms: first.modified_ms } } else { Mark::Fence }))
    }

    /// Whether an entry is a terminal one; one that cannot be read is not known to be.
    async fn is_end(&self, folder: &str, version: Version) -> Result<bool> {
        let key = layout::ledger_entry(folder, version);
        let Some(body) = within(self.bucket, key.as_ref(), self.bucket.get(&key)).await? else { return Ok(false) };
        Ok(sum::is_whole(&body) && entry::decode(key.as_ref(), &body).is_ok_and(|entry| replay::ends(&entry)))
    }

    /// Ends, fences and deletes a folder; false if it got a name meanwhile.
    async fn delete(&self, folder: &str, id: &FrameId, contents: &Contents, fate: &FolderFate) -> Result<bool> {
        let mut last = contents.last.map_or(Version(0), |(version, _)| version);
        if *fate == FolderFate::NeverNamed {
            match self.registry.end(&record(folder, id)?, None).await {
                Ok(_) | Err(LedgerError::Dropped { .. }) => last = last.next(),
                Err(error) => return Err(error),
            }
        }
        for epoch in 0..=epoch_of(last) {
            let fence = layout::fence(id, epoch);
            if within(self.bucket, fence.as_ref(), self.bucket.get(&fence)).await?.is_none() {
                let mark = if *fate == FolderFate::NeverNamed { NEVER_NAMED } else { b"{}\n" };
                self.bucket.put_if_absent_decided(&fence, Bytes::from_static(mark)).await?;
            }
        }
        let names = self.registry.namespace().await?;
        if names.in_folder(folder).is_some() {
            return Ok(false);
        }
        failpoint::hit("mid_vacuum");
        // Ends with the folder: nobody adds to it for long.
        let within_it = format!("{folder}/");
        let deleted = self.bucket.delete_prefix(&within_it);
        let Some(objects) = apiary_core::within(self.bucket.clock().as_ref(), FOLDER_TIME_MAX, deleted).await else {
            return Err(LedgerError::Timeout { object: within_it, seconds: FOLDER_TIME_MAX.as_secs() });
        };
        let objects = objects?;
        tracing::info!(folder, objects, ?fate, "a folder without a name went");
        Ok(true)
    }

    /// Objects that probes left a day ago. 1 LIST, 1 DELETE for all.
    async fn probes(&self) -> Result<u64> {
        let prefix = layout::probes_prefix();
        let listed = within(self.bucket, prefix, self.bucket.list(prefix, None, PROBES_MAX)).await?;
        let old = listed.iter().filter(|object| self.now_ms - object.modified_ms > ms(folder::UNNAMED_AGE));
        let old = old.map(|object| Key::parse(&object.key)).collect::<apiary_bucket::Result<Vec<Key>>>()?;
        if self.options.run {
            within(self.bucket, prefix, self.bucket.delete_all(&old)).await?;
        }
        Ok(old.len() as u64)
    }
}

/// A record of a folder, by which its ledger is found. The names are for messages; those in a folder may be no names.
fn record(folder: &str, id: &FrameId) -> Result<FrameRecord> {
    let parts: Vec<&str> = folder.split('/').collect();
    let named = FramePath::new(parts[0], parts[1], parts[2]);
    let path = named.or_else(|_| FramePath::new("unnamed", "unnamed", "unnamed"))?;
    Ok(FrameRecord { path, id: id.clone(), folder: folder.to_owned() })
}
