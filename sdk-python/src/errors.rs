//! Errors on their way to Python: the tree itself stands in `apiary/errors.py`.

use apiary_core::ErrorKind;
use apiary_proto::ClientError;
use pyo3::{prelude::*, types::PyAnyMethods};

/// The Python exception for an error of the client.
pub(crate) fn to_python(py: Python<'_>, error: &ClientError) -> PyErr {
    let make = || {
        py.import("apiary.errors")?.getattr("error_of")?.call1((
            error.kind.code(),
            error.message.as_str(),
            error.hint.as_deref(),
            error.query_id.as_deref(),
            error.retryable,
            error.retry_after_ms.unwrap_or(0),
        ))
    };
    make().map_or_else(|failure| failure, PyErr::from_value)
}

/// An error that this crate found itself, with what to do next.
pub(crate) fn raise(py: Python<'_>, kind: ErrorKind, message: impl Into<String>, hint: &str) -> PyErr {
    let hint = (!hint.is_empty()).then(|| hint.to_owned());
    to_python(py, &ClientError::new(kind, message).with_hint(hint))
}
