//! What names and sizes alone tell of a frame's log: enough to know whether upkeep is due, without reading an entry.

use apiary_core::Version;

use super::{
    Frames,
    listing::{LOG_OBJECTS_MAX, Listing},
};
use crate::{FrameRecord, LedgerError, Result, checkpoint, fence::EPOCH_VERSIONS, log::LogKind};

/// A log from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLook {
    /// The newest version.
    pub newest: Version,
    /// The newest checkpoint that has a checksum.
    pub checkpoint: Option<Version>,
    /// Entries after it.
    pub entries: u64,
    /// Their bytes.
    pub bytes: u64,
    /// When the newest entry was written, by the store's clock, in milliseconds since 1970.
    pub modified_ms: i64,
}

impl LogLook {
    /// Whether a cleanup could find anything to do.
    #[must_use]
    pub fn may_be_cleaned(&self) -> bool {
        self.checkpoint.is_some_and(|checkpoint| checkpoint.0 >= EPOCH_VERSIONS)
    }

    fn of(list: &Listing, before: Option<Self>) -> Option<Self> {
        let checkpoint = list.newest_checkpoint();
        // Without a checkpoint among them, the new entries come on top of the old.
        let (base, known) = match (checkpoint, before) {
            (None, Some(before)) => (before.newest.next(), before),
            _ => {
                let known = Self { newest: list.last()?, checkpoint, entries: 0, bytes: 0, modified_ms: 0 };
                (checkpoint.map_or(Version(0), Version::next), known)
            }
        };
        let tail = || list.entries.range(base..).map(|(_, entry)| entry.size);
        let (newest, entry) = list.entries.last_key_value()?;
        Some(Self {
            newest: *newest,
            entries: known.entries + tail().count() as u64,
            bytes: known.bytes + tail().sum::<u64>(),
            modified_ms: entry.modified_ms,
            ..known
        })
    }
}

impl Frames {
    /// Looks at a log without reading it: 1 GET and 1 LIST, or 1 LIST with what an earlier look saw (a checkpoint that
    /// someone else wrote since, of a version before that, is not seen then). Tells nothing that anything may depend
    /// on but the time of the next upkeep.
    pub async fn look(&self, frame: &FrameRecord, before: Option<LogLook>) -> Result<LogLook> {
        let log = self.log(frame);
        let from = match before {
            Some(before) => Some(before.newest.next()),
            None => checkpoint::hint(&self.bucket, &frame.folder).await,
        };
        let list = Listing::read(&log, from, LOG_OBJECTS_MAX).await?;
        if let (Some(before), true) = (before, list.entries.is_empty()) {
            return Ok(before);
        }
        // A hint that points beyond the end, or to nothing.
        let lost = before.is_none() && from.is_some() && list.checkpoints.is_empty();
        let list = if lost { Listing::read(&log, None, LOG_OBJECTS_MAX).await? } else { list };
        let missing = || LedgerError::LedgerMissing { object: log.kind.key(Version(0)).to_string() };
        LogLook::of(&list, before).ok_or_else(missing)
    }
}
