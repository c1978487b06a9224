//! Arrow schemas as Delta spells them.
//!
//! Delta knows fewer types than Arrow. A frame keeps its exact Arrow schema in its ledger; its cells are written in
//! the nearest types that Delta has ([`storage_schema`]), so that every reader of Delta reads them, and come back
//! into the exact types by a cast. Types above Delta's:
//!
//! | Arrow | in cells | Delta |
//! |---|---|---|
//! | UInt8, UInt16, UInt32 | Int16, Int32, Int64 | short, integer, long |
//! | UInt64 | Decimal128(20, 0) | decimal(20,0) |
//! | Float16 | Float32 | float |
//! | Date64 | Date32 | date |
//! | Time32; Time64, Duration | Int32; Int64 | integer; long |
//! | Timestamp in s, ms, ns | in µs | timestamp, timestamp_ntz |
//! | Decimal32, 64, 256 of at most 38 digits | Decimal128 | decimal |

use std::{io::Cursor, sync::Arc};

use arrow::{
    datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit},
    ipc::{reader::StreamReader, root_as_message, writer::StreamWriter},
};
use serde_json::{Value, json};

use crate::{LedgerError, Result, guarded::guarded};

/// The schema in which a frame's cells are written. Equal to `schema` where Delta has all its types. An error names
/// the column that no cell can hold.
pub fn storage_schema(schema: &Schema) -> Result<SchemaRef> {
    let fields = schema.fields().iter().map(|field| storage_field(field)).collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(Schema::new(fields)))
}

fn storage_field(field: &Field) -> Result<FieldRef> {
    let storage = storage_type(field.data_type()).map_err(|why| {
        LedgerError::Schema(format!("the column '{}' of type {} {why}", field.name(), field.data_type()))
    })?;
    Ok(Arc::new(Field::new(field.name(), storage, field.is_nullable())))
}

/// The type in which a value is written in a cell; the error ends a sentence that begins with the column.
fn storage_type(data_type: &DataType) -> Result<DataType, String> {
    use DataType as T;
    let nested = |field: &Field| storage_field(field).map_err(|error| format!("cannot be stored: {error}"));
    Ok(match data_type {
        T::Boolean | T::Int8 | T::Int16 | T::Int32 | T::Int64 | T::Float32 | T::Float64 => data_type.clone(),
        T::Utf8 | T::LargeUtf8 | T::Utf8View | T::Binary | T::LargeBinary | T::BinaryView => data_type.clone(),
        T::FixedSizeBinary(_) => T::Binary,
        T::UInt8 => T::Int16,
        T::UInt16 => T::Int32,
        T::UInt32 => T::Int64,
        T::UInt64 => T::Decimal128(20, 0),
        T::Float16 => T::Float32,
        T::Date32 | T::Date64 => T::Date32,
        T::Time32(_) => T::Int32,
        T::Time64(_) | T::Duration(_) => T::Int64,
        T::Timestamp(_, zone) => T::Timestamp(TimeUnit::Microsecond, zone.as_ref().map(|_| "UTC".into())),
        T::Decimal32(_, s) | T::Decimal64(_, s) | T::Decimal128(_, s) | T::Decimal256(_, s) if *s < 0 => {
            return Err("has a scale below zero; cast it to a decimal with scale 0".to_owned());
        }
        T::Decimal32(p, s) | T::Decimal64(p, s) | T::Decimal128(p, s) => T::Decimal128(*p, *s),
        T::Decimal256(p, s) if *p <= 38 => T::Decimal128(*p, *s),
        T::Decimal256(..) => return Err("has more than 38 digits; cast it to a smaller decimal".to_owned()),
        T::Dictionary(_, values) => storage_type(values)?,
        T::RunEndEncoded(_, values) => storage_type(values.data_type())?,
        T::List(item) | T::ListView(item) | T::FixedSizeList(item, _) => T::List(nested(item)?),
        T::LargeList(item) | T::LargeListView(item) => T::LargeList(nested(item)?),
        T::Struct(fields) if fields.is_empty() => return Err("has no fields; leave it out".to_owned()),
        T::Struct(fields) => T::Struct(fields.iter().map(|field| nested(field)).collect::<Result<Fields, _>>()?),
        T::Map(entries, sorted) => T::Map(nested(entries)?, *sorted),
        T::Null => return Err("has no values at all; cast it to the type it will have".to_owned()),
        T::Interval(_) | T::Union(..) => return Err("has no place in a cell; cast it to text or integers".to_owned()),
    })
}

