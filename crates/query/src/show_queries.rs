//! The answer of `SHOW QUERIES`, and the rows of `apiary.queries`: the caller knows the queries.

use std::sync::Arc;

use apiary_core::units;
use datafusion::arrow::{
    array::{ArrayRef, Float64Array, RecordBatch, StringArray, TimestampMillisecondArray, UInt32Array, UInt64Array},
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
    error::ArrowError,
};

use crate::{QueryError, Result};

/// Letters of a statement that `SHOW QUERIES` shows: a line of a terminal has no room for more.
const STATEMENT_CHARS_MAX: usize = 80;

/// One query that runs or ran.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueryRow {
    /// Its id.
    pub query: String,
    /// running, finished, failed, cancelled, or lost with its coordinator.
    pub state: String,
    /// Its coordinator.
    pub node: String,
    /// Who asked.
    pub principal: String,
    /// When, by the coordinator's clock, in milliseconds since 1970.
    pub started_ms: i64,
    /// How long it took, or has taken.
    pub elapsed_us: u64,
    /// local or board; empty while it is planned.
    pub execution: String,
    /// Why that way.
    pub reason: String,
    /// Stages that are done.
    pub stages_done: u32,
    /// Stages of its plan.
    pub stages: u32,
    /// Tasks that are done.
    pub tasks_done: u32,
    /// Tasks of its plan.
    pub tasks: u32,
    /// Attempts beyond the first.
    pub retries: u32,
    /// Rows sent.
    pub rows: u64,
    /// Cells left after pruning.
    pub cells_read: u64,
    /// Cells of its frames.
    pub cells_total: u64,
    /// GETs that cells cost.
    pub get_requests: u64,
    /// Bytes that they brought.
    pub bytes_read: u64,
    /// What it failed with, code and words.
    pub error: Option<String>,
    /// The statement, or its beginning.
    pub statement: String,
}

/// The schema of `apiary.queries`.
pub(crate) fn schema() -> SchemaRef {
    let field = |name: &str, data_type: DataType| Field::new(name, data_type, name == "error");
    let text = |name: &str| field(name, DataType::Utf8);
    let [count, long] = [DataType::UInt32, DataType::UInt64];
    Arc::new(Schema::new(vec![
        text("query"),
        text("state"),
        text("node"),
        text("principal"),
        field("started", DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))),
        field("elapsed_s", DataType::Float64),
        text("execution"),
        text("reason"),
        field("stages_done", count.clone()),
        field("stages", count.clone()),
        field("tasks_done", count.clone()),
        field("tasks", count.clone()),
        field("retries", count),
        field("rows", long.clone()),
        field("cells_read", long.clone()),
        field("cells_total", long.clone()),
        field("get_requests", long.clone()),
        field("bytes_read", long),
        text("error"),
        text("statement"),
    ]))
}

/// The rows of `apiary.queries`.
pub(crate) fn full(rows: &[QueryRow]) -> Result<RecordBatch> {
    let text = |of: fn(&QueryRow) -> &String| texts(rows.iter().map(of));
    let count = |of: fn(&QueryRow) -> u32| -> ArrayRef { Arc::new(UInt32Array::from_iter_values(rows.iter().map(of))) };
    let long = |of: fn(&QueryRow) -> u64| -> ArrayRef { Arc::new(UInt64Array::from_iter_values(rows.iter().map(of))) };
    let columns = vec![
        text(|row| &row.query),
        text(|row| &row.state),
        text(|row| &row.node),
        text(|row| &row.principal),
        started(rows),
        elapsed(rows),
        text(|row| &row.execution),
        text(|row| &row.reason),
        count(|row| row.stages_done),
        count(|row| row.stages),
        count(|row| row.tasks_done),
        count(|row| row.tasks),
        count(|row| row.retries),
        long(|row| row.rows),
        long(|row| row.cells_read),
        long(|row| row.cells_total),
        long(|row| row.get_requests),
        long(|row| row.bytes_read),
        Arc::new(rows.iter().map(|row| row.error.as_ref()).collect::<StringArray>()),
        text(|row| &row.statement),
    ];
    told(RecordBatch::try_new(schema(), columns))
}

