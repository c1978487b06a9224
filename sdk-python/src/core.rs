//! A session's connection: names, writes and statements, over whichever transport it was opened with.

use std::collections::HashMap;

use apiary::embedded::{Embedded, EmbeddedOptions};
use apiary_core::{ErrorKind, FramePath};
use apiary_proto::{ClientError, client::Client, v1};
use arrow::{
    array::{RecordBatch, RecordBatchReader},
    datatypes::SchemaRef,
};
use futures::stream;
use pyo3::{
    exceptions::PyRuntimeError,
    prelude::*,
    types::{PyDict, PyList},
};
use pyo3_arrow::{PySchema, input::AnyRecordBatch};

use crate::{care, columns_in, errors, query::Query, schema_in, wait::wait};

type Path3 = (String, String, String);

/// An open session. Closing it stops an embedded colony; a remote one does not notice.
#[pyclass(frozen)]
#[derive(Debug)]
pub(crate) struct Core {
    client: Client,
    embedded: std::sync::Mutex<Option<Embedded>>,
}

fn frame_path(py: Python<'_>, (hive, box_name, frame): &Path3) -> PyResult<FramePath> {
    FramePath::new(hive, box_name, frame)
        .map_err(|error| errors::raise(py, ErrorKind::InvalidInput, error.to_string(), ""))
}

/// Batches to write, whichever way they came.
fn batches_of(data: &Bound<'_, PyAny>, like: &SchemaRef) -> PyResult<Box<dyn RecordBatchReader + Send>> {
    match data.cast::<PyDict>() {
        Ok(columns) => columns_in::reader(columns, like),
        Err(_) => data.extract::<AnyRecordBatch>()?.into_reader(),
    }
}

/// The next batch, taken on a thread that may block: the producer may be Python itself.
async fn next(
    mut reader: Box<dyn RecordBatchReader + Send>,
) -> Result<Option<(RecordBatch, Box<dyn RecordBatchReader + Send>)>, ClientError> {
    let taken = tokio::task::spawn_blocking(move || (reader.next(), reader)).await;
    let (batch, reader) = taken.map_err(|error| ClientError::new(ErrorKind::Internal, error.to_string()))?;
    let failed = |error| ClientError::new(ErrorKind::InvalidInput, format!("the table cannot be read: {error}"));
    Ok(batch.transpose().map_err(failed)?.map(|batch| (batch, reader)))
}

#[pymethods]
impl Core {
    /// Joins the colony on `storage` with a coordinator, a worker and a compactor in this process.
    #[staticmethod]
    fn embedded(py: Python<'_>, storage: &str) -> PyResult<Self> {
        let embedded = wait(py, Embedded::start(storage, EmbeddedOptions::default()))?;
        Ok(Self { client: embedded.client().clone(), embedded: std::sync::Mutex::new(Some(embedded)) })
    }

    /// Connects to a coordinator.
    #[staticmethod]
    #[pyo3(signature = (url, token=None))]
    fn connect(py: Python<'_>, url: &str, token: Option<String>) -> PyResult<Self> {
        let client = wait(py, Client::connect(url, token))?;
        Ok(Self { client, embedded: std::sync::Mutex::new(None) })
    }

    fn create_hive(&self, py: Python<'_>, hive: &str) -> PyResult<bool> {
        wait(py, self.client.create_hive(hive))
    }

    fn create_box(&self, py: Python<'_>, hive: &str, box_name: &str) -> PyResult<bool> {
        wait(py, self.client.create_box(hive, box_name))
    }

    fn create_frame(
        &self,
        py: Python<'_>,
        path: Path3,
        schema: &Bound<'_, PyAny>,
        partition_by: Vec<String>,
    ) -> PyResult<bool> {
        let path = frame_path(py, &path)?;
        let schema = match schema.cast::<PyList>() {
            Ok(columns) => schema_in::schema(columns)?,
            Err(_) => schema.extract::<PySchema>()?.into_inner(),
        };
        wait(py, self.client.create_frame(&path, &schema, &partition_by))
    }

