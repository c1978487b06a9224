//! Everything that can be wrong with a statement, its names and its run.
//!
//! Messages speak of what the user wrote: never of DataFusion's internal names, plans or traces.

use apiary_bucket::BucketError;
use apiary_core::{ErrorKind, NameError};
use apiary_ledger::LedgerError;
use datafusion::error::DataFusionError;

use crate::advice;

/// Results of this crate.
pub type Result<T, E = QueryError> = std::result::Result<T, E>;

/// Why a statement could not be answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// SQL that does not parse.
    #[error("line {line}, column {column}: {message}\n{picture}")]
    Syntax {
        /// What was expected there.
        message: String,
        /// The line, from 1.
        line: usize,
        /// The column in characters, from 1.
        column: usize,
        /// The line of SQL with a caret under the place.
        picture: String,
    },
    /// Longer than `apiary_core::limits::SQL_BYTES_MAX`.
    #[error("the statement has {bytes} bytes; at most {max} are allowed")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// SQL that parses but means nothing here.
    #[error("{message}{picture}")]
    Meaning {
        /// What is wrong.
        message: String,
        /// A new line and the place, or nothing.
        picture: String,
        /// What to write instead.
        hint: Option<String>,
    },
    /// A hive, box, frame or column that is not there.
    #[error("{message}{picture}")]
    Unknown {
        /// What was looked for, and where.
        message: String,
        /// A new line and the place, or nothing.
        picture: String,
        /// The nearest name, or how to list them.
        hint: Option<String>,
    },
    /// A statement that Apiary does not take as SQL.
    #[error("{what} is not supported in SQL")]
    Unsupported {
        /// The statement.
        what: String,
        /// The command to use.
        instead: String,
    },
    /// A setting that is not there.
    #[error("there is no setting '{name}'")]
    SettingName {
        /// What was written.
        name: String,
        /// The nearest name.
        nearest: Option<String>,
    },
    /// A value that a setting cannot have.
    #[error("'{value}' is no value for {name}; write {expected}")]
    SettingValue {
        /// The setting.
        name: &'static str,
        /// What was written.
        value: String,
        /// What may be written.
        expected: &'static str,
    },
    /// A name that cannot be.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The ledger could not answer.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The bucket could not answer.
    #[error(transparent)]
    Bucket(#[from] BucketError),
    /// The plan failed while it ran.
    #[error("{message}")]
    Run {
        /// What kind of failure.
        kind: ErrorKind,
        /// What happened.
        message: String,
        /// What may help.
        hint: Option<String>,
    },
}

impl QueryError {
    /// What callers decide by.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Syntax { .. } | Self::Meaning { .. } => ErrorKind::SqlSyntax,
            Self::Unknown { .. } => ErrorKind::NotFound,
            Self::Unsupported { .. } => ErrorKind::Unsupported,
            Self::TooLong { .. } | Self::SettingName { .. } | Self::SettingValue { .. } | Self::Name(_) => {
                ErrorKind::InvalidInput
            }
            Self::Ledger(error) => error.kind(),
            Self::Bucket(error) => error.kind(),
            Self::Run { kind, .. } => *kind,
        }
    }

    /// What to type next, if there is advice.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Meaning { hint, .. } | Self::Unknown { hint, .. } | Self::Run { hint, .. } => hint.clone(),
            Self::Unsupported { instead, .. } => Some(instead.clone()),
            Self::SettingName { nearest: Some(name), .. } => {
                Some(format!("did you mean '{name}'? SHOW SETTINGS lists them all"))
            }
            Self::SettingName { nearest: None, .. } => Some("SHOW SETTINGS lists them all".to_owned()),
            Self::Ledger(error) => error.hint(),
            Self::Bucket(error) => error.hint(),
            _ => None,
        }
    }

    pub(crate) fn meaning(message: impl Into<String>, hint: impl Into<Option<String>>) -> Self {
        Self::Meaning { message: message.into(), picture: String::new(), hint: hint.into() }
    }

    pub(crate) fn unknown(message: impl Into<String>, hint: impl Into<Option<String>>) -> Self {
        Self::Unknown { message: message.into(), picture: String::new(), hint: hint.into() }
    }
}

impl From<DataFusionError> for QueryError {
    fn from(error: DataFusionError) -> Self {
        advice::of_run(error)
    }
}