/// The answer of `SHOW QUERIES`: what fits a terminal.
pub(crate) fn short(rows: &[QueryRow]) -> Result<RecordBatch> {
    let text = |of: fn(&QueryRow) -> &String| texts(rows.iter().map(of));
    let done = |of: fn(&QueryRow) -> (u32, u32)| {
        let of_all = |(done, all): (u32, u32)| if all == 0 { String::new() } else { format!("{done}/{all}") };
        texts(rows.iter().map(|row| of_all(of(row))))
    };
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("query", text(|row| &row.query)),
        ("state", text(|row| &row.state)),
        ("execution", text(|row| &row.execution)),
        ("node", text(|row| &row.node)),
        ("principal", text(|row| &row.principal)),
        ("started", started(rows)),
        ("elapsed", texts(rows.iter().map(|row| units::duration(std::time::Duration::from_micros(row.elapsed_us))))),
        ("stages", done(|row| (row.stages_done, row.stages))),
        ("tasks", done(|row| (row.tasks_done, row.tasks))),
        ("rows", Arc::new(UInt64Array::from_iter_values(rows.iter().map(|row| row.rows)))),
        ("statement", texts(rows.iter().map(|row| one_line(&row.statement)))),
    ];
    told(RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, false))))
}

fn started(rows: &[QueryRow]) -> ArrayRef {
    let times = TimestampMillisecondArray::from_iter_values(rows.iter().map(|row| row.started_ms));
    Arc::new(times.with_timezone("UTC"))
}

fn elapsed(rows: &[QueryRow]) -> ArrayRef {
    Arc::new(Float64Array::from_iter_values(rows.iter().map(|row| row.elapsed_us as f64 / 1e6)))
}

fn texts(values: impl Iterator<Item = impl AsRef<str>>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

/// The beginning of a statement, its white space taken together.
fn one_line(statement: &str) -> String {
    let words = statement.split_whitespace().collect::<Vec<_>>().join(" ");
    if words.chars().count() <= STATEMENT_CHARS_MAX {
        return words;
    }
    words.chars().take(STATEMENT_CHARS_MAX - 1).chain(['…']).collect()
}

fn told(batch: Result<RecordBatch, ArrowError>) -> Result<RecordBatch> {
    batch.map_err(|error| QueryError::from(datafusion::error::DataFusionError::from(error)))
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::util::pretty::pretty_format_batches;

    use super::*;

    #[test]
    fn a_query_on_the_board_is_a_line_of_a_terminal() {
        let row = QueryRow {
            query: "0190".to_owned(),
            state: "running".to_owned(),
            node: "pi-1".to_owned(),
            principal: "client".to_owned(),
            started_ms: 1_000,
            elapsed_us: 420_000,
            execution: "board".to_owned(),
            stages_done: 1,
            stages: 3,
            tasks_done: 4,
            tasks: 9,
            statement: "SELECT 1\n  FROM t".to_owned(),
            ..QueryRow::default()
        };
        let local = QueryRow { execution: "local".to_owned(), stages: 0, tasks: 0, ..row.clone() };
        let table = pretty_format_batches(&[short(&[row, local]).unwrap()]).unwrap().to_string();
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(
            lines[3],
            "| 0190  | running | board     | pi-1 | client    | 1970-01-01T00:00:01Z | 0.42 s  | 1/3    | 4/9   | 0    | SELECT 1 FROM t |"
        );
        assert!(lines[4].contains("| 0.42 s  |        |       |"), "{table}");
    }

    #[test]
    fn every_column_of_the_system_frame_has_its_array() {
        let batch =
            full(&[QueryRow::default(), QueryRow { error: Some("TIMEOUT: x".to_owned()), ..QueryRow::default() }]);
        assert_eq!(batch.unwrap().num_rows(), 2);
    }
}
