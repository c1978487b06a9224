//! Board objects over a bucket: one function per act, each create-only, each naming its cost.
//!
//! Nothing here decides what should happen to a query; that is the engine's state machine. Nothing here waits.

use apiary_bucket::{Bucket, Created, Key, layout};
use apiary_core::QueryId;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{
    AttemptId, BoardView, ClaimRecord, DoneRecord, FailedRecord, OwnerRecord, QueryRecord, TaskId, TaskObject,
    codec::{self, BoardObject, decode_json, decode_proto, encode_json, encode_proto},
};
use crate::{Result, SwarmError};

/// Most open queries that one look takes in: beyond it the coordinators' own limits have failed.
pub const OPEN_QUERIES_MAX: usize = 10_000;

/// Most board objects of one query, output files apart: 10 000 tasks with four attempts each fit.
pub const BOARD_KEYS_MAX: usize = 200_000;

/// Longest SQL fragment in bytes that is stored for people to read.
const FRAGMENT_BYTES_MAX: usize = 64 * 1024;

/// What opening a query found.
#[derive(Debug, Clone, PartialEq)]
pub enum OpenedQuery {
    /// It was not on the board; now it is, with its stages and its pointer.
    New,
    /// The same question by the same principal stands there already: go on with that one.
    Resumed(Box<QueryRecord>),
}

#[derive(Debug, Serialize, Deserialize)]
struct CancelRecord {
    format: u32,
    reason: String,
}

impl BoardObject for CancelRecord {
    const FORMAT: u32 = 1;

    fn format(&self) -> u32 {
        self.format
    }

    fn check(&self) -> std::result::Result<(), String> {
        Ok(())
    }
}

/// The task board of one bucket. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Board {
    bucket: Bucket,
}

impl Board {
    /// The board in `bucket`.
    #[must_use]
    pub fn new(bucket: Bucket) -> Self {
        Self { bucket }
    }

    /// The bucket under it.
    #[must_use]
    pub fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    /// Puts a query on the board: the question, its encoded stages, then the pointer that workers look for, in this
    /// order, so that whoever sees the pointer finds the rest. Other stages that stand there already are those of an
    /// earlier run that is being swept: it is gone on with, since its results are cut as they say. 3 PUTs; 1 PUT and 1
    /// GET if it stands there already.
    pub async fn open_query(&self, record: &QueryRecord, stages: Bytes) -> Result<OpenedQuery> {
        let key = layout::query(&record.query);
        match self.bucket.put_if_absent_decided(&key, encode_json(key.as_ref(), record)?).await? {
            Created::Mine => {}
            Created::Taken(body) => {
                let theirs: QueryRecord = decode_json(key.as_ref(), &body)?;
                return match theirs.differs_from(record) {
                    Some(what) => Err(SwarmError::QueryTaken { query: record.query.to_string(), what }),
                    None => Ok(OpenedQuery::Resumed(Box::new(theirs))),
                };
            }
        }
        let ours = self.put_stages(&record.query, stages.clone()).await? == stages;
        self.point(&record.query).await?;
        Ok(if ours { OpenedQuery::New } else { OpenedQuery::Resumed(Box::new(record.clone())) })
    }

    /// Stores a query's encoded stages unless some stand there, and returns those that count. 1 PUT, at most 1 GET.
    pub async fn put_stages(&self, query: &QueryId, stages: Bytes) -> Result<Bytes> {
        let key = layout::stages(query);
        match self.bucket.put_if_absent_decided(&key, codec::summed(&stages).into()).await? {
            Created::Mine => Ok(stages),
            Created::Taken(theirs) => Ok(theirs.slice(..codec::unsummed(key.as_ref(), &theirs)?)),
        }
    }

    /// Makes the query visible to workers that look for work. 1 PUT.
    pub async fn point(&self, query: &QueryId) -> Result<()> {
        let body = Bytes::from(format!("{{\"format\":1,\"query\":\"{query}\"}}\n"));
        self.bucket.put_if_absent_decided(&layout::open_query(query), body).await?;
        Ok(())
    }

    /// What was asked. 1 GET.
    pub async fn read_query(&self, query: &QueryId) -> Result<Option<QueryRecord>> {
        self.read_json(&layout::query(query)).await
    }

