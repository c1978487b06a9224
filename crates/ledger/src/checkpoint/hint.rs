//! `_last_checkpoint`: where to look first. Whoever writes a checkpoint overwrites it, and nobody believes it.

use apiary_core::Version;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Longest hint that is read: ours has some hundred bytes, other writers add the schema of their checkpoints.
const HINT_BYTES_MAX: usize = 1024 * 1024;

/// The hint, as the Delta protocol has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Hint {
    pub(super) version: Version,
    /// Actions in the checkpoint.
    #[serde(default)]
    pub(super) size: u64,
    #[serde(default)]
    pub(super) size_in_bytes: u64,
    #[serde(default)]
    pub(super) num_of_add_files: u64,
}

impl Hint {
    pub(super) fn to_bytes(&self) -> Option<Bytes> {
        serde_json::to_vec(self).ok().map(Bytes::from)
    }

    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        (body.len() <= HINT_BYTES_MAX).then(|| serde_json::from_slice(body).ok()).flatten()
    }
}
