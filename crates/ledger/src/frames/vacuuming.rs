//! Vacuum, as callers ask for it.

use std::collections::HashSet;

use super::Frames;
use crate::{
    FrameRecord, Result,
    vacuum::{self, VacuumOptions, VacuumReport},
};

impl Frames {
    /// Deletes the files of a frame that no version within retention, no query and no writer can need; without
    /// `options.run` it only tells which those are. Versions within retention stay whole, whatever fails on the way.
    ///
    /// Cost: the newest version, the store's time, 1 LIST for each 1 000 files; only if one of them may go, 1 LIST of pins,
    /// 1 for each 1 000 objects of the ledger, and 1 GET for each entry that matters; only if one goes, 2 commits and the
    /// deletes. Dropping the future is like a crash: the next vacuum finishes.
    pub async fn vacuum(&self, frame: &FrameRecord, options: &VacuumOptions) -> Result<VacuumReport> {
        let snapshot = self.snapshot(frame).await?;
        let mut report = vacuum::frame(&self.log(frame), frame, snapshot, options).await?;
        if !report.missing.is_empty() {
            // What was removed since then may be gone by now, and rightly.
            let now = self.snapshot(frame).await?;
            let named: HashSet<String> = now.cells.iter().map(|cell| cell.path()).collect();
            report.missing.retain(|path| named.contains(path));
            report.more |= report.missing.is_empty();
        }
        Ok(report)
    }
}
