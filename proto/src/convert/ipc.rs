//! Arrow schemas and batches into the messages of an IPC stream; back again: `decode.rs`.
//!
//! One message of the wire holds either a schema or one batch with the dictionaries it needs, framed exactly as in a
//! stream file, so that the pieces put end to end are such a file. The encoder of a stream remembers which
//! dictionaries it has sent, so it lives as long as the stream.

use std::fmt;

use apiary_core::{ErrorKind, limits::MESSAGE_BYTES_MAX, units};
use arrow::{
    array::RecordBatch,
    datatypes::Schema,
    error::ArrowError,
    ipc::{
        CompressionType,
        writer::{IpcWriteOptions, StreamWriter},
    },
};
use bytes::Bytes;

use super::pieces;
use crate::error::ClientError;

/// Encodes the batches of one stream.
pub struct BatchEncoder {
    writer: StreamWriter<Vec<u8>>,
    schema: Bytes,
}

impl BatchEncoder {
    /// An encoder for batches of `schema`; with `lz4`, their buffers are compressed.
    pub fn new(schema: &Schema, lz4: bool) -> Result<Self, ClientError> {
        let compression = lz4.then_some(CompressionType::LZ4_FRAME);
        let options = IpcWriteOptions::default().try_with_compression(compression).map_err(encode_failed)?;
        let mut writer = StreamWriter::try_new_with_options(Vec::new(), schema, options).map_err(encode_failed)?;
        let schema = std::mem::take(writer.get_mut()).into();
        Ok(Self { writer, schema })
    }

    /// The schema message, which opens the stream.
    #[must_use]
    pub fn schema(&self) -> Bytes {
        self.schema.clone()
    }

    /// One message for each piece of `batch` that fits one, dictionaries first where they are new.
    ///
    /// Fails with `InvalidInput` if a single row is larger than a message may be.
    pub fn encode(&mut self, batch: &RecordBatch) -> Result<Vec<Bytes>, ClientError> {
        pieces(batch).iter().map(|piece| self.encode_piece(piece)).collect()
    }

    fn encode_piece(&mut self, piece: &RecordBatch) -> Result<Bytes, ClientError> {
        self.writer.write(piece).map_err(encode_failed)?;
        let message = Bytes::from(std::mem::take(self.writer.get_mut()));
        // A little room for the message around it.
        if message.len() + 1024 > MESSAGE_BYTES_MAX {
            let (size, limit) = (units::bytes(message.len() as u64), units::bytes(MESSAGE_BYTES_MAX as u64));
            let rows = units::counted(piece.num_rows() as u64, "row");
            let text = format!("{rows} take {size}, more than the {limit} of one message");
            return Err(ClientError::new(ErrorKind::InvalidInput, text)
                .with_hint("select fewer or shorter columns, or cut large values into several rows".to_owned()));
        }
        Ok(message)
    }
}

impl fmt::Debug for BatchEncoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchEncoder").finish_non_exhaustive()
    }
}

/// The schema message that opens a stream.
pub fn encode_schema(schema: &Schema) -> Result<Bytes, ClientError> {
    Ok(BatchEncoder::new(schema, false)?.schema())
}

fn encode_failed(error: ArrowError) -> ClientError {
    ClientError::new(ErrorKind::Internal, format!("a batch cannot be put into a message: {error}"))
}

#[cfg(test)]
#[path = "ipc_tests.rs"]
mod tests;
