//! How cells are written: one place for everything that DataFusion's reader feels.
//!
//! LZ4_RAW because decoding is what queries wait for; data pages of version 1, whose plain fallback decodes faster
//! than the delta encodings of version 2; row groups large enough for long vectors and small enough that several
//! bees share a cell; statistics per page, so that pages are skipped by the column index.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use parquet::{
    arrow::ArrowSchemaConverter,
    basic::{Compression, Type},
    file::properties::{DEFAULT_WRITE_BATCH_SIZE, EnabledStatistics, WriterProperties, WriterVersion},
};

use crate::Result;

/// Longest text bound in bytes, in the ledger and in Parquet statistics: longer ones are cut and marked inexact.
pub(crate) const BOUND_BYTES_MAX: usize = 64;

/// Dictionary size in bytes at which a column of numbers falls back to plain values: above some 16 000 distinct
/// numbers an index into a dictionary is neither smaller nor faster than the number.
const NUMBER_DICTIONARY_BYTES_MAX: usize = 128 << 10;

/// The shape of cells. The defaults are the ones to use; tests make smaller cells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CellOptions {
    /// Most rows in a row group. Cells of more rows are cut evenly, so that groups stay above half of this.
    pub row_group_rows_max: usize,
    /// Most rows in a data page: the grain of pruning by the column index.
    pub page_rows_max: usize,
}

impl Default for CellOptions {
    fn default() -> Self {
        Self { row_group_rows_max: 256 << 10, page_rows_max: 20_000 }
    }
}

/// What a frame's cells look like. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CellFormat {
    /// The frame's exact types: what rows have when they come, and what statistics speak of.
    pub schema: SchemaRef,
    /// The types in the file: the same columns, each castable from its exact type without loss.
    pub storage: SchemaRef,
    /// The shape.
    pub options: CellOptions,
}

impl CellFormat {
    /// Cells of the usual shape, written in `storage` types.
    #[must_use]
    pub fn new(schema: &SchemaRef, storage: &SchemaRef) -> Self {
        Self { schema: Arc::clone(schema), storage: Arc::clone(storage), options: CellOptions::default() }
    }

    /// Cells written in the types that their rows have.
    #[must_use]
    pub fn plain(schema: &SchemaRef, options: &CellOptions) -> Self {
        Self { schema: Arc::clone(schema), storage: Arc::clone(schema), options: options.clone() }
    }

    /// The Parquet writer's properties.
    pub(crate) fn properties(&self) -> Result<WriterProperties> {
        let mut builder = WriterProperties::builder()
            .set_writer_version(WriterVersion::PARQUET_1_0)
            .set_compression(Compression::LZ4_RAW)
            .set_dictionary_enabled(true)
            .set_statistics_enabled(EnabledStatistics::Page)
            .set_statistics_truncate_length(Some(BOUND_BYTES_MAX))
            .set_column_index_truncate_length(Some(BOUND_BYTES_MAX))
            .set_data_page_row_count_limit(self.options.page_rows_max)
            // Pages end between batches of the writer only.
            .set_write_batch_size(self.options.page_rows_max.min(DEFAULT_WRITE_BATCH_SIZE))
            .set_max_row_group_row_count(Some(self.options.row_group_rows_max))
            .set_created_by(concat!("apiary ", env!("CARGO_PKG_VERSION")).to_owned());
        let columns = ArrowSchemaConverter::new().convert(&without_metadata(&self.storage))?;
        for column in columns.columns().iter().filter(|column| column.physical_type() != Type::BYTE_ARRAY) {
            builder = builder.set_column_dictionary_page_size_limit(column.path().clone(), NUMBER_DICTIONARY_BYTES_MAX);
        }
        Ok(builder.build())
    }
}

/// A file's schema says what its columns are and nothing about where they came from.
pub(crate) fn without_metadata(schema: &Schema) -> Schema {
    Schema::new(schema.fields().clone())
}
