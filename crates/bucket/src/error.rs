//! What can go wrong with a bucket, said so that the reader knows what to type next.
//!
//! Store errors are sorted here, once, by what a person can do about them. Credentials never appear: the uri in a
//! message is the one without them.

use std::{io, path::PathBuf};

use apiary_core::ErrorKind;

/// The result of this crate.
pub type Result<T, E = BucketError> = std::result::Result<T, E>;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BucketError {
    /// A storage uri that cannot be read.
    #[error("cannot use '{uri}' as storage: {why}")]
    Uri {
        /// What was given, without credentials.
        uri: String,
        /// What is wrong with it.
        why: String,
        /// What to write instead.
        hint: String,
    },
    /// A key that is no key.
    #[error("'{key}' cannot be a key: {why}")]
    Key {
        /// The key.
        key: String,
        /// What is wrong with it.
        why: String,
    },
    /// An object that had to be there.
    #[error("the object '{key}' is not in the bucket")]
    NotFound {
        /// The object.
        key: String,
    },
    /// An object that is larger than one of its kind can be.
    #[error(
        "the object '{key}' has {bytes} bytes, and one of its kind has at most {bytes_max}; nothing of it was read"
    )]
    TooLarge {
        /// The object.
        key: String,
        /// What it has.
        bytes: u64,
        /// What it may have.
        bytes_max: u64,
    },
    /// A body that ended before its end.
    #[error("the read of '{key}' ended after {read} of {bytes} bytes; try again")]
    Short {
        /// The object.
        key: String,
        /// Bytes that came.
        read: u64,
        /// Bytes that were announced.
        bytes: u64,
    },
    /// The bucket, container or folder itself is not there.
    #[error("the bucket of {uri} does not exist")]
    NoBucket {
        /// Where it was looked for.
        uri: String,
        /// How to make it.
        hint: String,
    },
    /// A place without a colony, where one had to be.
    #[error("there is no Apiary bucket at {place}")]
    NoColony {
        /// Where it was looked for, without credentials.
        place: String,
        /// The folder that may have been meant.
        near: Option<PathBuf>,
    },
    /// The store knows us not.
    #[error("{uri} refuses these credentials: {why}")]
    Credentials {
        /// Where.
        uri: String,
        /// The store's words.
        why: String,
        /// How to give others.
        hint: String,
    },
    /// The store knows us and says no.
    #[error("the store denies {operation} of '{key}': {source}")]
    Denied {
        /// What was tried.
        operation: &'static str,
        /// On which object.
        key: String,
        /// The store's words.
        source: Box<object_store::Error>,
    },
    /// No answer from the store's address.
    #[error("cannot reach {uri}: {why}")]
    Unreachable {
        /// Where.
        uri: String,
        /// The network's words.
        why: String,
        /// What to check.
        hint: String,
    },
    /// Any other error of the store.
    #[error("{operation} of '{key}' failed: {source}")]
    Store {
        /// What was tried.
        operation: &'static str,
        /// On which object.
        key: String,
        /// The store's words.
        source: Box<object_store::Error>,
    },
    /// A create whose outcome could not be read back: it may or may not be there.
    #[error("it is not known whether '{key}' was created; read it back before creating it again: {why}")]
    OutcomeUnknown {
        /// The object.
        key: String,
        /// Why it could not be decided.
        why: String,
    },
    /// A store over which nothing can be promised.
    #[error(
        "{store} cannot hold a colony: {}; stores that work: Amazon S3, Cloudflare R2, MinIO, Google Cloud Storage, \
         Azure Blob Storage, or a folder on a file system with hard links",
        faults.join("; ")
    )]
    ConditionalPutUnsupported {
        /// The store.
        store: String,
        /// What it did wrong.
        faults: Vec<String>,
    },
    /// A local file or folder.
    #[error("cannot {operation} {}: {source}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
}

impl BucketError {
    /// Sorts a store's error.
    pub(crate) fn store(operation: &'static str, key: &str, source: object_store::Error) -> Self {
        let key = key.to_owned();
        match source {
            object_store::Error::NotFound { .. } => Self::NotFound { key },
            object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
                Self::Denied { operation, key, source: Box::new(source) }
            }
            source => Self::Store { operation, key, source: Box::new(source) },
        }
    }

    /// What kind of error it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Uri { .. } | Self::Key { .. } => ErrorKind::InvalidInput,
            Self::NotFound { .. } | Self::NoBucket { .. } | Self::NoColony { .. } => ErrorKind::NotFound,
            Self::Credentials { .. } => ErrorKind::Unauthenticated,
            Self::Denied { .. } => ErrorKind::PermissionDenied,
            Self::TooLarge { .. } => ErrorKind::Corrupt,
            Self::Short { .. } | Self::Unreachable { .. } | Self::Store { .. } | Self::Io { .. } => ErrorKind::Storage,
            Self::OutcomeUnknown { .. } => ErrorKind::OutcomeUnknown,
            Self::ConditionalPutUnsupported { .. } => ErrorKind::ConditionalPutUnsupported,
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Uri { hint, .. }
            | Self::NoBucket { hint, .. }
            | Self::Credentials { hint, .. }
            | Self::Unreachable { hint, .. } => Some(hint.clone()),
            Self::NoColony { near, .. } => {
                let near = near.as_ref().map(|near| format!("did you mean {}? ", near.display()));
                let make = "`apiary start` or `apiary import --create` makes one";
                Some(near.unwrap_or_default() + make)
            }
            Self::Denied { .. } => Some("grant the key read, write, list and delete on this bucket".to_owned()),
            Self::ConditionalPutUnsupported { .. } => {
                Some("choose another store, or upgrade this one, then run 'apiary doctor'".to_owned())
            }
            _ => None,
        }
    }

    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.kind().is_retryable()
    }
}
