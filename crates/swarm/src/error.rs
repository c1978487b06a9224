//! What can go wrong between a node and the colony. Facts live in the variants; callers decide by [`ErrorKind`].

use apiary_bucket::{BucketError, layout};
use apiary_core::ErrorKind;

/// Shorthand for this crate.
pub type Result<T, E = SwarmError> = std::result::Result<T, E>;

/// An error of the swarm.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SwarmError {
    /// The bucket failed.
    #[error(transparent)]
    Bucket(#[from] BucketError),
    /// An object that does not decode, or that says something else than its key.
    #[error("'{key}' is damaged: {why}")]
    Corrupt {
        /// The object.
        key: String,
        /// What is wrong with it.
        why: String,
    },
    /// An object of a format that this version does not read.
    #[error("'{key}' has format {found}, and this version of apiary reads format {known}: update this node")]
    Format {
        /// The object.
        key: String,
        /// The format it names.
        found: u32,
        /// The format known here.
        known: u32,
    },
    /// The bucket uses a feature that this version lacks.
    #[error("the bucket uses the feature '{feature}', which this version of apiary does not have: update this node")]
    Feature {
        /// Its name.
        feature: String,
    },
    /// An object that would break one of the board's limits.
    #[error("'{key}' would have {bytes} bytes; a board object may have {max}")]
    TooLarge {
        /// The object.
        key: String,
        /// Its size.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// More objects under a prefix than the limit of the loop that reads them.
    #[error("more than {max} objects under '{prefix}'; {hint}")]
    TooMany {
        /// The prefix.
        prefix: String,
        /// The limit.
        max: usize,
        /// What to do.
        hint: &'static str,
    },
    /// The query's id stands on the board with another text or principal.
    #[error("query {query} is on the board already with another {what}; ask with a new query id")]
    QueryTaken {
        /// The id.
        query: String,
        /// What differs.
        what: &'static str,
    },
    /// A query that is not on the board.
    #[error("query {query} is not on the board: it was closed, or never asked")]
    NoQuery {
        /// The id.
        query: String,
    },
}

impl SwarmError {
    /// What callers decide by.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Bucket(error) => error.kind(),
            Self::Corrupt { .. } => ErrorKind::Corrupt,
            Self::Format { .. } | Self::Feature { .. } => ErrorKind::Unsupported,
            Self::TooLarge { .. } | Self::TooMany { .. } => ErrorKind::InvalidInput,
            Self::QueryTaken { .. } => ErrorKind::AlreadyExists,
            Self::NoQuery { .. } => ErrorKind::NotFound,
        }
    }

    /// What to type next, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Bucket(error) => error.hint(),
            Self::Corrupt { key, .. } if key.starts_with(layout::queries_prefix()) => {
                Some("ask again: what stands on the board ends with its query".to_owned())
            }
            Self::Corrupt { .. } => Some("restore the object from a backup or the store's version history".to_owned()),
            _ => None,
        }
    }

    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.kind().is_retryable()
    }

    pub(crate) fn corrupt(key: impl std::fmt::Display, why: impl std::fmt::Display) -> Self {
        Self::Corrupt { key: key.to_string(), why: why.to_string() }
    }
}
