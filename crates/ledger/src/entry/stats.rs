//! Cells and their statistics as `add` actions.
//!
//! Bounds stand in Delta's `stats`. Delta has no word for "this bound is not itself a value of the column", so that
//! stands in the tag `apiary.inexact`: column name to `min`, `max` or `both`. A bound that is absent is never exact.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use apiary_core::{CellStats, StatValue};
use arrow::datatypes::{Schema, SchemaRef};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    Add, bounds,
    columns::{Columns, Memory, NONE_INEXACT},
};
use crate::{
    CellEntry, CellId,
    cell_entry::Shape,
    packed::{self, Packer},
    partition_text,
    value::ValueClass,
};

pub(crate) const SHA256_TAG: &str = "apiary.sha256";
pub(crate) const INEXACT_TAG: &str = "apiary.inexact";

/// Delta's statistics.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Stats {
    num_records: u64,
    min_values: BTreeMap<String, Box<RawValue>>,
    max_values: BTreeMap<String, Box<RawValue>>,
    null_count: BTreeMap<String, Box<RawValue>>,
}

/// The `add` action of a cell.
pub(crate) fn add_of(cell: &CellEntry, schema: &Schema, data_change: bool) -> Result<Add, serde_json::Error> {
    let (stats, inexact) = encode(&cell.stats(), schema)?;
    let mut tags = BTreeMap::from([(SHA256_TAG.to_owned(), cell.sha256())]);
    if !inexact.is_empty() {
        tags.insert(INEXACT_TAG.to_owned(), serde_json::to_string(&inexact)?);
    }
    Ok(Add {
        path: cell.path(),
        partition_values: cell.partition_values().into_iter().collect(),
        size: cell.size_bytes,
        modification_time: cell.modified_ms,
        data_change,
        stats: Some(stats),
        tags,
    })
}

/// Reads cells of one frame, as long as its schema stays as it is.
#[derive(Debug)]
pub(crate) struct CellReader {
    schema: SchemaRef,
    shape: Arc<Shape>,
    columns: Columns,
}

impl CellReader {
    pub(crate) fn new(folder: &str, schema: &SchemaRef, by: &[String]) -> Self {
        let mut columns: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
        columns.sort_unstable();
        let known = Columns::new(&columns, schema);
        let shape = Shape { folder: folder.to_owned(), partition_by: by.to_vec(), columns };
        Self { schema: Arc::clone(schema), shape: Arc::new(shape), columns: known }
    }

    /// The cells of `add` actions; the error ends a sentence that names the entry.
    pub(crate) fn read_all(&self, adds: &[Add]) -> Result<Vec<Arc<CellEntry>>, String> {
        let mut scratch = Scratch::default();
        adds.iter().map(|add| self.read_with(add, &mut scratch).map(Arc::new)).collect()
    }

    /// The cell of one.
    pub(crate) fn read(&self, add: &Add) -> Result<CellEntry, String> {
        self.read_with(add, &mut Scratch::default())
    }

    fn read_with(&self, add: &Add, scratch: &mut Scratch) -> Result<CellEntry, String> {
        let values = &add.partition_values;
        let borrowed = BorrowedAdd {
            path: &add.path,
            partition_values: values.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect(),
            size: add.size,
            modification_time: add.modification_time,
            told: Told::Delta {
                stats: add.stats.as_deref(),
                sha256: add.tags.get(SHA256_TAG).map(String::as_str),
                inexact: add.tags.get(INEXACT_TAG).map(String::as_str),
            },
        };
        self.read_borrowed(&borrowed, scratch)
    }

    /// The same, of an action whose parts lie elsewhere.
    pub(crate) fn read_borrowed(&self, add: &BorrowedAdd<'_>, scratch: &mut Scratch) -> Result<CellEntry, String> {
        let refuse = |why: &str| Err(format!("the cell '{}' {why}", add.path));
        // Our own names alone: none of their characters needs Delta's URL encoding, none leads out of the folder.
        let Some(id) = CellId::of_path(add.path) else {
            return refuse("has a path that is not cells/<transaction>-<number>.parquet");
        };
        let mut sha256 = [0; 32];
        let is_summed = match &add.told {
            Told::Delta { sha256: Some(text), .. } => hex::decode_to_slice(text, &mut sha256).is_ok(),
            Told::Delta { sha256: None, .. } => false,
            Told::Packed { sha256: sum, .. } => <[u8; 32]>::try_from(*sum).map(|sum| sha256 = sum).is_ok(),
        };
        if !is_summed {
            return refuse("has no checksum");
        }
        let mut packed = Packer::over(std::mem::take(&mut scratch.packed), &self.partition_values(add)?);
        let rows = match add.told {
            Told::Delta { stats: None, .. } => return refuse("has no statistics"),
            Told::Delta { stats: Some(stats), inexact, .. } => {
                self.columns.pack(stats, inexact.unwrap_or(NONE_INEXACT), &mut packed, &mut scratch.columns)
            }
            Told::Packed { rows, stats, .. } => self.columns.take(stats, rows, &mut packed).map(|()| rows),
        };
        let (packed, buffer) = packed.copied();
        scratch.packed = buffer;
        Ok(CellEntry {
            shape: Arc::clone(&self.shape),
            id,
            size_bytes: add.size,
            rows: rows.map_err(|why| format!("the cell '{}': {why}", add.path))?,
            modified_ms: add.modification_time,
            sha256,
            packed,
        })
    }

