//! Types as people write them in a dict: `"int64"`, `"string"`, `"datetime"`, `"decimal(15,2)"`, `"float64 not null"`.

use std::sync::Arc;

use apiary_core::{ErrorKind, suggest};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use pyo3::{prelude::*, types::PyList};

use crate::errors;

/// A name, and the type it stands for.
type Name = (&'static str, fn() -> DataType);

/// The names that stand for a type without arguments; the first of a type is how it is shown.
const NAMES: &[Name] = &[
    ("bool", || DataType::Boolean),
    ("boolean", || DataType::Boolean),
    ("int8", || DataType::Int8),
    ("tinyint", || DataType::Int8),
    ("int16", || DataType::Int16),
    ("smallint", || DataType::Int16),
    ("int32", || DataType::Int32),
    ("integer", || DataType::Int32),
    ("int64", || DataType::Int64),
    ("int", || DataType::Int64),
    ("bigint", || DataType::Int64),
    ("uint8", || DataType::UInt8),
    ("uint16", || DataType::UInt16),
    ("uint32", || DataType::UInt32),
    ("uint64", || DataType::UInt64),
    ("float32", || DataType::Float32),
    ("real", || DataType::Float32),
    ("float64", || DataType::Float64),
    ("float", || DataType::Float64),
    ("double", || DataType::Float64),
    ("string", || DataType::Utf8),
    ("str", || DataType::Utf8),
    ("text", || DataType::Utf8),
    ("varchar", || DataType::Utf8),
    ("utf8", || DataType::Utf8),
    ("binary", || DataType::Binary),
    ("bytes", || DataType::Binary),
    ("date", || DataType::Date32),
    ("datetime", || DataType::Timestamp(TimeUnit::Microsecond, None)),
    ("timestamp", || DataType::Timestamp(TimeUnit::Microsecond, None)),
    ("timestamptz", || DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
    ("datetime[utc]", || DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
];

fn parse(text: &str) -> Option<DataType> {
    if let Some((_, make)) = NAMES.iter().find(|(name, _)| *name == text) {
        return Some(make());
    }
    let arguments = text.strip_prefix("decimal(").or_else(|| text.strip_prefix("numeric("))?.strip_suffix(')')?;
    let (precision, scale) = arguments.split_once(',').unwrap_or((arguments, "0"));
    let (precision, scale) = (precision.trim().parse().ok()?, scale.trim().parse().ok()?);
    ((1..=38).contains(&precision) && (0..=38).contains(&scale) && scale as u8 <= precision)
        .then_some(DataType::Decimal128(precision, scale))
}

/// The name that gives a column's type back.
pub(crate) fn type_name(field: &Field) -> String {
    let name = match field.data_type() {
        DataType::Decimal128(precision, scale) => format!("decimal({precision},{scale})"),
        data_type => NAMES
            .iter()
            .find(|(_, make)| make() == *data_type)
            .map_or_else(|| data_type.to_string(), |(name, _)| (*name).to_owned()),
    };
    if field.is_nullable() { name } else { name + " not null" }
}

/// The Arrow schema of a list of (column, type).
pub(crate) fn schema(columns: &Bound<'_, PyList>) -> PyResult<SchemaRef> {
    let py = columns.py();
    let mut fields = Vec::with_capacity(columns.len());
    for item in columns {
        let (name, written): (String, Bound<'_, PyAny>) = item.extract()?;
        // A Python type such as `int` or `str` serves as its name.
        let written: String = match written.extract::<String>() {
            Ok(text) => text,
            Err(_) => written.getattr("__name__").and_then(|name| name.extract()).unwrap_or_default(),
        };
        let text = written.trim().to_lowercase();
        let (text, nullable) = match text.strip_suffix(" not null") {
            Some(text) => (text.trim_end().to_owned(), false),
            None => (text, true),
        };
        let Some(data_type) = parse(&text) else {
            let near = suggest::nearest(&text, NAMES.iter().map(|(name, _)| *name));
            let hint = match near {
                Some(near) => format!("did you mean '{near}'?"),
                None => "types are int64, float64, string, bool, date, datetime, timestamptz, decimal(p,s), …".into(),
            };
            let message = format!("column '{name}' has the unknown type '{written}'");
            return Err(errors::raise(py, ErrorKind::InvalidInput, message, &hint));
        };
        fields.push(Field::new(name, data_type, nullable));
    }
    Ok(Arc::new(Schema::new(fields)))
}
