//! One question to the colony and its whole answer. The demo's answers are small.

use std::collections::HashMap;

use apiary_core::{QueryId, SystemClock, SystemRng};
use apiary_proto::{
    Client, ClientError,
    v1::{QueryStats, Session},
};
use arrow::{
    array::{AsArray, RecordBatch},
    datatypes::{DataType, SchemaRef},
    error::ArrowError,
    util::display::{ArrayFormatter, FormatOptions},
};

use crate::progress::Progress;

/// A whole answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) schema: SchemaRef,
    pub(super) batches: Vec<RecordBatch>,
    pub(super) stats: QueryStats,
}

/// A session in which queries run `execution`: auto, local or board.
pub(super) fn session(execution: &str) -> Session {
    let mut settings = HashMap::from([("execution".to_owned(), execution.to_owned())]);
    if execution == "board" {
        // The demo's frames are small: tasks that follow the bytes would be too few to see who does them.
        settings.insert("target_partitions".to_owned(), "6".to_owned());
    }
    Session { settings, ..Session::default() }
}

/// Asks, and shows progress while it waits.
pub(super) async fn ask(
    client: &Client,
    sql: &str,
    execution: &str,
    progress: &Progress,
) -> Result<Answer, ClientError> {
    ask_as(QueryId::new(&SystemClock, &SystemRng), client, sql, execution, progress).await
}

/// Asks under an id that is known before the answer.
pub(super) async fn ask_as(
    id: QueryId,
    client: &Client,
    sql: &str,
    execution: &str,
    progress: &Progress,
) -> Result<Answer, ClientError> {
    let answer = progress.during(whole(id, client, sql, execution, progress.clone())).await;
    progress.done();
    answer
}

async fn whole(
    id: QueryId,
    client: &Client,
    sql: &str,
    execution: &str,
    progress: Progress,
) -> Result<Answer, ClientError> {
    let stream = client.execute_as(id, sql, &session(execution)).await?;
    let mut stream = stream.on_progress(move |at| {
        let retries = if at.retries > 0 { format!("{} retried", at.retries) } else { String::new() };
        progress.set(u64::from(at.tasks_done), Some(u64::from(at.tasks_total)), retries);
    });
    let schema = stream.schema().await?;
    let batches = stream.collect().await?;
    let stats = stream.stats().cloned().unwrap_or_default();
    Ok(Answer { schema, batches, stats })
}

impl Answer {
    /// Every row as text, sorted: two answers are the same if these are.
    pub(super) fn rows_sorted(&self) -> Result<Vec<String>, ArrowError> {
        let options = FormatOptions::default().with_null("NULL");
        let mut rows = Vec::new();
        for batch in &self.batches {
            let columns =
                batch.columns().iter().map(|c| ArrayFormatter::try_new(c, &options)).collect::<Result<Vec<_>, _>>()?;
            for row in 0..batch.num_rows() {
                let cells = columns.iter().map(|column| column.value(row).try_to_string());
                rows.push(cells.collect::<Result<Vec<_>, _>>()?.join("\u{1f}"));
            }
        }
        rows.sort_unstable();
        Ok(rows)
    }

    /// The lines of the last text column: what EXPLAIN says.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for batch in &self.batches {
            let Some(column) = batch.columns().last() else { continue };
            let Ok(column) = arrow::compute::cast(column, &DataType::Utf8) else { continue };
            lines.extend(column.as_string::<i32>().iter().flatten().flat_map(str::lines).map(str::to_owned));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int32Array, StringArray};

    use super::*;

    fn answer(numbers: Vec<Option<i32>>, texts: Vec<&str>) -> Answer {
        let batch = RecordBatch::try_from_iter([
            ("n", Arc::new(Int32Array::from(numbers)) as ArrayRef),
            ("t", Arc::new(StringArray::from(texts))),
        ])
        .unwrap();
        Answer { schema: batch.schema(), batches: vec![batch], stats: QueryStats::default() }
    }

    #[test]
    fn the_order_of_rows_does_not_make_two_answers_differ() {
        let (a, b) = (answer(vec![Some(1), None], vec!["x", "y"]), answer(vec![None, Some(1)], vec!["y", "x"]));
        assert_eq!(a.rows_sorted().unwrap(), b.rows_sorted().unwrap());
        assert_ne!(a.rows_sorted().unwrap(), answer(vec![Some(1)], vec!["x"]).rows_sorted().unwrap());
    }

    #[test]
    fn the_lines_of_a_plan_come_one_by_one() {
        assert_eq!(answer(vec![Some(1), Some(2)], vec!["a\n b", "c"]).lines(), ["a", " b", "c"]);
    }
}