/// Delta's `schemaString`.
pub(crate) fn schema_string(schema: &Schema) -> Result<String> {
    Ok(delta_struct(storage_schema(schema)?.fields()).to_string())
}

fn delta_struct(fields: &Fields) -> Value {
    let field = |field: &FieldRef| {
        json!({
            "name": field.name(),
            "type": delta_type(field.data_type()),
            "nullable": field.is_nullable(),
            "metadata": {},
        })
    };
    json!({"type": "struct", "fields": fields.iter().map(field).collect::<Vec<_>>()})
}

/// Delta's name of a storage type.
fn delta_type(data_type: &DataType) -> Value {
    use DataType as T;
    match data_type {
        T::Boolean => json!("boolean"),
        T::Int8 => json!("byte"),
        T::Int16 => json!("short"),
        T::Int32 => json!("integer"),
        T::Int64 => json!("long"),
        T::Float32 => json!("float"),
        T::Float64 => json!("double"),
        T::Date32 => json!("date"),
        T::Timestamp(_, Some(_)) => json!("timestamp"),
        T::Timestamp(_, None) => json!("timestamp_ntz"),
        T::Decimal128(precision, scale) => json!(format!("decimal({precision},{scale})")),
        T::Binary | T::LargeBinary | T::BinaryView => json!("binary"),
        T::List(item) | T::LargeList(item) => json!({
            "type": "array",
            "elementType": delta_type(item.data_type()),
            "containsNull": item.is_nullable(),
        }),
        T::Struct(fields) => delta_struct(fields),
        T::Map(entries, _) => delta_map(entries),
        _ => json!("string"),
    }
}

fn delta_map(entries: &Field) -> Value {
    let DataType::Struct(fields) = entries.data_type() else { return json!("string") };
    let (key, value) = (&fields[0], &fields[1]);
    json!({
        "type": "map",
        "keyType": delta_type(key.data_type()),
        "valueType": delta_type(value.data_type()),
        "valueContainsNull": value.is_nullable(),
    })
}

