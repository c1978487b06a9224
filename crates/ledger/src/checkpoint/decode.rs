//! From the bytes of a checkpoint to a snapshot. The bytes are known to be those that were written (see `checksum`);
//! still, whatever they are, the answer is a snapshot or a reason, and rows that mean nothing to us are a reason.

use std::sync::Arc;

use apiary_core::{Version, side_by_side};
use arrow::{
    array::{AsArray, RecordBatch, StructArray},
    datatypes::Int32Type,
};
use bytes::Bytes;
use parquet::arrow::{
    ProjectionMask,
    arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder},
};

use super::{
    adds::{Adds, Source},
    columns::{action, column, longs, maps, text_of, texts, there, whole_pairs, words, wrong},
    schema::{LAYOUT_KEY, PLAIN, SCHEMA, without_own},
};
use crate::{
    CellEntry, Snapshot,
    entry::{CellReader, Format, Metadata, Protocol, Scratch},
    guarded::guarded,
    header::{Head, Idem},
    idempotency::{Idempotency, Used},
    packed::LAYOUT,
    replay::{Replay, THREADS_MAX},
    snapshot::About,
};

/// Rows in one batch.
const BATCH_ROWS: usize = 16 * 1024;

/// Reads a checkpoint of the frame in `folder`, whose last entry is `head`; the error ends a sentence that names the
/// object. CPU work, on several cores: a few milliseconds for ten thousand cells.
pub(super) fn decode(object: &str, body: Bytes, folder: &str, head: Head) -> Result<Snapshot, String> {
    decode_from(object, body, folder, head, Source::Packed)
}

/// The same of one of the two copies of what is known of cells.
pub(super) fn decode_from(
    object: &str,
    body: Bytes,
    folder: &str,
    head: Head,
    source: Source,
) -> Result<Snapshot, String> {
    guarded(|| read(object, body, folder, head, source))
}

fn read(object: &str, body: Bytes, folder: &str, head: Head, source: Source) -> Result<Snapshot, String> {
    let file = File::open(body, source)?;
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
    source: Source,
}

impl File {
    /// Where there is no copy of Apiary's, or none in the layout that we know, it is JSON that is read.
    fn open(body: Bytes, wanted: Source) -> Result<Self, String> {
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let footer = ArrowReaderMetadata::load(&body, options).map_err(text_of)?;
        let fields = footer.schema().fields();
        if without_own(fields) != *PLAIN.fields() {
            return Err("its columns are not those of a checkpoint".to_owned());
        }
        let has_own = fields == SCHEMA.fields();
        let said = footer.metadata().file_metadata().key_value_metadata();
        let layout = said.and_then(|said| said.iter().find(|said| said.key == LAYOUT_KEY));
        let is_known = has_own && layout.is_some_and(|layout| layout.value.as_deref() == Some(LAYOUT));
        let source = if is_known { wanted } else { Source::Delta };
        Ok(Self { body, footer, source })
    }

    /// A row group, or some of its actions; nothing of one that is not there.
    fn group(&self, group: usize, only: Option<&[&str]>) -> Result<Vec<RecordBatch>, String> {
        let schema = self.footer.parquet_schema();
        let is_read = |path: &[String]| match path {
            [action, field, ..] if action == "add" => only.is_none() && !self.source.leaves_out(field),
            [action, ..] => only.is_none_or(|only| only.contains(&action.as_str())),
            [] => false,
        };
        let leaves = schema.columns().iter().enumerate().filter(|(_, leaf)| is_read(leaf.path().parts()));
        let mask = ProjectionMask::leaves(schema, leaves.map(|(at, _)| at));
        let there = (group < self.footer.metadata().num_row_groups()).then_some(group);
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(self.body.clone(), self.footer.clone())
            .with_batch_size(BATCH_ROWS)
            .with_projection(mask)
            .with_row_groups(there.into_iter().collect())
            .build();
        reader.map_err(text_of)?.collect::<Result<_, _>>().map_err(text_of)
    }

    /// All row groups, in order.
    fn parts(&self, cells: &CellReader) -> Result<Vec<Part>, String> {
        side_by_side(self.footer.metadata().num_row_groups(), THREADS_MAX, |group| {
            let batches = self.group(group, None)?;
            let batches = if group == 0 { batches } else { undescribed(batches)? };
            Part::of(&batches, self.source, cells)
        })
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
    fn of(batches: &[RecordBatch], source: Source, reader: &CellReader) -> Result<Self, String> {
        let (mut found, mut scratch) = (Self { keys: Vec::new(), cells: Vec::new() }, Scratch::default());
        for batch in batches {
            let txns = action(batch, "txn")?;
            for row in there(txns) {
                found.keys.push(key(txns, row)?);
            }
            let adds = Adds::of(action(batch, "add")?, source)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        checkpoint::encode::encode,
        samples::{entries, snapshot},
    };

    /// Where some bytes stand last.
    fn place(body: &[u8], of: &[u8]) -> usize {
        body.windows(of.len()).rposition(|bytes| bytes == of).unwrap()
    }

    #[test]
    fn a_layout_that_is_not_known_is_left_for_deltas_statistics() {
        let written = snapshot(&entries()[..2]);
        let body = encode(&written).unwrap().body.to_vec();
        let read = |body: &[u8], source: Source| {
            let file = File::open(Bytes::copy_from_slice(body), source)?;
            let snapshot = decode_from("o", Bytes::copy_from_slice(body), "folder", written.head.clone(), source)?;
            assert!(snapshot.cells == written.cells);
            Ok::<_, String>(file.source)
        };
        assert_eq!(read(&body, Source::Packed), Ok(Source::Packed));
        assert_eq!(read(&body, Source::Delta), Ok(Source::Delta));
        let mut newer = body.clone();
        let layout = place(&body, LAYOUT_KEY.as_bytes());
        let said = layout + place(&body[layout..][..LAYOUT_KEY.len() + 8], LAYOUT.as_bytes());
        newer[said] = b'9';
        assert_eq!(read(&newer, Source::Packed), Ok(Source::Delta));
    }
}
