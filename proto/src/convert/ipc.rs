//! Arrow schemas and batches as the messages of an IPC stream.
//!
//! One message of the wire holds either a schema or one batch with the dictionaries it needs, framed exactly as in a
//! stream file, so that the pieces put end to end are such a file. The encoder and the decoder of one stream keep
//! state (dictionaries already sent), so both live as long as the stream. What comes in may be anything: a decoder
//! answers `Corrupt`, it never takes its node down.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

use apiary_core::{ErrorKind, limits::MESSAGE_BYTES_MAX, units};
use arrow::{
    array::RecordBatch,
    buffer::Buffer,
    datatypes::{Schema, SchemaRef},
    error::ArrowError,
    ipc::{
        CompressionType,
        reader::StreamDecoder,
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

/// Decodes the batches of one stream.
#[derive(Debug)]
pub struct BatchDecoder {
    decoder: StreamDecoder,
    schema: SchemaRef,
}

impl BatchDecoder {
    /// A decoder for the stream that `schema` opens.
    pub fn new(schema: Bytes) -> Result<Self, ClientError> {
        let mut decoder = StreamDecoder::new();
        let found = guarded("schema", || {
            let mut buffer = Buffer::from(schema);
            decoder.decode(&mut buffer)?;
            decoder.finish()?;
            decoder.schema().ok_or_else(|| ArrowError::IpcError("no schema in the message".to_owned()))
        })?;
        Ok(Self { decoder, schema: found })
    }

    /// The schema of every batch.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The one batch in `message`.
    pub fn decode(&mut self, message: Bytes) -> Result<RecordBatch, ClientError> {
        let decoder = &mut self.decoder;
        guarded("batch", || {
            let mut buffer = Buffer::from(message);
            let batch = decoder.decode(&mut buffer)?;
            decoder.finish()?;
            match batch {
                Some(batch) if buffer.is_empty() => Ok(batch),
                Some(_) => Err(ArrowError::IpcError("bytes after the batch".to_owned())),
                None => Err(ArrowError::IpcError("no batch in the message".to_owned())),
            }
        })
    }
}

/// The schema message that opens a stream.
pub fn encode_schema(schema: &Schema) -> Result<Bytes, ClientError> {
    Ok(BatchEncoder::new(schema, false)?.schema())
}

/// The schema in a schema message.
pub fn decode_schema(message: Bytes) -> Result<SchemaRef, ClientError> {
    Ok(BatchDecoder::new(message)?.schema)
}

/// Arrow's reader validates offsets and UTF-8, but a few malformed messages still make it panic.
fn guarded<T>(what: &str, read: impl FnOnce() -> Result<T, ArrowError>) -> Result<T, ClientError> {
    let corrupt = |why: String| ClientError::new(ErrorKind::Corrupt, format!("the Arrow {what} cannot be read: {why}"));
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(result) => result.map_err(|error| corrupt(error.to_string())),
        Err(_) => Err(corrupt("the message is malformed".to_owned())),
    }
}

fn encode_failed(error: ArrowError) -> ClientError {
    ClientError::new(ErrorKind::Internal, format!("a batch cannot be put into a message: {error}"))
}

#[cfg(test)]
#[path = "ipc_tests.rs"]
mod tests;
