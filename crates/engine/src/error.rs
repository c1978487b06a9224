//! What can go wrong between a plan and its rows.

use apiary_bucket::BucketError;
use apiary_core::{ErrorKind, QueryId, limits};
use apiary_swarm::{SwarmError, board::FailureCause};
use datafusion::error::DataFusionError;

/// Answers of this crate.
pub type Result<T, E = EngineError> = std::result::Result<T, E>;

/// An error of the engine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The plan has no form that many machines could share; the query runs locally instead.
    #[error("the plan cannot be cut into stages: {0}")]
    CannotCut(String),
    /// A plan could not be written or read.
    #[error("cannot {doing} a plan: {reason}")]
    Codec {
        /// `encode` or `decode`.
        doing: &'static str,
        /// Why.
        reason: String,
    },
    /// A task that another version of the engine planned.
    #[error("the task was planned by engine {theirs}, this worker has {ours}")]
    Version {
        /// The planner's.
        theirs: String,
        /// This program's.
        ours: String,
    },
    /// The query is wrong on this data, on every node alike.
    #[error("{0}")]
    Query(String),
    /// A task was given up.
    #[error("{report}")]
    Abandoned {
        /// The cause of the last attempt.
        cause: FailureCause,
        /// Every attempt, its node and its cause.
        report: String,
        /// What to try, if anything would help.
        advice: Option<&'static str>,
    },
    /// Nobody was there to do the query's tasks.
    #[error("nobody works on query {query}: {tasks} of its tasks wait on the board, and for {seconds} s {seen}")]
    NoWorkers {
        /// The query.
        query: QueryId,
        /// How many tasks wait.
        tasks: usize,
        /// For how long.
        seconds: u64,
        /// Which workers there are instead.
        seen: String,
    },
    /// Someone asked to stop.
    #[error("query {0} was cancelled")]
    Cancelled(QueryId),
    /// The query ran too long.
    #[error("query {query} ran longer than {seconds} s; SET query_timeout to allow more")]
    Timeout {
        /// The query.
        query: QueryId,
        /// Its limit.
        seconds: u64,
    },
    /// An attempt that ended without a result.
    #[error("{message}")]
    Attempt {
        /// Why.
        cause: FailureCause,
        /// Why, in words.
        message: String,
    },
    /// The worker's scratch folder.
    #[error("cannot use the scratch folder {path}: {source}")]
    Scratch {
        /// Where.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The board.
    #[error(transparent)]
    Board(#[from] SwarmError),
    /// The bucket.
    #[error(transparent)]
    Bucket(#[from] BucketError),
    /// DataFusion or Ballista, in a place where no query can be to blame.
    #[error("{0}")]
    Plan(#[from] DataFusionError),
}

impl EngineError {
    /// The coarse kind that callers decide by.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::CannotCut(_) => ErrorKind::Unsupported,
            Self::Codec { .. } | Self::Plan(_) => ErrorKind::Internal,
            Self::Version { .. } | Self::NoWorkers { .. } => ErrorKind::Unavailable,
            Self::Query(_) => ErrorKind::SqlSyntax,
            Self::Abandoned { cause, .. } | Self::Attempt { cause, .. } => kind_of(*cause),
            Self::Cancelled(_) => ErrorKind::Cancelled,
            Self::Timeout { .. } => ErrorKind::Timeout,
            Self::Scratch { .. } => ErrorKind::Storage,
            Self::Board(error) => error.kind(),
            Self::Bucket(error) => error.kind(),
        }
    }

    /// Whether the query can still run locally.
    #[must_use]
    pub fn is_cannot_cut(&self) -> bool {
        matches!(self, Self::CannotCut(_))
    }

    /// What to try next.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        if let Self::Abandoned { advice: Some(advice), .. } = self {
            return Some((*advice).to_owned());
        }
        if let Self::NoWorkers { .. } = self {
            let text = "start one with `apiary start --roles worker` on the same storage, or SET execution = auto";
            return Some(text.to_owned());
        }
        let text = match self.kind() {
            ErrorKind::MemoryBudget => limits::MEMORY_REMEDIES_BOARD,
            ErrorKind::TaskAbandoned => {
                "look at `apiary status`; SET execution = local runs it on the coordinator alone"
            }
            ErrorKind::Corrupt => "run `apiary doctor` on the bucket",
            _ => return None,
        };
        Some(text.to_owned())
    }

    pub(crate) fn decode(reason: impl std::fmt::Display) -> Self {
        Self::Codec { doing: "decode", reason: reason.to_string() }
    }

    pub(crate) fn encode(reason: impl std::fmt::Display) -> Self {
        Self::Codec { doing: "encode", reason: reason.to_string() }
    }
}

/// What a query that ended by `cause` tells its caller.
fn kind_of(cause: FailureCause) -> ErrorKind {
    match cause {
        FailureCause::Memory => ErrorKind::MemoryBudget,
        FailureCause::CorruptCell => ErrorKind::Corrupt,
        FailureCause::Query => ErrorKind::SqlSyntax,
        FailureCause::Cancelled => ErrorKind::Cancelled,
        FailureCause::Store => ErrorKind::Storage,
        _ => ErrorKind::TaskAbandoned,
    }
}
