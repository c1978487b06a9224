//! How large a frame is under some conditions, as far as the ledger knows: for the order of joins.

use std::collections::{BTreeMap, BTreeSet};

use datafusion::{
    arrow::datatypes::DataType,
    catalog::Session,
    common::ScalarValue,
    error::Result as DfResult,
    logical_expr::{Expr, utils::split_conjunction},
};

use super::{FrameTable, columns, columns::CellsBounds, exact::unqualified, prune};

/// What is known of one column.
#[derive(Debug, Clone)]
pub(crate) struct ColumnSpan {
    /// The most different values in the whole frame; `None`: not known.
    pub(crate) distinct: Option<f64>,
    /// Least and greatest value of the cells that are left, as numbers.
    pub(crate) range: Option<(f64, f64)>,
    /// The share of NULLs.
    pub(crate) nulls: f64,
}

/// A frame in numbers.
#[derive(Debug, Clone)]
pub(crate) struct FrameSize {
    pub(crate) rows: f64,
    /// Rows of the cells that are left.
    pub(crate) kept_rows: f64,
    pub(crate) columns: BTreeMap<String, ColumnSpan>,
}

impl FrameTable {
    /// The frame's size once cells that `filters` rule out are gone; of columns, only the `wanted` ones.
    pub(crate) fn size(&self, filters: &[Expr], wanted: &BTreeSet<String>, state: &dyn Session) -> DfResult<FrameSize> {
        let filters: Vec<Expr> = filters.iter().flat_map(split_conjunction).cloned().map(unqualified).collect();
        let pruned = prune::prune(&self.snapshot, &filters, state)?;
        let cells = &self.snapshot.cells;
        let all: Vec<usize> = (0..cells.len()).collect();
        let kept: Vec<usize> = all.iter().copied().filter(|cell| pruned.dropped_by[*cell].is_none()).collect();
        let rows = |at: &[usize]| at.iter().map(|cell| cells[*cell].rows as f64).sum::<f64>();
        let (total, kept_rows) = (rows(&all), rows(&kept));
        let bounds = CellsBounds::new(cells, &self.snapshot.schema);
        let fields = self.snapshot.schema.fields().iter().filter(|field| wanted.contains(field.name()));
        let column = |field: &datafusion::arrow::datatypes::FieldRef| {
            let arrays = bounds.column(field.name())?;
            let span = |at: &[usize]| Some((columns::span(&arrays.min, at)?.0, columns::span(&arrays.max, at)?.1));
            let numbers = |(low, high): (ScalarValue, ScalarValue)| Some((as_number(&low)?, as_number(&high)?));
            let whole = span(&all);
            let distinct = whole.and_then(|(low, high)| distinct_between(&low, &high, total));
            let nulls = arrays.nulls(&all).map_or(0.0, |nulls| nulls / total.max(1.0));
            Some((field.name().clone(), ColumnSpan { distinct, range: span(&kept).and_then(numbers), nulls }))
        };
        let columns = if cells.is_empty() { BTreeMap::new() } else { fields.filter_map(column).collect() };
        Ok(FrameSize { rows: total, kept_rows, columns })
    }
}

/// The most different values that a column of so many rows has between two; `None`: not known.
pub(crate) fn distinct_between(low: &ScalarValue, high: &ScalarValue, rows: f64) -> Option<f64> {
    if low == high {
        return Some(1.0);
    }
    let values = (as_number(high)? - as_number(low)?) / step(&low.data_type())? + 1.0;
    Some(values.clamp(1.0, rows.max(1.0)))
}

/// The least distance between two different values, as [`as_number`] says them; `None`: there is none to speak of.
fn step(data_type: &DataType) -> Option<f64> {
    match data_type {
        DataType::Boolean | DataType::Date32 => Some(1.0),
        data_type if data_type.is_integer() => Some(1.0),
        DataType::Decimal32(_, scale) | DataType::Decimal64(_, scale) | DataType::Decimal128(_, scale) => {
            Some(10f64.powi(-i32::from(*scale)))
        }
        _ => None,
    }
}

/// A value on a line, if its type is one: good for shares, not for comparing.
pub(crate) fn as_number(value: &ScalarValue) -> Option<f64> {
    use ScalarValue as S;
    Some(match value {
        S::Boolean(v) => f64::from(u8::from((*v)?)),
        S::Int8(v) => f64::from((*v)?),
        S::Int16(v) => f64::from((*v)?),
        S::Int32(v) | S::Date32(v) => f64::from((*v)?),
        S::Int64(v) => (*v)? as f64,
        S::UInt8(v) => f64::from((*v)?),
        S::UInt16(v) => f64::from((*v)?),
        S::UInt32(v) => f64::from((*v)?),
        S::UInt64(v) => (*v)? as f64,
        S::Float32(v) => f64::from((*v)?),
        S::Float64(v) => (*v)?,
        S::Decimal32(v, _, scale) => f64::from((*v)?) / 10f64.powi(i32::from(*scale)),
        S::Decimal64(v, _, scale) => (*v)? as f64 / 10f64.powi(i32::from(*scale)),
        S::Decimal128(v, _, scale) => (*v)? as f64 / 10f64.powi(i32::from(*scale)),
        S::TimestampSecond(v, _) => (*v)? as f64 * 1e9,
        S::TimestampMillisecond(v, _) => (*v)? as f64 * 1e6,
        S::TimestampMicrosecond(v, _) => (*v)? as f64 * 1e3,
        S::TimestampNanosecond(v, _) => (*v)? as f64,
        _ => return None,
    })
    .filter(|value| value.is_finite())
}
