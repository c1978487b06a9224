//! What a worker is given and what it gives back: the two protobuf objects of the board.
//!
//! Field numbers are never reused: a task written by one version may be read by another during a rolling upgrade,
//! which then refuses it politely by its `engine_version`.

use apiary_core::{Incarnation, NodeId, QueryId, limits::INLINE_BYTES_MAX};
use bytes::Bytes;

use super::{AttemptId, TaskId, codec::BoardObject};

/// Attempt n at a task: the plan restricted to it, and everything a worker needs besides the bucket.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TaskObject {
    /// [`TaskObject::FORMAT`].
    #[prost(uint32, tag = "1")]
    pub format: u32,
    /// A query id.
    #[prost(string, tag = "2")]
    pub query_id: String,
    /// The stage, as the planner counts them.
    #[prost(uint32, tag = "3")]
    pub stage: u32,
    /// The partition of the stage.
    #[prost(uint32, tag = "4")]
    pub task: u32,
    /// From 1.
    #[prost(uint32, tag = "5")]
    pub attempt: u32,
    /// The version of the planner whose encoding `plan` is; another version refuses the task.
    #[prost(string, tag = "6")]
    pub engine_version: String,
    /// The stage's plan, restricted to this task, encoded by the engine.
    #[prost(bytes = "bytes", tag = "7")]
    pub plan: Bytes,
    /// Global ids of the output partitions that the task writes.
    #[prost(uint64, repeated, tag = "8")]
    pub output_ids: Vec<u64>,
    /// Settings of the query's session that the plan runs under, by DataFusion's names.
    #[prost(btree_map = "string, string", tag = "9")]
    pub settings: std::collections::BTreeMap<String, String>,
    /// Keys of the cells that this task may read; a plan that names another is refused.
    #[prost(string, repeated, tag = "10")]
    pub cells: Vec<String>,
    /// Output prefixes of earlier attempts that this task reads, for people and for the janitor.
    #[prost(string, repeated, tag = "11")]
    pub inputs: Vec<String>,
    /// How long the attempt may run from its claim, in milliseconds of the worker's own clock.
    #[prost(uint64, tag = "12")]
    pub timeout_ms: u64,
    /// Memory that the attempt wants, in bytes; 0: whatever a chamber has.
    #[prost(uint64, tag = "13")]
    pub memory_bytes: u64,
    /// Most bytes of scratch files; 0: the worker's own limit.
    #[prost(uint64, tag = "14")]
    pub scratch_bytes: u64,
    /// The node that would do it best; a hint, any free bee may take the task.
    #[prost(string, tag = "15")]
    pub preferred_node: String,
    /// Why that node.
    #[prost(string, tag = "16")]
    pub preferred_reason: String,
    /// Nodes that failed earlier attempts for reasons of their own; a worker named here leaves the task to others
    /// as long as others are alive.
    #[prost(string, repeated, tag = "17")]
    pub avoid_nodes: Vec<String>,
    /// Whether small output files may travel inside the done object.
    #[prost(bool, tag = "18")]
    pub inline_output: bool,
    /// What the engine adds for itself; the board does not look inside.
    #[prost(bytes = "bytes", tag = "19")]
    pub extra: Bytes,
}

impl TaskObject {
    /// Which attempt this is. Fails only on an object that was never checked.
    #[must_use]
    pub fn id(&self) -> Option<AttemptId> {
        let query: QueryId = self.query_id.parse().ok()?;
        Some(TaskId::new(query, self.stage, self.task).attempt(self.attempt))
    }

    /// An otherwise empty object for `id`.
    #[must_use]
    pub fn of(id: AttemptId) -> Self {
        Self {
            format: Self::FORMAT,
            query_id: id.task.query.to_string(),
            stage: id.task.stage,
            task: id.task.task,
            attempt: id.attempt,
            ..Self::default()
        }
    }
}

impl BoardObject for TaskObject {
    const FORMAT: u32 = 1;

    fn format(&self) -> u32 {
        self.format
    }

    fn check(&self) -> Result<(), String> {
        self.query_id.parse::<QueryId>().map_err(|error| error.to_string())?;
        let facts = [
            (self.attempt >= 1, "attempts count from 1"),
            (!self.plan.is_empty(), "it has no plan"),
            (!self.engine_version.is_empty(), "it does not name the engine's version"),
            (self.timeout_ms > 0, "it has no deadline"),
        ];
        first_broken(&facts)
    }
}

