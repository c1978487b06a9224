//! What the optimiser is told of a scan. `Exact` answers queries, so it stands only where the ledger vouches for it.

use std::{collections::BTreeSet, sync::Arc};

use apiary_core::side_by_side;
use apiary_ledger::CellEntry;
use datafusion::{
    arrow::datatypes::{Field, SchemaRef},
    common::{ColumnStatistics, ScalarValue, Statistics, stats::Precision},
    datasource::physical_plan::FileGroup,
    error::Result as DfResult,
};

use super::{
    FILES_A_THREAD,
    bounds::{self, Bound, ColumnBounds},
};

/// Bytes that a value without a fixed width is taken to have in memory.
const TEXT_BYTES: u64 = 24;

/// What is known of one cell, and of those of its columns that are `wanted`: what nobody looks at is not unpacked.
pub(super) fn of_cell(cell: &CellEntry, schema: &SchemaRef, wanted: &BTreeSet<usize>) -> Statistics {
    let rows = cell.rows;
    let columns = schema.fields().iter().enumerate().map(|(at, field)| {
        let bounds = if wanted.contains(&at) { bounds::of_column(cell, field) } else { ColumnBounds::default() };
        of_column(bounds, field, rows)
    });
    let columns: Vec<_> = columns.collect();
    let width: u64 = schema.fields().iter().map(|field| width(field)).sum();
    Statistics {
        num_rows: Precision::Exact(size(rows)),
        total_byte_size: Precision::Inexact(size(rows.saturating_mul(width))),
        column_statistics: columns,
    }
}

fn of_column(bounds: ColumnBounds, field: &Field, rows: u64) -> ColumnStatistics {
    ColumnStatistics {
        null_count: bounds.null_count.map_or(Precision::Absent, |count| Precision::Exact(size(count))),
        min_value: precision(bounds.min),
        max_value: precision(bounds.max),
        sum_value: Precision::Absent,
        distinct_count: Precision::Absent,
        byte_size: Precision::Inexact(size(rows.saturating_mul(width(field)))),
    }
}

fn precision(bound: Option<Bound>) -> Precision<ScalarValue> {
    match bound {
        Some(Bound { value, exact: true }) => Precision::Exact(value),
        Some(Bound { value, exact: false }) => Precision::Inexact(value),
        None => Precision::Absent,
    }
}

fn width(field: &Field) -> u64 {
    field.data_type().primitive_width().map_or(TEXT_BYTES, |width| width as u64)
}

fn size(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

/// The groups with their sums, and the sum of all; nothing is exact if a LIMIT left cells out.
pub(super) fn of_groups(
    groups: Vec<FileGroup>,
    schema: &SchemaRef,
    cut_by_limit: bool,
) -> DfResult<(Vec<FileGroup>, Statistics)> {
    let files = groups.iter().map(FileGroup::len).sum::<usize>();
    let sums = side_by_side(groups.len(), files / FILES_A_THREAD, |group| {
        let files = groups[group].iter().filter_map(|file| file.statistics.as_deref());
        Statistics::try_merge_iter(files, schema).map(Arc::new)
    })?;
    let summed = groups.into_iter().zip(&sums).map(|(group, sum)| group.with_statistics(Arc::clone(sum))).collect();
    let all = Statistics::try_merge_iter(sums.iter().map(AsRef::as_ref), schema)?;
    Ok((summed, if cut_by_limit { all.to_inexact() } else { all }))
}
