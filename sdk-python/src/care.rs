//! What a frame tells of itself, and care of the bucket, as Python values: dicts that `apiary.story` gives types.

use std::time::Duration;

use apiary_core::FramePath;
use apiary_proto::{client::Client, v1};
use pyo3::{
    prelude::*,
    types::{PyDict, PyList},
};

use crate::wait::wait;

type Rows<'py> = PyResult<Bound<'py, PyList>>;

/// A list of dicts.
fn rows<'py, T>(
    py: Python<'py>,
    items: impl IntoIterator<Item = T>,
    fill: impl Fn(&Bound<'py, PyDict>, T) -> PyResult<()>,
) -> Rows<'py> {
    let list = PyList::empty(py);
    for item in items {
        let row = PyDict::new(py);
        fill(&row, item)?;
        list.append(row)?;
    }
    Ok(list)
}

/// A frame's newest versions.
pub(crate) fn history<'py>(py: Python<'py>, client: &Client, path: &FramePath, limit: u32) -> Rows<'py> {
    let found = wait(py, client.history(path, limit))?;
    rows(py, found.entries, |row, entry| {
        row.set_item("version", entry.version)?;
        row.set_item("committed_ms", entry.committed_ms)?;
        row.set_item("operation", entry.operation)?;
        row.set_item("node", entry.node)?;
        row.set_item("transactions", entry.transactions)?;
        row.set_item("rows_added", entry.rows_added)?;
        row.set_item("rows_removed", entry.rows_removed)?;
        row.set_item("cells_added", entry.cells_added)?;
        row.set_item("cells_removed", entry.cells_removed)?;
        row.set_item("bytes_added", entry.bytes_added)?;
        row.set_item("bytes_removed", entry.bytes_removed)
    })
}

/// The cells of a frame's newest version.
pub(crate) fn cells<'py>(py: Python<'py>, client: &Client, path: &FramePath) -> Rows<'py> {
    let (_, cells) = wait(py, client.cells(path))?;
    rows(py, cells, |row, cell| {
        let partition = PyDict::new(py);
        for part in cell.partition {
            partition.set_item(part.column, part.value)?;
        }
        let bounds = PyDict::new(py);
        for known in cell.bounds {
            let exact = (known.min_exact, known.max_exact);
            bounds.set_item(known.column, (known.min, known.max, known.nulls, exact.0, exact.1))?;
        }
        row.set_item("path", cell.path)?;
        row.set_item("partition", partition)?;
        row.set_item("rows", cell.rows)?;
        row.set_item("bytes", cell.bytes)?;
        row.set_item("sha256", cell.sha256)?;
        row.set_item("written_ms", cell.written_ms)?;
        row.set_item("bounds", bounds)
    })
}

/// Writes a checkpoint.
pub(crate) fn checkpoint<'py>(
    py: Python<'py>,
    client: &Client,
    path: &FramePath,
    clean_older_than_s: Option<u64>,
) -> PyResult<Bound<'py, PyDict>> {
    let done = wait(py, client.checkpoint(path, clean_older_than_s.map(Duration::from_secs)))?;
    let answer = PyDict::new(py);
    answer.set_item("version", done.version)?;
    answer.set_item("written", done.written)?;
    answer.set_item("cells", done.cells)?;
    answer.set_item("bytes", done.bytes)?;
    answer.set_item("cleaned_below", done.cleaned_below)?;
    answer.set_item("entries_deleted", done.entries_deleted)?;
    answer.set_item("checkpoints_deleted", done.checkpoints_deleted)?;
    answer.set_item("bytes_deleted", done.bytes_deleted)?;
    Ok(answer)
}

/// The reports of a check.
pub(crate) fn verify<'py>(py: Python<'py>, client: &Client, path: Option<&FramePath>, deep: bool) -> Rows<'py> {
    let reports = wait(py, async {
        let mut reports = Vec::new();
        client.verify(path, deep, |report| reports.push(report)).await?;
        Ok(reports)
    })?;
    rows(py, reports, |row, report| {
        let name = |path: &v1::FramePath| format!("{}.{}.{}", path.hive, path.box_name, path.frame);
        row.set_item("frame", report.frame.as_ref().map(name))?;
        row.set_item("version", report.version)?;
        row.set_item("oldest_version", report.oldest_version)?;
        row.set_item("entries", report.entries)?;
        row.set_item("checkpoints", report.checkpoints)?;
        row.set_item("cells", report.cells)?;
        row.set_item("rows", report.rows)?;
        row.set_item("bytes", report.bytes)?;
        row.set_item("cells_opened", report.cells_opened)?;
        row.set_item("older_cells", report.older_cells)?;
        row.set_item("orphans", report.orphans)?;
        row.set_item("orphan_bytes", report.orphan_bytes)?;
        let problems = report.problems.into_iter().map(|problem| (problem.object, problem.what, problem.advice));
        row.set_item("problems", problems.collect::<Vec<_>>())?;
        row.set_item("problems_total", report.problems_total)
    })
}

/// The reports of a vacuum.
pub(crate) fn vacuum<'py>(py: Python<'py>, client: &Client, request: v1::VacuumRequest) -> Rows<'py> {
    let reports = wait(py, async {
        let mut reports = Vec::new();
        client.vacuum(request, |report| reports.push(report)).await?;
        Ok(reports)
    })?;
    rows(py, reports, |row, report| {
        let name = |path: &v1::FramePath| format!("{}.{}.{}", path.hive, path.box_name, path.frame);
        let version = report.frame.as_ref().map(|_| report.version);
        row.set_item("frame", report.frame.as_ref().map(name))?;
        row.set_item("run", report.run)?;
        row.set_item("version", version)?;
        row.set_item("current_files", report.current_files)?;
        row.set_item("current_bytes", report.current_bytes)?;
        row.set_item("deleted_files", report.deleted_files)?;
        row.set_item("deleted_bytes", report.deleted_bytes)?;
        row.set_item("kept_files", report.kept_files)?;
        row.set_item("kept_bytes", report.kept_bytes)?;
        row.set_item("more", report.more)?;
        row.set_item("refused", (!report.refused.is_empty()).then_some(report.refused))?;
        let files = report.files.into_iter();
        let files = files.map(|file| (file.path, file.bytes, file.age_ms, file.goes, file.code, file.reason));
        row.set_item("files", files.collect::<Vec<_>>())
    })
}

/// Partitions, each as its columns and values, and the version that an overwrite of them expects.
pub(crate) type Replaced = (Vec<Vec<(String, Option<String>)>>, Option<u64>);

/// What an overwrite replaces.
pub(crate) fn overwrite((partitions, expected_version): Replaced) -> v1::Overwrite {
    let value = |(column, value)| v1::PartitionValue { column, value };
    let partition = |values: Vec<_>| v1::Partition { values: values.into_iter().map(value).collect() };
    v1::Overwrite { partitions: partitions.into_iter().map(partition).collect(), expected_version }
}
