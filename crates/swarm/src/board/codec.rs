//! Bytes of board objects: protobuf for what carries plans and results, JSON for what people may want to read.
//! A format number comes first in each and is checked before anything else is believed.

use bytes::Bytes;
use prost::Message;
use serde::{Serialize, de::DeserializeOwned};

use crate::{Result, SwarmError};

/// Largest board object in bytes. Plans of TPC-DS measure some 100 kB and inline results are bounded on their own;
/// beyond this a worker would have to buffer what should have been a file.
pub(super) const OBJECT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Something that stands on the board under a key of its own.
pub(super) trait BoardObject: Sized {
    /// The format that this version writes and reads.
    const FORMAT: u32;

    /// The format this object names.
    fn format(&self) -> u32;

    /// What must hold before it is written and after it is read.
    fn check(&self) -> std::result::Result<(), String>;
}

fn checked<T: BoardObject>(key: &str, object: &T) -> Result<()> {
    if object.format() != T::FORMAT {
        return Err(SwarmError::Format { key: key.to_owned(), found: object.format(), known: T::FORMAT });
    }
    object.check().map_err(|why| SwarmError::corrupt(key, why))
}

fn bounded(key: &str, body: Vec<u8>) -> Result<Bytes> {
    let bytes = body.len();
    if bytes > OBJECT_BYTES_MAX {
        return Err(SwarmError::TooLarge { key: key.to_owned(), bytes, max: OBJECT_BYTES_MAX });
    }
    Ok(body.into())
}

/// What stands before the sum at the end of a protobuf body: field 15, four bytes, which no message has. Who does not
/// know it passes over it.
const SUM: u8 = 15 << 3 | 5;

/// The field and its four bytes.
const SUM_BYTES: usize = 5;

/// A body with its CRC-32 at its end. A flipped bit in a plan or in rows that stand inline would be another plan and
/// other rows.
pub(super) fn summed(body: &[u8]) -> Vec<u8> {
    let mut summed = Vec::with_capacity(body.len() + SUM_BYTES);
    summed.extend_from_slice(body);
    summed.push(SUM);
    summed.extend(crc32fast::hash(body).to_le_bytes());
    summed
}

/// The length of a body without its sum, which must fit.
pub(super) fn unsummed(key: &str, body: &[u8]) -> Result<usize> {
    let damaged = || SwarmError::corrupt(key, "its bytes do not match their checksum");
    let length = body.len().checked_sub(SUM_BYTES).ok_or_else(damaged)?;
    let (whole, sum) = body.split_at(length);
    let is_whole = sum[0] == SUM && sum[1..] == crc32fast::hash(whole).to_le_bytes();
    if is_whole { Ok(length) } else { Err(damaged()) }
}

pub(super) fn encode_proto<T: BoardObject + Message>(key: &str, object: &T) -> Result<Bytes> {
    checked(key, object)?;
    bounded(key, summed(&object.encode_to_vec()))
}

pub(super) fn decode_proto<T: BoardObject + Message + Default>(key: &str, body: &[u8]) -> Result<T> {
    let length = unsummed(key, body)?;
    let object = T::decode(&body[..length]).map_err(|error| SwarmError::corrupt(key, error))?;
    checked(key, &object)?;
    Ok(object)
}

pub(super) fn encode_json<T: BoardObject + Serialize>(key: &str, object: &T) -> Result<Bytes> {
    checked(key, object)?;
    let mut body = serde_json::to_vec(object).map_err(|error| SwarmError::corrupt(key, error))?;
    body.push(b'\n');
    bounded(key, body)
}

pub(super) fn decode_json<T: BoardObject + DeserializeOwned>(key: &str, body: &[u8]) -> Result<T> {
    let object = serde_json::from_slice(body).map_err(|error| SwarmError::corrupt(key, error))?;
    checked(key, &object)?;
    Ok(object)
}
