//! CSV: a header, then one line a row (RFC 4180 quoting). NULL is an empty field; lists and structs, which CSV does
//! not know, are written as their text.

use std::{io::Write, sync::Arc};

use arrow::{
    array::{ArrayRef, RecordBatch, StringArray},
    csv::{Writer, WriterBuilder},
    datatypes::{DataType, Field, Schema, SchemaRef},
    error::ArrowError,
    util::display::{ArrayFormatter, FormatOptions},
};

/// Writes CSV.
#[derive(Debug)]
pub(crate) struct CsvWriter<W: Write> {
    writer: Writer<W>,
}

impl<W: Write> CsvWriter<W> {
    /// Writes the header, so that an empty result still names its columns.
    pub(crate) fn new(out: W, schema: &SchemaRef) -> Result<Self, ArrowError> {
        let mut writer = WriterBuilder::new().with_header(true).build(out);
        writer.write(&flatten(&RecordBatch::new_empty(Arc::clone(schema)))?)?;
        Ok(Self { writer })
    }

    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        self.writer.write(&flatten(batch)?)
    }

    pub(crate) fn finish(self) -> Result<(), ArrowError> {
        self.writer.into_inner().flush().map_err(ArrowError::from)
    }
}

/// The batch with nested columns turned into text.
fn flatten(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    if !batch.columns().iter().any(|column| column.data_type().is_nested()) {
        return Ok(batch.clone());
    }
    let columns = batch.columns().iter().map(as_text).collect::<Result<Vec<_>, _>>()?;
    let schema = batch.schema();
    let named =
        |(field, column): (&Arc<Field>, &ArrayRef)| Field::new(field.name(), DataType::clone(column.data_type()), true);
    let fields: Vec<_> = schema.fields().iter().zip(&columns).map(named).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

fn as_text(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    if !column.data_type().is_nested() {
        return Ok(Arc::clone(column));
    }
    let options = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(column, &options)?;
    let texts = (0..column.len())
        .map(|row| column.is_valid(row).then(|| formatter.value(row).try_to_string()).transpose())
        .collect::<Result<StringArray, _>>()?;
    Ok(Arc::new(texts))
}
