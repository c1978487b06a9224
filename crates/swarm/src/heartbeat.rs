//! The heartbeat: one small object per node, overwritten by its only owner.
//!
//! What makes a node alive is that its *counter advances*; no timestamp in here is ever compared. Fields that a
//! newer version adds are passed over by an older one.

use apiary_bucket::{Bucket, layout};
use apiary_core::{Incarnation, NodeId};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{Result, SwarmError, behaviour::temperature};

/// Most nodes that an observer takes in.
pub const NODES_MAX: usize = 10_000;

/// Requests in flight while an observer reads heartbeats.
const READS_IN_FLIGHT: usize = 16;

/// Cores and how many of them work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bees {
    /// All bees of the node.
    pub total: u32,
    /// Those at work.
    pub busy: u32,
}

/// What a node's temperature is made of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Strain {
    /// Bees at work, as a share of all, 0 to 1.
    pub bees: f64,
    /// Chamber memory in use, as a share of all, 0 to 1.
    pub memory: f64,
    /// Tasks that wait for a bee.
    pub queue: u32,
}

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// [`Heartbeat::FORMAT`].
    pub format: u32,
    /// The node.
    pub node: NodeId,
    /// Its life, new each start.
    pub incarnation: Incarnation,
    /// Advances with every beat of one incarnation.
    pub counter: u64,
    /// When to expect the next beat, in seconds.
    pub interval_s: f64,
    /// coordinator, worker, compactor.
    pub roles: Vec<String>,
    /// host:port of its gRPC server, if it has one that others may reach.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The version of the program.
    pub version: String,
    /// What it can do besides.
    #[serde(default)]
    pub features: Vec<String>,
    /// Cores it may use.
    pub cores: u32,
    /// Memory it may use, in bytes.
    pub memory_bytes: u64,
    /// Its bees.
    pub bees: Bees,
    /// What one task may use, in bytes.
    pub chamber_bytes: u64,
    /// How hard it works.
    pub strain: Strain,
    /// 0 to 1, made of `strain`.
    pub temperature: f64,
    /// It takes no new work and will be gone soon.
    #[serde(default)]
    pub leaving: bool,
    /// Which cells it holds: a digest as text, at most 8 kB; empty without a cache. Others place tasks by it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cached: String,
}

impl Heartbeat {
    /// The format that this version writes.
    pub const FORMAT: u32 = 1;

    /// The temperature that its own parts give.
    #[must_use]
    pub fn measured(&self) -> f64 {
        temperature::node(&self.strain, self.bees.total)
    }

    /// Any bytes as a heartbeat: for fuzzing.
    pub(crate) fn fuzz(data: &[u8]) {
        let node = serde_json::from_slice::<Self>(data).map(|beat| layout::node(&beat.node).to_string());
        let beat = Self::decode(&node.unwrap_or_default(), data);
        let _ = beat.map(|beat| beat.measured());
    }

    fn decode(key: &str, body: &[u8]) -> Result<Self> {
        let beat: Self = serde_json::from_slice(body).map_err(|why| SwarmError::corrupt(key, why))?;
        if beat.format != Self::FORMAT {
            return Err(SwarmError::Format { key: key.to_owned(), found: beat.format, known: Self::FORMAT });
        }
        if layout::node(&beat.node).as_str() != key {
            return Err(SwarmError::corrupt(key, "it names another node than its key"));
        }
        if !beat.interval_s.is_finite() {
            return Err(SwarmError::corrupt(key, "its interval is no time"));
        }
        Ok(beat)
    }
}

/// A heartbeat as an observer found it.
#[derive(Debug, Clone, PartialEq)]
pub struct Sighting {
    /// What it says.
    pub heartbeat: Heartbeat,
    /// How much older the object is than the newest heartbeat in the same listing, in milliseconds, both by the
    /// store's own clock.
    pub behind_ms: u64,
}

/// A heartbeat as it is written: with the node's own time, for people who ask how wrong its clock is. Nothing else
/// reads it.
#[derive(Serialize)]
struct Written<'a> {
    #[serde(flatten)]
    heartbeat: &'a Heartbeat,
    wall_ms: i64,
}

/// Writes a heartbeat. 1 PUT.
pub async fn beat(bucket: &Bucket, heartbeat: &Heartbeat) -> Result<()> {
    let key = layout::node(&heartbeat.node);
    let written = Written { heartbeat, wall_ms: bucket.clock().wall_ms() };
    let body = serde_json::to_vec(&written).map_err(|why| SwarmError::corrupt(&key, why))?;
    Ok(bucket.put(&key, Bytes::from(body)).await?)
}

/// What a heartbeat tells of its node's clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeClock {
    /// The heartbeat's key.
    pub key: String,
    /// The node's wall clock minus the store's, in milliseconds, within the time of a request; nothing from a node
    /// too old to tell; or why the heartbeat cannot be read.
    pub off_ms: Result<Option<i64>, String>,
}

