//! Every failure of a call, as what travels to its client: what, where, why, and what to type next.

use apiary_bucket::BucketError;
use apiary_core::{ErrorKind, NameError, ids::IdError, units};
use apiary_engine::EngineError;
use apiary_ingest::IngestError;
use apiary_ledger::LedgerError;
use apiary_node::NodeError;
use apiary_proto::ClientError;
use apiary_query::QueryError;
use apiary_swarm::SwarmError;
use std::time::Duration;
use tonic::Status;

/// Answers of this crate.
pub type Result<T, E = CoordinatorError> = std::result::Result<T, E>;

/// An error of the coordinator.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CoordinatorError {
    /// The statement, or its plan.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The board.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A write.
    #[error(transparent)]
    Ingest(#[from] IngestError),
    /// The colony.
    #[error(transparent)]
    Swarm(#[from] SwarmError),
    /// The bucket.
    #[error(transparent)]
    Bucket(#[from] BucketError),
    /// The node.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// A name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// An id.
    #[error(transparent)]
    Id(#[from] IdError),
    /// What came over the wire, or another node's answer.
    #[error(transparent)]
    Wire(#[from] ClientError),
    /// The query's id is running here already.
    #[error("query {0} is running already; ask with a new query id")]
    Running(apiary_core::QueryId),
    /// No query of that id is told of.
    #[error("there is no query {0}")]
    NoQuery(apiary_core::QueryId),
    /// The query has ended.
    #[error("query {id} runs no longer: it is {how}")]
    Ended {
        /// The query.
        id: apiary_core::QueryId,
        /// Its state.
        how: String,
    },
    /// More queries than one coordinator takes on.
    #[error("this coordinator runs {0} queries already; ask again when some have ended")]
    TooManyQueries(usize),
    /// The query's time is over.
    #[error("the query ran longer than {}", units::duration(*.0))]
    TimedOut(Duration),
    /// Someone asked to stop, or the client is gone.
    #[error("the query was cancelled")]
    Cancelled,
    /// A defect.
    #[error("the query ended in a defect of apiary: {0}")]
    Panicked(String),
}

impl CoordinatorError {
    /// What callers decide by.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Query(error) => error.kind(),
            Self::Engine(error) => error.kind(),
            Self::Ledger(error) => error.kind(),
            Self::Ingest(error) => error.kind(),
            Self::Swarm(error) => error.kind(),
            Self::Bucket(error) => error.kind(),
            Self::Node(error) => error.kind(),
            Self::Wire(error) => error.kind(),
            Self::Name(_) | Self::Id(_) => ErrorKind::InvalidInput,
            Self::Running(_) => ErrorKind::AlreadyExists,
            Self::NoQuery(_) => ErrorKind::NotFound,
            Self::Ended { .. } => ErrorKind::InvalidInput,
            Self::TooManyQueries(_) => ErrorKind::Overloaded,
            Self::TimedOut(_) => ErrorKind::Timeout,
            Self::Cancelled => ErrorKind::Cancelled,
            Self::Panicked(_) => ErrorKind::Internal,
        }
    }

    /// What to type next, if anything helps.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Query(error) => error.hint(),
            Self::Engine(error) => error.hint(),
            Self::Ledger(error) => error.hint(),
            Self::Ingest(error) => error.hint(),
            Self::Swarm(error) => error.hint(),
            Self::Bucket(error) => error.hint(),
            Self::Node(error) => error.hint(),
            Self::Wire(error) => error.hint(),
            Self::NoQuery(_) | Self::Ended { .. } => Some("SHOW QUERIES tells what runs, and its ids".to_owned()),
            Self::TimedOut(_) => Some("SET query_timeout = '2 h' allows more".to_owned()),
            Self::Panicked(_) => Some("the coordinator's log says more; please report it".to_owned()),
            _ => None,
        }
    }
}

impl From<CoordinatorError> for ClientError {
    fn from(error: CoordinatorError) -> Self {
        match error {
            CoordinatorError::Wire(error) => error,
            CoordinatorError::TooManyQueries(_) => Self::new(error.kind(), error.to_string()).retry_after_ms(1_000),
            _ => Self::new(error.kind(), error.to_string()).with_hint(error.hint()),
        }
    }
}

impl From<CoordinatorError> for Status {
    fn from(error: CoordinatorError) -> Self {
        ClientError::from(error).into()
    }
}

/// The status of anything that this crate can fail with: `.map_err(status)`.
pub(crate) fn status(error: impl Into<CoordinatorError>) -> Status {
    error.into().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_travels_with_its_kind_and_advice() {
        let status = status(CoordinatorError::TimedOut(Duration::from_secs(2)));
        let read = ClientError::from(status);
        assert_eq!(read.kind, ErrorKind::Timeout);
        assert!(read.hint.is_some_and(|hint| hint.contains("SET query_timeout")));
    }
}
