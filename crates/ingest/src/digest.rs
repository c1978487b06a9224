//! The digest of a payload, for idempotency keys: the same rows in the same order have the same digest, however they
//! are cut into batches.

use arrow::{
    array::RecordBatch,
    datatypes::SchemaRef,
    ipc::writer::StreamWriter,
    row::{RowConverter, SortField},
};
use sha2::{Digest, Sha256};

use crate::Result;

/// Hashes rows as they come by.
#[derive(Debug)]
pub(crate) struct PayloadDigest {
    hash: Sha256,
    /// Absent where a type has no row format: such batches are hashed as they are cut.
    rows: Option<RowConverter>,
}

impl PayloadDigest {
    /// For rows of `schema`.
    pub(crate) fn new(schema: &SchemaRef) -> Result<Self> {
        let fields: Vec<_> = schema.fields().iter().map(|field| SortField::new(field.data_type().clone())).collect();
        let rows = if RowConverter::supports_fields(&fields) { Some(RowConverter::new(fields)?) } else { None };
        Ok(Self { hash: Sha256::new(), rows })
    }

    /// Adds the rows of `batch`.
    pub(crate) fn update(&mut self, batch: &RecordBatch) -> Result<()> {
        let Some(converter) = &self.rows else {
            let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema())?;
            writer.write(batch)?;
            self.hash.update(writer.into_inner()?);
            return Ok(());
        };
        let rows = converter.convert_columns(batch.columns())?;
        for row in &rows {
            // The length first: two rows must not read as one longer row.
            self.hash.update((row.data().len() as u64).to_le_bytes());
            self.hash.update(row.data());
        }
        Ok(())
    }

    /// The digest in hexadecimal.
    pub(crate) fn finish(self) -> String {
        hex::encode(self.hash.finalize())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{
        array::StringArray,
        datatypes::{DataType, Field, Schema},
    };

    use super::*;

    fn digest(batches: &[&[Option<&str>]]) -> String {
        let schema = Arc::new(Schema::new(vec![Field::new("s", DataType::Utf8, true)]));
        let mut digest = PayloadDigest::new(&schema).unwrap();
        for texts in batches {
            let column = Arc::new(StringArray::from(texts.to_vec()));
            digest.update(&RecordBatch::try_new(Arc::clone(&schema), vec![column]).unwrap()).unwrap();
        }
        digest.finish()
    }

    #[test]
    fn cuts_do_not_matter_and_rows_do() {
        let whole = digest(&[&[Some("a"), Some("b"), None]]);
        assert_eq!(whole, digest(&[&[Some("a")], &[], &[Some("b"), None]]));
        assert_ne!(whole, digest(&[&[Some("ab"), None]]));
        assert_ne!(whole, digest(&[&[Some("b"), Some("a"), None]]));
        assert_ne!(whole, digest(&[&[Some("a"), Some("b"), Some("")]]));
    }
}
