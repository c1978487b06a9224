//! What can keep a node from joining, serving or going on.

use std::path::PathBuf;

use apiary_bucket::BucketError;
use apiary_core::ErrorKind;
use apiary_swarm::SwarmError;

/// Shorthand for this crate.
pub type Result<T, E = NodeError> = std::result::Result<T, E>;

/// An error of a node.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// The bucket failed.
    #[error(transparent)]
    Bucket(#[from] BucketError),
    /// The colony's own objects failed.
    #[error(transparent)]
    Swarm(#[from] SwarmError),
    /// A bucket with a colony in it that does not say of which format it is.
    #[error("'{key}' is missing, and there is a colony in the bucket: '{object}'")]
    FormatLost {
        /// The object that must be there.
        key: String,
        /// What is there without it.
        object: String,
    },
    /// A setting with a value that cannot be.
    #[error("cannot use the setting '{name}': {why}")]
    Setting {
        /// Its name.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// A setting that does not exist.
    #[error("unknown setting '{name}' in {place}{}", suggestion.as_ref().map(|near| format!("; did you mean '{near}'?")).unwrap_or_default())]
    UnknownSetting {
        /// What stood there.
        name: String,
        /// Where it stood.
        place: String,
        /// The nearest setting there is.
        suggestion: Option<String>,
    },
    /// Settings that cannot be read at all.
    #[error("cannot read the settings: {0}")]
    Settings(String),
    /// Another process has the data folder.
    #[error("the data folder '{}' is in use by another node", path.display())]
    DataDirTaken {
        /// The folder.
        path: PathBuf,
    },
    /// A file or folder of the node's own.
    #[error("cannot {act} '{}': {source}", path.display())]
    File {
        /// What was tried.
        act: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Another process listens there.
    #[error("the address {address} is in use by another program")]
    PortInUse {
        /// The address.
        address: String,
    },
    /// An address that cannot be listened on.
    #[error("cannot listen on {address}: {why}")]
    Bind {
        /// The address.
        address: String,
        /// Why not.
        why: String,
    },
    /// A server that others could reach, without anything that keeps strangers out.
    #[error("refusing to listen on {address}: clients from other machines would need no password")]
    Open {
        /// The address.
        address: String,
    },
    /// Two nodes share one identity.
    #[error("another process beats under the id of this node, '{node}': two nodes share one data folder")]
    Twin {
        /// The id.
        node: String,
    },
    /// A node's address that cannot be reached.
    #[error("cannot reach the node at {address}: {why}")]
    Unreachable {
        /// host:port.
        address: String,
        /// Why not.
        why: String,
    },
    /// A server that ended on its own.
    #[error("the server on {address} failed: {why}")]
    Server {
        /// Where it listened.
        address: String,
        /// Why.
        why: String,
    },
    /// Someone asked to stop.
    #[error("stopped while waiting for {0}")]
    Cancelled(&'static str),
    /// The system refused threads.
    #[error("cannot start the bees' threads: {0}")]
    Threads(std::io::Error),
    /// DataFusion refused a runtime.
    #[error("cannot build a chamber: {0}")]
    Chamber(String),
}

impl NodeError {
    /// What callers decide by.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Bucket(error) => error.kind(),
            Self::Swarm(error) => error.kind(),
            Self::Setting { .. } | Self::UnknownSetting { .. } | Self::Settings(_) => ErrorKind::InvalidInput,
            Self::Open { .. } => ErrorKind::InvalidInput,
            Self::PortInUse { .. } | Self::Bind { .. } | Self::DataDirTaken { .. } => ErrorKind::Unavailable,
            Self::File { .. } => ErrorKind::Storage,
            Self::FormatLost { .. } => ErrorKind::Corrupt,
            Self::Unreachable { .. } => ErrorKind::Unavailable,
            Self::Threads(_) => ErrorKind::Internal,
            Self::Cancelled(_) => ErrorKind::Cancelled,
            Self::Twin { .. } | Self::Server { .. } | Self::Chamber(_) => ErrorKind::Internal,
        }
    }

    /// What to type next, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Bucket(error) => return error.hint(),
            Self::Swarm(error) => return error.hint(),
            Self::FormatLost { .. } => {
                "nothing was written; restore the object from a backup or the store's version history"
            }
            Self::DataDirTaken { .. } | Self::Twin { .. } => "give this node a folder of its own: --data-dir PATH",
            Self::PortInUse { .. } => "choose another address: --listen HOST:PORT, or stop the other program",
            Self::Open { .. } => {
                "listen on the loopback (--listen 127.0.0.1), or add --insecure if the network is yours"
            }
            _ => return None,
        };
        Some(hint.to_owned())
    }

    pub(crate) fn setting(name: &str, why: impl Into<String>) -> Self {
        Self::Setting { name: name.to_owned(), why: why.into() }
    }

    pub(crate) fn file(act: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { act, path, source }
    }
}
