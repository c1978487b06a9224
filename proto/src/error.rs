//! One error for everything that crosses the wire, and the one table from error kinds to gRPC codes.
//!
//! A role turns what went wrong into a [`ClientError`], the gRPC status carries it as an
//! [`ErrorDetail`](crate::v1::ErrorDetail) in its details, and the client reads the same error back. A status from
//! something that is no Apiary (a proxy, the transport) still becomes an error of the nearest kind.

use apiary_core::ErrorKind;
use prost::Message;
use tonic::{Code, Status};

use crate::v1::ErrorDetail;

/// Why a call failed, as facts a caller can act on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ClientError {
    /// What to decide by.
    pub kind: ErrorKind,
    /// What, where, why.
    pub message: String,
    /// What to type next.
    pub hint: Option<String>,
    /// The query it belongs to.
    pub query_id: Option<String>,
    /// Whether the same call may succeed later.
    pub retryable: bool,
    /// Milliseconds to wait before trying again.
    pub retry_after_ms: Option<u64>,
}

impl ClientError {
    /// An error of `kind`, retryable if its kind is.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let retryable = kind.is_retryable();
        Self { kind, message: message.into(), hint: None, query_id: None, retryable, retry_after_ms: None }
    }

    /// The same error with advice on what to type next.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<Option<String>>) -> Self {
        self.hint = hint.into();
        self
    }

    /// The same error, of that query.
    #[must_use]
    pub fn with_query_id(mut self, query_id: impl ToString) -> Self {
        self.query_id = Some(query_id.to_string());
        self
    }

    /// The same error with advice on when to come back.
    #[must_use]
    pub fn retry_after_ms(mut self, ms: u64) -> Self {
        self.retryable = true;
        self.retry_after_ms = Some(ms);
        self
    }

    /// What a caller decides by.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What to type next, if anything helps.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        self.hint.clone()
    }
}

/// The gRPC code of each kind.
#[must_use]
pub fn code_of(kind: ErrorKind) -> Code {
    match kind {
        ErrorKind::InvalidInput | ErrorKind::SqlSyntax | ErrorKind::SchemaMismatch => Code::InvalidArgument,
        ErrorKind::NotFound => Code::NotFound,
        ErrorKind::AlreadyExists => Code::AlreadyExists,
        ErrorKind::Conflict | ErrorKind::TaskAbandoned => Code::Aborted,
        ErrorKind::KeyReused | ErrorKind::ConditionalPutUnsupported => Code::FailedPrecondition,
        ErrorKind::OutcomeUnknown => Code::Unknown,
        ErrorKind::Unauthenticated => Code::Unauthenticated,
        ErrorKind::PermissionDenied => Code::PermissionDenied,
        ErrorKind::MemoryBudget | ErrorKind::Overloaded => Code::ResourceExhausted,
        ErrorKind::Timeout => Code::DeadlineExceeded,
        ErrorKind::Cancelled => Code::Cancelled,
        ErrorKind::Storage | ErrorKind::Unavailable => Code::Unavailable,
        ErrorKind::Corrupt => Code::DataLoss,
        ErrorKind::Unsupported => Code::Unimplemented,
        _ => Code::Internal,
    }
}

/// The kind nearest to a gRPC code, for a status that carries no detail.
#[must_use]
pub fn kind_of(code: Code) -> ErrorKind {
    match code {
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => ErrorKind::InvalidInput,
        Code::NotFound => ErrorKind::NotFound,
        Code::AlreadyExists => ErrorKind::AlreadyExists,
        Code::Aborted => ErrorKind::Conflict,
        Code::Unauthenticated => ErrorKind::Unauthenticated,
        Code::PermissionDenied => ErrorKind::PermissionDenied,
        Code::ResourceExhausted => ErrorKind::Overloaded,
        Code::DeadlineExceeded => ErrorKind::Timeout,
        Code::Cancelled => ErrorKind::Cancelled,
        Code::Unavailable => ErrorKind::Unavailable,
        Code::DataLoss => ErrorKind::Corrupt,
        Code::Unimplemented => ErrorKind::Unsupported,
        Code::Ok | Code::Unknown | Code::Internal => ErrorKind::Internal,
    }
}

