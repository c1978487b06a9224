//! What the optimiser is told of a scan. `Exact` answers queries, so it stands only where the ledger vouches for it.

use std::collections::BTreeSet;

use apiary_ledger::CellEntry;
use datafusion::{
    arrow::datatypes::{Field, SchemaRef},
    common::{ColumnStatistics, ScalarValue, Statistics, stats::Precision},
};

use super::bounds::{self, Bound, ColumnBounds};

/// Bytes that a value without a fixed width is taken to have in memory.
const TEXT_BYTES: u64 = 24;

/// What is known of one cell, and of those of its columns that are `wanted`: what nobody looks at is not unpacked, and its
/// bytes are not counted. (DataFusion leaves the bytes of all columns with a scan of a few, if one of those is a text.)
pub(super) fn of_cell(cell: &CellEntry, schema: &SchemaRef, wanted: &BTreeSet<usize>) -> Statistics {
    let rows = cell.rows;
    let columns = schema.fields().iter().enumerate().map(|(at, field)| {
        let bounds = if wanted.contains(&at) { bounds::of_column(cell, field) } else { ColumnBounds::default() };
        of_column(bounds, field, rows)
    });
    let columns: Vec<_> = columns.collect();
    let width: u64 = wanted.iter().map(|at| width(schema.field(*at))).sum();
    Statistics {
        num_rows: Precision::Exact(size(rows)),
        total_byte_size: Precision::Inexact(size(rows.saturating_mul(width.max(1)))),
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

/// What is known of several cells, or groups of cells, together: what [`Statistics::try_merge_iter`] says, with less work
/// for the columns that are not `wanted`, of which only the bytes are known.
pub(super) fn sum<'a>(
    parts: impl IntoIterator<Item = &'a Statistics>,
    schema: &SchemaRef,
    wanted: &BTreeSet<usize>,
) -> Statistics {
    let mut parts = parts.into_iter();
    let Some(mut sum) = parts.next().cloned() else { return Statistics::new_unknown(schema) };
    for part in parts {
        sum.num_rows = sum.num_rows.add(&part.num_rows);
        sum.total_byte_size = sum.total_byte_size.add(&part.total_byte_size);
        for (at, (column, more)) in sum.column_statistics.iter_mut().zip(&part.column_statistics).enumerate() {
            column.byte_size = column.byte_size.add(&more.byte_size);
            if wanted.contains(&at) {
                column.null_count = column.null_count.add(&more.null_count);
                column.min_value = column.min_value.min(&more.min_value);
                column.max_value = column.max_value.max(&more.max_value);
            }
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::{DataType, Schema};

    use super::*;

    #[test]
    fn sums_are_those_of_datafusion() {
        let fields = [("a", DataType::Int64), ("b", DataType::Utf8), ("c", DataType::Float64)];
        let schema: SchemaRef = Schema::new(fields.map(|(name, of)| Field::new(name, of, true)).to_vec()).into();
        let wanted = BTreeSet::from([0, 1]);
        let text = |n: i64| ScalarValue::from(format!("t{n}"));
        let bound = |value: ScalarValue, exact| Some(Bound { value, exact });
        let part = |n: i64| {
            let numbers = ColumnBounds {
                min: bound((n % 7).into(), n != 3),
                max: bound((n % 7 + 9).into(), true),
                null_count: (n != 5).then_some(n as u64),
            };
            let texts = ColumnBounds {
                min: if n == 6 { None } else { bound(text(n), true) },
                max: bound(text(n + 1), false),
                null_count: Some(1),
            };
            let bounds = [numbers, texts, ColumnBounds::default()];
            let columns = bounds.into_iter().zip(schema.fields()).map(|(bounds, field)| of_column(bounds, field, 10));
            Statistics {
                num_rows: Precision::Exact(10),
                total_byte_size: Precision::Inexact(100),
                column_statistics: columns.collect(),
            }
        };
        for parts in [0..0, 0..1, 0..3, 0..5, 4..9, 0..20] {
            let parts: Vec<_> = parts.map(part).collect();
            assert_eq!(sum(&parts, &schema, &wanted), Statistics::try_merge_iter(&parts, &schema).unwrap());
        }
    }
}
