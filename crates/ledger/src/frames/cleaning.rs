//! Cleaning a frame's log: what lies, whole epochs of it, below a verified checkpoint and is old enough goes. The order
//! that keeps sleepers safe stands in the head of `fence`.
//!
//! Old enough is the checkpoint itself, and every entry that goes, by the store's clock: so every version within
//! retention stays readable. Cut anywhere, a cleanup leaves a log that reads as before, and the next one goes on; two at
//! once delete the same.

use std::{collections::BTreeSet, time::Duration};

use apiary_bucket::{Key, Listed, layout};
use apiary_core::{Version, failpoint};
use bytes::Bytes;

use super::{
    FrameLog, Frames,
    listing::{LOG_OBJECTS_MAX, Listing},
};
use crate::{
    FrameRecord, LedgerError, Result,
    checkpoint::{self, Loaded},
    fence::{EPOCH_VERSIONS, FENCE_SETTLES, RETENTION_MIN, epoch_of},
    header::Head,
    log::{Log, LogKind, within},
};

/// What [`Frames::clean_log`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CleanReport {
    /// The checkpoint that everything deleted lies below; `None` if there is none old enough, and nothing was done.
    pub below: Option<Version>,
    /// Epochs of 1 024 versions out of which something was deleted.
    pub epochs: u64,
    /// Entries deleted.
    pub entries: u64,
    /// Checkpoints deleted.
    pub checkpoints: u64,
    /// Bytes deleted.
    pub bytes: u64,
}

/// Objects deleted with one request.
const DELETE_MAX: usize = 1000;

/// Checkpoints that are tried; if none of so many is whole, the frame needs a person.
const CHECKS_MAX: usize = 8;

/// What a fence says, for people: that it is there is all that counts.
const FENCE_BODY: &[u8] = b"{\"format\":1}\n";

impl Frames {
    /// Deletes entries and checkpoints that lie, whole epochs of 1 024 versions, below a checkpoint that was verified
    /// just before and are older than `retention` by the store's clock. Versions below that checkpoint cannot be read
    /// afterwards. 2 LISTs for each 1 000 objects of the log, 8 requests for the store's clock and the checkpoint, 1 PUT
    /// for each epoch, 1 DELETE for each 1 000 objects; and two minutes, if there is anything to delete. Safe to be cut anywhere, and beside any reader, writer or
    /// another cleanup.
    pub async fn clean_log(&self, frame: &FrameRecord, retention: Duration) -> Result<CleanReport> {
        if retention < RETENTION_MIN {
            return Err(LedgerError::Retention { given: retention, least: RETENTION_MIN });
        }
        let log = self.log(frame);
        let list = Listing::read(&log, None, LOG_OBJECTS_MAX).await?;
        // Most logs are short, and need not even ask for the time.
        if list.newest_checkpoint().is_none_or(|version| epoch_of(version) == 0) {
            return Ok(CleanReport::default());
        }
        let retention_ms = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
        let now_ms = within(&log.bucket, "the store's clock", log.bucket.store_now_ms()).await?;
        let cutoff_ms = now_ms.saturating_sub(retention_ms);
        let Some(below) = verified(&log, &list, cutoff_ms).await? else { return Ok(CleanReport::default()) };
        let epochs = cleanable(&list, below, cutoff_ms);
        for epoch in &epochs {
            let fence = layout::fence(&frame.id, *epoch);
            // Whoever made it: that it is there is all that counts.
            log.bucket.put_if_absent_decided(&fence, Bytes::from_static(FENCE_BODY)).await?;
        }
        let mut report = CleanReport { below: Some(below), epochs: epochs.len() as u64, ..CleanReport::default() };
        if !epochs.is_empty() {
            // Whoever looked for a fence just before may believe for a minute that there is none.
            log.bucket.clock().sleep(FENCE_SETTLES).await;
            let list = Listing::read(&log, None, LOG_OBJECTS_MAX).await?;
            if !list.checkpoints.contains_key(&below) {
                let why = "it is missing, so nothing of this log is deleted";
                return Err(LedgerError::corrupt(layout::checkpoint(&frame.folder, below), why));
            }
            delete(&log, &doomed(&list, &epochs, cutoff_ms), &mut report).await?;
            tracing::info!(frame = %frame.path, ?report, "cleaned a log");
        }
        Ok(report)
    }
}

