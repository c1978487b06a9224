//! `format.json`: what a bucket is, written once by its first node and read by every other.

use apiary_bucket::{Bucket, Created, layout};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{Result, SwarmError};

/// What a bucket is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColonyFormat {
    /// A uuid: two buckets with one cluster id are copies of each other.
    pub cluster: String,
    /// [`ColonyFormat::FORMAT`].
    pub format: u32,
    /// What a node must know in order to use the bucket.
    pub features: Vec<String>,
}

impl ColonyFormat {
    /// The format that this version writes and reads.
    pub const FORMAT: u32 = 1;

    /// Features that this version knows. The first format needs none.
    pub const FEATURES: &'static [&'static str] = &[];

    /// The bucket's format, created if it has none, and read back. An unknown format or feature is an error: such a
    /// bucket must not be touched. 1 GET, and for the first node of a colony 1 PUT.
    pub async fn load_or_create(bucket: &Bucket) -> Result<Self> {
        if let Some(found) = Self::look(bucket).await? {
            return Ok(found);
        }
        let key = layout::format();
        let mut random = [0; 16];
        bucket.rng().fill(&mut random);
        let cluster = uuid::Builder::from_random_bytes(random).into_uuid().to_string();
        let new = Self { cluster, format: Self::FORMAT, features: Vec::new() };
        let body = serde_json::to_vec(&new).map_err(|why| SwarmError::corrupt(&key, why))?;
        match bucket.put_if_absent_decided(&key, Bytes::from(body)).await? {
            Created::Mine => Ok(new),
            Created::Taken(body) => Self::decode(key.as_str(), &body),
        }
    }

    /// The bucket's format, if it has one. Fails like [`ColonyFormat::load_or_create`]. 1 GET.
    pub async fn look(bucket: &Bucket) -> Result<Option<Self>> {
        let key = layout::format();
        let body = bucket.get(&key).await?;
        body.map(|body| Self::decode(key.as_str(), &body)).transpose()
    }

    /// Any bytes as one: for fuzzing.
    pub(crate) fn fuzz(data: &[u8]) {
        let _ = Self::decode("key", data);
    }

    fn decode(key: &str, body: &[u8]) -> Result<Self> {
        let found: Self = serde_json::from_slice(body).map_err(|why| SwarmError::corrupt(key, why))?;
        if found.format != Self::FORMAT {
            return Err(SwarmError::Format { key: key.to_owned(), found: found.format, known: Self::FORMAT });
        }
        match found.features.iter().find(|feature| !Self::FEATURES.contains(&feature.as_str())) {
            Some(feature) => Err(SwarmError::Feature { feature: feature.clone() }),
            None => Ok(found),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_node_names_the_cluster_for_all() {
        let bucket = Bucket::in_memory();
        let (a, b) = futures::join!(ColonyFormat::load_or_create(&bucket), ColonyFormat::load_or_create(&bucket));
        assert_eq!(a.unwrap(), b.unwrap());
    }

    #[test]
    fn a_bucket_of_a_newer_format_is_refused() {
        let error = ColonyFormat::decode("k", br#"{"cluster":"c","format":2,"features":[]}"#).unwrap_err();
        assert!(error.to_string().contains("update this node"), "{error}");
    }

    #[test]
    fn a_bucket_with_an_unknown_feature_is_refused_by_name() {
        let error = ColonyFormat::decode("k", br#"{"cluster":"c","format":1,"features":["honey"]}"#).unwrap_err();
        assert!(error.to_string().contains("'honey'"), "{error}");
    }
}
