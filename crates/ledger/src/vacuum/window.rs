//! The part of the log that a judgement needs: when its entries were written, and what the newest of them say.
//!
//! A judgement that rests on a damaged entry would delete cells that are needed, so the hash chain is checked up to the
//! head that the snapshot was made of.

use std::collections::HashMap;

use apiary_core::Version;
use futures::{StreamExt, stream};
use sha2::{Digest, Sha256};

use super::{
    ENTRIES_MAX,
    judge::{Window, Written},
};
use crate::{
    LedgerError, Result,
    entry::FrameEntry,
    frames::FrameLog,
    header::Head,
    log::{GETS_AT_ONCE, Log, LogKind, within},
    sum,
};

/// Objects of a log for each entry: the entry, and seldom a checkpoint and its checksum.
const OBJECTS_PER_ENTRY: usize = 3;

/// When the newest entries up to `head` were written. 1 LIST for each 1 000 objects.
pub(super) async fn written(log: &Log<FrameLog>, head: Version) -> Result<Written> {
    let prefix = log.kind.prefix();
    let before = head.0.checked_sub(ENTRIES_MAX).map(|version| log.kind.key(Version(version)));
    let most = usize::try_from(ENTRIES_MAX).unwrap_or(usize::MAX) * OBJECTS_PER_ENTRY;
    let listing = log.bucket.list(&prefix, before.as_ref().map(AsRef::as_ref), most);
    let listed = within(&log.bucket, &prefix, listing).await?;
    let entries = listed.iter().filter_map(|object| Some((log.kind.version_of(&object.key)?, object.modified_ms)));
    let at_ms = entries.filter(|(version, _)| *version <= head).collect();
    Ok(Written { at_ms, whole: before.is_none() })
}

/// What the entries from `from` to the head say. 1 GET each, 16 at once.
pub(super) async fn read(log: &Log<FrameLog>, from: Version, head: &Head) -> Result<Window> {
    let mut window = Window::from(from);
    let get = |version: u64| async move {
        let key = log.kind.key(Version(version));
        let body = within(&log.bucket, key.as_ref(), log.bucket.get(&key)).await;
        (Version(version), key, body)
    };
    let mut entries = stream::iter(from.0..=head.version.0).map(get).buffered(GETS_AT_ONCE);
    let mut sha256: Option<String> = None;
    while let Some((version, key, body)) = entries.next().await {
        let cleaned =
            || LedgerError::Aborted(format!("the entry '{key}' was cleaned away while vacuum read the ledger"));
        let body = body?.ok_or_else(cleaned)?;
        sum::check(key.as_ref(), &body)?;
        let entry = log.kind.decode(key.as_ref(), &body)?;
        let follows = sha256.is_none() || entry.header.prev == sha256;
        if entry.header.v != version || !follows {
            return Err(LedgerError::corrupt(
                key,
                "it does not follow the entry before it: one of the two was changed",
            ));
        }
        sha256 = Some(hex::encode(Sha256::digest(&body)));
        window.take(version, entry);
    }
    if sha256.is_some_and(|sha256| sha256 != head.sha256) {
        let key = log.kind.key(head.version);
        return Err(LedgerError::corrupt(key, "it is not the entry that was read before: it was changed"));
    }
    Ok(window)
}

impl Window {
    pub(super) fn from(from: Version) -> Self {
        Self { from, removed: HashMap::new(), committed: HashMap::new(), given_up: HashMap::new() }
    }

    pub(super) fn take(&mut self, version: Version, entry: FrameEntry) {
        self.removed.extend(entry.removes.into_iter().map(|remove| (remove.path, version)));
        self.committed.extend(entry.header.txns.iter().map(|txn| (txn.id, version)));
        let given_up = entry.header.sealed.iter().chain(&entry.header.doomed);
        self.given_up.extend(given_up.map(|txn| (*txn, version)));
    }
}