/// Where one piece of a finished task's output lies. Tags 3 and 4 had another meaning once.
#[derive(Clone, PartialEq, prost::Message)]
pub struct OutputPiece {
    /// The output partition that the piece belongs to.
    #[prost(uint64, tag = "1")]
    pub partition: u64,
    /// The file, relative to the attempt's output prefix.
    #[prost(string, tag = "2")]
    pub file: String,
    /// Rows of this partition.
    #[prost(uint64, tag = "5")]
    pub rows: u64,
    /// Record batches of this partition.
    #[prost(uint64, tag = "6")]
    pub batches: u64,
    /// Bytes of this partition.
    #[prost(uint64, tag = "7")]
    pub bytes: u64,
    /// Where in the file this partition begins: with `bytes`, one ranged GET brings it and no index is needed.
    #[prost(uint64, tag = "8")]
    pub offset: u64,
    /// Checksums of what lies in a file of its own, one for each chunk that is read at once; the engine's affair.
    #[prost(fixed32, repeated, tag = "9")]
    pub sums: Vec<u32>,
}

/// A small output file that travels inside the done object.
#[derive(Clone, PartialEq, prost::Message)]
pub struct InlineFile {
    /// The file, relative to the attempt's output prefix.
    #[prost(string, tag = "1")]
    pub file: String,
    /// Its bytes.
    #[prost(bytes = "bytes", tag = "2")]
    pub body: Bytes,
}

/// What an attempt cost.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct TaskMetrics {
    /// Rows written.
    #[prost(uint64, tag = "1")]
    pub rows: u64,
    /// GET requests for cells and shuffle files.
    #[prost(uint64, tag = "2")]
    pub gets: u64,
    /// Bytes that those brought.
    #[prost(uint64, tag = "3")]
    pub bytes_read: u64,
    /// From claim to done, on the worker's own clock.
    #[prost(uint64, tag = "4")]
    pub elapsed_us: u64,
    /// Most memory that the chamber held, in bytes.
    #[prost(uint64, tag = "5")]
    pub peak_memory: u64,
    /// Bytes uploaded.
    #[prost(uint64, tag = "6")]
    pub bytes_written: u64,
    /// Bytes of cells that the node's cache had.
    #[prost(uint64, tag = "7")]
    pub bytes_cached: u64,
    /// Of the time, that in which at least one GET was under way.
    #[prost(uint64, tag = "8")]
    pub fetching_us: u64,
    /// Of the time, that in which output was written to scratch and taken to the bucket; where several partitions are
    /// written at once, the sum of theirs.
    #[prost(uint64, tag = "9")]
    pub writing_us: u64,
}

impl TaskMetrics {
    /// What is left of the time: computing, and waiting for a core.
    #[must_use]
    pub fn computing_us(&self) -> u64 {
        self.elapsed_us.saturating_sub(self.fetching_us).saturating_sub(self.writing_us)
    }
}

/// The truth of a task: the first of these that stands at the task's key is the only one ever read.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DoneRecord {
    /// [`DoneRecord::FORMAT`].
    #[prost(uint32, tag = "1")]
    pub format: u32,
    /// The winning attempt.
    #[prost(uint32, tag = "2")]
    pub attempt: u32,
    /// Names the attempt's own output prefix; no two attempts share one.
    #[prost(string, tag = "3")]
    pub nonce: String,
    /// The worker's node id.
    #[prost(string, tag = "4")]
    pub worker: String,
    /// The worker's incarnation.
    #[prost(string, tag = "5")]
    pub incarnation: String,
    /// Every piece of output.
    #[prost(message, repeated, tag = "6")]
    pub pieces: Vec<OutputPiece>,
    /// Small files; they are not uploaded as well.
    #[prost(message, repeated, tag = "7")]
    pub inline: Vec<InlineFile>,
    /// What it cost.
    #[prost(message, optional, tag = "8")]
    pub metrics: Option<TaskMetrics>,
    /// What the engine adds for itself.
    #[prost(bytes = "bytes", tag = "9")]
    pub extra: Bytes,
}

