//! What can go wrong in a compactor.

use apiary_core::ErrorKind;
use apiary_ingest::IngestError;
use apiary_ledger::LedgerError;
use apiary_node::NodeError;
use apiary_proto::ClientError;
use apiary_swarm::SwarmError;
use tonic::Status;

/// Answers of this crate.
pub type Result<T, E = CompactorError> = std::result::Result<T, E>;

/// An error of the compactor.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompactorError {
    /// A merge.
    #[error(transparent)]
    Ingest(#[from] IngestError),
    /// A ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The board.
    #[error(transparent)]
    Swarm(#[from] SwarmError),
    /// The node.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// What came over the wire.
    #[error(transparent)]
    Wire(#[from] ClientError),
}

impl CompactorError {
    /// What callers decide by.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Ingest(error) => error.kind(),
            Self::Ledger(error) => error.kind(),
            Self::Swarm(error) => error.kind(),
            Self::Node(error) => error.kind(),
            Self::Wire(error) => error.kind(),
        }
    }

    /// What to type next, if anything helps.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Ingest(error) => error.hint(),
            Self::Ledger(error) => error.hint(),
            Self::Swarm(error) => error.hint(),
            Self::Node(error) => error.hint(),
            Self::Wire(error) => error.hint(),
        }
    }
}

impl From<CompactorError> for Status {
    fn from(error: CompactorError) -> Self {
        match error {
            CompactorError::Wire(error) => error.into(),
            _ => ClientError::new(error.kind(), error.to_string()).with_hint(error.hint()).into(),
        }
    }
}
