//! The system's errors in the object store's words.

use std::io::{self, ErrorKind};

use object_store::{Error, path::Path};

/// An error of file work on `location`.
pub(super) fn of(location: &Path, error: io::Error) -> Error {
    let path = location.to_string();
    match error.kind() {
        // A part of the key is a file: no object can be below it.
        ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory => {
            Error::NotFound { path, source: Box::new(error) }
        }
        ErrorKind::AlreadyExists => Error::AlreadyExists { path, source: Box::new(error) },
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            Error::PermissionDenied { path, source: Box::new(error) }
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => full(&format!("for '{path}' "), &error),
        _ => generic(format!("{path}: {error}")),
    }
}

/// There is no space: nothing was written, and nothing will be if it is only tried again.
pub(super) fn full(what: &str, error: &io::Error) -> Error {
    let words = format!("no space is left {what}in the bucket's folder ({error}); nothing was written: free some");
    generic(io::Error::new(ErrorKind::StorageFull, words))
}

/// An error without a better name.
pub(super) fn generic(what: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Generic { store: "local", source: what.into() }
}