    /// The encoded stages. 1 GET.
    pub async fn read_stages(&self, query: &QueryId) -> Result<Option<Bytes>> {
        let key = layout::stages(query);
        let Some(body) = self.bucket.get(&key).await? else { return Ok(None) };
        Ok(Some(body.slice(..codec::unsummed(key.as_ref(), &body)?)))
    }

    /// Queries that workers should look at, oldest id first. 1 LIST.
    pub async fn list_open(&self) -> Result<Vec<QueryId>> {
        let listed = self.bucket.list(layout::open_prefix(), None, OPEN_QUERIES_MAX).await?;
        Ok(listed.iter().filter_map(|object| layout::parse_open(&object.key)).collect())
    }

    /// Everything of a query but its output files. 2 LISTs for up to 1 000 objects.
    pub async fn list_query(&self, query: &QueryId) -> Result<BoardView> {
        let prefix = layout::query_prefix(query);
        // `cancel` sorts before the output files, everything else after them.
        let signals = self.bucket.list(&prefix, None, 1).await?;
        let rest = self.list_behind_output(query).await?;
        Ok(BoardView::of(
            *query,
            signals.iter().map(|object| object.key.as_str()).chain(rest.iter().map(String::as_str)),
        ))
    }

    /// The tasks of a query, not whether it is cancelled. 1 LIST for up to 1 000 objects.
    pub async fn list_tasks(&self, query: &QueryId) -> Result<BoardView> {
        let keys = self.list_behind_output(query).await?;
        Ok(BoardView::of(*query, keys.iter().map(String::as_str)))
    }

    async fn list_behind_output(&self, query: &QueryId) -> Result<Vec<String>> {
        let prefix = layout::query_prefix(query);
        // '0' follows '/': the listing starts behind everything under `out/`.
        let after = format!("{prefix}out0");
        let listed = self.bucket.list(&prefix, Some(&after), BOARD_KEYS_MAX + 1).await?;
        if listed.len() > BOARD_KEYS_MAX {
            let hint = "ask with fewer partitions: SET target_partitions";
            return Err(SwarmError::TooMany { prefix, max: BOARD_KEYS_MAX, hint });
        }
        Ok(listed.into_iter().map(|object| object.key).collect())
    }

    /// Publishes one attempt at a task. The object's bytes, or nothing: another stands there already. 1 PUT.
    pub async fn publish_task(&self, task: &TaskObject) -> Result<Option<Bytes>> {
        let id = task.id().ok_or_else(|| SwarmError::corrupt("a task to publish", "its query id is not one"))?;
        let key = task_key(&id);
        let body = encode_proto(key.as_ref(), task)?;
        Ok(self.create(&key, body.clone()).await?.then_some(body))
    }

    /// Says in SQL what a task does, for people. 1 PUT.
    pub async fn describe_task(&self, id: &TaskId, sql: &str) -> Result<()> {
        let end = sql.floor_char_boundary(FRAGMENT_BYTES_MAX);
        let text = format!("-- display only; the plan is executed\n{}\n", &sql[..end]);
        self.create(&layout::task_sql(&id.query, id.stage, id.task), text.into()).await.map(drop)
    }

    /// One attempt's task object. 1 GET.
    pub async fn read_task(&self, id: &AttemptId) -> Result<Option<TaskObject>> {
        let Some(body) = self.bucket.get(&task_key(id)).await? else { return Ok(None) };
        Self::task_in(id, &body).map(Some)
    }

    /// An attempt's task object from its bytes, however they came here. No I/O.
    pub fn task_in(id: &AttemptId, body: &[u8]) -> Result<TaskObject> {
        let key = task_key(id);
        let task: TaskObject = decode_proto(key.as_ref(), body)?;
        if task.id() != Some(*id) {
            return Err(SwarmError::corrupt(key, "it names another task than its key"));
        }
        Ok(task)
    }

    /// Claims an attempt: true if it is ours. 1 PUT.
    pub async fn claim(&self, id: &AttemptId, claim: &ClaimRecord) -> Result<bool> {
        let key = layout::claim(&id.task.query, id.task.stage, id.task.task, id.attempt);
        self.create(&key, encode_json(key.as_ref(), claim)?).await
    }

    /// Takes a claim back, of an attempt that nobody wants any more: a query that is over leaves nothing behind. On a
    /// query that goes on after all, the attempt is free again. 1 DELETE.
    pub async fn unclaim(&self, id: &AttemptId) -> Result<()> {
        let key = layout::claim(&id.task.query, id.task.stage, id.task.task, id.attempt);
        Ok(self.bucket.delete(&key).await?)
    }

