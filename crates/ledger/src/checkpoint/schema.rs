//! The columns of a checkpoint, as the Delta protocol names them. Every field may be NULL: a row has one action, and the
//! columns of the others are NULL in it.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};

/// Names inside of a map, as Parquet has them.
pub(super) const MAP_ENTRY: &str = "key_value";
pub(super) const MAP_KEY: &str = "key";
pub(super) const MAP_VALUE: &str = "value";

/// The name inside of a list.
pub(super) const ELEMENT: &str = "element";

/// The column of an `add` that is Apiary's own: a copy of what `stats` and `tags` say that is read without parsing.
pub(super) const PACKED: &str = "apiary";

/// Where the footer says how the statistics in there are laid out.
pub(super) const LAYOUT_KEY: &str = "apiary.layout";

/// Actions in a checkpoint, one column each.
pub(super) static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| schema(vec![group(PACKED, packed())]));

/// The same without Apiary's own column, as the first programs wrote it.
pub(super) static PLAIN: LazyLock<SchemaRef> = LazyLock::new(|| schema(Vec::new()));

/// The columns of a checkpoint without Apiary's own, whatever a newer program has made of that one.
pub(super) fn without_own(fields: &Fields) -> Fields {
    let plain = |field: &FieldRef| match field.data_type() {
        DataType::Struct(parts) if field.name() == "add" => {
            let parts = parts.iter().filter(|part| part.name() != PACKED).map(Arc::clone).collect();
            Arc::new(field.as_ref().clone().with_data_type(DataType::Struct(parts)))
        }
        _ => Arc::clone(field),
    };
    fields.iter().map(plain).collect()
}

fn schema(own: Vec<Field>) -> SchemaRef {
    Arc::new(Schema::new(vec![
        group("txn", vec![text("appId"), long("version"), long("lastUpdated")]),
        group("add", add().into_iter().chain(own).collect()),
        group("remove", remove()),
        group("metaData", metadata()),
        group("protocol", protocol()),
        group("domainMetadata", vec![text("domain"), text("configuration"), flag("removed")]),
    ]))
}

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

fn packed() -> Vec<Field> {
    vec![long("rows"), Field::new("stats", DataType::Binary, true), Field::new("sha256", DataType::Binary, true)]
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
