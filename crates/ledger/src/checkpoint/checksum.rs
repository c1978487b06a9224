//! `<version>.crc`: what makes a checkpoint believable. One line of JSON in the shape of Delta's version checksum, with
//! what Apiary adds under `apiary`, last: hashes of the checkpoint and of the entry of its version, and a hash of the
//! line itself up to there, so that a flipped bit anywhere in it is noticed.

use apiary_core::Version;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    LedgerError, Result, Snapshot,
    entry::{Metadata, Protocol},
    header::{FORMAT, Head},
};

/// Longest line that is read: it repeats the frame's schema, of 10 000 columns at most.
const CHECKSUM_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What stands before the line's own hash, and after it.
const SELF_KEY: &str = ",\"self\":\"";
const SELF_END: &str = "\"}}\n";

/// The line, but for its own hash.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Checksum {
    pub(super) table_size_bytes: u64,
    pub(super) num_files: u64,
    pub(super) num_metadata: u64,
    pub(super) num_protocol: u64,
    pub(super) in_commit_timestamp_opt: i64,
    pub(super) metadata: Metadata,
    pub(super) protocol: Protocol,
    pub(super) apiary: Marks,
}

/// What Apiary checks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Marks {
    pub(super) format: u32,
    pub(super) v: Version,
    pub(super) checkpoint: Mark,
    pub(super) entry: Mark,
}

/// What an object must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    pub(super) sha256: String,
    pub(super) bytes: u64,
}

/// The hash of a body, in hexadecimal.
pub(crate) fn sha256(body: &[u8]) -> String {
    hex::encode(Sha256::digest(body))
}

impl Mark {
    pub(super) fn of(body: &[u8]) -> Self {
        Self { sha256: sha256(body), bytes: body.len() as u64 }
    }
}

impl Checksum {
    pub(super) fn new(snapshot: &Snapshot, checkpoint: Mark, entry: Mark) -> Self {
        Self {
            table_size_bytes: snapshot.bytes(),
            num_files: snapshot.cells.len() as u64,
            num_metadata: 1,
            num_protocol: 1,
            in_commit_timestamp_opt: snapshot.head.timestamp_ms,
            metadata: snapshot.about.metadata.clone(),
            protocol: snapshot.about.protocol.clone(),
            apiary: Marks { format: FORMAT, v: snapshot.version, checkpoint, entry },
        }
    }

    /// The last entry before the tail.
    pub(super) fn head(&self) -> Head {
        let (v, sha256) = (self.apiary.v, self.apiary.entry.sha256.clone());
        Head { version: v, sha256, timestamp_ms: self.in_commit_timestamp_opt }
    }

    pub(super) fn to_bytes(&self) -> Result<Bytes> {
        let text = serde_json::to_string(self)
            .map_err(|error| LedgerError::Internal(format!("a checksum could not be written as JSON: {error}")))?;
        // Ends in the braces of `apiary` and of the line.
        let open = text.strip_suffix("}}").unwrap_or(&text);
        let own = hex::encode(Sha256::digest(open.as_bytes()));
        Ok(format!("{open}{SELF_KEY}{own}{SELF_END}").into())
    }

    /// Reads [`Checksum::to_bytes`]; the error ends a sentence that names the object.
    pub(super) fn parse(version: Version, body: &[u8]) -> Result<Self, String> {
        if body.len() > CHECKSUM_BYTES_MAX {
            return Err(format!("it has {} bytes", body.len()));
        }
        let text = std::str::from_utf8(body).map_err(|error| format!("it is not UTF-8: {error}"))?;
        let foreign = "it was not written by Apiary, or was changed since";
        let (open, own) = text.strip_suffix(SELF_END).and_then(|text| text.rsplit_once(SELF_KEY)).ok_or(foreign)?;
        if own != hex::encode(Sha256::digest(open.as_bytes())) {
            return Err(foreign.to_owned());
        }
        let found: Self = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if found.apiary.format > FORMAT {
            return Err(format!("it needs format {}, which this version does not know", found.apiary.format));
        }
        if found.apiary.v != version {
            return Err(format!("it says version {} inside", found.apiary.v));
        }
        Ok(found)
    }
}
