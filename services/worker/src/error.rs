//! What can go wrong in a worker as a whole. What goes wrong with a task ends in that attempt's record.

use apiary_core::ErrorKind;
use apiary_engine::EngineError;
use apiary_node::NodeError;
use apiary_query::QueryError;

/// Answers of this crate.
pub type Result<T, E = WorkerError> = std::result::Result<T, E>;

/// An error of the worker.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// The node.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The environment that plans run in.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl WorkerError {
    /// What callers decide by.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Node(error) => error.kind(),
            Self::Query(error) => error.kind(),
            Self::Engine(error) => error.kind(),
        }
    }

    /// What to type next, if anything helps.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Node(error) => error.hint(),
            Self::Query(error) => error.hint(),
            Self::Engine(error) => error.hint(),
        }
    }
}
