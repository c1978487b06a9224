//! A running statement, and the batches it gave.
//!
//! A [`Query`] is a stream that is taken once, as Arrow by another library or by [`Query::collect`]. Dropping it
//! before its end cancels the statement on the coordinator.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
};

use apiary_core::{ErrorKind, QueryId, units};
use apiary_proto::{
    ClientError,
    client::{Client, QueryStream},
    v1,
};
use arrow::{
    array::{ArrayRef, RecordBatch, StructArray},
    datatypes::{DataType, Field, SchemaRef},
    error::ArrowError,
    util::pretty::pretty_format_batches,
};
use pyo3::{
    exceptions::PyRuntimeError,
    prelude::*,
    types::{PyCapsule, PyDict, PyList},
};
use pyo3_arrow::ffi::{ArrayIterator, to_schema_pycapsule, to_stream_pycapsule};

use crate::{errors, values_out, wait};

type Shared = Arc<Mutex<State>>;

/// Hive, box and settings.
type SessionParts = (String, String, HashMap<String, String>);

#[derive(Debug)]
enum State {
    Open(Box<QueryStream>),
    Taken,
    Done(Box<Finished>),
    Failed,
}

/// What a statement leaves behind.
#[derive(Debug)]
struct Finished {
    stats: v1::QueryStats,
    session: v1::Session,
    taken: bool,
}

/// A statement that runs.
#[pyclass(frozen)]
#[derive(Debug)]
pub(crate) struct Query {
    client: Client,
    id: QueryId,
    schema: SchemaRef,
    state: Shared,
}

fn lock(state: &Shared) -> PyResult<MutexGuard<'_, State>> {
    state.lock().map_err(|_| PyRuntimeError::new_err("the result broke in another thread"))
}

fn finished(stream: &QueryStream, taken: bool) -> State {
    State::Done(Box::new(Finished {
        taken,
        stats: stream.stats().cloned().unwrap_or_default(),
        session: stream.session_after().cloned().unwrap_or_default(),
    }))
}

/// Whether a statement does something and has no rows by its nature, as USE, SET, CREATE: it is taken at once, since it
/// exists for what it leaves behind.
fn acts(schema: &SchemaRef) -> bool {
    schema.fields().is_empty()
}

impl Query {
    pub(crate) fn start(py: Python<'_>, client: &Client, sql: &str, session: &v1::Session) -> PyResult<Self> {
        let (stream, schema, id) = wait::wait(py, async {
            let mut stream = client.execute(sql, session).await?;
            let schema = stream.schema().await?;
            if acts(&schema) {
                stream.collect().await?;
            }
            let id = stream.id();
            Ok((stream, schema, id))
        })?;
        let state = if acts(&schema) { finished(&stream, false) } else { State::Open(Box::new(stream)) };
        Ok(Self { client: client.clone(), id, schema, state: Arc::new(Mutex::new(state)) })
    }

    fn take(&self, py: Python<'_>) -> PyResult<Option<Box<QueryStream>>> {
        let mut state = lock(&self.state)?;
        match std::mem::replace(&mut *state, State::Taken) {
            State::Open(stream) => Ok(Some(stream)),
            // Only statements without rows are done before they are taken.
            State::Done(done) if !done.taken => {
                *state = State::Done(done);
                Ok(None)
            }
            other => {
                *state = other;
                let hint = "collect it once, with to_arrow() or another to_…() method, and use that";
                Err(errors::raise(py, ErrorKind::InvalidInput, "the result was taken already", hint))
            }
        }
    }
}

#[pymethods]
impl Query {
    #[getter]
    fn query_id(&self) -> String {
        self.id.to_string()
    }

    fn columns(&self) -> Vec<String> {
        self.schema.fields().iter().map(|field| field.name().clone()).collect()
    }

