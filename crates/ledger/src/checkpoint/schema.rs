//! The columns of a checkpoint, as the Delta protocol names them. Every field may be NULL: a row has one action, and the
//! columns of the others are NULL in it.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};

/// Names inside of a map, as Parquet has them.
pub(super) const MAP_ENTRY: &str = "key_value";
pub(super) const MAP_KEY: &str = "key";
pub(super) const MAP_VALUE: &str = "value";

/// The name inside of a list.
pub(super) const ELEMENT: &str = "element";

/// Actions in a checkpoint, one column each.
pub(super) static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        group("txn", vec![text("appId"), long("version"), long("lastUpdated")]),
        group("add", add()),
        group("remove", remove()),
        group("metaData", metadata()),
        group("protocol", protocol()),
        group("domainMetadata", vec![text("domain"), text("configuration"), flag("removed")]),
    ]))
});

fn add() -> Vec<Field> {
    vec![
        text("path"),
        map("partitionValues"),
        long("size"),
        long("modificationTime"),
        flag("dataChange"),
        text("stats"),
        map("tags"),
    ]
}

/// Always NULL in our checkpoints; some readers want the column.
fn remove() -> Vec<Field> {
    vec![
        text("path"),
        long("deletionTimestamp"),
        flag("dataChange"),
        flag("extendedFileMetadata"),
        map("partitionValues"),
        long("size"),
    ]
}

fn metadata() -> Vec<Field> {
    vec![
        text("id"),
        text("name"),
        text("description"),
        group("format", vec![text("provider"), map("options")]),
        text("schemaString"),
        list("partitionColumns"),
        map("configuration"),
        long("createdTime"),
    ]
}

fn protocol() -> Vec<Field> {
    vec![int("minReaderVersion"), int("minWriterVersion"), list("readerFeatures"), list("writerFeatures")]
}

fn text(name: &str) -> Field {
    Field::new(name, DataType::Utf8, true)
}

fn long(name: &str) -> Field {
    Field::new(name, DataType::Int64, true)
}

fn int(name: &str) -> Field {
    Field::new(name, DataType::Int32, true)
}

fn flag(name: &str) -> Field {
    Field::new(name, DataType::Boolean, true)
}

fn group(name: &str, fields: Vec<Field>) -> Field {
    Field::new(name, DataType::Struct(fields.into()), true)
}

fn list(name: &str) -> Field {
    Field::new(name, DataType::List(Arc::new(text(ELEMENT))), true)
}

fn map(name: &str) -> Field {
    let entry = Fields::from(vec![Field::new(MAP_KEY, DataType::Utf8, false), text(MAP_VALUE)]);
    Field::new(name, DataType::Map(Arc::new(Field::new(MAP_ENTRY, DataType::Struct(entry), false)), false), true)
}

/// The fields of one action.
pub(super) fn fields_of(schema: &Schema, action: &str) -> Option<Fields> {
    match schema.field_with_name(action).ok()?.data_type() {
        DataType::Struct(fields) => Some(fields.clone()),
        _ => None,
    }
}
