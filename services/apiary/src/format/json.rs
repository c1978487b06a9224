//! JSON: an array of objects, or one object a line. NULL is written out, so that every object has every column.

use std::io::Write;

use arrow::{
    array::RecordBatch,
    error::ArrowError,
    json::{
        ArrayWriter, LineDelimitedWriter, WriterBuilder,
        writer::{JsonArray, LineDelimited},
    },
};

/// Writes one array.
#[derive(Debug)]
pub(crate) struct JsonWriter<W: Write> {
    writer: ArrayWriter<W>,
}

impl<W: Write> JsonWriter<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { writer: WriterBuilder::new().with_explicit_nulls(true).build::<_, JsonArray>(out) }
    }

    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        self.writer.write(batch)
    }

    pub(crate) fn finish(mut self) -> Result<(), ArrowError> {
        self.writer.finish()?;
        let mut out = self.writer.into_inner();
        out.write_all(b"\n")?;
        out.flush().map_err(ArrowError::from)
    }
}

/// Writes one object a line.
#[derive(Debug)]
pub(crate) struct LinesWriter<W: Write> {
    writer: LineDelimitedWriter<W>,
}

impl<W: Write> LinesWriter<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { writer: WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(out) }
    }

    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        self.writer.write(batch)
    }

    pub(crate) fn finish(mut self) -> Result<(), ArrowError> {
        self.writer.finish()?;
        self.writer.into_inner().flush().map_err(ArrowError::from)
    }
}
