//! From the bytes of a checkpoint to a snapshot. The bytes are known to be those that were written (see `checksum`);
//! still, whatever they are, the answer is a snapshot or a reason, and rows that mean nothing to us are a reason.

use std::{collections::BTreeMap, sync::Arc};

use apiary_core::Version;
use arrow::{
    array::{Array, AsArray, ListArray, MapArray, RecordBatch, StringArray, StructArray},
    datatypes::{Int32Type, Int64Type},
};
use bytes::Bytes;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};

use super::schema::SCHEMA;
use crate::{
    Snapshot,
    entry::{Add, Format, Metadata, Protocol},
    header::{Head, Idem},
    idempotency::{Idempotency, Used},
    replay::Replay,
    snapshot::About,
};

/// Rows in one batch.
const BATCH_ROWS: usize = 16 * 1024;

/// Reads a checkpoint of the frame in `folder`, whose last entry is `head`; the error ends a sentence that names the
/// object. CPU work: milliseconds for a thousand cells.
pub(super) fn decode(object: &str, body: Bytes, folder: &str, head: Head) -> Result<Snapshot, String> {
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(body, options).map_err(text_of)?;
    if builder.schema().fields() != SCHEMA.fields() {
        return Err("its columns are not those of a checkpoint".to_owned());
    }
    let reader = builder.with_batch_size(BATCH_ROWS).build().map_err(text_of)?;
    let mut found = Found::default();
    for batch in reader {
        found.take(object, folder, &head, &batch.map_err(text_of)?)?;
    }
    let (mut replay, keys) = (found.replay.ok_or("it does not describe its frame")?, found.keys);
    replay.restore_keys(Idempotency::of(keys));
    replay.finish().ok_or_else(|| "it does not describe its frame".to_owned())
}

/// What was found so far.
#[derive(Debug, Default)]
struct Found {
    protocol: Option<Protocol>,
    metadata: Option<Metadata>,
    keys: Vec<(Idem, Used)>,
    /// Begun as soon as the frame is described, which comes before its cells.
    replay: Option<Replay>,
}

impl Found {
    fn take(&mut self, object: &str, folder: &str, head: &Head, batch: &RecordBatch) -> Result<(), String> {
        for row in there(action(batch, "protocol")?) {
            self.protocol = Some(protocol(action(batch, "protocol")?, row)?);
        }
        for row in there(action(batch, "metaData")?) {
            self.metadata = Some(metadata(action(batch, "metaData")?, row)?);
        }
        if let (None, Some(protocol), Some(metadata)) = (&self.replay, &self.protocol, &self.metadata) {
            if let Some(needs) = protocol.unknown() {
                return Err(format!("it needs {needs}, which this version does not know"));
            }
            let about = About { protocol: protocol.clone(), metadata: metadata.clone() };
            self.replay = Some(Replay::restored(object, folder, about, head.clone()).map_err(text_of)?);
        }
        for row in there(action(batch, "txn")?) {
            self.keys.push(key(action(batch, "txn")?, row)?);
        }
        let adds = Adds::of(action(batch, "add")?)?;
        match &mut self.replay {
            Some(replay) => replay.restore_cells(there(adds.all).map(|row| adds.row(row)))?,
            None if there(adds.all).next().is_some() => return Err("a cell comes before its frame".to_owned()),
            None => {}
        }
        for other in ["remove", "domainMetadata"] {
            if there(action(batch, other)?).next().is_some() {
                return Err(format!("it holds an action '{other}', which this version does not write"));
            }
        }
        Ok(())
    }
}

/// The columns of all cells in a batch.
struct Adds<'a> {
    all: &'a StructArray,
    path: &'a StringArray,
    partition_values: &'a MapArray,
    size: &'a arrow::array::Int64Array,
    modification_time: &'a arrow::array::Int64Array,
    stats: &'a StringArray,
    tags: &'a MapArray,
}

impl<'a> Adds<'a> {
    fn of(all: &'a StructArray) -> Result<Self, String> {
        Ok(Self {
            all,
            path: texts(all, "path")?,
            partition_values: maps(all, "partitionValues")?,
            size: longs(all, "size")?,
            modification_time: longs(all, "modificationTime")?,
            stats: texts(all, "stats")?,
            tags: maps(all, "tags")?,
        })
    }

    fn row(&self, row: usize) -> Result<Add, String> {
        Ok(Add {
            path: self.path.value(row).to_owned(),
            partition_values: pairs(self.partition_values, row)?,
            size: u64::try_from(self.size.value(row)).map_err(text_of)?,
            modification_time: self.modification_time.value(row),
            data_change: false,
            stats: self.stats.is_valid(row).then(|| self.stats.value(row).to_owned()),
            tags: whole_pairs(self.tags, row)?,
        })
    }
}