impl From<ClientError> for Status {
    fn from(error: ClientError) -> Self {
        let detail = ErrorDetail {
            code: error.kind.code().to_owned(),
            message: error.message.clone(),
            hint: error.hint.unwrap_or_default(),
            query_id: error.query_id.unwrap_or_default(),
            retryable: error.retryable,
            retry_after_ms: error.retry_after_ms.unwrap_or(0),
        };
        // The message also stands in a header of limited size; the whole of it is in the detail.
        let short: String = error.message.chars().take(STATUS_MESSAGE_CHARS_MAX).collect();
        Self::with_details(code_of(error.kind), short, detail.encode_to_vec().into())
    }
}

/// What to do about an answer from the wrong server.
const TO_COORDINATOR: &str = "connect to a coordinator, such as grpc://host:7410; `apiary status` shows where they are";

/// How tonic names an answer of a server that does not speak gRPC.
const NO_GRPC: &str = "grpc-status header missing";

/// Longest message in the status header itself: all headers together must stay under the usual 16 KiB.
const STATUS_MESSAGE_CHARS_MAX: usize = 1024;

impl From<Status> for ClientError {
    fn from(status: Status) -> Self {
        let text = |value: String| (!value.is_empty()).then_some(value);
        if let Ok(detail) = ErrorDetail::decode(status.details())
            && let Ok(kind) = detail.code.parse()
        {
            return Self {
                kind,
                message: detail.message,
                hint: text(detail.hint),
                query_id: text(detail.query_id),
                retryable: detail.retryable,
                retry_after_ms: (detail.retry_after_ms > 0).then_some(detail.retry_after_ms),
            };
        }
        // A broken connection reaches us as a transport error that knows no code of its own.
        let broken = status.code() == Code::Unknown && std::error::Error::source(&status).is_some();
        let kind = if broken { ErrorKind::Unavailable } else { kind_of(status.code()) };
        match status.message() {
            // What tonic answers for a service that a server does not have.
            "" if status.code() == Code::Unimplemented => {
                Self::new(kind, "the node there does not do this: its role is another")
                    .with_hint(TO_COORDINATOR.to_owned())
            }
            message if message.contains(NO_GRPC) => {
                Self::new(ErrorKind::Unavailable, format!("what answers there is no node of a colony ({message})"))
                    .with_hint(TO_COORDINATOR.to_owned())
            }
            "" => Self::new(kind, kind.code()),
            message => Self::new(kind, message),
        }
    }
}

impl From<tonic::transport::Error> for ClientError {
    fn from(error: tonic::transport::Error) -> Self {
        // The outermost text is "transport error"; the cause below it is what helps.
        let mut cause: &dyn std::error::Error = &error;
        while let Some(source) = cause.source() {
            cause = source;
        }
        Self::new(ErrorKind::Unavailable, cause.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_travels_through_a_status_unharmed() {
        for kind in ErrorKind::ALL {
            let sent = ClientError::new(*kind, "frame 'a.b.c' is not there")
                .with_hint("SHOW FRAMES".to_owned())
                .with_query_id("q")
                .retry_after_ms(40);
            let status = Status::from(sent.clone());
            assert_ne!(status.code(), Code::Ok);
            assert_eq!(ClientError::from(status), sent);
        }
    }

    #[test]
    fn a_long_message_arrives_whole() {
        let sent = ClientError::new(ErrorKind::SqlSyntax, "ä".repeat(3_000));
        assert_eq!(ClientError::from(Status::from(sent.clone())), sent);
    }

    #[test]
    fn a_status_without_detail_becomes_the_nearest_kind() {
        let read = ClientError::from(Status::unauthenticated("no token"));
        assert_eq!((read.kind, read.message.as_str()), (ErrorKind::Unauthenticated, "no token"));
        assert_eq!(ClientError::from(Status::unavailable("")).kind, ErrorKind::Unavailable);
    }

    #[test]
    fn the_wrong_server_is_told_from_a_coordinator() {
        let worker = ClientError::from(Status::unimplemented(""));
        assert!(worker.message.contains("role") && worker.hint.is_some_and(|hint| hint.contains("coordinator")));
        let web = ClientError::from(Status::unknown("grpc-status header missing, mapped from HTTP status code 404"));
        assert_eq!(web.kind, ErrorKind::Unavailable);
        assert!(web.message.contains("no node of a colony"), "{}", web.message);
    }

    #[test]
    fn codes_and_kinds_agree_where_one_code_has_one_kind() {
        for kind in [ErrorKind::NotFound, ErrorKind::Cancelled, ErrorKind::Corrupt, ErrorKind::Unsupported] {
            assert_eq!(kind_of(code_of(kind)), kind);
        }
    }
}
