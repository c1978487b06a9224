//! What ran on a coordinator during the last day: one object per coordinator, overwritten by its only owner.
//!
//! For people alone: `SHOW QUERIES` and `apiary.queries` read it, and nothing is decided by it. A coordinator keeps
//! its queries in memory and writes the whole log now and then, so a query costs no request of its own, an idle
//! coordinator writes nothing, and whoever asks reads one object per coordinator, those of the dead too. What a
//! coordinator had not written when it died is lost: it is history, not truth.
//!
//! Times in here are one coordinator's own; none is compared with another's.

use std::time::Duration;

use apiary_bucket::{Bucket, layout};
use apiary_core::{Incarnation, NodeId, QueryId};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};

use crate::{Result, SwarmError, heartbeat::NODES_MAX};

/// How long a query that has ended is told of.
pub const KEPT: Duration = Duration::from_secs(24 * 3600);

/// Most queries in one log, the newest: with the limits of their texts below, about 2 MiB.
pub const QUERIES_MAX: usize = 1_000;

/// Most bytes of a statement, or of an error's message, that are kept.
const TEXT_BYTES_MAX: usize = 1_000;

/// Requests in flight while logs are read.
const READS_IN_FLIGHT: usize = 16;

/// Where a query stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QueryState {
    /// It runs.
    #[default]
    Running,
    /// Every row was delivered.
    Finished,
    /// It failed.
    Failed,
    /// Somebody stopped it, or its client left.
    Cancelled,
    /// It ran on a coordinator that is no more.
    Lost,
}

impl QueryState {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Finished => "finished",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Lost => "lost",
        }
    }
}

/// One query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryLine {
    /// The client's id.
    pub query: QueryId,
    /// The statement, or its beginning.
    pub statement: String,
    /// Who asked.
    pub principal: String,
    /// Where it stands.
    pub state: QueryState,
    /// local or board; empty before that is known.
    #[serde(default)]
    pub way: String,
    /// Why that way.
    #[serde(default)]
    pub reason: String,
    /// When it was asked, by its coordinator's clock, in milliseconds since 1970.
    pub started_ms: i64,
    /// How long it took, or has taken until this was written, in microseconds.
    #[serde(default)]
    pub elapsed_us: u64,
    /// Rows sent to the client.
    #[serde(default)]
    pub rows: u64,
    /// Stages that are done.
    #[serde(default)]
    pub stages_done: u32,
    /// Stages of the plan; 0 for a local one.
    #[serde(default)]
    pub stages: u32,
    /// Tasks that are done.
    #[serde(default)]
    pub tasks_done: u32,
    /// Tasks of the plan; 0 for a local one.
    #[serde(default)]
    pub tasks: u32,
    /// Attempts beyond the first.
    #[serde(default)]
    pub retries: u32,
    /// Cells that were left after pruning.
    #[serde(default)]
    pub cells_read: u64,
    /// Cells of the frames that it reads.
    #[serde(default)]
    pub cells_total: u64,
    /// GETs that cells cost.
    #[serde(default)]
    pub get_requests: u64,
    /// Bytes that they brought.
    #[serde(default)]
    pub bytes_read: u64,
    /// The error's code; empty if none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub code: String,
    /// The error in words; empty if none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

impl QueryLine {
    /// A query that begins.
    #[must_use]
    pub fn begun(query: QueryId, statement: &str, principal: &str, started_ms: i64) -> Self {
        Self {
            query,
            statement: cut(statement),
            principal: principal.to_owned(),
            state: QueryState::Running,
            way: String::new(),
            reason: String::new(),
            started_ms,
            elapsed_us: 0,
            rows: 0,
            stages_done: 0,
            stages: 0,
            tasks_done: 0,
            tasks: 0,
            retries: 0,
            cells_read: 0,
            cells_total: 0,
            get_requests: 0,
            bytes_read: 0,
            code: String::new(),
            message: String::new(),
        }
    }