impl DoneRecord {
    /// A record with no output yet.
    #[must_use]
    pub fn of(attempt: u32, nonce: impl Into<String>, worker: &NodeId, incarnation: Incarnation) -> Self {
        Self {
            format: Self::FORMAT,
            attempt,
            nonce: nonce.into(),
            worker: worker.to_string(),
            incarnation: incarnation.to_string(),
            ..Self::default()
        }
    }

    /// What it cost; zeros where the worker did not say.
    #[must_use]
    pub fn cost(&self) -> TaskMetrics {
        self.metrics.unwrap_or_default()
    }

    /// Bytes that travel inside.
    #[must_use]
    pub fn inline_bytes(&self) -> usize {
        self.inline.iter().map(|file| file.body.len()).sum()
    }
}

impl BoardObject for DoneRecord {
    const FORMAT: u32 = 1;

    fn format(&self) -> u32 {
        self.format
    }

    fn check(&self) -> Result<(), String> {
        NodeId::new(self.worker.as_str()).map_err(|error| error.to_string())?;
        self.incarnation.parse::<Incarnation>().map_err(|error| error.to_string())?;
        let plain =
            |file: &str| !file.is_empty() && !file.starts_with('/') && !file.split('/').any(|part| part == "..");
        let files = self.pieces.iter().map(|piece| &piece.file).chain(self.inline.iter().map(|file| &file.file));
        let facts = [
            (self.attempt >= 1, "attempts count from 1"),
            (is_nonce(&self.nonce), "its nonce is not one"),
            (self.inline_bytes() <= INLINE_BYTES_MAX, "more is inline than may be"),
            (files.into_iter().all(|file| plain(file)), "an output file lies outside of the attempt's folder"),
        ];
        first_broken(&facts)
    }
}

/// Nonces become parts of keys: letters, digits and hyphens only.
pub(super) fn is_nonce(text: &str) -> bool {
    (8..=64).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}

pub(super) fn first_broken(facts: &[(bool, &str)]) -> Result<(), String> {
    facts.iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, why)| Err((*why).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::codec::{decode_proto, encode_proto};

    fn done() -> DoneRecord {
        let node = NodeId::new("pi-1").unwrap();
        let incarnation = Incarnation::new(&apiary_core::SystemClock, &apiary_core::SystemRng);
        DoneRecord::of(1, "0123456789abcdef", &node, incarnation)
    }

    #[test]
    fn a_done_record_reads_what_it_writes() {
        let mut record = done();
        record.pieces.push(OutputPiece { partition: 3, file: "1/3/data.arrow".into(), rows: 7, ..Default::default() });
        record.metrics = Some(TaskMetrics { gets: 14, ..Default::default() });
        let body = encode_proto("k", &record).unwrap();
        assert_eq!(decode_proto::<DoneRecord>("k", &body).unwrap(), record);
    }

    #[test]
    fn an_output_file_cannot_leave_its_folder() {
        for bad in ["../x", "a/../../x", "/etc/passwd", ""] {
            let mut record = done();
            record.pieces.push(OutputPiece { file: bad.into(), ..Default::default() });
            assert!(encode_proto("k", &record).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn too_much_inline_is_refused_before_it_is_written() {
        let mut record = done();
        record.inline.push(InlineFile { file: "a".into(), body: vec![0; INLINE_BYTES_MAX + 1].into() });
        assert!(encode_proto("k", &record).is_err());
    }

    #[test]
    fn another_format_is_refused_by_name() {
        let mut record = done();
        record.format = 2;
        let body = super::super::codec::summed(&prost::Message::encode_to_vec(&record));
        let error = decode_proto::<DoneRecord>("some/key", &body).unwrap_err();
        assert!(error.to_string().contains("'some/key' has format 2"), "{error}");
    }

    #[test]
    fn damaged_bytes_are_an_error_that_names_the_object() {
        let error = decode_proto::<TaskObject>("the/task", &[0xff; 40]).unwrap_err();
        assert!(error.to_string().contains("the/task"), "{error}");
    }

    #[test]
    fn a_task_without_a_plan_is_never_written() {
        let query = QueryId::new(&apiary_core::SystemClock, &apiary_core::SystemRng);
        let task = TaskObject::of(TaskId::new(query, 1, 2).attempt(1));
        assert_eq!(task.id(), Some(TaskId::new(query, 1, 2).attempt(1)));
        assert!(encode_proto("k", &task).is_err());
    }
}
