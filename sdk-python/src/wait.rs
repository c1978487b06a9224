//! Waiting without holding the interpreter: one runtime for the process, Ctrl-C seen within 100 ms.

use std::{future::Future, sync::OnceLock, time::Duration};

use apiary_core::ErrorKind;
use apiary_proto::ClientError;
use pyo3::prelude::*;
use tokio::runtime::Runtime;

use crate::errors;

/// How often a wait looks for Ctrl-C.
const SIGNALS_EVERY: Duration = Duration::from_millis(100);

/// Stack of a runtime thread: plans of deep SQL recurse, and the default of 2 MiB is short in a debug build.
const STACK_BYTES: usize = 16 * 1024 * 1024;

static RUNTIME: OnceLock<Runtime> = OnceLock::new();

/// The process's runtime, made at first use.
pub(crate) fn runtime() -> Result<&'static Runtime, ClientError> {
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    let built = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("apiary")
        .thread_stack_size(STACK_BYTES)
        .build()
        .map_err(|error| ClientError::new(ErrorKind::Internal, format!("cannot start the runtime: {error}")))?;
    Ok(RUNTIME.get_or_init(|| built))
}

/// The answer of `work`. Ctrl-C drops it, which cancels what it does.
pub(crate) fn wait<T: Send>(py: Python<'_>, work: impl Future<Output = Result<T, ClientError>> + Send) -> PyResult<T> {
    let runtime = runtime().map_err(|error| errors::to_python(py, &error))?;
    let mut work = Box::pin(work);
    loop {
        let answer = py.detach(|| runtime.block_on(async { tokio::time::timeout(SIGNALS_EVERY, &mut work).await }));
        match answer {
            Ok(answer) => return answer.map_err(|error| errors::to_python(py, &error)),
            Err(_) => py.check_signals()?,
        }
    }
}
