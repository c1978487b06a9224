//! Splits a batch by the values of its partition columns.
//!
//! A cell holds rows of one partition. Partition columns stay inside the batch as well (other readers of the bucket
//! miss them otherwise). How a value is spelled in the ledger is the ledger's affair: here values are typed.

use std::collections::HashMap;

use apiary_core::StatValue;
use arrow::{
    array::{ArrayRef, RecordBatch, UInt32Array},
    compute::take_record_batch,
    datatypes::DataType,
    row::{RowConverter, SortField},
};

use crate::{CellError, Result, scalar_at};

/// One value per partition column, in the frame's order.
pub type PartitionValues = Vec<StatValue>;

/// Whether a column of this type may partition a frame: its values are few, exact and have a text form that every
/// reader understands. Floats are not exact enough to find again.
#[must_use]
pub fn can_partition(data_type: &DataType) -> bool {
    use DataType as T;
    data_type.is_integer()
        || matches!(
            data_type,
            T::Boolean | T::Utf8 | T::LargeUtf8 | T::Utf8View | T::Date32 | T::Timestamp(_, _) | T::Decimal128(_, _)
        )
}

/// The rows of `batch` by partition, partitions in the order in which they first appear, rows in theirs. With no
/// partition columns: the whole batch under no values. A NULL or an empty text is an error.
pub fn split(batch: &RecordBatch, by: &[String]) -> Result<Vec<(PartitionValues, RecordBatch)>> {
    if batch.num_rows() == 0 {
        return Ok(Vec::new());
    }
    if by.is_empty() {
        return Ok(vec![(Vec::new(), batch.clone())]);
    }
    let columns = by.iter().map(|name| partition_column(batch, name)).collect::<Result<Vec<_>>>()?;
    for (name, column) in by.iter().zip(&columns) {
        refuse_absent(name, column)?;
    }
    let mut parts = Vec::new();
    for rows in rows_by_partition(&columns)? {
        let first = rows[0] as usize;
        let value = |(name, column): (&String, &ArrayRef)| partition_value(name, column, first);
        let values = by.iter().zip(&columns).map(value).collect::<Result<Vec<_>>>()?;
        let part = if rows.len() == batch.num_rows() {
            batch.clone()
        } else {
            take_record_batch(batch, &UInt32Array::from(rows))?
        };
        parts.push((values, part));
    }
    Ok(parts)
}

fn partition_column(batch: &RecordBatch, name: &str) -> Result<ArrayRef> {
    let schema = batch.schema();
    let missing = || CellError::PartitionMissing {
        column: name.to_owned(),
        columns: schema.fields().iter().map(|field| field.name().clone()).collect(),
    };
    let column = batch.column_by_name(name).ok_or_else(missing)?;
    if can_partition(column.data_type()) {
        Ok(std::sync::Arc::clone(column))
    } else {
        Err(CellError::PartitionType { column: name.to_owned(), data_type: column.data_type().clone() })
    }
}

fn refuse_absent(name: &str, column: &ArrayRef) -> Result<()> {
    if column.null_count() > 0 {
        let row = (0..column.len()).find(|row| column.is_null(*row)).unwrap_or_default();
        return Err(CellError::NullPartition { column: name.to_owned(), row });
    }
    if matches!(column.data_type(), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) {
        let lengths = arrow::compute::kernels::length::length(column)?;
        let lengths = arrow::compute::cast(&lengths, &DataType::Int64)?;
        let lengths = arrow::array::AsArray::as_primitive::<arrow::datatypes::Int64Type>(&lengths);
        if let Some(row) = lengths.values().iter().position(|length| *length == 0) {
            return Err(CellError::EmptyPartition { column: name.to_owned(), row });
        }
    }
    Ok(())
}

fn partition_value(name: &str, column: &ArrayRef, row: usize) -> Result<StatValue> {
    let refuse = || CellError::PartitionType { column: name.to_owned(), data_type: column.data_type().clone() };
    scalar_at(column, row)?.ok_or_else(refuse)
}

/// Row numbers, grouped by equal values of all `columns`.
fn rows_by_partition(columns: &[ArrayRef]) -> Result<Vec<Vec<u32>>> {
    let fields = columns.iter().map(|column| SortField::new(column.data_type().clone())).collect();
    let rows = RowConverter::new(fields)?.convert_columns(columns)?;
    let mut groups: Vec<Vec<u32>> = Vec::new();
    let mut group_of: HashMap<&[u8], usize> = HashMap::new();
    let mut last: Option<(&[u8], usize)> = None;
    for (number, row) in (0u32..).zip(rows.iter()) {
        let key = row.data();
        // Data often comes in runs of one partition: those rows need no hashing.
        let group = match last {
            Some((before, group)) if before == key => group,
            _ => *group_of.entry(key).or_insert_with(|| {
                groups.push(Vec::new());
                groups.len() - 1
            }),
        };
        groups[group].push(number);
        last = Some((key, group));
    }
    Ok(groups)
}

#[cfg(test)]
mod tests;