    fn drop_hive(&self, py: Python<'_>, hive: &str, cascade: bool, if_exists: bool) -> PyResult<bool> {
        wait(py, self.client.drop_hive(hive, cascade, if_exists))
    }

    fn drop_box(&self, py: Python<'_>, hive: &str, box_name: &str, cascade: bool, if_exists: bool) -> PyResult<bool> {
        wait(py, self.client.drop_box(hive, box_name, cascade, if_exists))
    }

    fn drop_frame(&self, py: Python<'_>, path: Path3, if_exists: bool) -> PyResult<bool> {
        let path = frame_path(py, &path)?;
        wait(py, self.client.drop_frame(&path, if_exists))
    }

    fn rename_hive(&self, py: Python<'_>, hive: &str, to: &str) -> PyResult<()> {
        wait(py, self.client.rename_hive(hive, to))
    }

    fn rename_box(&self, py: Python<'_>, hive: &str, box_name: &str, to: &str) -> PyResult<()> {
        wait(py, self.client.rename_box(hive, box_name, to))
    }

    fn rename_frame(&self, py: Python<'_>, path: Path3, to: Path3) -> PyResult<()> {
        let (path, to) = (frame_path(py, &path)?, frame_path(py, &to)?);
        wait(py, self.client.rename_frame(&path, &to))
    }

