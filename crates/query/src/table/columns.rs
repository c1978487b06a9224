//! The bounds of all cells, column by column, as arrays: what pruning compares.
//!
//! Made from the plain bounds of each cell (`bounds`), a chunk of cells at a time, the first time that a query prunes
//! by the column, and kept with the chunk: the next query has them, and so has the next version of the frame, but for
//! the chunk that changed. A test holds the arrays against the plain bounds.

use std::{
    collections::{HashMap, HashSet},
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
};

use apiary_core::side_by_side;
use apiary_ledger::{CellEntry, Cells, Chunk};
use datafusion::{
    arrow::{
        array::{Array, ArrayRef, BooleanArray, UInt64Array, make_comparator},
        compute::{SortOptions, concat, sort},
        datatypes::{Field, Schema},
    },
    common::{Column, ScalarValue, pruning::PruningStatistics},
};

use super::bounds::{self, Bound, ColumnBounds};

/// Chunks of cells that are worth a thread: some milliseconds of work.
const CHUNKS_A_THREAD: usize = 16;

/// One column of many cells.
#[derive(Debug)]
pub(super) struct ColumnArrays {
    /// No value is below; NULL where that is not known.
    pub(super) min: ArrayRef,
    /// No value is above; NULL where that is not known.
    pub(super) max: ArrayRef,
    null_count: ArrayRef,
    /// Whether both bounds are values of the column.
    exact: BooleanArray,
}

impl ColumnArrays {
    /// `None` if the column's type has no array of bounds.
    fn of(cells: &[Arc<CellEntry>], field: &Field) -> Option<Self> {
        let plain: Vec<ColumnBounds> = cells.iter().map(|cell| bounds::of_column(cell, field)).collect();
        let exact = |bound: &Option<Bound>| bound.as_ref().is_some_and(|bound| bound.exact);
        let exact = plain.iter().map(|bounds| Some(exact(&bounds.min) && exact(&bounds.max))).collect();
        let null_count: UInt64Array = plain.iter().map(|bounds| bounds.null_count).collect();
        let none = ScalarValue::try_from(field.data_type()).ok()?;
        let (min, max): (Vec<_>, Vec<_>) = plain.into_iter().map(|bounds| (bounds.min, bounds.max)).unzip();
        let array = |bounds: Vec<Option<Bound>>| {
            let values = bounds.into_iter().map(|bound| bound.map_or_else(|| none.clone(), |bound| bound.value));
            ScalarValue::iter_to_array(values).ok()
        };
        Some(Self { min: array(min)?, max: array(max)?, null_count: Arc::new(null_count), exact })
    }

    /// NULLs of some cells, as far as they are known; `None`: of none.
    pub(super) fn nulls(&self, at: &[usize]) -> Option<f64> {
        let counts = self.null_count.as_any().downcast_ref::<UInt64Array>()?;
        at.iter().filter(|at| counts.is_valid(**at)).map(|at| counts.value(*at) as f64).reduce(|all, more| all + more)
    }

    /// The one value that each cell has, where each has one; `rows` are those of the cells.
    pub(super) fn values(&self, rows: impl Iterator<Item = u64>) -> Option<ArrayRef> {
        let nulls = self.null_count.as_any().downcast_ref::<UInt64Array>()?;
        let compare = make_comparator(&self.min, &self.max, SortOptions::default()).ok()?;
        let mut cells = rows.enumerate();
        let one = cells.all(|(cell, rows)| {
            let of_nulls = nulls.is_valid(cell).then(|| nulls.value(cell));
            match (self.min.is_valid(cell), self.max.is_valid(cell)) {
                (true, true) => of_nulls == Some(0) && self.exact.value(cell) && compare(cell, cell).is_eq(),
                (false, false) => of_nulls == Some(rows),
                _ => false,
            }
        });
        one.then(|| Arc::clone(&self.min))
    }

    /// The column of all cells of a frame; there is at least one.
    fn of_all(cells: &Cells, field: &Field) -> Option<Self> {
        let parts = Self::of_chunks(cells.chunks(), field);
        let parts = parts.iter().map(|part| part.as_ref().as_ref()).collect::<Option<Vec<&Self>>>()?;
        let join =
            |pick: fn(&Self) -> &dyn Array| concat(&parts.iter().map(|part| pick(part)).collect::<Vec<_>>()).ok();
        let exact = join(|part| &part.exact)?;
        Some(Self {
            min: join(|part| part.min.as_ref())?,
            max: join(|part| part.max.as_ref())?,
            null_count: join(|part| part.null_count.as_ref())?,
            exact: exact.as_any().downcast_ref::<BooleanArray>()?.clone(),
        })
    }

