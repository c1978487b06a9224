//! Python lists on their way into a frame: they have no types of their own, so they take those of the frame.
//!
//! Nothing is guessed and nothing is lost: a value that does not fit its column's type exactly is an error that names
//! the row and the column. Dates and times go in as `date`, `datetime` or ISO 8601 text, decimals as `Decimal`,
//! integers or text.

use std::sync::Arc;

use apiary_core::{ErrorKind, suggest};
use arrow::{
    array::{
        ArrayRef, BinaryBuilder, BooleanBuilder, Decimal128Builder, PrimitiveBuilder, RecordBatch, RecordBatchIterator,
        RecordBatchOptions, RecordBatchReader, StringArray, StringBuilder,
    },
    compute::{CastOptions, cast_with_options},
    datatypes::{
        ArrowPrimitiveType, DataType, Field, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
        Schema, SchemaRef, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
    },
};
use pyo3::{
    prelude::*,
    types::{PyBytes, PyDict, PyList, PyString},
};

use crate::errors;

/// One batch of the columns in `columns`, with the types that `like` has for their names.
pub(crate) fn reader(columns: &Bound<'_, PyDict>, like: &SchemaRef) -> PyResult<Box<dyn RecordBatchReader + Send>> {
    let py = columns.py();
    let mut fields: Vec<Field> = Vec::new();
    let mut arrays: Vec<ArrayRef> = Vec::new();
    let mut rows = 0;
    for (name, values) in columns {
        let (name, values): (String, Bound<'_, PyList>) = (name.extract()?, values.cast_into()?);
        let field = field_named(py, like, &name)?;
        rows = values.len();
        arrays.push(column(field, &values)?);
        // Whether NULL may stand there is the frame's to say, with its own message.
        fields.push(Field::new(field.name(), field.data_type().clone(), true));
    }
    let schema = Arc::new(Schema::new(fields));
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let batch = RecordBatch::try_new_with_options(Arc::clone(&schema), arrays, &options)
        .map_err(|error| errors::raise(py, ErrorKind::InvalidInput, error.to_string(), ""))?;
    Ok(Box::new(RecordBatchIterator::new([Ok(batch)], schema)))
}

fn field_named<'a>(py: Python<'_>, like: &'a SchemaRef, name: &str) -> PyResult<&'a Field> {
    if let Some((_, field)) = like.column_with_name(name) {
        return Ok(field);
    }
    let folded = name.to_lowercase();
    let mut same = like.fields().iter().filter(|field| field.name().to_lowercase() == folded);
    if let (Some(field), None) = (same.next(), same.next()) {
        return Ok(field);
    }
    let names = like.fields().iter().map(|field| field.name().as_str());
    let hint = match suggest::nearest(name, names.clone()) {
        Some(near) => format!("did you mean '{near}'?"),
        None => format!("its columns are {}", names.collect::<Vec<_>>().join(", ")),
    };
    Err(errors::raise(py, ErrorKind::SchemaMismatch, format!("the frame has no column '{name}'"), &hint))
}

/// Appends each value, `None` as NULL, and names the row of one that does not fit.
fn each<'py>(
    field: &Field,
    values: &Bound<'py, PyList>,
    mut append: impl FnMut(Option<&Bound<'py, PyAny>>) -> PyResult<()>,
) -> PyResult<()> {
    for (row, value) in values.iter().enumerate() {
        let result = if value.is_none() { append(None) } else { append(Some(&value)) };
        result.map_err(|error| does_not_fit(field, row, &value, &error))?;
    }
    Ok(())
}

fn does_not_fit(field: &Field, row: usize, value: &Bound<'_, PyAny>, error: &PyErr) -> PyErr {
    let py = value.py();
    let shown = value.repr().map_or_else(|_| "a value".to_owned(), |text| text.to_string());
    let shown: String = shown.chars().take(60).collect();
    let (name, data_type) = (field.name(), field.data_type());
    let message = format!("row {row}, column '{name}': {shown} does not fit {data_type} ({})", error.value(py));
    errors::raise(py, ErrorKind::SchemaMismatch, message, "")
}

fn numbers<'py, T>(field: &Field, values: &Bound<'py, PyList>) -> PyResult<ArrayRef>
where
    T: ArrowPrimitiveType,
    T::Native: for<'a> FromPyObject<'a, 'py>,
{
    let mut builder = PrimitiveBuilder::<T>::with_capacity(values.len());
    each(field, values, |value| {
        let number = value.map(|value| value.extract::<T::Native>().map_err(Into::into)).transpose()?;
        builder.append_option(number);
        Ok(())
    })?;
    Ok(Arc::new(builder.finish()))
}

