//! A cell as the ledger knows it, small: a frame has a hundred thousand of them, and a snapshot holds them all.
//!
//! What many cells have in common (the folder, the names of columns) stands once, in their [`Shape`]. Path and key
//! follow from the cell's id. Partition values and statistics are packed into one run of bytes (see `packed`) and
//! unpacked for whoever asks. [`CellFacts`] is the same in plain words, for writers and tests.

use std::sync::Arc;

use apiary_bucket::{Key, layout};
use apiary_core::{CellStats, ColumnStats, TxnId};

use crate::{LedgerError, Result, packed, transaction::PartitionValues};

/// Which cell: the transaction that wrote it, and its number in there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CellId {
    /// The transaction.
    pub txn: TxnId,
    /// The cell's number.
    pub n: u32,
}

impl CellId {
    /// Reads a path relative to a frame's folder; `None` if [`CellId::path`] would not write it so.
    #[must_use]
    pub fn of_path(path: &str) -> Option<Self> {
        let (txn, n) = layout::parse_cell_path(path)?;
        let (before, number) = path.strip_suffix(".parquet")?.rsplit_once('-')?;
        // One spelling: hyphens where a uuid has them, lower case, two digits at least and no more than needed.
        let plain = before.len() == "cells/".len() + 36 && !before.bytes().any(|byte| byte.is_ascii_uppercase());
        let short = number.len() == 2 || (number.len() > 2 && !number.starts_with('0'));
        (plain && short).then_some(Self { txn, n: u32::try_from(n).ok()? })
    }

    /// The path relative to the frame's folder.
    #[must_use]
    pub fn path(&self) -> String {
        layout::cell_path(&self.txn, self.n as usize)
    }
}

/// What is known of a cell, in plain words.
#[derive(Debug, Clone, PartialEq)]
pub struct CellFacts {
    /// The frame's folder.
    pub folder: String,
    /// Which cell.
    pub id: CellId,
    /// Its size.
    pub size_bytes: u64,
    /// One value for each partition column, in their order, as text (see [`crate::partition_text`]); `None` is NULL.
    pub partition_values: PartitionValues,
    /// What is known of its rows.
    pub stats: CellStats,
    /// SHA-256 of its bytes, in hexadecimal.
    pub sha256: String,
    /// When it was written, in milliseconds since 1970 by its writer's clock.
    pub modified_ms: i64,
}

impl CellFacts {
    /// The same, small. An error if the checksum is none.
    pub fn pack(&self) -> Result<CellEntry> {
        let mut sha256 = [0; 32];
        if hex::decode_to_slice(&self.sha256, &mut sha256).is_err() {
            let why = format!("'{}' is not the SHA-256 of the cell '{}'", self.sha256, self.id.path());
            return Err(LedgerError::Transaction { txn: self.id.txn, why });
        }
        let shape = Shape {
            folder: self.folder.clone(),
            partition_by: self.partition_values.iter().map(|(name, _)| name.clone()).collect(),
            columns: self.stats.columns.keys().cloned().collect(),
        };
        let values: Vec<Option<&str>> = self.partition_values.iter().map(|(_, value)| value.as_deref()).collect();
        let columns = self.stats.columns.values().enumerate();
        let mut bytes = packed::Packer::new(&values);
        columns.for_each(|(at, column)| bytes.column(at, column));
        Ok(CellEntry {
            shape: Arc::new(shape),
            id: self.id,
            size_bytes: self.size_bytes,
            rows: self.stats.rows,
            modified_ms: self.modified_ms,
            sha256,
            packed: bytes.finish(),
        })
    }
}

/// What many cells have in common.
#[derive(Debug, PartialEq)]
pub(crate) struct Shape {
    pub(crate) folder: String,
    pub(crate) partition_by: Vec<String>,
    /// The columns that statistics may speak of, sorted.
    pub(crate) columns: Vec<String>,
}

/// A cell as the ledger knows it.
#[derive(Debug, Clone)]
pub struct CellEntry {
    pub(crate) shape: Arc<Shape>,
    /// Which cell.
    pub id: CellId,
    /// Its size.
    pub size_bytes: u64,
    /// Its rows.
    pub rows: u64,
    /// When it was written, in milliseconds since 1970 by its writer's clock.
    pub modified_ms: i64,
    pub(crate) sha256: [u8; 32],
    /// Partition values and statistics.
    pub(crate) packed: Box<[u8]>,
}