    #[pyo3(signature = (hive="", box_name=""))]
    fn list<'py>(&self, py: Python<'py>, hive: &str, box_name: &str) -> PyResult<Bound<'py, PyDict>> {
        let given = |name: &'_ str| (!name.is_empty()).then(|| name.to_owned());
        let (hive, box_name) = (given(hive), given(box_name));
        let found = wait(py, self.client.list(hive.as_deref(), box_name.as_deref()))?;
        let answer = PyDict::new(py);
        answer.set_item("hives", found.hives)?;
        answer.set_item("boxes", found.boxes.into_iter().map(|p| (p.hive, p.box_name)).collect::<Vec<_>>())?;
        answer
            .set_item("frames", found.frames.into_iter().map(|p| (p.hive, p.box_name, p.frame)).collect::<Vec<_>>())?;
        Ok(answer)
    }

    fn describe<'py>(&self, py: Python<'py>, path: Path3) -> PyResult<Bound<'py, PyDict>> {
        let path = frame_path(py, &path)?;
        let frame = wait(py, self.client.describe_frame(&path))?;
        let columns = PyDict::new(py);
        for field in frame.schema.fields() {
            columns.set_item(field.name(), schema_in::type_name(field))?;
        }
        let answer = PyDict::new(py);
        answer.set_item("columns", columns)?;
        answer.set_item("partition_by", frame.partition_by)?;
        answer.set_item("version", frame.version)?;
        answer.set_item("cells", frame.cells)?;
        answer.set_item("rows", frame.rows)?;
        answer.set_item("bytes", frame.bytes)?;
        answer.set_item("folder", frame.folder)?;
        Ok(answer)
    }

    #[pyo3(signature = (path, data, idempotency_key=None, overwrite=None))]
    fn append<'py>(
        &self,
        py: Python<'py>,
        path: Path3,
        data: &Bound<'py, PyAny>,
        idempotency_key: Option<String>,
        overwrite: Option<care::Replaced>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let path = frame_path(py, &path)?;
        // Python lists have no types of their own: they take the frame's.
        let like = match data.is_instance_of::<PyDict>() {
            true => wait(py, self.client.describe_frame(&path))?.schema,
            false => arrow::datatypes::Schema::empty().into(),
        };
        let reader = batches_of(data, &like)?;
        let schema = reader.schema();
        let batches = stream::try_unfold(reader, next);
        let overwrite = overwrite.map(care::overwrite);
        let key = idempotency_key.as_deref();
        let written = wait(py, self.client.write(&path, &schema, batches, key, overwrite))?;
        let answer = PyDict::new(py);
        answer.set_item("version", written.version)?;
        answer.set_item("rows", written.rows)?;
        answer.set_item("cells", written.cells)?;
        answer.set_item("bytes", written.bytes)?;
        answer.set_item("temperature", written.temperature)?;
        answer.set_item("retries", written.retries)?;
        answer.set_item("already_applied", written.already_applied)?;
        Ok(answer)
    }

    fn compact<'py>(&self, py: Python<'py>, path: Path3) -> PyResult<Bound<'py, PyDict>> {
        let path = frame_path(py, &path)?;
        let done = wait(py, self.client.compact(&path))?;
        let answer = PyDict::new(py);
        answer.set_item("version", done.version)?;
        answer.set_item("cells_before", done.cells_before)?;
        answer.set_item("cells_after", done.cells_after)?;
        answer.set_item("bytes_written", done.bytes_written)?;
        answer.set_item("groups_skipped", done.groups_skipped)?;
        Ok(answer)
    }

    fn history<'py>(&self, py: Python<'py>, path: Path3, limit: u32) -> PyResult<Bound<'py, PyList>> {
        care::history(py, &self.client, &frame_path(py, &path)?, limit)
    }

    fn cells<'py>(&self, py: Python<'py>, path: Path3) -> PyResult<Bound<'py, PyList>> {
        care::cells(py, &self.client, &frame_path(py, &path)?)
    }

    fn checkpoint<'py>(
        &self,
        py: Python<'py>,
        path: Path3,
        clean_older_than_s: Option<u64>,
    ) -> PyResult<Bound<'py, PyDict>> {
        care::checkpoint(py, &self.client, &frame_path(py, &path)?, clean_older_than_s)
    }

    fn verify<'py>(&self, py: Python<'py>, path: Option<Path3>, deep: bool) -> PyResult<Bound<'py, PyList>> {
        let path = path.map(|path| frame_path(py, &path)).transpose()?;
        care::verify(py, &self.client, path.as_ref(), deep)
    }

    fn vacuum<'py>(
        &self,
        py: Python<'py>,
        path: Option<Path3>,
        run: bool,
        retain_ms: Option<u64>,
        force: bool,
    ) -> PyResult<Bound<'py, PyList>> {
        let path = path.map(|path| frame_path(py, &path)).transpose()?;
        let frame = path.as_ref().map(Into::into);
        care::vacuum(py, &self.client, v1::VacuumRequest { frame, run, retain_ms, force })
    }

    /// Starts a statement and waits for its schema, so that a mistake in it is raised here.
    fn execute(
        &self,
        py: Python<'_>,
        sql: &str,
        hive: String,
        box_name: String,
        settings: HashMap<String, String>,
    ) -> PyResult<Query> {
        let session = v1::Session { hive, box_name, settings };
        Query::start(py, &self.client, sql, &session)
    }

    fn status<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let status = wait(py, self.client.status())?;
        let nodes = PyList::empty(py);
        for node in status.nodes {
            let row = PyDict::new(py);
            row.set_item("node", node.node)?;
            row.set_item("state", node.state)?;
            row.set_item("roles", node.roles)?;
            row.set_item("address", node.address)?;
            row.set_item("bees_total", node.bees_total)?;
            row.set_item("bees_busy", node.bees_busy)?;
            row.set_item("chamber_bytes", node.chamber_bytes)?;
            row.set_item("memory_bytes", node.memory_bytes)?;
            row.set_item("temperature", node.temperature)?;
            row.set_item("version", node.version)?;
            row.set_item("seen_ms_ago", node.seen_ms_ago)?;
            nodes.append(row)?;
        }
        let answer = PyDict::new(py);
        answer.set_item("cluster", status.cluster)?;
        answer.set_item("storage", status.storage)?;
        answer.set_item("temperature", status.temperature)?;
        answer.set_item("regime", status.regime)?;
        answer.set_item("version", status.version)?;
        answer.set_item("nodes", nodes)?;
        Ok(answer)
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let poisoned = |_| PyRuntimeError::new_err("the session broke in another thread");
        let embedded = self.embedded.lock().map_err(poisoned)?.take();
        match embedded {
            Some(embedded) => wait(py, async {
                embedded.shutdown().await;
                Ok(())
            }),
            None => Ok(()),
        }
    }
}
