//! A cell back to rows, for merging. Queries read cells through DataFusion, never through here.

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use bytes::Bytes;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use crate::{CellError, Result};

/// The batches of one cell, decoded as they are asked for.
pub struct CellBatches {
    reader: ParquetRecordBatchReader,
}

impl std::fmt::Debug for CellBatches {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CellBatches").finish_non_exhaustive()
    }
}

/// Opens a cell from its bytes. Memory beyond the bytes: one batch of `batch_rows` rows and the pages under it.
pub fn read_cell(bytes: Bytes, batch_rows: usize) -> Result<(SchemaRef, CellBatches)> {
    let corrupt = |error: parquet::errors::ParquetError| CellError::Corrupt { reason: error.to_string() };
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(corrupt)?;
    let schema = std::sync::Arc::clone(builder.schema());
    let reader = builder.with_batch_size(batch_rows).build().map_err(corrupt)?;
    Ok((schema, CellBatches { reader }))
}

/// The rows that a cell says it holds, from its footer.
pub fn rows_of(bytes: Bytes) -> Result<u64> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes);
    let builder = builder.map_err(|error| CellError::Corrupt { reason: error.to_string() })?;
    let rows = builder.metadata().file_metadata().num_rows();
    u64::try_from(rows).map_err(|_| CellError::Corrupt { reason: format!("it says that it has {rows} rows") })
}

impl Iterator for CellBatches {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.reader.next()?;
        Some(batch.map_err(|error| CellError::Corrupt { reason: error.to_string() }))
    }
}
