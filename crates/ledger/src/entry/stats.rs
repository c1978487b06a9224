//! Cells and their statistics as `add` actions.
//!
//! Bounds stand in Delta's `stats`. Delta has no word for "this bound is not itself a value of the column", so that
//! stands in the tag `apiary.inexact`: column name to `min`, `max` or `both`. A bound that is absent is never exact.

use std::{collections::BTreeMap, sync::Arc};

use apiary_core::{CellStats, ColumnStats, StatValue};
use arrow::datatypes::{Schema, SchemaRef};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Add, bounds, strict};
use crate::{CellEntry, CellId, cell_entry::Shape, packed::Packer, partition_text, value::ValueClass};

const SHA256_TAG: &str = "apiary.sha256";
const INEXACT_TAG: &str = "apiary.inexact";

/// Delta's statistics.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stats {
    num_records: u64,
    #[serde(default)]
    min_values: BTreeMap<String, Box<RawValue>>,
    #[serde(default)]
    max_values: BTreeMap<String, Box<RawValue>>,
    #[serde(default)]
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
}

impl CellReader {
    pub(crate) fn new(folder: &str, schema: &SchemaRef, by: &[String]) -> Self {
        let mut columns: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
        columns.sort_unstable();
        let shape = Shape { folder: folder.to_owned(), partition_by: by.to_vec(), columns };
        Self { schema: Arc::clone(schema), shape: Arc::new(shape) }
    }

    /// The cell of an `add` action; the error ends a sentence that names the entry.
    pub(crate) fn read(&self, add: &Add) -> Result<CellEntry, String> {
        let refuse = |why: &str| Err(format!("the cell '{}' {why}", add.path));
        // Our own names alone: none of their characters needs Delta's URL encoding, none leads out of the folder.
        let Some(id) = CellId::of_path(&add.path) else {
            return refuse("has a path that is not cells/<transaction>-<number>.parquet");
        };
        let Some(stats) = &add.stats else { return refuse("has no statistics") };
        let inexact = add.tags.get(INEXACT_TAG).map_or("{}", String::as_str);
        let stats = decode(stats, inexact, &self.schema).map_err(|why| format!("the cell '{}': {why}", add.path))?;
        let mut sha256 = [0; 32];
        let Some(Ok(())) = add.tags.get(SHA256_TAG).map(|text| hex::decode_to_slice(text, &mut sha256)) else {
            return refuse("has no checksum");
        };
        let mut packed = Packer::new(&self.partition_values(add)?);
        for (name, column) in &stats.columns {
            // What is said of a column that the frame has no more is left out.
            if let Ok(at) = self.shape.columns.binary_search(name) {
                packed.column(at, column);
            }
        }
        Ok(CellEntry {
            shape: Arc::clone(&self.shape),
            id,
            size_bytes: add.size,
            rows: stats.rows,
            modified_ms: add.modification_time,
            sha256,
            packed: packed.finish(),
        })
    }

    fn partition_values<'a>(&self, add: &'a Add) -> Result<Vec<Option<&'a str>>, String> {
        let by = &self.shape.partition_by;
        let named = by.iter().filter(|column| add.partition_values.contains_key(*column)).count();
        if named != by.len() || named != add.partition_values.len() {
            return Err(format!("the cell '{}' does not name the frame's partition columns", add.path));
        }
        let value = |column: &String| {
            // Delta reads the empty text as NULL.
            let value = add.partition_values[column].as_deref().filter(|text| !text.is_empty());
            let field = self.schema.field_with_name(column).map_err(|error| error.to_string())?;
            if let Some(text) = value {
                partition_text::from_text(column, text, field.data_type()).map_err(|error| error.to_string())?;
            }
            Ok(value)
        };
        by.iter().map(value).collect()
    }
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

fn decode(stats: &str, inexact: &str, schema: &Schema) -> Result<CellStats, String> {
    strict::check(stats)?;
    strict::check(inexact)?;
    let stats: Stats = serde_json::from_str(stats).map_err(|error| error.to_string())?;
    let inexact: BTreeMap<String, String> = serde_json::from_str(inexact).map_err(|error| error.to_string())?;
    let mut columns: BTreeMap<String, ColumnStats> = BTreeMap::new();
    let bound = |name: &String, json: &RawValue| match schema.field_with_name(name) {
        // A column that the frame has no more.
        Err(_) => Ok(None),
        Ok(field) => ValueClass::of(field.data_type())
            .and_then(|class| bounds::from_json(json.get(), class))
            .map(Some)
            .ok_or_else(|| format!("{json} is no bound of the column '{name}'")),
    };
    let loose = |name: &String| inexact.get(name).map_or(Ok((false, false)), |word| flags_of(word));
    for (name, json) in &stats.min_values {
        let (min, min_exact) = (bound(name, json)?, !loose(name)?.0);
        let column = columns.entry(name.clone()).or_default();
        (column.min_exact, column.min) = (min_exact && min.is_some(), min);
    }
    for (name, json) in &stats.max_values {
        let (max, max_exact) = (bound(name, json)?, !loose(name)?.1);
        let column = columns.entry(name.clone()).or_default();
        (column.max_exact, column.max) = (max_exact && max.is_some(), max);
    }
    for (name, json) in &stats.null_count {
        // Delta nests the counts of nested columns; those are not ours.
        let Ok(nulls) = json.get().parse() else { continue };
        columns.entry(name.clone()).or_default().null_count = Some(nulls);
    }
    check_order(&stats, &columns)?;
    Ok(CellStats { rows: stats.num_records, columns })
}

/// What must hold of any statistics.
fn check_order(stats: &Stats, columns: &BTreeMap<String, ColumnStats>) -> Result<(), String> {
    for (name, column) in columns {
        if column.null_count.is_some_and(|nulls| nulls > stats.num_records) {
            return Err(format!("the column '{name}' has more NULLs than rows"));
        }
        if let (Some(min), Some(max)) = (&column.min, &column.max)
            && min.compare(max).is_none_or(|order| order.is_gt())
        {
            return Err(format!("the bounds of the column '{name}' contradict each other"));
        }
    }
    Ok(())
}

fn word_of(loose: (bool, bool)) -> Option<&'static str> {
    match loose {
        (false, false) => None,
        (true, false) => Some("min"),
        (false, true) => Some("max"),
        (true, true) => Some("both"),
    }
}

fn flags_of(word: &str) -> Result<(bool, bool), String> {
    match word {
        "min" => Ok((true, false)),
        "max" => Ok((false, true)),
        "both" => Ok((true, true)),
        _ => Err(format!("'{word}' is none of min, max, both")),
    }
}