    /// Takes all batches.
    fn collect(&self, py: Python<'_>) -> PyResult<Batches> {
        let Some(mut stream) = self.take(py)? else {
            return Ok(Batches { schema: Arc::clone(&self.schema), batches: Vec::new() });
        };
        let taken = wait::wait(py, async { stream.collect().await });
        *lock(&self.state)? = if taken.is_ok() { finished(&stream, true) } else { State::Failed };
        Ok(Batches { schema: Arc::clone(&self.schema), batches: taken? })
    }

    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let answer = PyDict::new(py);
        if let State::Done(done) = &*lock(&self.state)? {
            let stats = &done.stats;
            answer.set_item("rows", stats.rows)?;
            answer.set_item("elapsed_ms", stats.elapsed_us as f64 / 1e3)?;
            answer.set_item("cells_read", stats.cells_read)?;
            answer.set_item("cells_total", stats.cells_total)?;
            answer.set_item("get_requests", stats.get_requests)?;
            answer.set_item("bytes_read", stats.bytes_read)?;
            answer.set_item("nodes", stats.nodes)?;
            answer.set_item("execution", &stats.execution)?;
            answer.set_item("execution_reason", &stats.execution_reason)?;
            answer.set_item("stages", stats.stages)?;
            answer.set_item("tasks", stats.tasks)?;
            answer.set_item("retries", stats.retries)?;
            answer.set_item("bytes_cached", stats.bytes_cached)?;
        }
        Ok(answer)
    }

    fn footer(&self) -> PyResult<String> {
        Ok(match &*lock(&self.state)? {
            State::Done(done) => apiary::footer(&done.stats),
            _ => format!("query {}", self.id),
        })
    }

    fn cancel(&self, py: Python<'_>) -> PyResult<()> {
        wait::wait(py, self.client.cancel(self.id)).map(|_| ())
    }

    /// Hive, box and settings after a statement that is done already.
    fn session_if_done(&self) -> PyResult<Option<SessionParts>> {
        Ok(match &*lock(&self.state)? {
            State::Done(done) => {
                let session = done.session.clone();
                Some((session.hive, session.box_name, session.settings))
            }
            _ => None,
        })
    }

    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyCapsule>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        let Some(stream) = self.take(py)? else {
            return capsule(py, &self.schema, std::iter::empty(), requested_schema);
        };
        let batches = Pull { stream: Some(stream), state: Arc::clone(&self.state) };
        capsule(py, &self.schema, batches, requested_schema)
    }

    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        Ok(to_schema_pycapsule(py, self.schema.as_ref())?)
    }
}

/// Batches as another library pulls them, from whatever thread it likes.
struct Pull {
    stream: Option<Box<QueryStream>>,
    state: Shared,
}

impl Pull {
    fn end(&mut self, state: State) {
        self.stream = None;
        if let Ok(mut shared) = self.state.lock() {
            *shared = state;
        }
    }
}

impl Iterator for Pull {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        let stream = self.stream.as_mut()?;
        let external = |error: ClientError| ArrowError::ExternalError(Box::new(error));
        match wait::runtime().and_then(|runtime| runtime.block_on(stream.next())) {
            Ok(Some(batch)) => Some(Ok(batch)),
            Ok(None) => {
                let state = finished(stream, true);
                self.end(state);
                None
            }
            Err(error) => {
                self.end(State::Failed);
                Some(Err(external(error)))
            }
        }
    }
}

fn capsule<'py>(
    py: Python<'py>,
    schema: &SchemaRef,
    batches: impl Iterator<Item = Result<RecordBatch, ArrowError>> + Send + 'static,
    requested: Option<Bound<'py, PyCapsule>>,
) -> PyResult<Bound<'py, PyCapsule>> {
    let field = Field::new_struct("", schema.fields().clone(), false).with_metadata(schema.metadata().clone());
    debug_assert!(matches!(field.data_type(), DataType::Struct(_)), "a stream of batches is one of structs");
    let arrays = batches.map(|batch| batch.map(|batch| Arc::new(StructArray::from(batch)) as ArrayRef));
    Ok(to_stream_pycapsule(py, Box::new(ArrayIterator::new(arrays, Arc::new(field))), requested)?)
}

/// What a statement gave, all of it.
#[pyclass(frozen)]
#[derive(Debug)]
pub(crate) struct Batches {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
}

#[pymethods]
impl Batches {
    #[getter]
    fn num_rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    fn rows<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        values_out::rows(py, &self.batches)
    }

    /// The first rows as a table of text.
    fn render(&self, rows: usize) -> PyResult<String> {
        let mut left = rows;
        let mut shown = vec![RecordBatch::new_empty(Arc::clone(&self.schema))];
        for batch in &self.batches {
            shown.push(batch.slice(0, batch.num_rows().min(left)));
            left -= batch.num_rows().min(left);
        }
        let table = pretty_format_batches(&shown).map_err(|error| PyRuntimeError::new_err(error.to_string()))?;
        let hidden = self.num_rows().saturating_sub(rows);
        Ok(match hidden {
            0 => table.to_string(),
            n => format!("{table}\n… and {}", units::counted(n as u64, "row")),
        })
    }

    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyCapsule>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        let batches: Vec<_> = self.batches.iter().cloned().map(Ok).collect();
        capsule(py, &self.schema, batches.into_iter(), requested_schema)
    }

    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        Ok(to_schema_pycapsule(py, self.schema.as_ref())?)
    }
}
