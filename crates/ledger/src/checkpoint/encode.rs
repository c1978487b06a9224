//! From a snapshot to the bytes of a checkpoint: the same snapshot makes the same bytes, whoever writes them. Rows stand
//! in a fixed order: the frame itself, its idempotency keys by version, its cells as the snapshot has them.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, BinaryArray, BooleanArray, Int32Array, Int64Array, ListBuilder, MapBuilder, MapFieldNames,
        RecordBatch, StringArray, StringBuilder, StructArray, new_null_array,
    },
    datatypes::{DataType, Field, Fields, Schema},
};
use bytes::Bytes;
use parquet::{
    arrow::{ArrowWriter, arrow_writer::ArrowWriterOptions},
    basic::{Compression, ZstdLevel},
    file::{
        metadata::KeyValue,
        properties::{EnabledStatistics, WriterProperties},
    },
};
use serde_json::json;

use super::schema::{ELEMENT, LAYOUT_KEY, MAP_ENTRY, MAP_KEY, MAP_VALUE, PACKED, SCHEMA, fields_of};
use crate::{
    CellEntry, LedgerError, Result, Snapshot,
    entry::{self, Add, CellReader, Metadata, Protocol},
    header::Idem,
    idempotency::Used,
    packed::LAYOUT,
};

/// Rows in a row group, and in one batch while encoding: small enough that several cores decode one checkpoint.
const GROUP_ROWS: usize = 8 * 1024;

/// A checkpoint as bytes.
#[derive(Debug, Clone)]
pub(super) struct Encoded {
    pub(super) body: Bytes,
    /// Actions in it.
    pub(super) actions: u64,
}

