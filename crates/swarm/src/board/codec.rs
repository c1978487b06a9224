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

pub(super) fn encode_proto<T: BoardObject + Message>(key: &str, object: &T) -> Result<Bytes> {
    checked(key, object)?;
    bounded(key, object.encode_to_vec())
}

pub(super) fn decode_proto<T: BoardObject + Message + Default>(key: &str, body: &[u8]) -> Result<T> {
    let object = T::decode(body).map_err(|error| SwarmError::corrupt(key, error))?;
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
