//! The few kinds of error that callers decide by.
//!
//! Each crate has its own error type with the facts; its `kind()` says which of these it is. Here stands the one
//! table that maps a kind to a stable code, a process's exit code and whether trying again can help; the gRPC code
//! stands beside it in `apiary-proto`, the Python class in the SDK, both keyed by [`ErrorKind::code`].

use std::{fmt, str::FromStr};

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $code:literal, $exit:literal, $retry:literal;)*) => {
        /// What went wrong, as coarse as a caller's decision.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorKind { $($(#[$doc])* $kind,)* }

        impl ErrorKind {
            /// Every kind, for tables and tests.
            pub const ALL: &'static [Self] = &[$(Self::$kind),*];

            /// The stable name of the kind, the same in every interface.
            #[must_use]
            pub fn code(self) -> &'static str {
                match self { $(Self::$kind => $code,)* }
            }

            /// The exit code of a command that ends with this kind.
            #[must_use]
            pub fn exit_code(self) -> u8 {
                match self { $(Self::$kind => $exit,)* }
            }

            /// Whether the same call may succeed later.
            #[must_use]
            pub fn is_retryable(self) -> bool {
                match self { $(Self::$kind => $retry,)* }
            }
        }
    };
}

kinds! {
    /// The caller said something that cannot be: a bad name, a bad option, a limit passed.
    InvalidInput = "INVALID_INPUT", 2, false;
    /// SQL that does not parse or does not resolve.
    SqlSyntax = "SQL_ERROR", 1, false;
    /// A hive, box, frame, column, query or object that is not there.
    NotFound = "NOT_FOUND", 1, false;
    /// It is there already, and differs.
    AlreadyExists = "ALREADY_EXISTS", 1, false;
    /// Data that does not fit the frame's schema.
    SchemaMismatch = "SCHEMA_MISMATCH", 1, false;
    /// Another transaction won; read again and redo.
    Conflict = "CONFLICT", 1, true;
    /// An idempotency key that was used for another payload.
    KeyReused = "KEY_REUSED", 1, false;
    /// It may or may not have been applied: ask the ledger before doing it again.
    OutcomeUnknown = "OUTCOME_UNKNOWN", 1, false;
    /// No token, or a wrong one.
    Unauthenticated = "UNAUTHENTICATED", 1, false;
    /// A known caller without the right.
    PermissionDenied = "PERMISSION_DENIED", 1, false;
    /// A query or task over its memory or disk budget.
    MemoryBudget = "MEMORY_BUDGET", 1, false;
    /// The colony is too busy; the message says when to come back.
    Overloaded = "OVERLOADED", 1, true;
    /// A deadline passed.
    Timeout = "TIMEOUT", 1, true;
    /// Someone asked to stop.
    Cancelled = "CANCELLED", 130, false;
    /// A task failed on every attempt.
    TaskAbandoned = "TASK_ABANDONED", 1, false;
    /// The object store refused or could not be reached.
    Storage = "STORAGE", 1, true;
    /// The store ignores conditional puts, so nothing can be promised over it.
    ConditionalPutUnsupported = "CONDITIONAL_PUT_UNSUPPORTED", 1, false;
    /// A node that could not be reached.
    Unavailable = "UNAVAILABLE", 1, true;
    /// An object that is not what it was when it was written.
    Corrupt = "CORRUPT", 1, false;
    /// Not built, or not in this setting.
    Unsupported = "UNSUPPORTED", 1, false;
    /// A defect in Apiary.
    Internal = "INTERNAL", 1, false;
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// Text that is no [`ErrorKind::code`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not an error code")]
pub struct UnknownKind(pub String);

impl FromStr for ErrorKind {
    type Err = UnknownKind;

    fn from_str(code: &str) -> Result<Self, UnknownKind> {
        Self::ALL.iter().copied().find(|kind| kind.code() == code).ok_or_else(|| UnknownKind(code.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_reads_back() {
        for kind in ErrorKind::ALL {
            assert_eq!(kind.code().parse(), Ok(*kind));
        }
    }

    #[test]
    fn no_kind_exits_with_success() {
        assert!(ErrorKind::ALL.iter().all(|kind| kind.exit_code() != 0));
    }
}
