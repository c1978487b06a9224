//! Rows as text: one writer for each format, fed batch by batch, so that a result of any size needs little memory.
//!
//! `table` is for people and may leave things out (it says so); `csv`, `json` and `jsonl` are for programs and
//! never do.

mod csv;
mod json;
mod table;

use std::{io::Write, path::Path};

use arrow::{array::RecordBatch, datatypes::SchemaRef, error::ArrowError};
use clap::ValueEnum;

pub(crate) use table::TableLayout;

/// How rows are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A drawn table, for people
    Table,
    /// Comma-separated values with a header
    Csv,
    /// One array of objects
    Json,
    /// One object a line
    Jsonl,
}

impl Format {
    /// The format that the ending of `path` speaks of.
    pub(crate) fn of_file(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "csv" => Some(Self::Csv),
            "json" => Some(Self::Json),
            "jsonl" | "ndjson" => Some(Self::Jsonl),
            "txt" => Some(Self::Table),
            _ => None,
        }
    }
}

/// Whether the ending of `path` speaks of a format that is not written here; rows as CSV under such a name would
/// puzzle whoever opens them.
pub(crate) fn promises_another_format(path: &Path) -> bool {
    const OTHERS: [&str; 14] =
        ["parquet", "pq", "arrow", "arrows", "feather", "ipc", "avro", "orc", "tsv", "tab", "md", "xlsx", "gz", "zst"];
    let ending = path.extension().and_then(|ending| ending.to_str()).map(str::to_ascii_lowercase);
    ending.is_some_and(|ending| OTHERS.contains(&ending.as_str()))
}

/// Writes one result in one format.
#[derive(Debug)]
pub(crate) enum ResultWriter<W: Write> {
    Table(table::TableWriter<W>),
    Csv(Box<csv::CsvWriter<W>>),
    Json(json::JsonWriter<W>),
    Jsonl(json::LinesWriter<W>),
}

impl<W: Write + std::fmt::Debug> ResultWriter<W> {
    /// Begins a result with these columns.
    pub(crate) fn begin(format: Format, out: W, schema: &SchemaRef, layout: TableLayout) -> Result<Self, ArrowError> {
        Ok(match format {
            Format::Table => Self::Table(table::TableWriter::new(out, schema, layout)),
            Format::Csv => Self::Csv(Box::new(csv::CsvWriter::new(out, schema)?)),
            Format::Json => Self::Json(json::JsonWriter::new(out)),
            Format::Jsonl => Self::Jsonl(json::LinesWriter::new(out)),
        })
    }

    /// Takes the next rows.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        match self {
            Self::Table(writer) => writer.write(batch),
            Self::Csv(writer) => writer.write(batch),
            Self::Json(writer) => writer.write(batch),
            Self::Jsonl(writer) => writer.write(batch),
        }
    }

    /// Ends the result: a table is drawn now, an array closed.
    pub(crate) fn finish(self) -> Result<(), ArrowError> {
        match self {
            Self::Table(writer) => writer.finish(),
            Self::Csv(writer) => writer.finish(),
            Self::Json(writer) => writer.finish(),
            Self::Jsonl(writer) => writer.finish(),
        }
    }
}

#[cfg(test)]
mod tests;
