//! What can go wrong with a write, said with the column, file or frame it is about and what to type next.

use std::path::PathBuf;

use apiary_bucket::BucketError;
use apiary_cell::CellError;
use apiary_core::{ErrorKind, Version};
use apiary_ledger::LedgerError;
use arrow::{datatypes::DataType, error::ArrowError};

use crate::{limits::IDEMPOTENCY_KEY_BYTES_MAX, schema::sql_type};

/// The result of this crate.
pub type Result<T, E = IngestError> = std::result::Result<T, E>;

/// What went wrong. After any of these nothing of the write is visible, but for [`ErrorKind::OutcomeUnknown`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IngestError {
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The bucket.
    #[error(transparent)]
    Bucket(#[from] BucketError),
    /// Encoding, splitting or reading columns.
    #[error(transparent)]
    Cell(#[from] CellError),
    /// Arrow refused what the checks before it let through.
    #[error("could not work on the batch: {0}")]
    Arrow(#[from] ArrowError),
    /// A column type that no frame stores.
    #[error("column '{column}' of type {data_type} cannot be stored")]
    TypeNotStored {
        /// The column.
        column: String,
        /// Its type.
        data_type: DataType,
        /// What to do.
        fix: String,
    },
    /// A column that the frame does not have.
    #[error("the data has a column '{column}' that the frame does not have")]
    ExtraColumn {
        /// The column.
        column: String,
        /// A column of the frame with nearly that name.
        suggestion: Option<String>,
        /// The frame's columns.
        known: Vec<String>,
    },
    /// A column that the frame requires.
    #[error("the data lacks the column '{column}', which the frame requires")]
    MissingColumn {
        /// The column.
        column: String,
        /// Its type in the frame.
        data_type: DataType,
    },
    /// Two columns of the data that are one column of the frame.
    #[error("the data has both '{first}' and '{second}', which are one column of the frame")]
    AmbiguousColumn {
        /// One.
        first: String,
        /// The other.
        second: String,
    },
    /// A type that does not become the frame's without a cast that may lose something.
    #[error("column '{column}' is {} ({expected}) in the frame but {} ({found}) in the data", sql_type(.expected), sql_type(.found))]
    WrongType {
        /// The column.
        column: String,
        /// The frame's type.
        expected: DataType,
        /// The data's type.
        found: DataType,
    },
    /// A value that the frame's type would round.
    #[error("column '{column}' has a value in row {} that {expected} cannot hold exactly", row + 1)]
    LosesDigits {
        /// The column.
        column: String,
        /// The first such row, counted from 0 within what is written; the message counts from 1.
        row: usize,
        /// The frame's type.
        expected: DataType,
    },
    /// A value that does not fit the frame's type.
    #[error("column '{column}' has a value that does not fit {expected}: {reason}")]
    ValueOutOfRange {
        /// The column.
        column: String,
        /// The frame's type.
        expected: DataType,
        /// Arrow's words.
        reason: String,
    },
    /// A NULL where the frame allows none.
    #[error("column '{column}' is required by the frame and has a NULL in row {}", row + 1)]
    UnexpectedNull {
        /// The column.
        column: String,
        /// The first such row, counted from 0 within what is written; the message counts from 1.
        row: usize,
    },
    /// Too many partitions in one write.
    #[error("the data has more than {max} partitions by {by:?}, the most that one write may touch")]
    TooManyPartitions {
        /// The limit.
        max: usize,
        /// The partition columns.
        by: Vec<String>,
    },
    /// Too much data in one write.
    #[error("the data makes more than {max} cells, the most that one write may add")]
    TooManyCells {
        /// The limit.
        max: usize,
    },
    /// An idempotency key that is too long or empty.
    #[error("an idempotency key has 1 to {IDEMPOTENCY_KEY_BYTES_MAX} bytes, this one has {bytes}")]
    IdempotencyKey {
        /// Its length.
        bytes: usize,
    },
    /// A partition that the frame cannot have.
    #[error("the frame has no partition '{values}': it is partitioned by {by:?}")]
    NoSuchPartition {
        /// What was named.
        values: String,
        /// The partition columns.
        by: Vec<String>,
    },
    /// A row that an overwrite of named partitions does not replace.
    #[error("the data has rows of the partition '{values}', which is not among those that are replaced")]
    OutsidePartitions {
        /// The partition.
        values: String,
    },
    /// What this process knew of the frame is not so any more.
    #[error("the frame was changed while this was written")]
    Stale,
    /// Another transaction excludes this one.
    #[error("version {version} of the frame excludes this write: {reason}")]
    Conflict {
        /// The version that came first.
        version: Version,
        /// Why.
        reason: String,
    },
    /// The write is not in the ledger and never will be.
    #[error("the write was not committed and nothing of it is visible: {reason}")]
    Aborted {
        /// Why.
        reason: String,
    },
    /// A cell in the bucket that is not what the ledger says.
    #[error("the cell '{key}' is corrupt: {reason}")]
    CorruptCell {
        /// Its key.
        key: String,
        /// What is wrong.
        reason: String,
    },
    /// A file that cannot be opened.
    #[error("cannot open '{}': {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// A file whose name says nothing about its format.
    #[error("cannot tell the format of '{}' from its name", path.display())]
    UnknownFormat {
        /// The file.
        path: PathBuf,
    },
    /// A file that is cut short, damaged or not of its format.
    #[error("'{}' is not a readable {format} file: {reason}", path.display())]
    BrokenFile {
        /// The file.
        path: PathBuf,
        /// The format.
        format: &'static str,
        /// The reader's words.
        reason: String,
        /// What to do.
        fix: String,
    },
    /// The stream of batches ended with an error of its own.
    #[error("the data stopped before its end: {message}")]
    Source {
        /// Its kind.
        kind: ErrorKind,
        /// Its message.
        message: String,
    },
    /// A step took too long.
    #[error("{what} took longer than {seconds} s")]
    Timeout {
        /// The step.
        what: String,
        /// The limit.
        seconds: u64,
    },
    /// Work in the background ended without a result.
    #[error("a defect in a write: {0}")]
    Internal(String),
}

impl IngestError {
    /// The same, of a batch that came behind so many rows: who wrote them knows no batches.
    pub(crate) fn behind(mut self, rows: usize) -> Self {
        match &mut self {
            Self::LosesDigits { row, .. }
            | Self::UnexpectedNull { row, .. }
            | Self::Cell(CellError::NullPartition { row, .. } | CellError::EmptyPartition { row, .. }) => *row += rows,
            _ => {}
        }
        self
    }

    /// What callers decide by.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Ledger(error) => error.kind(),
            Self::Bucket(error) => error.kind(),
            Self::Cell(error) => error.kind(),
            Self::Source { kind, .. } => *kind,
            Self::TypeNotStored { .. }
            | Self::ExtraColumn { .. }
            | Self::MissingColumn { .. }
            | Self::AmbiguousColumn { .. }
            | Self::WrongType { .. }
            | Self::LosesDigits { .. }
            | Self::ValueOutOfRange { .. }
            | Self::UnexpectedNull { .. } => ErrorKind::SchemaMismatch,
            Self::TooManyPartitions { .. }
            | Self::TooManyCells { .. }
            | Self::IdempotencyKey { .. }
            | Self::NoSuchPartition { .. }
            | Self::OutsidePartitions { .. }
            | Self::UnknownFormat { .. } => ErrorKind::InvalidInput,
            Self::BrokenFile { .. } => ErrorKind::Corrupt,
            Self::Open { source, .. } if source.kind() == std::io::ErrorKind::NotFound => ErrorKind::NotFound,
            Self::Open { .. } => ErrorKind::InvalidInput,
            Self::Conflict { .. } | Self::Stale => ErrorKind::Conflict,
            Self::Aborted { .. } => ErrorKind::Storage,
            Self::CorruptCell { .. } => ErrorKind::Corrupt,
            Self::Timeout { .. } => ErrorKind::Timeout,
            Self::Arrow(_) | Self::Internal(_) => ErrorKind::Internal,
        }
    }

    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.kind().is_retryable()
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Ledger(error) => return error.hint(),
            Self::Bucket(error) => return error.hint(),
            Self::Cell(error) => return error.hint(),
            Self::TypeNotStored { fix, .. } | Self::BrokenFile { fix, .. } => fix.clone(),
            Self::ExtraColumn { column, suggestion: Some(near), .. } => {
                format!("did you mean '{near}'? rename '{column}' or drop it from the data")
            }
            Self::ExtraColumn { column, known, .. } => {
                format!("drop '{column}' from the data; the frame's columns are {}", known.join(", "))
            }
            Self::MissingColumn { column, data_type } => {
                format!("add it to the data, such as CAST(… AS {}) AS {column}", sql_type(data_type))
            }
            Self::AmbiguousColumn { second, .. } => format!("drop or rename '{second}' in the data"),
            Self::WrongType { column, expected, .. } | Self::ValueOutOfRange { column, expected, .. } => {
                format!("cast it before writing: CAST({column} AS {})", sql_type(expected))
            }
            Self::LosesDigits { column, expected, .. } => {
                format!("round it before writing: {}", rounding(column, expected))
            }
            Self::UnexpectedNull { column, .. } => {
                format!("filter the rows out with WHERE {column} IS NOT NULL, or give them a value")
            }
            Self::TooManyPartitions { by, .. } => {
                format!("write in several parts, or partition by something with fewer values than {by:?}")
            }
            Self::TooManyCells { .. } => "write in several parts".to_owned(),
            Self::NoSuchPartition { by, .. } => format!("name one value for each of {by:?}"),
            Self::OutsidePartitions { .. } => "name that partition, too, or filter its rows out".to_owned(),
            Self::Conflict { .. } | Self::Aborted { .. } | Self::Stale => "write the same data again".to_owned(),
            Self::UnknownFormat { .. } => "name it .parquet, .csv, .tsv, .jsonl or .ndjson".to_owned(),
            Self::CorruptCell { .. } => "restore the object from a backup or the store's version history".to_owned(),
            _ => return None,
        })
    }

    /// Whether a write should begin again with fresh names.
    pub(crate) fn is_stale(&self) -> bool {
        matches!(self, Self::Stale)
    }

    /// A file that is not what it should be.
    pub(crate) fn broken(path: &std::path::Path, format: &'static str, reason: impl ToString, fix: &str) -> Self {
        Self::BrokenFile { path: path.to_owned(), format, reason: reason.to_string(), fix: fix.to_owned() }
    }
}

fn rounding(column: &str, expected: &DataType) -> String {
    match expected {
        DataType::Timestamp(..) => format!("date_trunc('microsecond', {column})"),
        _ => format!("CAST({column} AS {})", sql_type(expected)),
    }
}
