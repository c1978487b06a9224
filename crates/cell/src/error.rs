//! What can go wrong with columns. Errors here never name a bucket key or a frame: the caller knows those.

use apiary_core::ErrorKind;
use arrow::{datatypes::DataType, error::ArrowError};
use parquet::errors::ParquetError;

/// The result of work on cells.
pub type Result<T, E = CellError> = std::result::Result<T, E>;

/// Why a cell could not be written, split or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CellError {
    /// A row without a value in a partition column.
    #[error("partition column '{column}' has a NULL in row {}", row + 1)]
    NullPartition {
        /// The column.
        column: String,
        /// The first such row, counted from 0 within what was written; the message counts from 1.
        row: usize,
    },
    /// A row with an empty text in a partition column; Delta readers would take it for NULL.
    #[error("partition column '{column}' has an empty text in row {}", row + 1)]
    EmptyPartition {
        /// The column.
        column: String,
        /// The first such row, counted from 0 within what was written; the message counts from 1.
        row: usize,
    },
    /// A column of a type that cannot part rows.
    #[error("column '{column}' of type {data_type} cannot partition a frame")]
    PartitionType {
        /// The column.
        column: String,
        /// Its type.
        data_type: DataType,
    },
    /// A partition column that is not in the batch.
    #[error("partition column '{column}' is not among the columns {columns:?}")]
    PartitionMissing {
        /// The column.
        column: String,
        /// The columns that are there.
        columns: Vec<String>,
    },
    /// Bytes that are not the cell they should be.
    #[error("not a readable cell: {reason}")]
    Corrupt {
        /// What the Parquet reader says.
        reason: String,
    },
    /// The Parquet writer refused.
    #[error("could not encode a cell: {0}")]
    Parquet(#[from] ParquetError),
    /// Arrow refused.
    #[error("could not work on columns: {0}")]
    Arrow(#[from] ArrowError),
}

impl CellError {
    /// What callers decide by.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NullPartition { .. } | Self::EmptyPartition { .. } => ErrorKind::SchemaMismatch,
            Self::PartitionType { .. } | Self::PartitionMissing { .. } => ErrorKind::InvalidInput,
            Self::Corrupt { .. } => ErrorKind::Corrupt,
            Self::Parquet(_) | Self::Arrow(_) => ErrorKind::Internal,
        }
    }

    /// What the user can do.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NullPartition { column, .. } => Some(format!(
                "filter the rows out with WHERE {column} IS NOT NULL, or give them a value such as \
                 coalesce({column}, 'unknown')"
            )),
            Self::EmptyPartition { column, .. } => {
                Some(format!("give the rows a value, such as CASE WHEN {column} = '' THEN 'unknown' ELSE {column} END"))
            }
            Self::PartitionType { .. } => {
                Some("partition by a column of integers, text, dates, timestamps, decimals or booleans".to_owned())
            }
            Self::PartitionMissing { .. } => Some("partition by columns of the frame's schema".to_owned()),
            Self::Corrupt { .. } | Self::Parquet(_) | Self::Arrow(_) => None,
        }
    }
}
