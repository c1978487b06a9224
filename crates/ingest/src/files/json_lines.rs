//! JSON lines: one object a line. Types are guessed from the first rows; a key that appears only later is an error
//! that names it, never a column silently lost.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Seek},
    path::Path,
    sync::Arc,
};

use arrow::{
    datatypes::DataType,
    error::ArrowError,
    json::{ReaderBuilder, reader::infer_json_schema_from_seekable},
};

use super::{GUESS_ROWS, Opened, ReadOptions, settle};
use crate::{IngestError, Result};

const NAME: &str = "JSON lines";

const FIX: &str =
    "each line must be one JSON object, and each key of one type; keys must appear in the first 100 000 lines";

pub(super) fn open(path: &Path, file: File, options: &ReadOptions) -> Result<Opened> {
    let broken = |error: ArrowError| IngestError::broken(path, NAME, error, FIX);
    let mut file = BufReader::new(file);
    if is_array(&mut file).map_err(|error| IngestError::broken(path, NAME, error, FIX))? {
        let fix = "write its objects one a line: jq -c '.[]' FILE > FILE.jsonl";
        return Err(IngestError::broken(path, NAME, "it is one array", fix));
    }
    let (guessed, _) = infer_json_schema_from_seekable(&mut file, Some(GUESS_ROWS)).map_err(broken)?;
    if guessed.fields().is_empty() {
        return Err(IngestError::broken(path, NAME, "it has no objects with keys", FIX));
    }
    let schema = settle(&guessed, options.like.as_ref(), can_read);
    file.rewind().map_err(|error| IngestError::broken(path, NAME, error, "give a file, not a pipe"))?;
    let reader = ReaderBuilder::new(Arc::clone(&schema)).with_batch_size(options.batch_rows).with_strict_mode(true);
    let reader = reader.build(file).map_err(broken)?;
    let path = path.to_owned();
    let batches = reader.map(move |batch| batch.map_err(|error| IngestError::broken(&path, NAME, error, FIX)));
    Ok(Opened { schema, rows: None, batches: Box::new(batches) })
}

/// Whether the first thing in the file opens an array: an error of the reader would spell all of it.
fn is_array(file: &mut BufReader<File>) -> io::Result<bool> {
    Ok(file.fill_buf()?.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'['))
}

/// Binary has no form of its own in JSON; everything else that frames keep has.
fn can_read(data_type: &DataType) -> bool {
    !matches!(data_type, DataType::Binary | DataType::Duration(_))
}
