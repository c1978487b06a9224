//! The cells among the rows of a checkpoint. What is known of a cell's rows and bytes stands there twice, as Delta has
//! it and as Apiary packs it; one of the two is read.

use arrow::array::{Array, AsArray, BinaryArray, Int64Array, MapArray, StringArray, StructArray};

use super::{
    columns::{column, longs, maps, pairs, text_of, texts, wrong},
    schema::PACKED,
};
use crate::entry::{BorrowedAdd, INEXACT_TAG, SHA256_TAG, Told};

/// Which of the two is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// Apiary's own.
    Packed,
    /// What other engines read.
    Delta,
}

impl Source {
    /// Whether it is read without this field of an `add`.
    pub(super) fn leaves_out(self, field: &str) -> bool {
        match self {
            Self::Packed => matches!(field, "stats" | "tags"),
            Self::Delta => field == PACKED,
        }
    }
}

/// The columns of all cells in a batch.
pub(super) struct Adds<'a> {
    pub(super) all: &'a StructArray,
    path: &'a StringArray,
    partition_values: &'a MapArray,
    size: &'a Int64Array,
    modification_time: &'a Int64Array,
    told: Columns<'a>,
}

enum Columns<'a> {
    Packed { rows: &'a Int64Array, stats: &'a BinaryArray, sha256: &'a BinaryArray },
    Delta { stats: &'a StringArray, tags: &'a MapArray },
}

impl<'a> Adds<'a> {
    pub(super) fn of(all: &'a StructArray, source: Source) -> Result<Self, String> {
        Ok(Self {
            all,
            path: texts(all, "path")?,
            partition_values: maps(all, "partitionValues")?,
            size: longs(all, "size")?,
            modification_time: longs(all, "modificationTime")?,
            told: Columns::of(all, source)?,
        })
    }

    pub(super) fn row(&self, row: usize) -> Result<BorrowedAdd<'a>, String> {
        Ok(BorrowedAdd {
            path: self.path.value(row),
            partition_values: pairs(self.partition_values, row)?,
            size: u64::try_from(self.size.value(row)).map_err(text_of)?,
            modification_time: self.modification_time.value(row),
            told: self.told.row(row)?,
        })
    }
}

impl<'a> Columns<'a> {
    fn of(all: &'a StructArray, source: Source) -> Result<Self, String> {
        if source == Source::Delta {
            return Ok(Self::Delta { stats: texts(all, "stats")?, tags: maps(all, "tags")? });
        }
        let packed = column(all, PACKED)?.as_struct_opt().ok_or_else(|| wrong(PACKED))?;
        let bytes = |name: &str| column(packed, name)?.as_binary_opt().ok_or_else(|| wrong(name));
        Ok(Self::Packed { rows: longs(packed, "rows")?, stats: bytes("stats")?, sha256: bytes("sha256")? })
    }

    fn row(&self, row: usize) -> Result<Told<'a>, String> {
        Ok(match self {
            Self::Packed { rows, stats, .. } if rows.is_null(row) || stats.is_null(row) => {
                Told::Delta { stats: None, sha256: None, inexact: None }
            }
            Self::Packed { rows, stats, sha256 } => Told::Packed {
                rows: u64::try_from(rows.value(row)).map_err(text_of)?,
                stats: stats.value(row),
                sha256: sha256.value(row),
            },
            Self::Delta { stats, tags } => {
                let tags = pairs(tags, row)?;
                let tag = |name: &str| tags.iter().find(|(key, _)| *key == name).and_then(|(_, value)| *value);
                Told::Delta {
                    stats: stats.is_valid(row).then(|| stats.value(row)),
                    sha256: tag(SHA256_TAG),
                    inexact: tag(INEXACT_TAG),
                }
            }
        })
    }
}
