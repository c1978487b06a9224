//! Pins: the snapshots that long queries hold. A coordinator writes one when a query has run for a minute, again
//! every few hours, and takes it away at the query's end; a vacuum keeps every cell of a pinned version.
//!
//! A pin need not be there at once: a snapshot that was current a moment ago is within retention, and retention is an
//! hour at least. Nor need it be taken away: one that nobody wrote again for [`PIN_AGE_MAX`] is nobody's.

use std::time::Duration;

use apiary_bucket::{Bucket, Key, Listed, layout};
use apiary_core::{QueryId, SystemClock, SystemRng, Version};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};

use super::ms;
use crate::{LedgerError, Result, log::within};

/// A pin that was not written for this long, by the store's clock, holds nothing.
pub const PIN_AGE_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// Most pins at one time: long queries are few, and what cannot be read must stop a vacuum.
const PINS_MAX: usize = 10_000;

/// Pins read at once.
const READS_AT_ONCE: usize = 16;

/// The format that this program writes and the newest that it reads.
const FORMAT: u32 = 1;

/// One version of a frame that a query reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinnedVersion {
    /// The frame's folder.
    pub folder: String,
    /// The version.
    pub version: Version,
}

/// What one query holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    format: u32,
    /// The query.
    pub query: QueryId,
    /// Who answers it; for people.
    pub node: String,
    /// What it reads.
    pub frames: Vec<PinnedVersion>,
}

impl Pin {
    /// A pin of these versions.
    #[must_use]
    pub fn new(query: QueryId, node: String, frames: Vec<PinnedVersion>) -> Self {
        Self { format: FORMAT, query, node, frames }
    }

    /// Any bytes as a pin: for fuzzing.
    pub(crate) fn any(body: &[u8]) {
        let key = layout::pin(&QueryId::new(&SystemClock, &SystemRng));
        let _ = Self::decode(&key, body);
    }

    fn decode(key: &Key, body: &[u8]) -> Result<Self> {
        let pin: Self = serde_json::from_slice(body).map_err(|error| LedgerError::corrupt(key, error))?;
        if pin.format > FORMAT {
            let needs = format!("format {}", pin.format);
            return Err(LedgerError::Newer { object: key.to_string(), needs });
        }
        Ok(pin)
    }
}

/// The pins of a bucket.
#[derive(Debug, Clone)]
pub struct Pins {
    bucket: Bucket,
}

impl Pins {
    /// The pins of this bucket. No I/O.
    #[must_use]
    pub fn new(bucket: Bucket) -> Self {
        Self { bucket }
    }

    /// Writes a pin, or writes it again. 1 PUT.
    pub async fn hold(&self, pin: &Pin) -> Result<()> {
        let body = serde_json::to_vec(pin);
        let body = body.map_err(|error| LedgerError::Internal(format!("a pin could not be written: {error}")))?;
        let key = layout::pin(&pin.query);
        within(&self.bucket, key.as_ref(), self.bucket.put(&key, Bytes::from(body))).await
    }

    /// Takes a pin away. 1 DELETE.
    pub async fn release(&self, query: &QueryId) -> Result<()> {
        let key = layout::pin(query);
        within(&self.bucket, key.as_ref(), self.bucket.delete(&key)).await
    }

    /// The versions of a frame that queries hold at `now_ms` by the store's clock. 1 LIST, and 1 GET for each pin. A pin
    /// that cannot be read is an error: nobody knows what it holds.
    pub(crate) async fn of_folder(&self, folder: &str, now_ms: i64) -> Result<Vec<(Version, QueryId)>> {
        let held = self.listed().await?.into_iter().filter(|object| !is_stale(object, now_ms));
        let read = held.filter_map(|object| layout::parse_pin(&object.key)).map(|query| async move {
            let key = layout::pin(&query);
            // One that was taken away meanwhile holds nothing.
            let body = within(&self.bucket, key.as_ref(), self.bucket.get(&key)).await?;
            body.map(|body| Pin::decode(&key, &body)).transpose()
        });
        let pins: Vec<Option<Pin>> = stream::iter(read).buffered(READS_AT_ONCE).try_collect().await?;
        let frames = pins.iter().flatten().flat_map(|pin| pin.frames.iter().map(|frame| (pin.query, frame)));
        let of_this = frames.filter(|(_, frame)| frame.folder == folder);
        Ok(of_this.map(|(query, frame)| (frame.version, query)).collect())
    }

    /// Pins that nobody wrote for [`PIN_AGE_MAX`]: how many, and with `run` they are deleted. 1 LIST, 1 DELETE for all.
    pub(crate) async fn sweep(&self, now_ms: i64, run: bool) -> Result<u64> {
        let stale = self.listed().await?.into_iter().filter(|object| is_stale(object, now_ms));
        let stale: Vec<Key> =
            stale.filter_map(|object| layout::parse_pin(&object.key)).map(|query| layout::pin(&query)).collect();
        if run {
            within(&self.bucket, layout::pins_prefix(), self.bucket.delete_all(&stale)).await?;
        }
        Ok(stale.len() as u64)
    }

    async fn listed(&self) -> Result<Vec<Listed>> {
        let prefix = layout::pins_prefix();
        let listed = within(&self.bucket, prefix, self.bucket.list(prefix, None, PINS_MAX + 1)).await?;
        if listed.len() > PINS_MAX {
            let why = format!("it holds more than {PINS_MAX} pins; delete those of queries that ended");
            return Err(LedgerError::corrupt(prefix, why));
        }
        Ok(listed)
    }
}

fn is_stale(object: &Listed, now_ms: i64) -> bool {
    now_ms.saturating_sub(object.modified_ms) > ms(PIN_AGE_MAX)
}
