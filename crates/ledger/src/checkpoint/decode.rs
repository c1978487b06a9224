//! From the bytes of a checkpoint to a snapshot. The bytes are known to be those that were written (see `checksum`);
//! still, whatever they are, the answer is a snapshot or a reason, and rows that mean nothing to us are a reason.

use std::{
    collections::BTreeMap,
    num::NonZero,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use apiary_core::Version;
use arrow::{
    array::{Array, AsArray, ListArray, MapArray, RecordBatch, StringArray, StructArray},
    datatypes::{Int32Type, Int64Type},
};
use bytes::Bytes;
use parquet::arrow::{
    ProjectionMask,
    arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder},
};

use super::schema::SCHEMA;
use crate::{
    CellEntry, Snapshot,
    entry::{BorrowedAdd, CellReader, Format, INEXACT_TAG, Metadata, Protocol, SHA256_TAG, Scratch},
    guarded::guarded,
    header::{Head, Idem},
    idempotency::{Idempotency, Used},
    replay::Replay,
    snapshot::About,
};

/// Rows in one batch.
const BATCH_ROWS: usize = 16 * 1024;

/// Threads that decode one checkpoint: more would wait for memory.
const THREADS_MAX: usize = 4;

/// Reads a checkpoint of the frame in `folder`, whose last entry is `head`; the error ends a sentence that names the
/// object. CPU work, on several cores: milliseconds for a thousand cells.
pub(super) fn decode(object: &str, body: Bytes, folder: &str, head: Head) -> Result<Snapshot, String> {
    guarded(|| read(object, body, folder, head))
}

fn read(object: &str, body: Bytes, folder: &str, head: Head) -> Result<Snapshot, String> {
    let file = File::open(body)?;
    // Of the first rows alone what comes before all cells, so that all are decoded side by side.
    let about = described(&file.group(0, Some(&ABOUT))?)?;
    let mut replay = Replay::restored(object, folder, about, head).map_err(text_of)?;
    let parts = file.parts(&replay.reader())?;
    let mut keys = Vec::new();
    for part in parts {
        keys.extend(part.keys);
        replay.restore_cells(part.cells);
    }
    replay.restore_keys(Idempotency::of(keys));
    replay.finish().ok_or_else(|| "it does not describe its frame".to_owned())
}

/// The actions that describe a frame.
const ABOUT: [&str; 2] = ["protocol", "metaData"];

/// A checkpoint whose columns are known to be right.
struct File {
    body: Bytes,
    footer: ArrowReaderMetadata,
}

impl File {
    fn open(body: Bytes) -> Result<Self, String> {
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let footer = ArrowReaderMetadata::load(&body, options).map_err(text_of)?;
        if footer.schema().fields() != SCHEMA.fields() {
            return Err("its columns are not those of a checkpoint".to_owned());
        }
        Ok(Self { body, footer })
    }

    /// A row group, or some of its columns; nothing of one that is not there.
    fn group(&self, group: usize, only: Option<&[&str]>) -> Result<Vec<RecordBatch>, String> {
        let columns = SCHEMA.fields().iter().enumerate();
        let wanted = columns.filter(|(_, field)| only.is_none_or(|only| only.contains(&field.name().as_str())));
        let mask = ProjectionMask::roots(self.footer.parquet_schema(), wanted.map(|(at, _)| at));
        let there = (group < self.footer.metadata().num_row_groups()).then_some(group);
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(self.body.clone(), self.footer.clone())
            .with_batch_size(BATCH_ROWS)
            .with_projection(mask)
            .with_row_groups(there.into_iter().collect())
            .build();
        reader.map_err(text_of)?.collect::<Result<_, _>>().map_err(text_of)
    }

    /// All row groups, in order. Each thread takes the next group that nobody has taken: none waits for another that had
    /// the larger ones.
    fn parts(&self, cells: &CellReader) -> Result<Vec<Part>, String> {
        let count = self.footer.metadata().num_row_groups();
        let threads = thread::available_parallelism().map_or(1, NonZero::get).min(THREADS_MAX);
        let next = AtomicUsize::new(0);
        let some = || -> Result<Vec<(usize, Part)>, String> {
            let groups = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
            let part = |group| {
                let batches = self.group(group, None)?;
                let batches = if group == 0 { batches } else { undescribed(batches)? };
                Ok((group, Part::of(&batches, cells)?))
            };
            groups.take_while(|group| *group < count).map(part).collect()
        };
        let mut parts = thread::scope(|scope| {
            let decoding: Vec<_> = (1..threads.min(count)).map(|_| scope.spawn(some)).collect();
            let mut parts = some()?;
            for decoded in decoding {
                parts.extend(decoded.join().map_err(|_| "decoding it did not end".to_owned())??);
            }
            Ok::<_, String>(parts)
        })?;
        parts.sort_unstable_by_key(|(group, _)| *group);
        Ok(parts.into_iter().map(|(_, part)| part).collect())
    }
}

