//! Parquet files: the footer tells everything; damage shows at the footer or at a page.

use std::{fs::File, path::Path, sync::Arc};

use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::{Opened, ReadOptions};
use crate::{IngestError, Result};

const NAME: &str = "Parquet";

const FIX: &str = "it may be cut short or damaged: copy or download it again, or write it again";

pub(super) fn open(path: &Path, file: File, options: &ReadOptions) -> Result<Opened> {
    let broken = |error: parquet::errors::ParquetError| IngestError::broken(path, NAME, error, FIX);
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(broken)?;
    let schema = Arc::clone(builder.schema());
    let rows = u64::try_from(builder.metadata().file_metadata().num_rows()).ok();
    let reader = builder.with_batch_size(options.batch_rows).build().map_err(broken)?;
    let path = path.to_owned();
    let batches = reader.map(move |batch| batch.map_err(|error| IngestError::broken(&path, NAME, error, FIX)));
    Ok(Opened { schema, rows, batches: Box::new(batches) })
}
