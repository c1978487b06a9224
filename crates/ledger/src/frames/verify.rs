//! Whether a frame is what its ledger says: every link of the chain, every checkpoint, every cell.
//!
//! Reads everything that is kept, believes nothing that is cached, changes nothing, and goes on after the first fault
//! as far as that makes sense. Writers may work meanwhile: what is checked is the version that was newest at the start
//! and what came before it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use apiary_bucket::{Listed, layout};
use apiary_core::Version;
use futures::{StreamExt, stream};

use super::{FrameLog, Frames};
use crate::{
    FrameRecord, LedgerError, Result, Snapshot,
    header::Head,
    log::{Log, LogKind, Read},
    replay::Replay,
};

/// Most objects of one kind that are listed: what the limits of a frame allow, and some.
const OBJECTS_MAX: usize = 4_000_000;

/// Entries read at once.
const GETS_AT_ONCE: usize = 16;

/// Problems that a report tells one by one; more are counted.
const PROBLEMS_MAX: usize = 100;

/// Something that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The object.
    pub object: String,
    /// What is wrong with it.
    pub what: String,
    /// What to do about it.
    pub advice: String,
}

/// What was checked and what was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// The version that was checked: the last one up to which the chain holds.
    pub version: Option<Version>,
    /// The oldest version whose entry is kept.
    pub oldest: Option<Version>,
    /// Entries whose place in the chain is right.
    pub entries: u64,
    /// Checkpoints that equal the entries they stand for.
    pub checkpoints: u64,
    /// Cells of the version, there and of the right size.
    pub cells: u64,
    /// Rows in them, as the ledger says.
    pub rows: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Cells that were opened: their bytes have the right checksum and hold the right number of rows.
    pub cells_opened: u64,
    /// Cells in the folder that only older versions name.
    pub older_cells: u64,
    /// Cells in the folder that no kept entry names: of writers that died, or that are at work now. No fault.
    pub orphans: u64,
    /// Bytes of them.
    pub orphan_bytes: u64,
    /// The first hundred problems.
    pub problems: Vec<Problem>,
    /// How many there are.
    pub problems_total: u64,
}

impl VerifyReport {
    /// Whether everything is as it must be.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.problems_total == 0
    }

    /// Adds a problem.
    pub fn found(&mut self, object: impl Into<String>, what: impl Into<String>, advice: &str) {
        self.problems_total += 1;
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(Problem { object: object.into(), what: what.into(), advice: advice.to_owned() });
        }
    }
}

/// What to do about an entry that is damaged.
const RESTORE: &str = "restore the object from a backup or the store's version history";

/// A frame's log as it was read.
struct Walk {
    report: VerifyReport,
    /// The newest version, if the whole chain up to it holds.
    newest: Option<Snapshot>,
    /// Every path that a kept entry names.
    named: BTreeSet<String>,
}

impl Frames {
    /// Checks a frame; the snapshot is the version that was checked, if its ledger can be read to the end. 2 LISTs for
    /// each 1 000 objects in the frame's folder, 1 GET for each kept entry, 16 at once.
    ///
    /// An error means that the check could not be made; what is wrong with the frame stands in the report.
    pub async fn verify(&self, frame: &FrameRecord) -> Result<(VerifyReport, Option<Arc<Snapshot>>)> {
        let log = self.log(frame);
        let listed = self.all(&log.kind.prefix()).await?;
        let entries: BTreeMap<Version, u64> =
            listed.iter().filter_map(|o| Some((log.kind.version_of(&o.key)?, o.size))).collect();
        let mut walk = Walk { report: VerifyReport::default(), newest: None, named: BTreeSet::new() };
        match entries.first_key_value() {
            Some((oldest, _)) => walk.report.oldest = Some(*oldest),
            None => {
                walk.report.found(log.kind.prefix(), "the registry names it, and it has no entries", RESTORE);
                return Ok((walk.report, None));
            }
        }
        walk.entries(&log, &entries).await?;
        let Walk { mut report, newest, named } = walk;
        let Some(newest) = newest else { return Ok((report, None)) };
        let there = self.all(&layout::cells_prefix(&frame.folder)).await?;
        let missing = cells(&mut report, &newest, &there, &named);
        if !missing.is_empty() {
            // What a writer removed since the check began may be gone by now, and rightly.
            let now = self.snapshot(frame).await?;
            let named: BTreeSet<String> = now.cells.iter().map(|cell| cell.key().to_string()).collect();
            for (key, why) in missing.into_iter().filter(|(key, _)| named.contains(key)) {
                report.found(key, why, RESTORE);
            }
        }
        Ok((report, Some(Arc::new(newest))))
    }