    /// The statistics of a cell as bytes, for a reader of the same columns.
    pub(crate) fn packed<'a>(&self, cell: &'a CellEntry) -> Cow<'a, [u8]> {
        if cell.shape.columns == self.shape.columns {
            return Cow::Borrowed(packed::stats(&cell.packed, cell.shape.partition_by.len()));
        }
        let mut packer = Packer::new(&[]);
        for (name, column) in &cell.stats().columns {
            if let Ok(at) = self.shape.columns.binary_search(name) {
                packer.column(at, column);
            }
        }
        Cow::Owned(packer.finish().into_vec())
    }

    fn partition_values<'a>(&self, add: &BorrowedAdd<'a>) -> Result<Vec<Option<&'a str>>, String> {
        let by = &self.shape.partition_by;
        let mut values = Vec::with_capacity(by.len());
        for column in by {
            let Some((_, value)) = add.partition_values.iter().find(|(name, _)| name == column) else { break };
            // Delta reads the empty text as NULL.
            let value = value.filter(|text| !text.is_empty());
            let field = self.schema.field_with_name(column).map_err(|error| error.to_string())?;
            if let Some(text) = value {
                partition_text::from_text(column, text, field.data_type()).map_err(|error| error.to_string())?;
            }
            values.push(value);
        }
        if values.len() != by.len() || add.partition_values.len() != by.len() {
            return Err(format!("the cell '{}' does not name the frame's partition columns", add.path));
        }
        Ok(values)
    }
}

/// Memory that reading one cell after the other uses again.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    packed: Vec<u8>,
    columns: Memory,
}

/// The parts of an `add` action that make a cell.
#[derive(Debug)]
pub(crate) struct BorrowedAdd<'a> {
    pub(crate) path: &'a str,
    /// Each column once.
    pub(crate) partition_values: Vec<(&'a str, Option<&'a str>)>,
    pub(crate) size: u64,
    pub(crate) modification_time: i64,
    pub(crate) told: Told<'a>,
}

/// What an `add` action tells of a cell's bytes and rows.
#[derive(Debug)]
pub(crate) enum Told<'a> {
    /// Delta's statistics, and what the tags say.
    Delta { stats: Option<&'a str>, sha256: Option<&'a str>, inexact: Option<&'a str> },
    /// The same as [`CellReader::packed`] has it.
    Packed { rows: u64, stats: &'a [u8], sha256: &'a [u8] },
}

/// Whether the `add` action of a cell makes a cell again; if not, why.
pub(crate) fn readable(cell: &CellEntry, reader: &CellReader) -> Result<(), String> {
    let add = add_of(cell, &reader.schema, true).map_err(|error| error.to_string())?;
    reader.read(&add).map(drop)
}

/// Delta's `stats` and the columns whose bounds are not exact.
fn encode(stats: &CellStats, schema: &Schema) -> Result<(String, BTreeMap<String, &'static str>), serde_json::Error> {
    let mut out = Stats { num_records: stats.rows, ..Stats::default() };
    let mut inexact = BTreeMap::new();
    for (name, column) in &stats.columns {
        let class = schema.field_with_name(name).ok().and_then(|field| ValueClass::of(field.data_type()));
        let bound = |value: &Option<StatValue>| bounds::to_json(value.as_ref()?, class?);
        let (min, max) = (bound(&column.min), bound(&column.max));
        let loose = (min.is_some() && !column.min_exact, max.is_some() && !column.max_exact);
        if let Some(word) = word_of(loose) {
            inexact.insert(name.clone(), word);
        }
        out.min_values.extend(min.map(|bound| (name.clone(), bound)));
        out.max_values.extend(max.map(|bound| (name.clone(), bound)));
        if let Some(nulls) = column.null_count {
            out.null_count.insert(name.clone(), RawValue::from_string(nulls.to_string())?);
        }
    }
    Ok((serde_json::to_string(&out)?, inexact))
}

fn word_of(loose: (bool, bool)) -> Option<&'static str> {
    match loose {
        (false, false) => None,
        (true, false) => Some("min"),
        (false, true) => Some("max"),
        (true, true) => Some("both"),
    }
}
