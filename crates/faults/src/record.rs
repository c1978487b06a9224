//! What was called, what it met, how it ended: histories and counts of requests are assertions.

use std::{fmt, time::Duration};

use object_store::Error;

use crate::fault::{Fault, Op};

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It did not, or its caller did not wait for it.
    Unanswered,
    /// Well.
    Ok,
    /// Nothing is there.
    NotFound,
    /// Something is there already.
    Exists,
    /// Not allowed.
    Denied,
    /// Any other error.
    Failed,
}

impl Outcome {
    pub(crate) fn of<T>(result: &Result<T, Error>) -> Self {
        match result {
            Ok(_) => Self::Ok,
            Err(Error::NotFound { .. }) => Self::NotFound,
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => Self::Exists,
            Err(Error::PermissionDenied { .. }) => Self::Denied,
            Err(_) => Self::Failed,
        }
    }
}

/// One call.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Call {
    /// When it began, by the store's clock.
    pub at: Duration,
    /// What was asked.
    pub op: Op,
    /// Of which object; of a listing, its prefix.
    pub key: String,
    /// Bytes sent.
    pub bytes: usize,
    /// What it met, as text, since nobody acts on it.
    pub met: Option<String>,
    /// How it ended.
    pub outcome: Outcome,
}

impl Call {
    pub(crate) fn begun(at: Duration, op: Op, key: &str, bytes: usize, met: Option<Fault>) -> Self {
        let met = met.map(|fault| format!("{fault:?}"));
        Self { at, op, key: key.to_owned(), bytes, met, outcome: Outcome::Unanswered }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms {:?} {} -> {:?}", self.at.as_millis(), self.op, self.key, self.outcome)?;
        self.met.iter().try_for_each(|met| write!(f, " ({met})"))
    }
}