/// What the first rows say of the frame, which comes before its cells.
fn described(batches: &[RecordBatch]) -> Result<About, String> {
    let (mut protocols, mut metadatas) = (Vec::new(), Vec::new());
    for batch in batches {
        let (protocols_in, metadatas_in) = (action(batch, "protocol")?, action(batch, "metaData")?);
        protocols.extend(there(protocols_in).map(|row| protocol(protocols_in, row)));
        metadatas.extend(there(metadatas_in).map(|row| metadata(metadatas_in, row)));
    }
    let (Some(protocol), Some(metadata)) = (protocols.pop(), metadatas.pop()) else {
        return Err("it does not describe its frame".to_owned());
    };
    let (protocol, metadata) = (protocol?, metadata?);
    if !protocols.is_empty() || !metadatas.is_empty() {
        return Err(TWICE.to_owned());
    }
    if let Some(needs) = protocol.unknown() {
        return Err(format!("it needs {needs}, which this version does not know"));
    }
    Ok(About { protocol, metadata })
}

const TWICE: &str = "it describes its frame twice";

/// Rows that do not describe the frame again.
fn undescribed(batches: Vec<RecordBatch>) -> Result<Vec<RecordBatch>, String> {
    for batch in &batches {
        if there(action(batch, "protocol")?).chain(there(action(batch, "metaData")?)).next().is_some() {
            return Err(TWICE.to_owned());
        }
    }
    Ok(batches)
}

/// Keys and cells in some rows.
struct Part {
    keys: Vec<(Idem, Used)>,
    cells: Vec<Arc<CellEntry>>,
}

impl Part {
    fn of(batches: &[RecordBatch], reader: &CellReader) -> Result<Self, String> {
        let (mut found, mut scratch) = (Self { keys: Vec::new(), cells: Vec::new() }, Scratch::default());
        for batch in batches {
            let txns = action(batch, "txn")?;
            for row in there(txns) {
                found.keys.push(key(txns, row)?);
            }
            let adds = Adds::of(action(batch, "add")?)?;
            for row in there(adds.all) {
                found.cells.push(Arc::new(reader.read_borrowed(&adds.row(row)?, &mut scratch)?));
            }
            for other in ["remove", "domainMetadata"] {
                if there(action(batch, other)?).next().is_some() {
                    return Err(format!("it holds an action '{other}', which this version does not write"));
                }
            }
        }
        Ok(found)
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

    fn row(&self, row: usize) -> Result<BorrowedAdd<'a>, String> {
        let tags = borrowed_pairs(self.tags, row)?;
        let tag = |name: &str| tags.iter().find(|(key, _)| *key == name).and_then(|(_, value)| *value);
        Ok(BorrowedAdd {
            path: self.path.value(row),
            partition_values: borrowed_pairs(self.partition_values, row)?,
            size: u64::try_from(self.size.value(row)).map_err(text_of)?,
            modification_time: self.modification_time.value(row),
            stats: self.stats.is_valid(row).then(|| self.stats.value(row)),
            sha256: tag(SHA256_TAG),
            inexact: tag(INEXACT_TAG),
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

fn borrowed_pairs(maps: &MapArray, row: usize) -> Result<Vec<(&str, Option<&str>)>, String> {
    let (keys, values) = (maps.keys().as_string_opt::<i32>(), maps.values().as_string_opt::<i32>());
    let (Some(keys), Some(values)) = (keys, values) else { return Err(wrong("map")) };
    let offsets = maps.value_offsets();
    let range = usize::try_from(offsets[row]).map_err(text_of)?..usize::try_from(offsets[row + 1]).map_err(text_of)?;
    Ok(range.map(|at| (keys.value(at), values.is_valid(at).then(|| values.value(at)))).collect())
}

fn whole_pairs(maps: &MapArray, row: usize) -> Result<BTreeMap<String, String>, String> {
    let whole = |(key, value): (&str, Option<&str>)| {
        Ok((key.to_owned(), value.ok_or("a map has a key without a value")?.to_owned()))
    };
    borrowed_pairs(maps, row)?.into_iter().map(whole).collect()
}

fn wrong(name: &str) -> String {
    format!("its column '{name}' is not of a checkpoint's type")
}

fn text_of(error: impl std::fmt::Display) -> String {
    error.to_string()
}