fn protocol(rows: &StructArray, row: usize) -> Result<Protocol, String> {
    let version = |name: &str| {
        let column = column(rows, name)?.as_primitive_opt::<Int32Type>().ok_or_else(|| wrong(name))?;
        u32::try_from(column.value(row)).map_err(text_of)
    };
    Ok(Protocol {
        min_reader_version: version("minReaderVersion")?,
        min_writer_version: version("minWriterVersion")?,
        reader_features: words(rows, "readerFeatures", row)?,
        writer_features: words(rows, "writerFeatures", row)?,
    })
}

fn metadata(rows: &StructArray, row: usize) -> Result<Metadata, String> {
    let text = |name: &str| Ok::<_, String>(texts(rows, name)?.value(row).to_owned());
    let format = column(rows, "format")?.as_struct_opt().ok_or_else(|| wrong("format"))?;
    Ok(Metadata {
        id: text("id")?,
        format: Format {
            provider: texts(format, "provider")?.value(row).to_owned(),
            options: whole_pairs(maps(format, "options")?, row)?,
        },
        schema_string: text("schemaString")?,
        partition_columns: words(rows, "partitionColumns", row)?.unwrap_or_default(),
        configuration: whole_pairs(maps(rows, "configuration")?, row)?,
        created_time: longs(rows, "createdTime")?.value(row),
    })
}

fn key(rows: &StructArray, row: usize) -> Result<(Idem, Used), String> {
    let app_id = texts(rows, "appId")?.value(row);
    let parts: [String; 4] = serde_json::from_str(app_id).map_err(|_| format!("'{app_id}' is no idempotency key"))?;
    let [ours, scope, key, digest] = parts;
    if ours != "apiary" {
        return Err(format!("'{app_id}' is no idempotency key"));
    }
    let version = Version(u64::try_from(longs(rows, "version")?.value(row)).map_err(text_of)?);
    Ok((Idem { scope, key }, Used { digest, version, at_ms: longs(rows, "lastUpdated")?.value(row) }))
}

/// The column of one action.
fn action<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a StructArray, String> {
    batch.column_by_name(name).and_then(|column| column.as_struct_opt()).ok_or_else(|| wrong(name))
}

/// The rows in which an action is.
fn there(rows: &StructArray) -> impl Iterator<Item = usize> + '_ {
    (0..rows.len()).filter(|row| rows.is_valid(*row))
}

fn column<'a>(rows: &'a StructArray, name: &str) -> Result<&'a Arc<dyn Array>, String> {
    rows.column_by_name(name).ok_or_else(|| wrong(name))
}

fn texts<'a>(rows: &'a StructArray, name: &str) -> Result<&'a StringArray, String> {
    column(rows, name)?.as_string_opt().ok_or_else(|| wrong(name))
}

fn longs<'a>(rows: &'a StructArray, name: &str) -> Result<&'a arrow::array::Int64Array, String> {
    column(rows, name)?.as_primitive_opt::<Int64Type>().ok_or_else(|| wrong(name))
}

fn maps<'a>(rows: &'a StructArray, name: &str) -> Result<&'a MapArray, String> {
    column(rows, name)?.as_map_opt().ok_or_else(|| wrong(name))
}

/// A list of words, or `None` where it is NULL.
fn words(rows: &StructArray, name: &str, row: usize) -> Result<Option<Vec<String>>, String> {
    let lists: &ListArray = column(rows, name)?.as_list_opt().ok_or_else(|| wrong(name))?;
    if lists.is_null(row) {
        return Ok(None);
    }
    let words = lists.value(row);
    let words: &StringArray = words.as_string_opt().ok_or_else(|| wrong(name))?;
    Ok(Some(words.iter().map(|word| word.unwrap_or_default().to_owned()).collect()))
}

fn pairs(maps: &MapArray, row: usize) -> Result<BTreeMap<String, Option<String>>, String> {
    let (keys, values) = (maps.keys().as_string_opt::<i32>(), maps.values().as_string_opt::<i32>());
    let (Some(keys), Some(values)) = (keys, values) else { return Err(wrong("map")) };
    let offsets = maps.value_offsets();
    let range = usize::try_from(offsets[row]).map_err(text_of)?..usize::try_from(offsets[row + 1]).map_err(text_of)?;
    let value = |at: usize| values.is_valid(at).then(|| values.value(at).to_owned());
    Ok(range.map(|at| (keys.value(at).to_owned(), value(at))).collect())
}

fn whole_pairs(maps: &MapArray, row: usize) -> Result<BTreeMap<String, String>, String> {
    let whole = |(key, value): (String, Option<String>)| Ok((key, value.ok_or("a map has a key without a value")?));
    pairs(maps, row)?.into_iter().map(whole).collect()
}

fn wrong(name: &str) -> String {
    format!("its column '{name}' is not of a checkpoint's type")
}

fn text_of(error: impl std::fmt::Display) -> String {
    error.to_string()
}
