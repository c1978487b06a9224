//! Makes batches fit a frame, by rules that look at types and never at luck.
//!
//! | data against frame | answer |
//! |---|---|
//! | same type | taken as it is |
//! | a type whose every value the frame's type holds (see `widens`) | cast |
//! | a finer timestamp, a date with milliseconds, nested or not | cast; a value that would lose digits is an error |
//! | any other type | an error that names the column, both types and the cast to write |
//! | a nullable column missing | NULL |
//! | a required column missing, a column too many, a NULL in a required column | an error with a fix |
//!
//! Columns are matched by name: exactly, or else without case. Their order does not matter.

mod values;
mod widens;

use std::sync::Arc;

use apiary_core::suggest;
use arrow::{
    array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, new_null_array},
    compute::{CastOptions, cast_with_options},
    datatypes::{DataType, Field, Schema, SchemaRef},
};

use crate::{IngestError, Result};
use widens::{Fit, fit};

/// Where a column of the frame comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    /// This column of the data, as it is.
    Same(usize),
    /// This column of the data, cast.
    Cast(usize),
    /// Nowhere: NULL in every row.
    Nowhere,
}

/// The way from one schema to a frame's, decided once for a whole stream. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Conformer {
    source: SchemaRef,
    target: SchemaRef,
    columns: Arc<[From]>,
}

impl Conformer {
    /// Decides how data of schema `source` becomes the frame's `target`; looks at no row.
    pub fn new(source: &SchemaRef, target: &SchemaRef) -> Result<Self> {
        let mut used = vec![None; target.fields().len()];
        for (index, field) in source.fields().iter().enumerate() {
            let place = place_of(field.name(), target).ok_or_else(|| extra(field.name(), target))?;
            if let Some(other) = used[place].replace(index) {
                let name = |index: usize| source.field(index).name().clone();
                return Err(IngestError::AmbiguousColumn { first: name(other), second: name(index) });
            }
        }
        let way = |(field, index): (&Arc<Field>, Option<usize>)| match index {
            Some(index) => way(index, source.field(index).data_type(), field),
            None if field.is_nullable() => Ok(From::Nowhere),
            None => {
                Err(IngestError::MissingColumn { column: field.name().clone(), data_type: field.data_type().clone() })
            }
        };
        let columns = target.fields().iter().zip(used).map(way).collect::<Result<Vec<_>>>()?;
        Ok(Self { source: Arc::clone(source), target: Arc::clone(target), columns: columns.into() })
    }

    /// The frame's schema.
    #[must_use]
    pub fn target(&self) -> &SchemaRef {
        &self.target
    }

    /// `batch` with the frame's columns in the frame's types.
    pub fn apply(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        if batch.schema().fields() != self.source.fields() {
            // A stream may change its mind from batch to batch; the rules hold for each.
            let source = batch.schema();
            return Self::new(&source, &self.target)?.fit(batch);
        }
        self.fit(batch)
    }

    fn fit(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let fields = self.target.fields().iter();
        let fitted = fields.zip(self.columns.iter()).map(|(field, from)| {
            let column = match *from {
                From::Same(index) => Arc::clone(batch.column(index)),
                From::Cast(index) => cast_exactly(batch.column(index), field)?,
                From::Nowhere => new_null_array(field.data_type(), batch.num_rows()),
            };
            values::digits(&column).map_err(|error| out_of_range(field, &error))?;
            require_values(&column, field)?;
            Ok(column)
        });
        let columns = fitted.collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.target), columns, &options)?)
    }
}

/// `batch` made to fit a frame of `schema`; see [`Conformer`] for streams.
pub fn conform(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    Conformer::new(&batch.schema(), schema)?.fit(batch)
}

/// The frame's column that is meant by `name`.
fn place_of(name: &str, target: &Schema) -> Option<usize> {
    let exact = target.fields().iter().position(|field| field.name() == name);
    let lower = name.to_lowercase();
    exact.or_else(|| target.fields().iter().position(|field| field.name().to_lowercase() == lower))
}

fn extra(name: &str, target: &Schema) -> IngestError {
    let known: Vec<String> = target.fields().iter().map(|field| field.name().clone()).collect();
    let suggestion = suggest::nearest(name, known.iter().map(String::as_str)).map(str::to_owned);
    IngestError::ExtraColumn { column: name.to_owned(), suggestion, known }
}

fn way(index: usize, found: &DataType, field: &Field) -> Result<From> {
    let expected = field.data_type();
    if found == expected {
        Ok(From::Same(index))
    } else if fit(found, expected).is_some() {
        Ok(From::Cast(index))
    } else {
        Err(IngestError::WrongType { column: field.name().clone(), expected: expected.clone(), found: found.clone() })
    }
}

/// `column` in the field's type, every value as it was.
fn cast_exactly(column: &ArrayRef, field: &Field) -> Result<ArrayRef> {
    let expected = field.data_type();
    if fit(column.data_type(), expected) == Some(Fit::Rounds) {
        refuse_rounding(column, field)?;
    }
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(column, expected, &options).map_err(|error| out_of_range(field, &error))
}

/// An error where a value is no whole number of the coarser unit.
fn refuse_rounding(column: &ArrayRef, field: &Field) -> Result<()> {
    let fits = |column: &ArrayRef| values::whole_units(column, field.data_type()).is_ok();
    if fits(column) {
        return Ok(());
    }
    let (row, expected) = (values::first(column, fits), field.data_type().clone());
    Err(IngestError::LosesDigits { column: field.name().clone(), row, expected })
}

fn out_of_range(field: &Field, error: &arrow::error::ArrowError) -> IngestError {
    let (column, expected) = (field.name().clone(), field.data_type().clone());
    IngestError::ValueOutOfRange { column, expected, reason: error.to_string() }
}

fn require_values(column: &ArrayRef, field: &Field) -> Result<()> {
    let Some(nulls) = column.logical_nulls().filter(|nulls| !field.is_nullable() && nulls.null_count() > 0) else {
        return Ok(());
    };
    let row = (0..nulls.len()).find(|row| nulls.is_null(*row)).unwrap_or_default();
    Err(IngestError::UnexpectedNull { column: field.name().clone(), row })
}

#[cfg(test)]
mod tests;
