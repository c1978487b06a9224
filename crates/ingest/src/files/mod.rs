//! What people bring: Parquet, CSV and JSON lines, opened as batches.
//!
//! A file says its columns by itself (Parquet) or lets them be guessed from its first rows (CSV, JSON lines); with
//! [`ReadOptions::like`] text is read straight into a frame's types. Whatever is wrong with a file is an error that
//! names it. Reading is blocking work: [`FileSource::into_stream`] moves it off the runtime.

mod csv;
mod json_lines;
mod open_quote;
mod parquet;

use std::{
    fmt,
    fs::File,
    path::{Path, PathBuf},
};

use arrow::{
    array::RecordBatch,
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
};
use futures::Stream;

use crate::{IngestError, Result, limits::READ_BATCH_ROWS, off_thread::off_thread};

/// Rows from which a schema is guessed.
const GUESS_ROWS: usize = 100_000;

/// The formats that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileFormat {
    /// Parquet.
    Parquet,
    /// Text with a header and a delimiter.
    Csv,
    /// One JSON object a line.
    JsonLines,
}

impl FileFormat {
    /// The format that the file's name tells.
    pub fn of(path: &Path) -> Result<Self> {
        let ending = path.extension().and_then(|ending| ending.to_str()).map(str::to_ascii_lowercase);
        match ending.as_deref() {
            Some("parquet" | "parq" | "pq") => Ok(Self::Parquet),
            Some("csv" | "tsv" | "tab") => Ok(Self::Csv),
            Some("jsonl" | "ndjson" | "json") => Ok(Self::JsonLines),
            _ => Err(IngestError::UnknownFormat { path: path.to_owned() }),
        }
    }

    /// The format's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Parquet => "Parquet",
            Self::Csv => "CSV",
            Self::JsonLines => "JSON lines",
        }
    }
}

/// How to read a file.
#[derive(Debug, Clone)]
pub struct ReadOptions {
    /// The format; else the file's name tells.
    pub format: Option<FileFormat>,
    /// The delimiter of CSV; else a tab for `.tsv` and `.tab`, a comma for the others.
    pub delimiter: Option<u8>,
    /// A frame's schema: columns of CSV and JSON lines with these names are read into these types, not guessed ones.
    pub like: Option<SchemaRef>,
    /// Rows in a batch.
    pub batch_rows: usize,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self { format: None, delimiter: None, like: None, batch_rows: READ_BATCH_ROWS }
    }
}

/// An open file: an iterator of batches of `schema`.
pub struct FileSource {
    /// The file.
    pub path: PathBuf,
    /// Its format.
    pub format: FileFormat,
    /// The schema of its batches; see [`crate::storable_schema`] for the frame that would hold them.
    pub schema: SchemaRef,
    /// Its rows, where the format tells.
    pub rows: Option<u64>,
    /// Its size.
    pub bytes: u64,
    batches: Box<dyn Iterator<Item = Result<RecordBatch>> + Send>,
}

impl fmt::Debug for FileSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileSource").field("path", &self.path).field("format", &self.format).finish_non_exhaustive()
    }
}

impl FileSource {
    /// Opens `path`: reads its footer or guesses its schema. Blocking.
    pub fn open(path: &Path, options: &ReadOptions) -> Result<Self> {
        let format = match options.format {
            Some(format) => format,
            None => FileFormat::of(path)?,
        };
        let cannot_open = |source| IngestError::Open { path: path.to_owned(), source };
        let file = File::open(path).map_err(cannot_open)?;
        let about = file.metadata().map_err(cannot_open)?;
        if about.is_dir() {
            return Err(IngestError::broken(
                path,
                format.name(),
                "it is a folder",
                "name the files in it, such as folder/*",
            ));
        }
        let opened = match format {
            FileFormat::Parquet => parquet::open(path, file, options)?,
            FileFormat::Csv => csv::open(path, file, options)?,
            FileFormat::JsonLines => json_lines::open(path, file, options)?,
        };
        let Opened { schema, rows, batches } = opened;
        Ok(Self { path: path.to_owned(), format, schema, rows, bytes: about.len(), batches })
    }

    /// The batches as a stream, read on a thread for blocking work. Needs a runtime.
    pub fn into_stream(self) -> impl Stream<Item = Result<RecordBatch>> + Send + Unpin + use<> {
        off_thread(self.batches)
    }
}

impl Iterator for FileSource {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.batches.next()
    }
}

/// What a format's reader hands back.
struct Opened {
    schema: SchemaRef,
    rows: Option<u64>,
    batches: Box<dyn Iterator<Item = Result<RecordBatch>> + Send>,
}

/// The guessed schema with the types of the frame it is meant for, and plain types for the rest. `reads` says which
/// types the format's reader can make.
fn settle(guessed: &Schema, like: Option<&SchemaRef>, reads: impl Fn(&DataType) -> bool) -> SchemaRef {
    let settled = guessed.fields().iter().map(|field| {
        let name = field.name().to_lowercase();
        let known = like.and_then(|frame| frame.fields().iter().find(|known| known.name().to_lowercase() == name));
        let data_type = match known {
            Some(known) if reads(known.data_type()) => known.data_type().clone(),
            _ => plain(field.data_type()),
        };
        Field::new(field.name(), data_type, true)
    });
    std::sync::Arc::new(Schema::new(settled.collect::<Vec<_>>()))
}

/// A guessed type as frames keep it: microseconds for any timestamp, text where no value was seen.
fn plain(guessed: &DataType) -> DataType {
    match guessed {
        DataType::Null => DataType::Utf8,
        DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests;