    async fn all(&self, prefix: &str) -> Result<Vec<Listed>> {
        let listed = self.bucket.list(prefix, None, OBJECTS_MAX).await?;
        if listed.len() == OBJECTS_MAX {
            return Err(LedgerError::Internal(format!("'{prefix}' holds more than {OBJECTS_MAX} objects")));
        }
        Ok(listed)
    }
}

impl Walk {
    /// Reads every kept entry in order.
    async fn entries(&mut self, log: &Log<FrameLog>, entries: &BTreeMap<Version, u64>) -> Result<()> {
        let (Some((first, _)), Some((last, _))) = (entries.first_key_value(), entries.last_key_value()) else {
            return Ok(());
        };
        let get = |version: u64| async move {
            let key = log.kind.key(Version(version));
            (key.clone(), log.bucket.get(&key).await)
        };
        let mut bodies = stream::iter(first.0..=last.0).map(get).buffered(GETS_AT_ONCE);
        let mut at: Option<Head> = None;
        let mut replay = (*first == Version(0)).then(|| Replay::new(&log.kind.folder));
        while let Some((key, body)) = bodies.next().await {
            let Some(body) = body? else {
                self.report.found(key.as_str(), "it is missing, and later entries are there", RESTORE);
                return Ok(());
            };
            let read = match follow(log, at.as_ref(), *first, &body) {
                Ok(read) => read,
                Err(LedgerError::Corrupt { object, why }) => {
                    self.report.found(object, why, RESTORE);
                    return Ok(());
                }
                Err(error) => return Err(error),
            };
            if let Some(Err(LedgerError::Corrupt { object, why })) =
                replay.as_mut().map(|r| r.take(key.as_ref(), &read))
            {
                self.report.found(object, why, RESTORE);
                return Ok(());
            }
            self.report.entries += 1;
            self.report.version = Some(read.head.version);
            self.named.extend(read.entry.adds.into_iter().map(|add| add.path));
            at = Some(read.head);
        }
        self.newest = replay.and_then(Replay::finish);
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
    let before = Head { version: Version(first.0 - 1), sha256, timestamp_ms: entry.timestamp_ms - 1 };
    log.admit(Some(&before), body)
}

/// Compares the cells that the newest version names with those that are there; returns those that are not, and why.
fn cells(
    report: &mut VerifyReport,
    newest: &Snapshot,
    there: &[Listed],
    named: &BTreeSet<String>,
) -> Vec<(String, String)> {
    let mut missing = Vec::new();
    let mut sizes: HashMap<&str, u64> = there.iter().map(|object| (object.key.as_str(), object.size)).collect();
    for cell in &newest.cells {
        let why = match sizes.remove(cell.key().as_str()) {
            Some(size) if size == cell.size_bytes => {
                report.cells += 1;
                report.rows += cell.rows;
                report.bytes += size;
                continue;
            }
            Some(size) => format!("it has {size} bytes, and the ledger says {}", cell.size_bytes),
            None => "it is missing".to_owned(),
        };
        missing.push((cell.key().to_string(), why));
    }
    let within = |key: &str| key.strip_prefix(&newest.folder).map(|rest| rest.trim_start_matches('/').to_owned());
    for (key, size) in sizes {
        if within(key).is_some_and(|path| named.contains(&path)) {
            report.older_cells += 1;
        } else {
            report.orphans += 1;
            report.orphan_bytes += size;
        }
    }
    missing
}
