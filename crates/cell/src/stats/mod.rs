//! Statistics of a cell, computed from its Arrow columns as they are written.
//!
//! A wrong bound is a wrong answer, so where a type or a value leaves doubt the bound is left out. Columns of structs
//! are left out whole: Delta counts their NULLs field by field. Columns without an order keep their NULL count.

mod bounds;
mod column;
mod text;

use std::collections::BTreeMap;

use apiary_core::{CellStats, ColumnStats, StatValue};
use arrow::{
    array::{Array, ArrayRef, RecordBatch},
    datatypes::{DataType, SchemaRef},
};

use crate::{Result, options::BOUND_BYTES_MAX};
use bounds::Bounds;
use column::bounds_of;

/// Gathers the statistics of rows as they come by.
#[derive(Debug, Clone)]
pub struct StatsBuilder {
    schema: SchemaRef,
    rows: u64,
    columns: Vec<Bounds>,
}

impl StatsBuilder {
    /// Nothing seen yet of rows of `schema`.
    #[must_use]
    pub fn new(schema: &SchemaRef) -> Self {
        let columns = schema.fields().iter().map(|_| Bounds::default()).collect();
        Self { schema: std::sync::Arc::clone(schema), rows: 0, columns }
    }

    /// Adds the rows of `batch`, whose columns are in the schema's order.
    pub fn update(&mut self, batch: &RecordBatch) -> Result<()> {
        debug_assert_eq!(batch.num_columns(), self.columns.len());
        for (bounds, column) in self.columns.iter_mut().zip(batch.columns()) {
            bounds.merge(bounds_of(column)?);
        }
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    /// Adds what `other`, of the same schema, has seen.
    pub fn merge(&mut self, other: Self) {
        for (bounds, more) in self.columns.iter_mut().zip(other.columns) {
            bounds.merge(more);
        }
        self.rows += other.rows;
    }

    /// Rows seen so far.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The statistics, long texts cut to 64 bytes.
    #[must_use]
    pub fn finish(self) -> CellStats {
        let fields = self.schema.fields().iter();
        let kept = fields.zip(self.columns).filter(|(field, _)| !matches!(field.data_type(), DataType::Struct(_)));
        let columns = kept.map(|(field, bounds)| (field.name().clone(), column_stats(bounds)));
        CellStats { rows: self.rows, columns: columns.collect::<BTreeMap<_, _>>() }
    }
}

fn column_stats(bounds: Bounds) -> ColumnStats {
    let null_count = Some(bounds.nulls);
    let (min, min_exact) = text::cut_min(bounds.min.known(), BOUND_BYTES_MAX);
    let (max, max_exact) = text::cut_max(bounds.max.known(), BOUND_BYTES_MAX);
    ColumnStats { min, max, null_count, min_exact, max_exact }
}

/// The value in `row` of `column` as the ledger knows it; `None` for NULL and for what a [`StatValue`] cannot hold
/// exactly.
pub fn scalar_at(column: &ArrayRef, row: usize) -> Result<Option<StatValue>> {
    let (value, exact) = bounds_of(&column.slice(row, 1))?.min.known();
    Ok(value.filter(|_| exact))
}

#[cfg(test)]
mod tests;
