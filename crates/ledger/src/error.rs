//! What can go wrong with a ledger, said with the object it is about and what to do next.

use std::{sync::Arc, time::Duration};

use apiary_bucket::BucketError;
use apiary_core::{ErrorKind, NameError, TxnId, Version};

/// The result of this crate.
pub type Result<T, E = LedgerError> = std::result::Result<T, E>;

/// What went wrong.
///
/// After any error of a commit but [`LedgerError::OutcomeUnknown`] the transaction is not in the ledger and never
/// will be: its cells may be deleted. After that one they must stay.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// The bucket.
    #[error(transparent)]
    Bucket(#[from] BucketError),
    /// A name that cannot be.
    #[error(transparent)]
    Name(#[from] NameError),
    /// An object that is not what was written.
    #[error("the object '{object}' is corrupt: {why}")]
    Corrupt {
        /// The object.
        object: String,
        /// What is wrong with it.
        why: String,
    },
    /// A frame of whose ledger nothing is left.
    #[error(
        "the object '{object}' is missing, and with it the whole ledger: the registry names the frame, and there is no entry and no checkpoint"
    )]
    LedgerMissing {
        /// Where its first entry should be.
        object: String,
    },
    /// An object that a newer version of the program wrote.
    #[error("the object '{object}' needs {needs}, which this version does not know; upgrade this node")]
    Newer {
        /// The object.
        object: String,
        /// What it needs.
        needs: String,
    },
    /// A hive, box or frame that is not there.
    #[error("there is no {what} '{name}'")]
    NotFound {
        /// Hive, box or frame.
        what: &'static str,
        /// Its full name.
        name: String,
        /// What to do about it.
        hint: String,
    },
    /// It is there already, and differs.
    #[error("the {what} '{name}' exists already and differs: {difference}")]
    AlreadyExists {
        /// Hive, box or frame.
        what: &'static str,
        /// Its full name.
        name: String,
        /// In what it differs.
        difference: String,
    },
    /// A name that something else has.
    #[error("the {what} '{name}' exists already")]
    Taken {
        /// Hive, box or frame.
        what: &'static str,
        /// Its full name.
        name: String,
    },
    /// A hive or box that shall go, and in which there is something.
    #[error("the {what} '{name}' is not empty: it holds {holds}")]
    NotEmpty {
        /// Hive or box.
        what: &'static str,
        /// Its full name.
        name: String,
        /// What is in it.
        holds: String,
    },
    /// A frame that is not as the caller knew it.
    #[error("the frame '{name}' is at version {version}, not {expected}; nothing was changed")]
    Changed {
        /// Its full name.
        name: String,
        /// Its newest version.
        version: Version,
        /// The version that the caller expected.
        expected: Version,
    },
    /// A frame that was dropped: its ledger says so, whatever the registry still says.
    #[error("there is no frame '{name}' any more: it was dropped")]
    Dropped {
        /// The name it had.
        name: String,
    },
    /// A schema that no frame can have.
    #[error("no frame can have this schema: {0}")]
    Schema(String),
    /// A value that cannot be a partition value.
    #[error("the partition column '{column}' cannot hold this: {why}")]
    PartitionValue {
        /// The column.
        column: String,
        /// What is wrong.
        why: String,
    },
    /// A transaction that contradicts itself or its frame.
    #[error("transaction {txn} cannot be committed: {why}")]
    Transaction {
        /// The transaction.
        txn: TxnId,
        /// What is wrong with it.
        why: String,
    },
    /// An idempotency key that was used for another payload.
    #[error("the idempotency key '{key}' was used in version {version} for other data; use a new key for new data")]
    KeyReused {
        /// The key.
        key: String,
        /// Where it was used.
        version: Version,
    },
    /// Others were faster, every time.
    #[error("the {what} is too busy: {attempts} attempts lost to other writers; try again")]
    Contended {
        /// Which log.
        what: &'static str,
        /// How often it was tried.
        attempts: u32,
    },
    /// The store did not decide in time, and the transaction was given up for good.
    #[error("nothing was changed: {0}; try again")]
    Aborted(String),
    /// The store did not answer.
    #[error("no answer about '{object}' within {seconds} s")]
    Timeout {
        /// Which object was asked for.
        object: String,
        /// How long was waited.
        seconds: u64,
    },
    /// It may or may not be in the ledger.
    #[error(
        "it is not known whether transaction {txn} was committed as '{object}'; read that object before doing it again: {why}"
    )]
    OutcomeUnknown {
        /// The transaction.
        txn: TxnId,
        /// The only object in which it can be.
        object: String,
        /// Why it could not be decided.
        why: String,
    },
    /// A version of a frame that cannot be read: not written yet, or cleaned away.
    #[error("'{frame}' has no version {version} to read; versions {oldest} to {newest} are available")]
    NoSuchVersion {
        /// The frame.
        frame: String,
        /// What was asked for.
        version: Version,
        /// The oldest version that can be read.
        oldest: Version,
        /// The newest.
        newest: Version,
    },
    /// A retention under which sleepers would not be safe.
    #[error("a log cannot be cleaned of what is {} s old; keep at least {} s", given.as_secs(), least.as_secs())]
    Retention {
        /// What was asked for.
        given: Duration,
        /// The least.
        least: Duration,
    },
    /// What was known of a log is older than what is left of it.
    #[error("the entries around '{object}' were cleaned away since this frame was last read; try again")]
    Fenced {
        /// The slot.
        object: String,
    },
    /// What befell several transactions together.
    #[error(transparent)]
    Shared(Arc<LedgerError>),
    /// Nothing was sent in this call: what the transaction was made from was cleaned out of the ledger meanwhile, and with
    /// it, maybe, the word that its cells are gone. Only who never sent it before knows that it is not in the ledger.
    #[error("transaction {txn} was made from a version of '{folder}' that was cleaned away since; begin again: {why}")]
    BaseCleaned {
        /// The transaction.
        txn: TxnId,
        /// The frame's folder.
        folder: String,
        /// What is known.
        why: String,
    },
    /// A defect in Apiary.
    #[error("a defect in the ledger: {0}")]
    Internal(String),
}

