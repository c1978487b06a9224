//! Arrow schemas and batches out of the messages of an IPC stream.
//!
//! What comes in may be anything: lengths are checked against the bytes that are there, the flatbuffers are verified,
//! what compressed buffers claim to hold is bounded before it is allocated, and where Arrow's reader still panics the
//! panic stops here. A decoder answers `Corrupt`; it never takes its node down. The decoder of a stream remembers the
//! dictionaries it has seen, so it lives as long as the stream.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use apiary_core::{ErrorKind, units};
use arrow::{
    array::{ArrayRef, RecordBatch},
    buffer::Buffer,
    datatypes::SchemaRef,
    ipc::{
        self, Message, MessageHeader, convert,
        reader::{read_dictionary, read_record_batch},
        root_as_message,
    },
};
use bytes::Bytes;

use crate::error::ClientError;

/// Most bytes that one message may hold once its buffers are unpacked: room for a piece many times over, short of
/// what would take a small node down.
const UNPACKED_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// What stands before the length of each part.
const CONTINUATION: [u8; 4] = [0xff; 4];

/// Decodes the batches of one stream.
#[derive(Debug)]
pub struct BatchDecoder {
    schema: SchemaRef,
    dictionaries: HashMap<i64, ArrayRef>,
}

impl BatchDecoder {
    /// A decoder for the stream that `schema` opens.
    pub fn new(schema: Bytes) -> Result<Self, ClientError> {
        Ok(Self { schema: decode_schema(schema)?, dictionaries: HashMap::new() })
    }

    /// The schema of every batch.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The one batch in `message`, behind the dictionaries it needs.
    pub fn decode(&mut self, message: Bytes) -> Result<RecordBatch, ClientError> {
        guarded("batch", || self.read(&Buffer::from(message)))
    }

    fn read(&mut self, buffer: &Buffer) -> Result<RecordBatch, String> {
        let mut rest = buffer.clone();
        loop {
            let (head, body, behind) = next_part(&rest)?;
            let message = root_as_message(&head).map_err(|error| error.to_string())?;
            if let Some(dictionary) = message.header_as_dictionary_batch() {
                let data = dictionary.data().ok_or("a dictionary is empty")?;
                check_unpacked(&data, &body)?;
                let (schema, version) = (&self.schema, message.version());
                read_dictionary(&body, dictionary, schema, &mut self.dictionaries, &version).map_err(text)?;
                rest = behind;
                continue;
            }
            let batch = message.header_as_record_batch().ok_or_else(|| unexpected(&message))?;
            check_unpacked(&batch, &body)?;
            if !behind.is_empty() {
                return Err("there are bytes behind it".to_owned());
            }
            let schema = Arc::clone(&self.schema);
            return read_record_batch(&body, batch, schema, &self.dictionaries, None, &message.version()).map_err(text);
        }
    }
}

/// The schema in a schema message.
pub fn decode_schema(message: Bytes) -> Result<SchemaRef, ClientError> {
    guarded("schema", || {
        let (head, _, behind) = next_part(&Buffer::from(message))?;
        let message = root_as_message(&head).map_err(|error| error.to_string())?;
        let schema = message.header_as_schema().ok_or_else(|| unexpected(&message))?;
        if !behind.is_empty() {
            return Err("there are bytes behind it".to_owned());
        }
        Ok(Arc::new(convert::fb_to_schema(schema)))
    })
}

/// The first part in `buffer`: its flatbuffer, its body, and what is behind both.
fn next_part(buffer: &Buffer) -> Result<(Buffer, Buffer, Buffer), String> {
    let (Some(marker), Some(length)) = (buffer.get(..4), buffer.get(4..8)) else {
        return Err(if buffer.is_empty() { "nothing is there" } else { "it is cut" }.to_owned());
    };
    if marker != CONTINUATION {
        return Err("it does not begin as an Arrow message does".to_owned());
    }
    let length = length.iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    let (head, rest) = split(&buffer.slice(8), length)?;
    let message = root_as_message(&head).map_err(|error| error.to_string())?;
    let body = usize::try_from(message.bodyLength()).map_err(|_| "its length is negative".to_owned())?;
    let (body, behind) = split(&rest, body)?;
    Ok((head, body, behind))
}

fn split(buffer: &Buffer, at: usize) -> Result<(Buffer, Buffer), String> {
    if at > buffer.len() {
        return Err("it is cut".to_owned());
    }
    Ok((buffer.slice_with_length(0, at), buffer.slice(at)))
}

/// A compressed buffer says in its first eight bytes how long it will be, and Arrow believes it.
fn check_unpacked(batch: &ipc::RecordBatch<'_>, body: &Buffer) -> Result<(), String> {
    if batch.compression().is_none() {
        return Ok(());
    }
    let mut sum = 0u64;
    for place in batch.buffers().into_iter().flatten() {
        let start = usize::try_from(place.offset()).unwrap_or(usize::MAX);
        let Some(claim) = body.get(start..start.saturating_add(8)) else { continue };
        let claimed = claim.iter().rev().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
        // -1 stands for a buffer that was left as it is.
        sum = sum.saturating_add(if claimed == u64::MAX { 0 } else { claimed });
    }
    if sum > UNPACKED_BYTES_MAX {
        return Err(format!(
            "unpacked it would take {}, and {} are allowed",
            units::bytes(sum),
            units::bytes(UNPACKED_BYTES_MAX)
        ));
    }
    Ok(())
}

fn unexpected(message: &Message<'_>) -> String {
    let what = match message.header_type() {
        MessageHeader::Schema => "a schema",
        MessageHeader::RecordBatch => "a batch",
        MessageHeader::DictionaryBatch => "a dictionary",
        _ => "something else",
    };
    format!("{what} stands in its place")
}

fn text(error: arrow::error::ArrowError) -> String {
    error.to_string()
}

fn guarded<T>(what: &str, read: impl FnOnce() -> Result<T, String>) -> Result<T, ClientError> {
    let corrupt = |why: &str| ClientError::new(ErrorKind::Corrupt, format!("the Arrow {what} cannot be read: {why}"));
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(result) => result.map_err(|why| corrupt(&why)),
        Err(_) => Err(corrupt("it is malformed")),
    }
}
