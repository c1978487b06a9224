//! Checks a frame's log: every kept entry in order, and every checkpoint against the entries before it.
//!
//! A log that was cleaned begins at a checkpoint: what came before is gone, each epoch of it behind a fence, and the
//! first entries that are left are believed about what they follow until the first checkpoint confirms it.

use std::collections::BTreeSet;

use apiary_bucket::{Key, layout};
use apiary_core::Version;
use futures::{StreamExt, stream};

use super::{
    FrameLog,
    listing::Listing,
    verify::{OBJECTS_MAX, RESTORE, VerifyReport, list_all},
};
use crate::{
    FrameRecord, LedgerError, Result, Snapshot,
    checkpoint::{self, Loaded},
    fence::epoch_of,
    header::Head,
    log::{Log, LogKind, Read, Recorded, within},
    replay::Replay,
};

/// Entries read at once.
const GETS_AT_ONCE: usize = 16;

/// What to do about a checkpoint that is not what it says.
const REPLACE: &str = "nobody reads it: delete it and its .crc, then run apiary checkpoint";

/// A log as it was read.
pub(super) struct Walked {
    pub(super) report: VerifyReport,
    /// The newest version, if the chain holds up to it.
    pub(super) newest: Option<Snapshot>,
    /// Every path that a kept entry names.
    pub(super) named: BTreeSet<String>,
}

struct Walk<'a> {
    log: &'a Log<FrameLog>,
    frame: &'a FrameRecord,
    report: VerifyReport,
    named: BTreeSet<String>,
    /// The last entry that was read.
    at: Option<Head>,
    /// The frame there; none while no checkpoint of a cleaned log was reached.
    replay: Option<Replay>,
}

/// Reads a whole log.
pub(super) async fn walk(log: &Log<FrameLog>, frame: &FrameRecord) -> Result<Walked> {
    let (report, named) = (VerifyReport::default(), BTreeSet::new());
    let mut walk = Walk { log, frame, report, named, at: None, replay: None };
    let list = Listing::read(log, None, OBJECTS_MAX).await?;
    let held = walk.all(&list).await?;
    let Walk { report, named, replay, .. } = walk;
    Ok(Walked { report, newest: replay.filter(|_| held).and_then(Replay::finish), named })
}