impl LedgerError {
    /// What kind of error it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Bucket(error) => error.kind(),
            Self::Name(_)
            | Self::Schema(_)
            | Self::PartitionValue { .. }
            | Self::Transaction { .. }
            | Self::NotEmpty { .. }
            | Self::Retention { .. } => ErrorKind::InvalidInput,
            Self::Corrupt { .. } | Self::LedgerMissing { .. } => ErrorKind::Corrupt,
            Self::Newer { .. } => ErrorKind::Unsupported,
            Self::NotFound { .. } | Self::Dropped { .. } | Self::NoSuchVersion { .. } => ErrorKind::NotFound,
            Self::AlreadyExists { .. } | Self::Taken { .. } => ErrorKind::AlreadyExists,
            Self::KeyReused { .. } => ErrorKind::KeyReused,
            Self::Contended { .. } | Self::Changed { .. } | Self::Fenced { .. } => ErrorKind::Conflict,
            Self::Timeout { .. } | Self::Aborted(_) => ErrorKind::Timeout,
            Self::OutcomeUnknown { .. } | Self::BaseCleaned { .. } => ErrorKind::OutcomeUnknown,
            Self::Shared(error) => error.kind(),
            Self::Internal(_) => ErrorKind::Internal,
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Bucket(error) => error.hint(),
            Self::Shared(error) => error.hint(),
            Self::NotFound { hint, .. } => Some(hint.clone()),
            Self::Dropped { .. } => Some("SHOW FRAMES lists what there is; the name is free for another".to_owned()),
            Self::Taken { what, .. } => Some(format!("choose another name, or drop that {what} first")),
            Self::NotEmpty { what, .. } => {
                Some(format!("drop what is in it first, or all at once: DROP {} … CASCADE", what.to_uppercase()))
            }
            Self::Corrupt { .. } => Some("restore the object from a backup or the store's version history".to_owned()),
            Self::LedgerMissing { .. } => {
                let restore = "restore the frame's folder from a backup or the store's version history";
                Some(format!("{restore}; or DROP FRAME takes the name away"))
            }
            _ => None,
        }
    }

    /// Whether what was known of a log is too old to go on from.
    pub(crate) fn is_fenced(&self) -> bool {
        match self {
            Self::Fenced { .. } => true,
            Self::Shared(error) => error.is_fenced(),
            _ => false,
        }
    }

    /// Whether a transaction that was never sent before is surely not in the ledger, and may begin again as another.
    #[must_use]
    pub fn sent_nothing(&self) -> bool {
        matches!(self, Self::BaseCleaned { .. })
    }

    /// Whether another transaction won.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        self.kind() == ErrorKind::Conflict
    }

    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.kind().is_retryable()
    }

    /// What another drop took first.
    pub(crate) fn gone(what: &'static str, name: String) -> Self {
        Self::NotFound { what, name, hint: "another drop was faster".to_owned() }
    }

    pub(crate) fn corrupt(object: impl AsRef<str>, why: impl std::fmt::Display) -> Self {
        Self::Corrupt { object: object.as_ref().to_owned(), why: why.to_string() }
    }
}