/// Whether a type is one that is looked for, or holds one, however deep.
pub fn holds(data_type: &DataType, is_it: fn(&DataType) -> bool) -> bool {
    match data_type {
        DataType::Dictionary(_, values) => holds(values, is_it),
        DataType::RunEndEncoded(_, item)
        | DataType::List(item)
        | DataType::ListView(item)
        | DataType::LargeList(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => holds(item.data_type(), is_it),
        DataType::Struct(fields) => fields.iter().any(|field| holds(field.data_type(), is_it)),
        data_type => is_it(data_type),
    }
}

/// Whether a timestamp without zone is anywhere in the schema: readers of Delta must then know that type.
pub(crate) fn has_plain_timestamp(schema: &Schema) -> bool {
    let is_plain = |data_type: &DataType| matches!(data_type, DataType::Timestamp(_, None));
    schema.fields().iter().any(|field| holds(field.data_type(), is_plain))
}

/// The exact schema as text: an Arrow IPC stream without batches, in hexadecimal.
pub(crate) fn exact_to_text(schema: &Schema) -> Result<String> {
    let failed = |error: arrow::error::ArrowError| LedgerError::Schema(error.to_string());
    let mut writer = StreamWriter::try_new(Vec::new(), schema).map_err(failed)?;
    writer.finish().map_err(failed)?;
    Ok(hex::encode(writer.into_inner().map_err(failed)?))
}

/// Reads [`exact_to_text`]; the error ends a sentence that names the object.
pub(crate) fn exact_from_text(text: &str) -> Result<SchemaRef, String> {
    let bytes = hex::decode(text).map_err(|error| format!("the Arrow schema is not hexadecimal: {error}"))?;
    let cannot = |why: String| format!("the Arrow schema cannot be read: {why}");
    whole(&bytes).map_err(|why| cannot(why.to_owned()))?;
    let reader = guarded(|| StreamReader::try_new(Cursor::new(bytes), None).map_err(|error| error.to_string()));
    reader.map(|reader| reader.schema()).map_err(cannot)
}

/// Whether the first message is as long as it says: Arrow's reader takes memory for whatever a length claims.
fn whole(stream: &[u8]) -> Result<(), &'static str> {
    const CUT: &str = "it is cut";
    let (marker, rest) = stream.split_first_chunk::<4>().ok_or(CUT)?;
    let (length, rest) = rest.split_first_chunk::<4>().ok_or(CUT)?;
    if *marker != [0xff; 4] {
        return Err("it does not begin as an Arrow stream does");
    }
    let head = usize::try_from(u32::from_le_bytes(*length)).ok().and_then(|length| rest.get(..length)).ok_or(CUT)?;
    match root_as_message(head) {
        Ok(message) if message.bodyLength() == 0 => Ok(()),
        _ => Err("its first message is no schema"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn everything() -> Schema {
        let item = |data_type| Arc::new(Field::new("item", data_type, true));
        let entries = Field::new(
            "entries",
            DataType::Struct(Fields::from(vec![
                Field::new("keys", DataType::Utf8, false),
                Field::new("values", DataType::UInt8, true),
            ])),
            false,
        );
        let types = [
            DataType::UInt64,
            DataType::Float16,
            DataType::Time64(TimeUnit::Nanosecond),
            DataType::Timestamp(TimeUnit::Nanosecond, Some("Europe/Zurich".into())),
            DataType::Decimal64(12, 3),
            DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::LargeUtf8)),
            DataType::List(item(DataType::UInt32)),
            DataType::Map(Arc::new(entries), false),
            DataType::Struct(Fields::from(vec![Field::new("inner", DataType::Date64, false)])),
        ];
        let named = types.into_iter().enumerate().map(|(i, t)| Field::new(format!("c{i}"), t, i % 2 == 0));
        Schema::new(named.collect::<Vec<_>>()).with_metadata([("k".to_owned(), "v".to_owned())].into())
    }

    #[test]
    fn the_exact_schema_reads_back() {
        let schema = everything();
        assert_eq!(*exact_from_text(&exact_to_text(&schema).unwrap()).unwrap(), schema);
        assert!(exact_from_text("zz").is_err() && exact_from_text("00ff").is_err());
    }

    #[test]
    fn types_that_delta_lacks_are_mapped_up() {
        let text = schema_string(&everything()).unwrap();
        let schema: Value = serde_json::from_str(&text).unwrap();
        let types: Vec<&Value> = schema["fields"].as_array().unwrap().iter().map(|field| &field["type"]).collect();
        assert_eq!(types[..6], ["decimal(20,0)", "float", "long", "timestamp", "decimal(12,3)", "string"]);
        assert_eq!(types[6], &json!({"type": "array", "elementType": "long", "containsNull": true}));
        assert_eq!(
            types[7],
            &json!({"type": "map", "keyType": "string", "valueType": "short", "valueContainsNull": true})
        );
        assert_eq!(types[8]["fields"][0], json!({"name": "inner", "type": "date", "nullable": false, "metadata": {}}));
    }

    #[test]
    fn a_storage_schema_is_its_own_storage_schema() {
        let storage = storage_schema(&everything()).unwrap();
        assert_eq!(storage_schema(&storage).unwrap(), storage);
    }

    #[test]
    fn a_plain_timestamp_is_found_wherever_it_hides() {
        assert!(!has_plain_timestamp(&everything()));
        let plain = Field::new("item", DataType::Timestamp(TimeUnit::Second, None), true);
        let hidden = DataType::Struct(Fields::from(vec![Field::new("l", DataType::List(Arc::new(plain)), true)]));
        assert!(has_plain_timestamp(&Schema::new(vec![Field::new("s", hidden, true)])));
    }

    #[test]
    fn what_no_cell_can_hold_is_named() {
        for (bad, word) in
            [(DataType::Null, "'x'"), (DataType::Decimal256(60, 2), "38"), (DataType::Decimal128(5, -1), "scale")]
        {
            let error = storage_schema(&Schema::new(vec![Field::new("x", bad, true)])).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