/// How far each node's clock is off, by the store's own: for people alone. 1 LIST and 1 GET per node.
pub async fn clocks(bucket: &Bucket) -> Result<Vec<NodeClock>> {
    #[derive(Deserialize)]
    struct Told {
        wall_ms: Option<i64>,
    }
    let mut clocks = Vec::new();
    for object in bucket.list(layout::nodes_prefix(), None, NODES_MAX).await? {
        let Some(node) = layout::parse_node(&object.key) else { continue };
        let Some(body) = bucket.get(&layout::node(&node)).await? else { continue };
        let told = Heartbeat::decode(&object.key, &body).map_err(|error| error.to_string());
        let off_ms = told.map(|_| {
            let told: Option<Told> = serde_json::from_slice(&body).ok();
            told.and_then(|told| told.wall_ms).map(|ms| ms.saturating_sub(object.modified_ms))
        });
        clocks.push(NodeClock { key: object.key, off_ms });
    }
    Ok(clocks)
}

/// One node's heartbeat, if it has one. 1 GET.
pub async fn read(bucket: &Bucket, node: &NodeId) -> Result<Option<Heartbeat>> {
    let key = layout::node(node);
    let body = bucket.get(&key).await?;
    body.map(|body| Heartbeat::decode(key.as_str(), &body)).transpose()
}

/// Takes a node's heartbeat away: it left in order. 1 DELETE.
pub async fn withdraw(bucket: &Bucket, node: &NodeId) -> Result<()> {
    Ok(bucket.delete(&layout::node(node)).await?)
}

/// Every heartbeat in the bucket. One that does not decode is reported and passed over: a node of another version
/// must not blind the colony. 1 LIST and 1 GET per node.
pub async fn read_all(bucket: &Bucket) -> Result<Vec<Sighting>> {
    use futures::{StreamExt, TryStreamExt};

    let listed = bucket.list(layout::nodes_prefix(), None, NODES_MAX).await?;
    let newest_ms = listed.iter().map(|object| object.modified_ms).max().unwrap_or_default();
    let reads = listed.into_iter().filter_map(|object| Some((layout::parse_node(&object.key)?, object)));
    let reads = reads.map(|(node, object)| async move {
        let behind_ms = u64::try_from(newest_ms.saturating_sub(object.modified_ms)).unwrap_or(0);
        match read(bucket, &node).await {
            Ok(beat) => Ok(beat.map(|heartbeat| Sighting { heartbeat, behind_ms })),
            Err(SwarmError::Bucket(error)) => Err(SwarmError::Bucket(error)),
            Err(error) => {
                tracing::warn!(%node, %error, "passing over a heartbeat");
                Ok(None)
            }
        }
    });
    let found: Vec<_> = futures::stream::iter(reads).buffered(READS_IN_FLIGHT).try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}

#[cfg(test)]
pub(crate) mod tests {
    use apiary_core::{SystemClock, SystemRng};

    use super::*;

    pub(crate) fn sample(node: &str, incarnation: Incarnation, counter: u64) -> Heartbeat {
        Heartbeat {
            format: Heartbeat::FORMAT,
            node: NodeId::new(node).unwrap(),
            incarnation,
            counter,
            interval_s: 10.0,
            roles: vec!["worker".into()],
            address: Some("127.0.0.1:7420".into()),
            version: "0.1.0".into(),
            features: vec![],
            cores: 2,
            memory_bytes: 1 << 30,
            bees: Bees { total: 2, busy: 0 },
            chamber_bytes: 256 << 20,
            strain: Strain::default(),
            temperature: 0.0,
            leaving: false,
            cached: String::new(),
        }
    }

    #[tokio::test]
    async fn a_heartbeat_is_read_as_it_was_written() {
        let bucket = Bucket::in_memory();
        let beat_ = sample("pi-1", Incarnation::new(&SystemClock, &SystemRng), 3);
        beat(&bucket, &beat_).await.unwrap();
        assert_eq!(read(&bucket, &beat_.node).await.unwrap().as_ref(), Some(&beat_));
        assert_eq!(read_all(&bucket).await.unwrap().len(), 1);
        withdraw(&bucket, &beat_.node).await.unwrap();
        assert_eq!(read_all(&bucket).await.unwrap().len(), 0);
    }

    #[tokio::test]
    async fn a_heartbeat_that_does_not_decode_does_not_hide_the_others() {
        let bucket = Bucket::in_memory();
        let good = sample("pi-1", Incarnation::new(&SystemClock, &SystemRng), 1);
        beat(&bucket, &good).await.unwrap();
        let other = layout::node(&NodeId::new("pi-2").unwrap());
        bucket.put(&other, Bytes::from_static(b"{")).await.unwrap();
        let seen = read_all(&bucket).await.unwrap();
        assert_eq!(seen.into_iter().map(|sighting| sighting.heartbeat).collect::<Vec<_>>(), [good]);
    }

    #[test]
    fn a_field_from_the_future_is_passed_over() {
        let beat = sample("pi-1", Incarnation::new(&SystemClock, &SystemRng), 1);
        let mut value = serde_json::to_value(&beat).unwrap();
        value["dance"] = serde_json::json!("waggle");
        let body = serde_json::to_vec(&value).unwrap();
        assert_eq!(Heartbeat::decode(layout::node(&beat.node).as_str(), &body).unwrap(), beat);
    }

    #[test]
    fn a_heartbeat_under_another_nodes_key_is_damaged() {
        let beat = sample("pi-1", Incarnation::new(&SystemClock, &SystemRng), 1);
        let body = serde_json::to_vec(&beat).unwrap();
        let key = layout::node(&NodeId::new("pi-2").unwrap());
        assert!(Heartbeat::decode(key.as_str(), &body).is_err());
    }
}