/// The newest checkpoint that is old enough and whole, and follows from the log as it is.
async fn verified(log: &Log<FrameLog>, list: &Listing, cutoff_ms: i64) -> Result<Option<Version>> {
    let is_old = |version: &Version| list.entries.get(version).is_some_and(|entry| entry.modified_ms < cutoff_ms);
    let old = list.checkpoints.keys().rev().filter(|version| is_old(version) && epoch_of(**version) > 0);
    let dense = list.dense_from();
    for version in old.take(CHECKS_MAX) {
        // Nothing goes while an entry after the checkpoint is missing: all that is left would be needed.
        if dense.is_none_or(|dense| dense > *version) {
            let why = "it, or one after it, is missing, so nothing of this log is deleted";
            return Err(LedgerError::corrupt(log.kind.key(version.next()), why));
        }
        match checkpoint::load(&log.bucket, &log.kind.folder, log.kind.id.as_str(), *version).await? {
            Loaded::Good(snapshot) => {
                follows(log, &snapshot.head).await?;
                return Ok(Some(*version));
            }
            Loaded::Absent => {}
            Loaded::Damaged(why) => {
                let object = layout::checkpoint(&log.kind.folder, *version);
                tracing::warn!(%object, why, "a damaged checkpoint keeps the log below it");
            }
        }
    }
    Ok(None)
}

/// Whether the entry of a checkpoint's version is the one that it was made from, and the next entry follows it.
async fn follows(log: &Log<FrameLog>, head: &Head) -> Result<()> {
    let key = log.kind.key(head.version);
    let body = log.look(head.version).await?.ok_or_else(|| LedgerError::corrupt(&key, "it is missing"))?;
    if checkpoint::sha256(&body) != head.sha256 {
        return Err(LedgerError::corrupt(&key, "it is not the entry that its checkpoint was made from"));
    }
    log.read_after(Some(head.clone())).next().await.map(drop)
}

/// The epochs that may go, in order. Pure.
fn cleanable(list: &Listing, below: Version, cutoff_ms: i64) -> Vec<u64> {
    let mut epochs = Vec::new();
    for epoch in 0..epoch_of(below) {
        let (first, last) = (Version(epoch * EPOCH_VERSIONS), Version((epoch + 1) * EPOCH_VERSIONS - 1));
        // Fences come in the order of epochs: the first young one ends it.
        if list.entries.range(first..=last).any(|(_, entry)| entry.modified_ms >= cutoff_ms) {
            break;
        }
        let kinds = [&list.entries, &list.checkpoints, &list.checksums, &list.others];
        if kinds.iter().any(|kind| kind.range(first..=last).next().is_some()) {
            epochs.push(epoch);
        }
    }
    epochs
}

/// What goes, in the order in which it goes.
#[derive(Debug, Default)]
struct Doomed<'a> {
    /// First of all: a checkpoint without one is not believed.
    checksums: Vec<&'a Listed>,
    checkpoints: Vec<&'a Listed>,
    entries: Vec<&'a Listed>,
}

/// What may be deleted out of fenced epochs. Pure.
fn doomed<'a>(list: &'a Listing, epochs: &[u64], cutoff_ms: i64) -> Doomed<'a> {
    let epochs: BTreeSet<u64> = epochs.iter().copied().collect();
    let goes = |(version, object): &(&Version, &Listed)| {
        epochs.contains(&epoch_of(**version)) && object.modified_ms < cutoff_ms
    };
    let checkpoints = || list.checkpoints.iter().chain(&list.others);
    // A checkpoint that stays keeps the entry of its version, and its checksum.
    let kept: BTreeSet<Version> = checkpoints().filter(|one| !goes(one)).map(|(version, _)| *version).collect();
    let without = |(version, _): &(&Version, &Listed)| !kept.contains(version);
    let objects = |(_, object): (&Version, &'a Listed)| object;
    Doomed {
        checksums: list.checksums.iter().filter(goes).filter(without).map(objects).collect(),
        checkpoints: checkpoints().filter(goes).map(objects).collect(),
        entries: list.entries.iter().filter(goes).filter(without).map(objects).collect(),
    }
}

async fn delete(log: &Log<FrameLog>, doomed: &Doomed<'_>, report: &mut CleanReport) -> Result<()> {
    for kind in [&doomed.checksums, &doomed.checkpoints, &doomed.entries] {
        for some in kind.chunks(DELETE_MAX) {
            let keys = some.iter().map(|object| Key::parse(&object.key)).collect::<Result<Vec<_>, _>>()?;
            within(&log.bucket, &log.kind.prefix(), log.bucket.delete_all(&keys)).await?;
            failpoint::hit("mid_cleanup");
            report.bytes += some.iter().map(|object| object.size).sum::<u64>();
        }
    }
    report.checkpoints = doomed.checkpoints.len() as u64;
    report.entries = doomed.entries.len() as u64;
    Ok(())
}