    /// The same with the error that it ended in.
    #[must_use]
    pub fn with_error(mut self, code: &str, message: &str) -> Self {
        (self.code, self.message) = (code.to_owned(), cut(message));
        self
    }
}

/// The beginning of a text, whole letters, with a sign that there is more.
fn cut(text: &str) -> String {
    if text.len() <= TEXT_BYTES_MAX {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(TEXT_BYTES_MAX)])
}

/// The queries of one coordinator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryLog {
    /// [`QueryLog::FORMAT`].
    pub format: u32,
    /// The coordinator.
    pub node: NodeId,
    /// Its life: what an earlier one left running is lost.
    pub incarnation: Incarnation,
    /// Newest last.
    pub queries: Vec<QueryLine>,
}

impl QueryLog {
    /// The format that this version writes.
    pub const FORMAT: u32 = 1;

    /// The log of a coordinator in its present life.
    #[must_use]
    pub fn new(node: NodeId, incarnation: Incarnation, queries: Vec<QueryLine>) -> Self {
        Self { format: Self::FORMAT, node, incarnation, queries }
    }

    /// Any bytes as a log: for fuzzing.
    pub(crate) fn fuzz(data: &[u8]) {
        let node = serde_json::from_slice::<Self>(data).map(|log| layout::query_log(&log.node).to_string());
        let _ = Self::decode(&node.unwrap_or_default(), data);
    }

    fn decode(key: &str, body: &[u8]) -> Result<Self> {
        let log: Self = serde_json::from_slice(body).map_err(|why| SwarmError::corrupt(key, why))?;
        if log.format != Self::FORMAT {
            return Err(SwarmError::Format { key: key.to_owned(), found: log.format, known: Self::FORMAT });
        }
        if layout::query_log(&log.node).as_str() != key {
            return Err(SwarmError::corrupt(key, "it names another node than its key"));
        }
        if log.queries.len() > QUERIES_MAX {
            return Err(SwarmError::corrupt(key, "it holds more queries than a log may"));
        }
        Ok(log)
    }
}

/// Writes a log. 1 PUT.
pub async fn write(bucket: &Bucket, log: &QueryLog) -> Result<()> {
    let key = layout::query_log(&log.node);
    let body = serde_json::to_vec(log).map_err(|why| SwarmError::corrupt(&key, why))?;
    Ok(bucket.put(&key, Bytes::from(body)).await?)
}

/// One coordinator's log, if it has written one. 1 GET.
pub async fn read(bucket: &Bucket, node: &NodeId) -> Result<Option<QueryLog>> {
    let key = layout::query_log(node);
    let body = bucket.get(&key).await?;
    body.map(|body| QueryLog::decode(key.as_str(), &body)).transpose()
}

/// The logs of all coordinators but `me`. One that does not decode is reported and passed over: a node of another
/// version must not hide the others' queries. 1 LIST and 1 GET per coordinator.
pub async fn read_others(bucket: &Bucket, me: &NodeId) -> Result<Vec<QueryLog>> {
    let listed = bucket.list(layout::query_logs_prefix(), None, NODES_MAX).await?;
    let nodes = listed.into_iter().filter_map(|object| layout::parse_query_log(&object.key));
    let nodes: Vec<NodeId> = nodes.filter(|node| node != me).collect();
    let reads = nodes.into_iter().map(|node| async move {
        match read(bucket, &node).await {
            Err(SwarmError::Bucket(error)) => Err(SwarmError::Bucket(error)),
            Err(error) => {
                tracing::warn!(%node, %error, "passing over a log of queries");
                Ok(None)
            }
            log => log,
        }
    });
    let found: Vec<_> = futures::stream::iter(reads).buffered(READS_IN_FLIGHT).try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}