    /// The column chunk by chunk. Where there are many chunks, several threads see to it that what is not known yet is.
    fn of_chunks(chunks: &[Arc<Chunk>], field: &Field) -> Vec<Arc<Option<Self>>> {
        let name = format!("bounds of '{}' as {:?}", field.name(), field.data_type());
        let of = |chunk: &Arc<Chunk>| chunk.memo(&name, |cells| Self::of(cells, field));
        let Ok(parts) =
            side_by_side(chunks.len(), chunks.len() / CHUNKS_A_THREAD, |at| Ok::<_, Infallible>(of(&chunks[at])));
        parts
    }

    /// For each cell whether its values are all of the list (`true`), none of them (`false`), or it cannot be told.
    /// The same as [`bounds::only_or_never`], for all cells at once; `None` if it cannot be told of any.
    fn contained(&self, values: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        let data_type = self.min.data_type();
        // One value that cannot be compared, NULL among them, and nothing is known.
        if values.is_empty() || values.iter().any(|value| value.is_null() || value.data_type() != *data_type) {
            return None;
        }
        let values = sort(&ScalarValue::iter_to_array(values.iter().cloned()).ok()?, None).ok()?;
        let compare = |with: &ArrayRef| make_comparator(&values, with, SortOptions::default()).ok();
        let (to_min, to_max) = (compare(&self.min)?, compare(&self.max)?);
        let all: Vec<usize> = (0..values.len()).collect();
        let told = |cell: usize| {
            if self.min.is_null(cell) || self.max.is_null(cell) {
                return None;
            }
            let first = all.partition_point(|value| to_min(*value, cell).is_lt());
            let inside = first < all.len() && to_max(first, cell).is_le();
            let only = inside && to_max(first, cell).is_eq() && to_min(first, cell).is_eq() && self.exact.value(cell);
            if only { Some(true) } else { (!inside).then_some(false) }
        };
        Some((0..self.min.len()).map(told).collect())
    }
}

/// The least and the greatest of some values of an array; NULL is neither.
pub(super) fn span(array: &ArrayRef, at: &[usize]) -> Option<(ScalarValue, ScalarValue)> {
    let compare = make_comparator(array, array, SortOptions::default()).ok()?;
    let known = || at.iter().copied().filter(|at| array.is_valid(*at));
    let least = known().reduce(|a, b| if compare(b, a).is_lt() { b } else { a })?;
    let most = known().reduce(|a, b| if compare(b, a).is_gt() { b } else { a })?;
    Some((ScalarValue::try_from_array(array, least).ok()?, ScalarValue::try_from_array(array, most).ok()?))
}

/// The statistics of a frame's cells, as DataFusion's pruning asks for them.
#[derive(Debug)]
pub(super) struct CellsBounds<'a> {
    cells: &'a Cells,
    schema: &'a Schema,
    /// The columns that were asked for.
    columns: Mutex<HashMap<String, Option<Arc<ColumnArrays>>>>,
}

impl<'a> CellsBounds<'a> {
    pub(super) fn new(cells: &'a Cells, schema: &'a Schema) -> Self {
        Self { cells, schema, columns: Mutex::default() }
    }

    /// The bounds of one column.
    pub(super) fn column(&self, name: &str) -> Option<Arc<ColumnArrays>> {
        let mut columns = self.columns.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = columns.get(name) {
            return known.clone();
        }
        let field = self.schema.field_with_name(name).ok();
        let made = field.and_then(|field| ColumnArrays::of_all(self.cells, field)).map(Arc::new);
        columns.insert(name.to_owned(), made.clone());
        made
    }
}

impl PruningStatistics for CellsBounds<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        Some(Arc::clone(&self.column(&column.name)?.min))
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        Some(Arc::clone(&self.column(&column.name)?.max))
    }

    fn num_containers(&self) -> usize {
        self.cells.len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        Some(Arc::clone(&self.column(&column.name)?.null_count))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        Some(Arc::new(self.cells.iter().map(|cell| Some(cell.rows)).collect::<UInt64Array>()))
    }

    /// For lists of values too long to compare one by one.
    fn contained(&self, column: &Column, values: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        self.column(&column.name)?.contained(values)
    }
}

#[cfg(test)]
mod tests;
