//! What a list of a frame's log shows, by kind of object.

use std::collections::BTreeMap;

use apiary_bucket::{
    Listed,
    layout::{self, LedgerObject},
};
use apiary_core::Version;

use super::FrameLog;
use crate::{
    Result,
    log::{Log, LogKind, within},
};

/// Objects of one log that one listing takes: some hundred megabytes of names. Entries beyond are read one by one.
pub(super) const LOG_OBJECTS_MAX: usize = 1_000_000;

/// A log, or a part of it, by names.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) entries: BTreeMap<Version, Listed>,
    /// Those with a checksum; without one nobody believes them.
    pub(super) checkpoints: BTreeMap<Version, Listed>,
    pub(super) checksums: BTreeMap<Version, Listed>,
    /// Checkpoints without a checksum.
    pub(super) others: BTreeMap<Version, Listed>,
    /// Whether nothing was cut off at its end.
    pub(super) is_whole: bool,
}

impl Listing {
    /// Lists a log from a version on. 1 LIST for each 1 000 objects.
    pub(super) async fn read(log: &Log<FrameLog>, from: Option<Version>, objects_max: usize) -> Result<Self> {
        let folder = &log.kind.folder;
        let (prefix, from) = (log.kind.prefix(), from.map(|from| layout::ledger_from(folder, from)));
        let listed = within(&log.bucket, &prefix, log.bucket.list(&prefix, from.as_deref(), objects_max)).await?;
        Ok(Self::of(folder, listed, objects_max))
    }

    fn of(folder: &str, listed: Vec<Listed>, objects_max: usize) -> Self {
        let mut listing = Self { is_whole: listed.len() < objects_max, ..Self::default() };
        for object in listed {
            match layout::parse_ledger_object(folder, &object.key) {
                Some(LedgerObject::Entry(version)) => drop(listing.entries.insert(version, object)),
                Some(LedgerObject::Checkpoint(version)) => drop(listing.others.insert(version, object)),
                Some(LedgerObject::Checksum(version)) => drop(listing.checksums.insert(version, object)),
                None => {}
            }
        }
        let (with, without) = std::mem::take(&mut listing.others)
            .into_iter()
            .partition(|(version, _)| listing.checksums.contains_key(version));
        (listing.checkpoints, listing.others) = (with, without);
        listing
    }

    pub(super) fn last(&self) -> Option<Version> {
        self.entries.last_key_value().map(|(version, _)| *version)
    }

    /// Whether there is nothing from which a frame could be read.
    pub(super) fn is_bare(&self) -> bool {
        self.is_whole && self.entries.is_empty() && self.checkpoints.is_empty() && self.others.is_empty()
    }

    pub(super) fn newest_checkpoint(&self) -> Option<Version> {
        self.checkpoints.last_key_value().map(|(version, _)| *version)
    }

    /// The first of the entries that end with the last one and have none missing among them.
    pub(super) fn dense_from(&self) -> Option<Version> {
        let mut versions = self.entries.keys().rev().copied();
        let last = versions.next()?;
        Some(versions.scan(last, |next, version| (version.next() == *next).then(|| *next = version)).count())
            .and_then(|more| last.0.checked_sub(more as u64))
            .map(Version)
    }

    /// The oldest version from which all later ones can be replayed.
    pub(super) fn oldest(&self) -> Option<Version> {
        let dense = self.dense_from()?;
        if dense == Version(0) {
            return Some(dense);
        }
        self.checkpoints.keys().copied().find(|version| version.next() >= dense)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(entries: &[u64], checkpoints: &[u64]) -> Listing {
        let object = |key: String| Listed { key, size: 1, modified_ms: 1 };
        let entry = |v: &u64| object(layout::ledger_entry("f", Version(*v)).to_string());
        let two = |v: &u64| [layout::checkpoint("f", Version(*v)), layout::checksum("f", Version(*v))];
        let named = checkpoints.iter().flat_map(two).map(|key| object(key.to_string()));
        Listing::of("f", entries.iter().map(entry).chain(named).collect(), 100)
    }

    #[test]
    fn the_oldest_version_is_the_first_entry_or_a_checkpoint_that_all_later_entries_follow() {
        assert_eq!(listing(&[], &[]).oldest(), None);
        assert_eq!(listing(&[0, 1, 2], &[1]).oldest(), Some(Version(0)));
        // Entry 3 was kept for its checkpoint; what came right after it is gone.
        assert_eq!(listing(&[3, 8, 9, 10], &[3, 9]).oldest(), Some(Version(9)));
        assert_eq!(listing(&[8, 9, 10], &[7]).oldest(), Some(Version(7)));
        assert_eq!(listing(&[8, 9, 10], &[]).oldest(), None);
        assert_eq!(listing(&[5], &[]).dense_from(), Some(Version(5)));
    }
}
