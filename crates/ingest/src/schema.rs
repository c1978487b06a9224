//! The types that frames store, and their names in SQL.
//!
//! A frame keeps one spelling of each kind of column, whatever library the first data came from: plain text instead of
//! views, dictionaries and large offsets, microseconds for every timestamp, 128 bits for every decimal. Integers keep
//! their width and sign. How they lie in the Parquet file is the ledger's `storage_schema`.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit};

use crate::{IngestError, Result};

/// The schema of a frame made for data of `schema`. An error names the column that no frame can hold and what to do.
pub fn storable_schema(schema: &Schema) -> Result<SchemaRef> {
    let fields = schema.fields().iter().map(|field| storable_field(field, field.name()));
    Ok(Arc::new(Schema::new(fields.collect::<Result<Vec<_>>>()?)))
}

fn storable_field(field: &FieldRef, column: &str) -> Result<FieldRef> {
    let data_type = storable_type(field.data_type(), column)?;
    Ok(Arc::new(Field::new(field.name(), data_type, field.is_nullable())))
}

/// The type in which a frame keeps values of `data_type`; `column` names the column in errors.
fn storable_type(data_type: &DataType, column: &str) -> Result<DataType> {
    use DataType as T;
    let refuse =
        |fix: String| Err(IngestError::TypeNotStored { column: column.to_owned(), data_type: data_type.clone(), fix });
    let inner = |field: &FieldRef| storable_field(field, column);
    Ok(match data_type {
        T::Float16 => T::Float32,
        T::Utf8 | T::LargeUtf8 | T::Utf8View => T::Utf8,
        T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_) => T::Binary,
        T::Date32 | T::Date64 => T::Date32,
        T::Timestamp(_, zone) => T::Timestamp(TimeUnit::Microsecond, zone.clone()),
        T::Decimal32(_, s) | T::Decimal64(_, s) | T::Decimal128(_, s) | T::Decimal256(_, s) if *s < 0 => {
            return refuse(format!("cast it to a decimal with scale 0: CAST({column} AS DECIMAL(38, 0))"));
        }
        T::Decimal32(p, s) | T::Decimal64(p, s) | T::Decimal128(p, s) => T::Decimal128(*p, *s),
        T::Decimal256(p, s) if *p <= 38 => T::Decimal128(*p, *s),
        T::Decimal256(_, s) => {
            return refuse(format!("cast it to at most 38 digits: CAST({column} AS DECIMAL(38, {}))", s.min(&38)));
        }
        T::Dictionary(_, values) => storable_type(values, column)?,
        T::RunEndEncoded(_, values) => storable_type(values.data_type(), column)?,
        T::List(item) | T::LargeList(item) | T::FixedSizeList(item, _) => T::List(inner(item)?),
        // Views of one list may overlap: a small message could stand for more values than a node holds.
        T::ListView(_) | T::LargeListView(_) => return refuse("cast it from list views to lists".to_owned()),
        T::Struct(fields) if fields.is_empty() => {
            return refuse("a struct needs at least one field: leave the column out, or give it one".to_owned());
        }
        T::Struct(fields) => T::Struct(fields.iter().map(inner).collect::<Result<Fields>>()?),
        T::Map(entries, sorted) => T::Map(inner(entries)?, *sorted),
        T::Null => return refuse(format!("give it the type it will have: CAST({column} AS VARCHAR)")),
        T::Interval(_) | T::Union(..) => return refuse(format!("cast it to text: CAST({column} AS VARCHAR)")),
        _ => data_type.clone(),
    })
}

/// The type's name in SQL.
#[must_use]
pub fn sql_type(data_type: &DataType) -> String {
    use DataType as T;
    match data_type {
        T::Boolean => "BOOLEAN".to_owned(),
        T::Int8 => "TINYINT".to_owned(),
        T::Int16 => "SMALLINT".to_owned(),
        T::Int32 => "INT".to_owned(),
        T::Int64 => "BIGINT".to_owned(),
        T::UInt8 => "TINYINT UNSIGNED".to_owned(),
        T::UInt16 => "SMALLINT UNSIGNED".to_owned(),
        T::UInt32 => "INT UNSIGNED".to_owned(),
        T::UInt64 => "BIGINT UNSIGNED".to_owned(),
        T::Float16 | T::Float32 => "REAL".to_owned(),
        T::Float64 => "DOUBLE".to_owned(),
        T::Utf8 | T::LargeUtf8 | T::Utf8View => "VARCHAR".to_owned(),
        T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_) => "BYTEA".to_owned(),
        T::Date32 | T::Date64 => "DATE".to_owned(),
        T::Time32(_) | T::Time64(_) => "TIME".to_owned(),
        T::Timestamp(_, None) => "TIMESTAMP".to_owned(),
        T::Timestamp(_, Some(_)) => "TIMESTAMP WITH TIME ZONE".to_owned(),
        T::Decimal32(p, s) | T::Decimal64(p, s) | T::Decimal128(p, s) | T::Decimal256(p, s) => {
            format!("DECIMAL({p}, {s})")
        }
        T::Dictionary(_, values) => sql_type(values),
        T::List(item) | T::LargeList(item) | T::FixedSizeList(item, _) => format!("{}[]", sql_type(item.data_type())),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(data_type: DataType) -> std::result::Result<DataType, String> {
        let schema = storable_schema(&Schema::new(vec![Field::new("c", data_type, true)]));
        schema.map(|s| s.field(0).data_type().clone()).map_err(|e| e.hint().unwrap_or_default())
    }

    #[test]
    fn each_kind_of_column_has_one_spelling() {
        let micros = DataType::Timestamp(TimeUnit::Microsecond, Some("Europe/Zurich".into()));
        let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::LargeUtf8));
        let table = [
            (DataType::UInt64, DataType::UInt64),
            (DataType::Utf8View, DataType::Utf8),
            (dictionary, DataType::Utf8),
            (DataType::Timestamp(TimeUnit::Nanosecond, Some("Europe/Zurich".into())), micros),
            (DataType::Decimal64(12, 2), DataType::Decimal128(12, 2)),
            (DataType::Decimal256(38, 2), DataType::Decimal128(38, 2)),
            (DataType::Date64, DataType::Date32),
            (DataType::Float16, DataType::Float32),
            (DataType::new_large_list(DataType::Utf8View, true), DataType::new_list(DataType::Utf8, true)),
        ];
        for (from, to) in table {
            assert_eq!(stored(from.clone()), Ok(to), "{from}");
        }
    }

    #[test]
    fn a_type_without_a_place_is_refused_with_the_cast_to_write() {
        assert!(stored(DataType::Null).unwrap_err().contains("CAST(c AS VARCHAR)"));
        assert!(stored(DataType::Decimal256(60, 2)).unwrap_err().contains("DECIMAL(38, 2)"));
        assert!(stored(DataType::Decimal128(5, -2)).unwrap_err().contains("DECIMAL(38, 0)"));
    }

    #[test]
    fn a_storable_schema_is_its_own_storable_schema() {
        let list = DataType::new_list(DataType::Timestamp(TimeUnit::Second, None), true);
        let once = storable_schema(&Schema::new(vec![Field::new("c", list, false)])).unwrap();
        assert_eq!(storable_schema(&once).unwrap(), once);
    }
}
