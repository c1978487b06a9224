//! What a scan kept and what it dropped, and why: plain values that EXPLAIN shows and the board stores.

use apiary_core::{FramePath, Version};
use serde::{Deserialize, Serialize};

/// What stood in a cell's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PruneKind {
    /// The values that part the frame.
    Partition,
    /// The bounds and NULL counts of the cell's columns.
    Statistics,
}

/// One condition, and the cells that went because of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PruneReason {
    /// The condition, as SQL.
    pub conjunct: String,
    /// What spoke against the cells.
    pub kind: PruneKind,
    /// How many went; a cell counts for the first condition that it fails.
    pub cells: usize,
    /// The bounds of the cells that went, if they say something: `cell max 2026-10-30 … 2026-10-31`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub range: Option<String>,
}

/// One cell of a scan, for EXPLAIN VERBOSE.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CellReport {
    /// Its path below the frame's folder.
    pub path: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// Its rows.
    pub rows: u64,
    /// The condition that it fails; `None`: it is read.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub pruned_by: Option<String>,
}

/// What one scan of a frame came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanReport {
    /// The frame.
    pub frame: FramePath,
    /// The version of its ledger that is read.
    pub version: Version,
    /// Cells in that version.
    pub cells_total: usize,
    /// Cells that are read.
    pub cells_kept: usize,
    /// Their bytes.
    pub bytes_kept: u64,
    /// Cells that a LIMIT made needless.
    #[serde(default)]
    pub cells_beyond_limit: usize,
    /// True: statistics answer, and nothing is read although cells were left.
    #[serde(default)]
    pub answered_by_ledger: bool,
    /// Why the others are not.
    pub pruned: Vec<PruneReason>,
    /// Every cell, if the plan was made for EXPLAIN VERBOSE.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub cells: Vec<CellReport>,
}