/// Encodes a snapshot. CPU work: some seconds for a million cells.
pub(super) fn encode(snapshot: &Snapshot) -> Result<Encoded> {
    let properties = WriterProperties::builder()
        // Neither the time nor the program's version: what is in it shall decide its bytes.
        .set_created_by("apiary".to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        // A checkpoint is read whole.
        .set_statistics_enabled(EnabledStatistics::None)
        .set_key_value_metadata(Some(vec![KeyValue::new(LAYOUT_KEY.to_owned(), LAYOUT.to_owned())]))
        .build();
    let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
    let mut writer = ArrowWriter::try_new_with_options(Vec::new(), Arc::clone(&SCHEMA), options).map_err(unwritable)?;
    let keys = snapshot.idem.sorted();
    let about = [protocol(&snapshot.about.protocol)?, metadata(&snapshot.about.metadata)?];
    let keys_written = keys.chunks(GROUP_ROWS).map(txns);
    let all: Vec<&CellEntry> = snapshot.cells.iter().map(AsRef::as_ref).collect();
    let reader = CellReader::new(snapshot.folder(), &snapshot.schema, &snapshot.partition_by);
    let cells_written = all.chunks(GROUP_ROWS).map(|cells| {
        let adds = cells.iter().map(|cell| entry::add_of(cell, &snapshot.schema, false));
        let adds = adds.collect::<Result<Vec<Add>, _>>().map_err(unwritable)?;
        adds_of(&adds, packed(cells, &reader)?)
    });
    for batch in about.into_iter().map(Ok).chain(keys_written).chain(cells_written) {
        writer.write(&batch?).map_err(unwritable)?;
    }
    let body = writer.into_inner().map_err(unwritable)?;
    Ok(Encoded { body: body.into(), actions: 2 + keys.len() as u64 + snapshot.cells.len() as u64 })
}

fn protocol(protocol: &Protocol) -> Result<RecordBatch> {
    let int = |n: u32| -> ArrayRef { Arc::new(Int32Array::from(vec![i32::try_from(n).unwrap_or(i32::MAX)])) };
    let columns = vec![
        int(protocol.min_reader_version),
        int(protocol.min_writer_version),
        list(protocol.reader_features.as_deref()),
        list(protocol.writer_features.as_deref()),
    ];
    rows("protocol", columns)
}

fn metadata(metadata: &Metadata) -> Result<RecordBatch> {
    let known = |map: &BTreeMap<String, String>| {
        map.iter().map(|(key, value)| (key.clone(), Some(value.clone()))).collect::<BTreeMap<_, _>>()
    };
    let fields = fields_of(&SCHEMA, "metaData").ok_or_else(defect)?;
    let DataType::Struct(format) = fields[3].data_type() else { return Err(defect()) };
    let columns = vec![text([metadata.format.provider.as_str()]), maps([&known(&metadata.format.options)])?];
    let format: ArrayRef = Arc::new(StructArray::try_new(format.clone(), columns, None).map_err(unwritable)?);
    let columns = vec![
        text([metadata.id.as_str()]),
        new_null_array(&DataType::Utf8, 1),
        new_null_array(&DataType::Utf8, 1),
        format,
        text([metadata.schema_string.as_str()]),
        list(Some(&metadata.partition_columns)),
        maps([&known(&metadata.configuration)])?,
        longs([metadata.created_time]),
    ];
    rows("metaData", columns)
}

fn txns(keys: &[(&Idem, &Used)]) -> Result<RecordBatch> {
    let ids: Vec<String> = keys.iter().map(|(idem, used)| app_id(idem, &used.digest)).collect();
    let columns = vec![
        text(ids.iter().map(String::as_str)),
        longs(keys.iter().map(|(_, used)| signed(used.version.0))),
        longs(keys.iter().map(|(_, used)| used.at_ms)),
    ];
    rows("txn", columns)
}

/// An idempotency key as Delta's `appId`; entries spell it the same way.
fn app_id(idem: &Idem, digest: &str) -> String {
    json!(["apiary", idem.scope, idem.key, digest]).to_string()
}

/// What Apiary reads instead of `stats` and `tags`.
fn packed(cells: &[&CellEntry], reader: &CellReader) -> Result<ArrayRef> {
    let fields = fields_of(&SCHEMA, "add").and_then(|add| fields_of(&Schema::new(add), PACKED)).ok_or_else(defect)?;
    let columns: Vec<ArrayRef> = vec![
        longs(cells.iter().map(|cell| signed(cell.rows))),
        Arc::new(BinaryArray::from_iter_values(cells.iter().map(|cell| reader.packed(cell)))),
        Arc::new(BinaryArray::from_iter_values(cells.iter().map(|cell| cell.sha256))),
    ];
    Ok(Arc::new(StructArray::try_new(fields, columns, None).map_err(unwritable)?))
}

fn adds_of(adds: &[Add], packed: ArrayRef) -> Result<RecordBatch> {
    let tags = |add: &Add| add.tags.iter().map(|(key, tag)| (key.clone(), Some(tag.clone()))).collect();
    let tags: Vec<BTreeMap<_, _>> = adds.iter().map(tags).collect();
    let columns = vec![
        text(adds.iter().map(|add| add.path.as_str())),
        maps(adds.iter().map(|add| &add.partition_values))?,
        longs(adds.iter().map(|add| signed(add.size))),
        longs(adds.iter().map(|add| add.modification_time)),
        Arc::new(BooleanArray::from_iter(adds.iter().map(|add| Some(add.data_change)))),
        Arc::new(StringArray::from_iter(adds.iter().map(|add| add.stats.as_deref()))),
        maps(&tags)?,
        packed,
    ];
    rows("add", columns)
}

/// Rows of one action; the columns of all others are NULL.
fn rows(action: &str, columns: Vec<ArrayRef>) -> Result<RecordBatch> {
    let fields: Fields = fields_of(&SCHEMA, action).ok_or_else(defect)?;
    let mine: ArrayRef = Arc::new(StructArray::try_new(fields, columns, None).map_err(unwritable)?);
    let column = |field: &Arc<Field>| {
        if field.name() == action { Arc::clone(&mine) } else { new_null_array(field.data_type(), mine.len()) }
    };
    RecordBatch::try_new(Arc::clone(&SCHEMA), SCHEMA.fields().iter().map(column).collect()).map_err(unwritable)
}

fn text<'a>(values: impl IntoIterator<Item = &'a str>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

fn longs(values: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values))
}

/// One row that is a list of texts.
fn list(values: Option<&[String]>) -> ArrayRef {
    let field = Field::new(ELEMENT, DataType::Utf8, true);
    let mut builder = ListBuilder::new(StringBuilder::new()).with_field(field);
    for value in values.unwrap_or_default() {
        builder.values().append_value(value);
    }
    builder.append(values.is_some());
    Arc::new(builder.finish())
}

fn maps<'a>(rows: impl IntoIterator<Item = &'a BTreeMap<String, Option<String>>>) -> Result<ArrayRef> {
    let names = MapFieldNames { entry: MAP_ENTRY.to_owned(), key: MAP_KEY.to_owned(), value: MAP_VALUE.to_owned() };
    let mut builder = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new());
    for row in rows {
        for (key, value) in row {
            builder.keys().append_value(key);
            builder.values().append_option(value.as_ref());
        }
        builder.append(true).map_err(unwritable)?;
    }
    Ok(Arc::new(builder.finish()))
}

/// Delta's numbers are signed; no version and no size is beyond them.
fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn unwritable(error: impl std::fmt::Display) -> LedgerError {
    LedgerError::Internal(format!("a checkpoint could not be written as Parquet: {error}"))
}

fn defect() -> LedgerError {
    LedgerError::Internal("the schema of checkpoints lacks an action".to_owned())
}