impl Walk<'_> {
    /// Whether the chain holds to the end.
    async fn all(&mut self, list: &Listing) -> Result<bool> {
        let (Some(first), Some(last)) = (list.dense_from(), list.last()) else {
            self.report.found(self.log.kind.prefix(), "the registry names it, and it has no entries", RESTORE);
            return Ok(false);
        };
        self.report.oldest = Some(first);
        self.begin(list, first).await?;
        let get = |version: u64| {
            let key = self.log.kind.key(Version(version));
            let bucket = &self.log.bucket;
            async move { (within(bucket, key.as_ref(), bucket.get(&key)).await, key) }
        };
        let log = self.log;
        let mut bodies = stream::iter((first.0..=last.0).map(get).collect::<Vec<_>>()).buffered(GETS_AT_ONCE);
        while let Some((body, key)) = bodies.next().await {
            let Some(body) = body? else { return self.vanished(&key).await };
            let taken = follow(log, self.at.as_ref(), first, &body).and_then(|read| {
                self.replay.as_mut().map_or(Ok(()), |replay| replay.take(key.as_ref(), &read))?;
                Ok(read)
            });
            match taken {
                Ok(read) => self.passed(list, read).await?,
                Err(LedgerError::Corrupt { object, why }) => {
                    self.report.found(object, why, RESTORE);
                    return Ok(false);
                }
                Err(error) => return Err(error),
            }
        }
        if self.replay.is_none() {
            let why = "its first entries are gone, and no checkpoint stands for them";
            self.report.found(self.log.kind.prefix(), why, RESTORE);
        }
        Ok(true)
    }

    /// An entry that was listed and is gone: cleaned away behind its fence, or lost.
    async fn vanished(&mut self, key: &Key) -> Result<bool> {
        let version = self.log.kind.version_of(key.as_ref()).unwrap_or(Version(0));
        let cleaned = match self.log.kind.fence(version) {
            Some(fence) => within(&self.log.bucket, fence.as_ref(), self.log.bucket.get(&fence)).await?.is_some(),
            None => false,
        };
        if cleaned {
            return Err(LedgerError::Aborted(format!("'{key}' was cleaned away while the log was checked")));
        }
        self.report.found(key.as_str(), "it vanished while the log was checked, and was not cleaned away", RESTORE);
        Ok(false)
    }

    /// Where the log begins: at version 0, or behind fences.
    async fn begin(&mut self, list: &Listing, first: Version) -> Result<()> {
        let Some(before) = first.0.checked_sub(1) else {
            self.replay = Some(Replay::new(&self.frame.folder));
            return Ok(());
        };
        let prefix = layout::fence_prefix(&self.frame.id);
        let fences = list_all(&self.log.bucket, &prefix).await?;
        let fenced: BTreeSet<u64> =
            fences.iter().filter_map(|object| layout::parse_fence(&self.frame.id, &object.key)).collect();
        let lost = |version: &u64| {
            let version = Version(*version);
            !list.entries.contains_key(&version) && !fenced.contains(&epoch_of(version))
        };
        if let Some(lost) = (0..first.0).rev().find(lost) {
            let key = self.log.kind.key(Version(lost));
            self.report.found(key.as_str(), "it is missing, and later entries are there", RESTORE);
        }
        if list.checkpoints.contains_key(&Version(before)) {
            self.checkpoint(Version(before)).await?;
        }
        Ok(())
    }

    async fn passed(&mut self, list: &Listing, read: Read<<FrameLog as LogKind>::Entry>) -> Result<()> {
        let version = read.head.version;
        self.report.entries += 1;
        self.report.version = Some(version);
        self.named.extend(read.entry.adds.into_iter().map(|add| add.path));
        self.at = Some(read.head);
        if list.checkpoints.contains_key(&version) { self.checkpoint(version).await } else { Ok(()) }
    }

    /// Compares the checkpoint of the version that was just read; begins with it, if nothing was known.
    async fn checkpoint(&mut self, version: Version) -> Result<()> {
        let folder = &self.frame.folder;
        let key = layout::checkpoint(folder, version);
        let loaded = checkpoint::load(&self.log.bucket, folder, &self.frame.id.to_string(), version).await?;
        let verdict = match (loaded, self.replay.take().and_then(Replay::finish)) {
            (Loaded::Good(there), Some(ours)) => {
                let verdict = checkpoint::same(&there, &ours);
                self.replay = Some(Replay::after(&ours));
                verdict
            }
            (Loaded::Good(there), None) if self.at.as_ref().is_none_or(|at| *at == there.head) => {
                self.at = Some(there.head.clone());
                self.replay = Some(Replay::after(&there));
                Ok(())
            }
            (Loaded::Good(_), None) => Err("it was made from another entry of its version".to_owned()),
            (Loaded::Damaged(why), ours) => {
                self.replay = ours.as_ref().map(Replay::after);
                Err(why)
            }
            // Deleted since it was listed.
            (Loaded::Absent, ours) => {
                self.replay = ours.as_ref().map(Replay::after);
                return Ok(());
            }
        };
        match verdict {
            Ok(()) => self.report.checkpoints += 1,
            Err(why) => self.report.found(key.as_str(), why, REPLACE),
        }
        Ok(())
    }
}

/// Checks that `body` is the entry after `at`; the first kept entry is believed about what came before it.
fn follow(
    log: &Log<FrameLog>,
    at: Option<&Head>,
    first: Version,
    body: &[u8],
) -> Result<Read<<FrameLog as LogKind>::Entry>> {
    if at.is_some() || first == Version(0) {
        return log.admit(at, body);
    }
    let key = log.kind.key(first);
    let entry = log.kind.decode(key.as_ref(), body)?;
    let sha256 = entry.header.prev.clone().unwrap_or_default();
    let before = Head { version: Version(first.0 - 1), sha256, timestamp_ms: entry.timestamp_ms() - 1 };
    log.admit(Some(&before), body)
}
