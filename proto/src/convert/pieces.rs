//! Cuts batches into pieces that travel.
//!
//! A message has a size limit and a reader has memory for one of them, so no piece holds more than
//! [`BATCH_ROWS_MAX`] rows or, as far as single rows allow, more than about [`PIECE_BYTES_AIM`]. View columns are
//! compacted when they keep much more alive than they show: IPC writes the buffers behind a view whole, so ten
//! filtered strings would otherwise carry the page they once stood in.

use std::sync::Arc;

use apiary_core::limits::BATCH_ROWS_MAX;
use arrow::{
    array::{Array, ArrayRef, AsArray, BinaryViewArray, ByteView, RecordBatch, RecordBatchOptions, StringViewArray},
    datatypes::DataType,
};

/// Bytes that a piece aims at, uncompressed: a quarter of the message limit, so that an estimate may be wrong.
pub(crate) const PIECE_BYTES_AIM: usize = apiary_core::limits::MESSAGE_BYTES_MAX / 4;

/// `batch` in pieces that fit a message, in order. Costs nothing but slicing, unless view columns need compacting.
#[must_use]
pub fn pieces(batch: &RecordBatch) -> Vec<RecordBatch> {
    let rows = batch.num_rows();
    let bytes = bytes(batch).max(1);
    let by_bytes = rows.saturating_mul(PIECE_BYTES_AIM) / bytes;
    let step = by_bytes.clamp(1, BATCH_ROWS_MAX);
    if rows <= step {
        return vec![compact(batch)];
    }
    (0..rows).step_by(step).map(|start| compact(&batch.slice(start, step.min(rows - start)))).collect()
}

/// About how many bytes the rows of `batch` take, buffers behind views counted by what the views show.
fn bytes(batch: &RecordBatch) -> usize {
    let column = |array: &ArrayRef| {
        let fixed = array.to_data().get_slice_memory_size().unwrap_or_else(|_| array.get_array_memory_size());
        fixed + shown_bytes(array).unwrap_or(0)
    };
    batch.columns().iter().map(column).sum()
}

/// Bytes outside the views themselves that a view column shows; `None` for any other column.
fn shown_bytes(array: &ArrayRef) -> Option<usize> {
    let views: &[u128] = match array.data_type() {
        DataType::Utf8View => array.as_string_view().views(),
        DataType::BinaryView => array.as_binary_view().views(),
        _ => return None,
    };
    let outside = |view: &u128| ByteView::from(*view).length as usize;
    Some(views.iter().map(outside).filter(|length| *length > INLINE_VIEW_BYTES).sum())
}

/// A view up to this length holds its bytes itself.
const INLINE_VIEW_BYTES: usize = 12;

fn compact(batch: &RecordBatch) -> RecordBatch {
    let columns: Vec<ArrayRef> = batch.columns().iter().map(compact_column).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(batch.schema(), columns, &options).unwrap_or_else(|_| batch.clone())
}

fn compact_column(array: &ArrayRef) -> ArrayRef {
    let kept = |buffers: &[arrow::buffer::Buffer]| buffers.iter().map(arrow::buffer::Buffer::len).sum::<usize>();
    let wasteful = |kept: usize| shown_bytes(array).is_some_and(|shown| kept > 4096 && kept > 2 * shown);
    match array.data_type() {
        DataType::Utf8View => {
            let view: &StringViewArray = array.as_string_view();
            if wasteful(kept(view.data_buffers())) { Arc::new(view.gc()) } else { Arc::clone(array) }
        }
        DataType::BinaryView => {
            let view: &BinaryViewArray = array.as_binary_view();
            if wasteful(kept(view.data_buffers())) { Arc::new(view.gc()) } else { Arc::clone(array) }
        }
        _ => Arc::clone(array),
    }
}

#[cfg(test)]
mod tests {
    use arrow::{
        array::{Int64Array, StringArray},
        compute::concat_batches,
        datatypes::{Field, Schema},
    };

    use super::*;

    fn batch(name: &str, column: ArrayRef) -> RecordBatch {
        let schema = Arc::new(Schema::new(vec![Field::new(name, column.data_type().clone(), true)]));
        RecordBatch::try_new(schema, vec![column]).unwrap()
    }

    #[test]
    fn no_piece_has_too_many_rows_and_none_is_lost() {
        let whole = batch("n", Arc::new(Int64Array::from_iter_values(0..(BATCH_ROWS_MAX as i64 * 2 + 7))));
        let parts = pieces(&whole);
        assert_eq!(parts.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [BATCH_ROWS_MAX, BATCH_ROWS_MAX, 7]);
        assert_eq!(concat_batches(&whole.schema(), &parts).unwrap(), whole);
    }

    #[test]
    fn wide_rows_make_small_pieces() {
        let text = "x".repeat(1 << 20);
        let whole = batch("t", Arc::new(StringArray::from_iter_values(std::iter::repeat_n(&text, 40))));
        let parts = pieces(&whole);
        assert!(parts.len() >= 3 && parts.iter().all(|part| bytes(part) <= PIECE_BYTES_AIM + (1 << 20)));
        assert_eq!(concat_batches(&whole.schema(), &parts).unwrap(), whole);
    }

    #[test]
    fn a_few_views_do_not_carry_their_whole_page() {
        let page = StringViewArray::from_iter_values((0..10_000).map(|n| format!("a long enough string {n}")));
        let few = batch("v", Arc::new(page.slice(5, 3)));
        let parts = pieces(&few);
        assert!(parts[0].get_array_memory_size() < 4096);
        assert_eq!(parts, [few]);
    }

    #[test]
    fn a_batch_without_columns_keeps_its_rows() {
        let options = RecordBatchOptions::new().with_row_count(Some(5));
        let none = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options).unwrap();
        assert_eq!(pieces(&none)[0].num_rows(), 5);
        let empty = batch("n", Arc::new(Int64Array::from(Vec::<i64>::new())));
        assert_eq!(pieces(&empty), [empty]);
    }
}
