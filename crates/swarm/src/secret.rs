//! The colony's secret: created once in the bucket, so that whoever sees the bucket belongs to the colony.
//!
//! Nodes prove to each other that they know it; it never travels and never shows in a log.

use std::fmt;

use apiary_bucket::{Bucket, Created, layout};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{Result, SwarmError};

const SECRET_BYTES: usize = 32;

/// What every node of the colony knows and nobody else.
#[derive(Clone, PartialEq, Eq)]
pub struct ColonySecret([u8; SECRET_BYTES]);

#[derive(Serialize, Deserialize)]
struct Stored {
    format: u32,
    secret: String,
}

const FORMAT: u32 = 1;

impl ColonySecret {
    /// The secret in `bucket`, created if there is none. 1 GET, and for the first node of a colony 1 PUT.
    pub async fn load_or_create(bucket: &Bucket) -> Result<Self> {
        if let Some(found) = Self::look(bucket).await? {
            return Ok(found);
        }
        let key = layout::secret();
        let mut bytes = [0; SECRET_BYTES];
        bucket.rng().fill(&mut bytes);
        let stored = Stored { format: FORMAT, secret: hex::encode(bytes) };
        let body = serde_json::to_vec(&stored).map_err(|why| SwarmError::corrupt(&key, why))?;
        match bucket.put_if_absent_decided(&key, Bytes::from(body)).await? {
            Created::Mine => Ok(Self(bytes)),
            Created::Taken(body) => Self::decode(key.as_str(), &body),
        }
    }

    /// The secret in `bucket`, if there is one. 1 GET.
    pub async fn look(bucket: &Bucket) -> Result<Option<Self>> {
        let key = layout::secret();
        let body = bucket.get(&key).await?;
        body.map(|body| Self::decode(key.as_str(), &body)).transpose()
    }

    /// One that nobody else knows and that is stored nowhere.
    #[must_use]
    pub fn random(bucket: &Bucket) -> Self {
        let mut bytes = [0; SECRET_BYTES];
        bucket.rng().fill(&mut bytes);
        Self(bytes)
    }

    /// A secret from outside, for tests.
    #[must_use]
    pub fn of(bytes: [u8; SECRET_BYTES]) -> Self {
        Self(bytes)
    }

    /// The bytes, for keyed hashes alone.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Any bytes as one: for fuzzing.
    pub(crate) fn fuzz(data: &[u8]) {
        let _ = Self::decode("key", data);
    }

    fn decode(key: &str, body: &[u8]) -> Result<Self> {
        // Serde's own message would quote the secret.
        let damaged = || SwarmError::corrupt(key, "it is not the secret of a colony");
        let stored: Stored = serde_json::from_slice(body).map_err(|_| damaged())?;
        if stored.format != FORMAT {
            return Err(SwarmError::Format { key: key.to_owned(), found: stored.format, known: FORMAT });
        }
        let bytes = hex::decode(&stored.secret).map_err(|_| damaged())?;
        bytes.try_into().map(Self).map_err(|_| damaged())
    }
}

impl fmt::Debug for ColonySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ColonySecret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn everybody_on_one_bucket_has_one_secret() {
        let bucket = Bucket::in_memory();
        let (a, b) = futures::join!(ColonySecret::load_or_create(&bucket), ColonySecret::load_or_create(&bucket));
        let (a, b) = (a.unwrap(), b.unwrap());
        assert_eq!(a.bytes(), b.bytes());
        assert_ne!(a, ColonySecret::load_or_create(&Bucket::in_memory()).await.unwrap());
    }

    #[tokio::test]
    async fn a_damaged_secret_is_not_quoted() {
        let bucket = Bucket::in_memory();
        let body = Bytes::from_static(br#"{"format":1,"secret":"hunter2"}"#);
        bucket.put(&layout::secret(), body).await.unwrap();
        let error = ColonySecret::load_or_create(&bucket).await.unwrap_err().to_string();
        assert!(error.contains(layout::secret().as_str()) && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn a_secret_does_not_show_itself() {
        assert_eq!(format!("{:?}", ColonySecret::of([7; SECRET_BYTES])), "ColonySecret(…)");
    }
}
