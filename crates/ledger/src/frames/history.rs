//! What happened to a frame, newest first, as its entries say it.

use apiary_bucket::layout;
use apiary_core::Version;
use futures::{StreamExt, TryStreamExt, stream};

use super::Frames;
use crate::{
    FrameRecord, LedgerError, Result,
    entry::{self, FrameEntry},
    fence::epoch_of,
    log::within,
    sum,
};

/// Entries read at once.
const GETS_AT_ONCE: usize = 16;

/// What an entry added or removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moved {
    /// Rows, if every cell says how many it has.
    pub rows: Option<u64>,
    /// Cells.
    pub cells: u64,
    /// Bytes of Parquet.
    pub bytes: u64,
}

impl Moved {
    fn sum(cells: impl Iterator<Item = (Option<u64>, u64)>) -> Self {
        cells.fold(Self { rows: Some(0), ..Self::default() }, |sum, (rows, bytes)| Self {
            rows: sum.rows.zip(rows).map(|(a, b)| a + b),
            cells: sum.cells + 1,
            bytes: sum.bytes + bytes,
        })
    }
}

/// One version of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEntry {
    /// The version.
    pub version: Version,
    /// When it was committed, in milliseconds since 1970 by its writer's clock; never before the version before it.
    pub committed_ms: i64,
    /// What was done: the kinds of its transactions, or `seal` for a slot that was given away.
    pub operation: String,
    /// Who wrote it.
    pub node: String,
    /// Transactions that it committed.
    pub transactions: u64,
    /// What it added. A compaction adds the rows that it removes.
    pub added: Moved,
    /// What it removed.
    pub removed: Moved,
}

/// The newest versions of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// Newest first.
    pub entries: Vec<HistoryEntry>,
    /// Whether the entries before the last one were cleaned away.
    pub older_cleaned: bool,
}

impl Frames {
    /// The newest `limit` versions, newest first, as far as their entries are kept. The newest version, and 1 GET for
    /// each entry, 16 at once. An entry that is missing though its epoch was never cleaned is `Corrupt`.
    pub async fn history(&self, frame: &FrameRecord, limit: u64) -> Result<History> {
        let Version(newest) = self.snapshot(frame).await?.version;
        let wanted = (newest + 1).saturating_sub(limit.max(1))..=newest;
        let read = |version| async move { self.history_entry(frame, Version(version)).await };
        let mut found = stream::iter(wanted.rev()).map(read).buffered(GETS_AT_ONCE);
        let mut history = History { entries: Vec::new(), older_cleaned: false };
        while let Some(entry) = found.try_next().await? {
            match entry {
                Some(entry) => history.entries.push(entry),
                // Entries are cleaned away oldest first: below a gap there is nothing.
                None => {
                    self.cleaned_or_missing(frame, newest, history.entries.len() as u64).await?;
                    history.older_cleaned = true;
                    break;
                }
            }
        }
        Ok(history)
    }

    /// An error unless the entry below the newest `shown` was cleaned away: its fence came before it went.
    async fn cleaned_or_missing(&self, frame: &FrameRecord, newest: u64, shown: u64) -> Result<()> {
        let version = Version(newest.saturating_sub(shown));
        let fence = layout::fence(&frame.id, epoch_of(version));
        if within(&self.bucket, fence.as_ref(), self.bucket.get(&fence)).await?.is_some() {
            return Ok(());
        }
        let key = layout::ledger_entry(&frame.folder, version);
        let why = format!("it is missing, and it was not cleaned away; a limit of {shown} shows the versions after it");
        Err(LedgerError::corrupt(key, why))
    }

    async fn history_entry(&self, frame: &FrameRecord, version: Version) -> Result<Option<HistoryEntry>> {
        let key = layout::ledger_entry(&frame.folder, version);
        let Some(body) = within(&self.bucket, key.as_ref(), self.bucket.get(&key)).await? else { return Ok(None) };
        sum::check(key.as_ref(), &body)?;
        let entry = entry::decode(key.as_ref(), &body)?;
        if entry.header.v != version {
            return Err(LedgerError::corrupt(key, format!("it says version {} inside", entry.header.v)));
        }
        Ok(Some(told(version, &entry)))
    }
}

fn told(version: Version, entry: &FrameEntry) -> HistoryEntry {
    let mut kinds: Vec<&str> = entry.header.txns.iter().map(|txn| txn.kind.as_str()).collect();
    kinds.dedup();
    if !entry.header.sealed.is_empty() {
        kinds.push("seal");
    }
    HistoryEntry {
        version,
        committed_ms: entry.timestamp_ms,
        operation: kinds.join(", "),
        node: entry.header.node.clone(),
        transactions: entry.header.txns.len() as u64,
        added: Moved::sum(entry.adds.iter().map(|add| (entry::rows_added(add), add.size))),
        removed: Moved::sum(entry.removes.iter().map(|remove| (entry::rows_removed(remove), remove.size))),
    }
}