impl PartialEq for CellEntry {
    fn eq(&self, other: &Self) -> bool {
        // Places in the packed bytes mean the same only in the same shape.
        let alike = Arc::ptr_eq(&self.shape, &other.shape) && self.packed == other.packed;
        let plain = |cell: &Self| (cell.id, cell.size_bytes, cell.rows, cell.modified_ms, cell.sha256);
        plain(self) == plain(other) && (alike || self.facts() == other.facts())
    }
}

impl CellEntry {
    /// The frame's folder.
    #[must_use]
    pub fn folder(&self) -> &str {
        &self.shape.folder
    }

    /// Its path relative to the frame's folder.
    #[must_use]
    pub fn path(&self) -> String {
        self.id.path()
    }

    /// Its key in the bucket.
    #[must_use]
    pub fn key(&self) -> Key {
        layout::cell(&self.shape.folder, &self.id.txn, self.id.n as usize)
    }

    /// SHA-256 of its bytes, in hexadecimal.
    #[must_use]
    pub fn sha256(&self) -> String {
        hex::encode(self.sha256)
    }

    /// One value for each partition column, in their order, as text (see [`crate::partition_text`]); `None` is NULL.
    #[must_use]
    pub fn partition_values(&self) -> PartitionValues {
        let values = packed::partition_values(&self.packed, self.shape.partition_by.len());
        let named = self.shape.partition_by.iter().zip(values);
        named.map(|(name, value)| (name.clone(), value.map(str::to_owned))).collect()
    }

    /// The value of one partition column; the outer `None` if the frame is not parted by it.
    #[must_use]
    pub fn partition_value(&self, column: &str) -> Option<Option<&str>> {
        let at = self.shape.partition_by.iter().position(|name| name == column)?;
        packed::partition_values(&self.packed, self.shape.partition_by.len()).nth(at)
    }

    /// What is known of its rows. Makes a map: for one column [`CellEntry::column`] is cheaper.
    #[must_use]
    pub fn stats(&self) -> CellStats {
        let columns = packed::columns(&self.packed, self.shape.partition_by.len());
        let named = columns.filter_map(|(at, column)| Some((self.shape.columns.get(at)?.clone(), column)));
        CellStats { rows: self.rows, columns: named.collect() }
    }

    /// What is known of one column.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<ColumnStats> {
        let wanted = self.shape.columns.binary_search_by(|column| column.as_str().cmp(name)).ok()?;
        packed::column(&self.packed, self.shape.partition_by.len(), wanted)
    }

    /// Everything in plain words.
    #[must_use]
    pub fn facts(&self) -> CellFacts {
        CellFacts {
            folder: self.shape.folder.clone(),
            id: self.id,
            size_bytes: self.size_bytes,
            partition_values: self.partition_values(),
            stats: self.stats(),
            sha256: self.sha256(),
            modified_ms: self.modified_ms,
        }
    }

    /// About how much memory it takes, what it shares with others left out.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        // Two counts in front of it, and what the allocator adds to its two pieces.
        size_of::<Self>() + self.packed.len() + 48
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_has_one_path() {
        let path = |n: &str| format!("cells/0192d3a4-00ab-7000-8000-000000000001-{n}.parquet");
        for n in [0u32, 7, 10, 99, 100, 1234, u32::MAX] {
            let id = CellId::of_path(&path(&format!("{n:02}"))).unwrap();
            assert_eq!((id.n, id.path()), (n, path(&format!("{n:02}"))));
        }
        for bad in ["0", "000", "007", "4294967296", "+1", ""] {
            assert_eq!(CellId::of_path(&path(bad)), None, "{bad}");
        }
        assert_eq!(
            CellId::of_path(&path("00").to_uppercase().replace("CELLS", "cells").replace("PARQUET", "parquet")),
            None
        );
        assert_eq!(CellId::of_path("cells/0192d3a400ab70008000000000000001-00.parquet"), None);
        assert_eq!(CellId::of_path(&path("00").replace("0192d3a4", "{192d3a4")), None);
    }
}