/// Deletes the logs that were not written for [`KEPT`], all of whose queries are older: ages are differences of the
/// store's own times, and without a heartbeat to tell what time it is nothing goes. A coordinator that lives writes
/// its log again with its next query. Returns how many went. 2 LISTs, and a DELETE for each.
pub async fn sweep(bucket: &Bucket) -> Result<u64> {
    let logs = bucket.list(layout::query_logs_prefix(), None, NODES_MAX).await?;
    if logs.is_empty() {
        return Ok(0);
    }
    let beats = bucket.list(layout::nodes_prefix(), None, NODES_MAX).await?;
    let Some(now_ms) = beats.iter().map(|object| object.modified_ms).max() else { return Ok(0) };
    let mut swept = 0;
    for log in logs {
        let Some(node) = layout::parse_query_log(&log.key) else { continue };
        if is_old(log.modified_ms, now_ms) {
            bucket.delete(&layout::query_log(&node)).await?;
            swept += 1;
        }
    }
    Ok(swept)
}

fn is_old(written_ms: i64, now_ms: i64) -> bool {
    now_ms.saturating_sub(written_ms) > i64::try_from(KEPT.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use apiary_core::{SystemClock, SystemRng};

    use super::*;

    fn log(node: &str, statement: &str) -> QueryLog {
        let line = QueryLine::begun(QueryId::new(&SystemClock, &SystemRng), statement, "client", 7);
        let incarnation = Incarnation::new(&SystemClock, &SystemRng);
        QueryLog::new(NodeId::new(node).unwrap(), incarnation, vec![line.with_error("TIMEOUT", "too long")])
    }

    #[tokio::test]
    async fn logs_are_read_as_they_were_written_but_ones_own() {
        let bucket = Bucket::in_memory();
        let (mine, theirs) = (log("pi-1", "SELECT 1"), log("pi-2", "SELECT 2"));
        write(&bucket, &mine).await.unwrap();
        write(&bucket, &theirs).await.unwrap();
        assert_eq!(read(&bucket, &mine.node).await.unwrap().as_ref(), Some(&mine));
        assert_eq!(read_others(&bucket, &mine.node).await.unwrap(), [theirs]);
    }

    #[tokio::test]
    async fn a_log_that_does_not_decode_does_not_hide_the_others() {
        let bucket = Bucket::in_memory();
        let good = log("pi-1", "SELECT 1");
        write(&bucket, &good).await.unwrap();
        let (pi_2, pi_3) = (NodeId::new("pi-2").unwrap(), NodeId::new("pi-3").unwrap());
        bucket.put(&layout::query_log(&pi_2), Bytes::from_static(b"{")).await.unwrap();
        bucket.put(&layout::query_log(&pi_3), serde_json::to_vec(&good).unwrap().into()).await.unwrap();
        assert_eq!(read_others(&bucket, &NodeId::new("me").unwrap()).await.unwrap(), [good]);
    }

    #[tokio::test]
    async fn a_young_log_stays_and_without_a_heartbeat_nothing_goes() {
        let bucket = Bucket::in_memory();
        write(&bucket, &log("pi-1", "SELECT 1")).await.unwrap();
        assert_eq!(sweep(&bucket).await.unwrap(), 0);
        let beat = crate::heartbeat::tests::sample("pi-1", Incarnation::new(&SystemClock, &SystemRng), 1);
        crate::heartbeat::beat(&bucket, &beat).await.unwrap();
        assert_eq!(sweep(&bucket).await.unwrap(), 0);
        let day_ms = 24 * 3600 * 1000;
        assert!(is_old(1_000, 1_001 + day_ms) && !is_old(1_000, 1_000 + day_ms) && !is_old(1_000, i64::MIN));
    }

    #[test]
    fn a_long_statement_is_cut_at_a_letter() {
        let line = QueryLine::begun(QueryId::new(&SystemClock, &SystemRng), &"ä".repeat(3_000), "client", 0);
        assert!(line.statement.len() <= TEXT_BYTES_MAX + 3 && line.statement.ends_with("ä…"));
    }
}
