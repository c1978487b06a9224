//! CSV files: a header, then rows. Types are guessed from the first rows as integers, floats, booleans, dates,
//! timestamps or text; an empty field is NULL.

use std::{
    fs::File,
    io::{BufReader, Seek},
    path::Path,
    sync::Arc,
};

use arrow::{
    csv::{ReaderBuilder, reader::Format},
    datatypes::{DataType, Schema},
    error::ArrowError,
};

use super::{GUESS_ROWS, Opened, ReadOptions, open_quote::OpenQuote, settle};
use crate::{IngestError, Result};

const NAME: &str = "CSV";

const FIX: &str =
    "correct the row, or import into a frame whose column is VARCHAR; columns are parted by commas, in .tsv by tabs";

pub(super) fn open(path: &Path, mut file: File, options: &ReadOptions) -> Result<Opened> {
    let broken = |error: ArrowError| IngestError::broken(path, NAME, error, FIX);
    let delimiter = options.delimiter.unwrap_or_else(|| delimiter_of(path));
    let format = Format::default().with_header(true).with_delimiter(delimiter);
    let (guessed, _) =
        format.infer_schema(OpenQuote::new(BufReader::new(&file), delimiter), Some(GUESS_ROWS)).map_err(broken)?;
    check_header(path, &guessed)?;
    let schema = settle(&guessed, options.like.as_ref(), can_read);
    file.rewind().map_err(|error| IngestError::broken(path, NAME, error, "give a file, not a pipe"))?;
    let reader = ReaderBuilder::new(Arc::clone(&schema)).with_format(format).with_batch_size(options.batch_rows);
    let reader = reader.build(OpenQuote::new(BufReader::new(file), delimiter)).map_err(broken)?;
    let (path, columns) = (path.to_owned(), Arc::clone(&schema));
    let broken = move |error: ArrowError| IngestError::broken(&path, NAME, in_words(&error, &columns), FIX);
    let batches = reader.map(move |batch| batch.map_err(&broken));
    Ok(Opened { schema, rows: None, batches: Box::new(batches) })
}

/// What Arrow says of a value that does not fit, with the column's name and the row as people count.
fn in_words(error: &ArrowError, columns: &Schema) -> String {
    let told = error.to_string();
    let parts = || {
        let (_, rest) = told.split_once("while parsing value '")?;
        let (value, rest) = rest.split_once("' as type '")?;
        let (data_type, rest) = rest.split_once("' for column ")?;
        let (column, rest) = rest.split_once(" at line ")?;
        let (row, _) = rest.split_once('.')?;
        let name = columns.fields().get(column.parse::<usize>().ok()?)?.name();
        Some(format!("row {row} after the header: '{value}' in column '{name}' is not of type {data_type}"))
    };
    parts().unwrap_or(told)
}

fn delimiter_of(path: &Path) -> u8 {
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("tsv" | "tab" | "TSV" | "TAB") => b'\t',
        _ => b',',
    }
}

fn check_header(path: &Path, guessed: &Schema) -> Result<()> {
    let refuse = |reason: String| {
        let fix = "its first line must name every column, each name once";
        Err(IngestError::broken(path, NAME, reason, fix))
    };
    if guessed.fields().is_empty() {
        return refuse("it has no header".to_owned());
    }
    let mut seen = std::collections::HashSet::new();
    for (number, field) in guessed.fields().iter().enumerate() {
        if field.name().trim().is_empty() {
            return refuse(format!("column {} of its header has no name", number + 1));
        }
        if !seen.insert(field.name().to_lowercase()) {
            return refuse(format!("its header has the column '{}' twice", field.name()));
        }
    }
    Ok(())
}

/// The types that Arrow's CSV reader makes from text.
fn can_read(data_type: &DataType) -> bool {
    data_type.is_integer()
        || matches!(
            data_type,
            DataType::Boolean
                | DataType::Float32
                | DataType::Float64
                | DataType::Utf8
                | DataType::Date32
                | DataType::Timestamp(_, _)
                | DataType::Time32(_)
                | DataType::Time64(_)
                | DataType::Decimal128(_, _)
        )
}