fn column(field: &Field, values: &Bound<'_, PyList>) -> PyResult<ArrayRef> {
    match field.data_type() {
        DataType::Boolean => {
            let mut builder = BooleanBuilder::with_capacity(values.len());
            each(field, values, |value| {
                builder.append_option(value.map(|value| value.extract::<bool>()).transpose()?);
                Ok(())
            })?;
            Ok(Arc::new(builder.finish()))
        }
        DataType::Int8 => numbers::<Int8Type>(field, values),
        DataType::Int16 => numbers::<Int16Type>(field, values),
        DataType::Int32 => numbers::<Int32Type>(field, values),
        DataType::Int64 => numbers::<Int64Type>(field, values),
        DataType::UInt8 => numbers::<UInt8Type>(field, values),
        DataType::UInt16 => numbers::<UInt16Type>(field, values),
        DataType::UInt32 => numbers::<UInt32Type>(field, values),
        DataType::UInt64 => numbers::<UInt64Type>(field, values),
        DataType::Float32 => numbers::<Float32Type>(field, values),
        DataType::Float64 => numbers::<Float64Type>(field, values),
        DataType::Utf8 => Ok(Arc::new(strings(field, values, |value| value.extract())?)),
        DataType::Binary => {
            let mut builder = BinaryBuilder::new();
            each(field, values, |value| {
                let bytes = value.map(|value| value.cast::<PyBytes>().cloned()).transpose()?;
                builder.append_option(bytes.as_ref().map(|bytes| bytes.as_bytes()));
                Ok(())
            })?;
            Ok(Arc::new(builder.finish()))
        }
        DataType::Date32 | DataType::Timestamp(..) => moments(field, values),
        DataType::Decimal128(precision, scale) => decimals(field, values, *precision, *scale),
        other => {
            let message = format!("column '{}' of type {other} cannot be written from Python lists", field.name());
            Err(errors::raise(values.py(), ErrorKind::Unsupported, message, "pass a pyarrow or polars table"))
        }
    }
}

fn strings<'py>(
    field: &Field,
    values: &Bound<'py, PyList>,
    text: impl Fn(&Bound<'py, PyAny>) -> PyResult<String>,
) -> PyResult<StringArray> {
    let mut builder = StringBuilder::new();
    each(field, values, |value| {
        builder.append_option(value.map(&text).transpose()?);
        Ok(())
    })?;
    Ok(builder.finish())
}

/// Dates and times, by way of ISO 8601.
fn moments(field: &Field, values: &Bound<'_, PyList>) -> PyResult<ArrayRef> {
    let is_date = field.data_type() == &DataType::Date32;
    let texts = strings(field, values, |value| match value.cast::<PyString>() {
        Ok(text) => text.extract(),
        // A datetime in a date column would lose its time, so only what has no time goes in.
        Err(_) if is_date && value.hasattr("hour")? => {
            Err(pyo3::exceptions::PyTypeError::new_err("a datetime would lose its time; write value.date()"))
        }
        Err(_) => value.call_method0("isoformat")?.extract(),
    })?;
    let strict = CastOptions { safe: false, ..Default::default() };
    cast_with_options(&texts, field.data_type(), &strict).map_err(|error| {
        let message = format!("column '{}': {error}", field.name());
        errors::raise(values.py(), ErrorKind::SchemaMismatch, message, "use date, datetime or ISO 8601 text")
    })
}

fn decimals(field: &Field, values: &Bound<'_, PyList>, precision: u8, scale: i8) -> PyResult<ArrayRef> {
    let mut builder = Decimal128Builder::new().with_data_type(DataType::Decimal128(precision, scale));
    each(field, values, |value| {
        let number = value.map(|value| digits(&value.str()?.to_string(), precision, scale)).transpose()?;
        builder.append_option(number);
        Ok(())
    })?;
    Ok(Arc::new(builder.finish()))
}

/// The digits of a decimal text at `scale`, if it has no more than fit.
fn digits(text: &str, precision: u8, scale: i8) -> PyResult<i128> {
    let wrong = |why: &str| pyo3::exceptions::PyValueError::new_err(why.to_owned());
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().map_err(|_| wrong("not a decimal number"))?),
        None => (text, 0),
    };
    let (sign, unsigned) = mantissa.strip_prefix('-').map_or((1, mantissa), |rest| (-1, rest));
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let all = format!("{whole}{fraction}");
    if all.is_empty() || !all.chars().all(|c| c.is_ascii_digit()) {
        return Err(wrong("not a decimal number"));
    }
    let shift = i32::from(scale) + exponent - i32::try_from(fraction.len()).unwrap_or(i32::MAX);
    let significant = all.trim_start_matches('0');
    let kept = match usize::try_from(-shift) {
        Ok(cut) if cut > 0 => {
            let cut_at = significant.len().saturating_sub(cut);
            if significant[cut_at..].chars().any(|c| c != '0') {
                return Err(wrong("too many digits behind the point"));
            }
            significant[..cut_at].to_owned()
        }
        _ if significant.is_empty() => String::new(),
        _ => significant.to_owned() + &"0".repeat(usize::try_from(shift.min(40)).unwrap_or(0)),
    };
    if kept.len() > usize::from(precision) {
        return Err(wrong("too many digits"));
    }
    if kept.is_empty() {
        return Ok(0);
    }
    kept.parse::<i128>().map(|value| sign * value).map_err(|_| wrong("too many digits"))
}