    /// Who claimed an attempt. 1 GET.
    pub async fn read_claim(&self, id: &AttemptId) -> Result<Option<ClaimRecord>> {
        self.read_json(&layout::claim(&id.task.query, id.task.stage, id.task.task, id.attempt)).await
    }

    /// Ends an attempt without a result. False: it has ended already. 1 PUT.
    pub async fn mark_failed(&self, id: &AttemptId, failed: &FailedRecord) -> Result<bool> {
        let key = layout::failed(&id.task.query, id.task.stage, id.task.task, id.attempt);
        self.create(&key, encode_json(key.as_ref(), failed)?).await
    }

    /// Why an attempt failed. 1 GET.
    pub async fn read_failed(&self, id: &AttemptId) -> Result<Option<FailedRecord>> {
        self.read_json(&layout::failed(&id.task.query, id.task.stage, id.task.task, id.attempt)).await
    }

    /// Offers a result. True: it is the task's truth now. False: another attempt was first, and the caller deletes
    /// its own output ([`Board::discard_output`]). 1 PUT.
    pub async fn mark_done(&self, task: &TaskId, done: &DoneRecord) -> Result<bool> {
        let key = layout::done(&task.query, task.stage, task.task);
        self.create(&key, encode_proto(key.as_ref(), done)?).await
    }

    /// The truth of a task. 1 GET.
    pub async fn read_done(&self, task: &TaskId) -> Result<Option<DoneRecord>> {
        let key = layout::done(&task.query, task.stage, task.task);
        let body = self.bucket.get(&key).await?;
        body.map(|body| decode_proto(key.as_ref(), &body)).transpose()
    }

    /// Deletes what an attempt uploaded. 1 LIST and a DELETE per file.
    pub async fn discard_output(&self, task: &TaskId, nonce: &str) -> Result<u64> {
        let prefix = layout::out_prefix(&task.query, task.stage, task.task, nonce);
        Ok(self.bucket.delete_prefix(&prefix).await?)
    }

    /// Takes a query over, or begins it with epoch 1. False: another coordinator has that epoch. 1 PUT.
    pub async fn take_ownership(&self, query: &QueryId, epoch: u64, owner: &OwnerRecord) -> Result<bool> {
        let key = layout::owner(query, epoch);
        self.create(&key, encode_json(key.as_ref(), owner)?).await
    }

    /// Who has an epoch. 1 GET.
    pub async fn read_owner(&self, query: &QueryId, epoch: u64) -> Result<Option<OwnerRecord>> {
        self.read_json(&layout::owner(query, epoch)).await
    }

    /// Asks everybody to stop working on a query. False: somebody asked before. 1 PUT.
    pub async fn cancel(&self, query: &QueryId, reason: &str) -> Result<bool> {
        let key = layout::cancel(query);
        let record = CancelRecord { format: CancelRecord::FORMAT, reason: reason.to_owned() };
        self.create(&key, encode_json(key.as_ref(), &record)?).await
    }

    /// Whether a query is cancelled. 1 GET.
    pub async fn is_cancelled(&self, query: &QueryId) -> Result<bool> {
        Ok(self.bucket.get(&layout::cancel(query)).await?.is_some())
    }

    /// Takes the query off the board: the pointer first, so that nobody starts on what is being deleted. What a
    /// late worker still writes there is the janitor's. Returns how many objects went; LISTs and DELETEs for each.
    pub async fn close(&self, query: &QueryId) -> Result<u64> {
        self.bucket.delete(&layout::open_query(query)).await?;
        Ok(self.bucket.delete_prefix(&layout::query_prefix(query)).await?)
    }

    async fn create(&self, key: &Key, body: Bytes) -> Result<bool> {
        Ok(matches!(self.bucket.put_if_absent_decided(key, body).await?, Created::Mine))
    }

    async fn read_json<T: BoardObject + serde::de::DeserializeOwned>(&self, key: &Key) -> Result<Option<T>> {
        let body = self.bucket.get(key).await?;
        body.map(|body| decode_json(key.as_ref(), &body)).transpose()
    }
}

fn task_key(id: &AttemptId) -> Key {
    layout::task(&id.task.query, id.task.stage, id.task.task, id.attempt)
}
