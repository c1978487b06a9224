//! Whether a frame is what its ledger says: every link of the chain, every checkpoint, every cell.
//!
//! Reads everything that is kept, believes nothing that is cached, changes nothing, and goes on after the first fault
//! as far as that makes sense. Writers may work meanwhile: what is checked is the version that was newest at the start
//! and what came before it.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use apiary_bucket::{Bucket, Listed, layout};
use apiary_core::Version;

use super::{
    Frames,
    verify_log::{self, Walked},
};
use crate::{FrameRecord, LedgerError, Result, Snapshot};

/// Most objects of one kind that are listed: what the limits of a frame allow, and some.
pub(super) const OBJECTS_MAX: usize = 4_000_000;

/// How long the list of them may take.
const LIST_MAX: Duration = Duration::from_secs(1800);

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
pub(super) const RESTORE: &str = "restore the object from a backup or the store's version history";

impl Frames {
    /// Checks a frame; the snapshot is the version that was checked, if its ledger can be read to the end. 1 LIST for
    /// each 1 000 objects in the frame's folder, 1 GET for each kept entry, 16 at once, 2 for each checkpoint.
    ///
    /// An error means that the check could not be made; what is wrong with the frame stands in the report.
    pub async fn verify(&self, frame: &FrameRecord) -> Result<(VerifyReport, Option<Arc<Snapshot>>)> {
        let log = self.log(frame);
        let Walked { mut report, newest, named } = verify_log::walk(&log, frame).await?;
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
        let listed = list_all(&self.bucket, prefix).await?;
        if listed.len() == OBJECTS_MAX {
            return Err(LedgerError::Internal(format!("'{prefix}' holds more than {OBJECTS_MAX} objects")));
        }
        Ok(listed)
    }
}

/// Everything under a prefix: up to some thousand LISTs.
pub(super) async fn list_all(bucket: &Bucket, prefix: &str) -> Result<Vec<Listed>> {
    match apiary_core::within(bucket.clock().as_ref(), LIST_MAX, bucket.list(prefix, None, OBJECTS_MAX)).await {
        Some(listed) => Ok(listed?),
        None => Err(LedgerError::Timeout { object: prefix.to_owned(), seconds: LIST_MAX.as_secs() }),
    }
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
            Some(size) if size < cell.size_bytes => {
                format!("it is cut short: it has {size} of {} bytes", cell.size_bytes)
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
