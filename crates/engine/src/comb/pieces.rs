//! Where shuffle output lies, on its way from one task's `done` into another task's plan.
//!
//! Ballista's location type knows executors and ports, not attempts and byte ranges; ours ride in its two free text
//! fields. Only what a task's one `done` names ever becomes a location, so two attempts at a task never mix.
//!
//! ```text
//! done of task 7: pieces (partition, file, offset, bytes) ──▶ PartitionLocation ──▶ plan bytes ──▶ worker ──▶ Piece
//!                 inline files ──▶ the consumer's slices travel in the task object itself
//! ```

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use apiary_bucket::{Key, layout};
use apiary_core::QueryId;
use apiary_swarm::{
    TaskId,
    board::{DoneRecord, OutputPiece},
};
use ballista_core::{
    JobId,
    execution_plans::ShuffleReaderExec,
    serde::scheduler::{
        ExecutorMetadata, ExecutorOperatingSystemSpecification, ExecutorSpecification, PartitionId, PartitionLocation,
        PartitionStats,
    },
};
use bytes::Bytes;
use datafusion::physical_plan::ExecutionPlan;
use prost::Message;

use super::{
    read::{Piece, Source},
    sums,
};
use crate::{EngineError, Result, stages::Locations};

/// Most bytes of inline input that travel in one task object; what is beyond is read from the `done` objects.
const TASK_INLINE_BYTES_MAX: usize = 4 << 20;

/// What the engine adds to a task object.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct TaskExtra {
    #[prost(message, repeated, tag = "1")]
    slices: Vec<InlineSlice>,
}

/// One partition's share of a small output.
#[derive(Clone, PartialEq, Message)]
struct InlineSlice {
    #[prost(uint32, tag = "1")]
    stage: u32,
    #[prost(uint32, tag = "2")]
    task: u32,
    #[prost(uint64, tag = "3")]
    offset: u64,
    #[prost(bytes = "bytes", tag = "4")]
    body: Bytes,
    #[prost(string, tag = "5")]
    file: String,
}

/// Results so far, by stage and task.
pub(crate) type DoneTasks = BTreeMap<(u32, u32), DoneRecord>;

/// The locations of everything that `done` names, of these stages.
pub(crate) fn locations(query: &QueryId, done: &DoneTasks, stages: &[u32]) -> Locations {
    let job = JobId::new(query.to_string());
    let mut locations: Locations = stages.iter().map(|stage| (*stage as usize, Default::default())).collect();
    for ((stage, task), record) in done {
        let Some(partitions) = locations.get_mut(&(*stage as usize)) else { continue };
        for piece in &record.pieces {
            let location = location(&job, *stage, *task, record, piece);
            partitions.entry(piece.partition as usize).or_default().push(location);
        }
    }
    locations
}

fn location(job: &JobId, stage: u32, task: u32, record: &DoneRecord, piece: &OutputPiece) -> PartitionLocation {
    let sums = sums::to_text(&piece.sums);
    let inline = u8::from(record.inline.iter().any(|file| file.file == piece.file));
    PartitionLocation {
        map_partition_id: task as usize,
        partition_id: PartitionId::new(job, stage as usize, piece.partition as usize),
        executor_meta: ExecutorMetadata {
            id: record.nonce.clone(),
            host: format!("{}:{}:{}:{inline}:{sums}:{}", piece.offset, piece.bytes, piece.rows, piece.file),
            port: 0,
            grpc_port: 0,
            specification: ExecutorSpecification::default(),
            os_info: ExecutorOperatingSystemSpecification::default(),
        },
        partition_stats: PartitionStats::new(Some(piece.rows), Some(piece.batches), Some(piece.bytes)),
        file_id: None,
        is_sort_shuffle: false,
    }
}

/// Our facts in one of Ballista's locations.
struct Address<'a> {
    stage: u32,
    task: u32,
    nonce: &'a str,
    offset: u64,
    bytes: u64,
    rows: u64,
    inline: bool,
    sums: &'a str,
    file: &'a str,
}

impl<'a> Address<'a> {
    fn of(location: &'a PartitionLocation) -> Option<Self> {
        let mut parts = location.executor_meta.host.splitn(6, ':');
        Some(Self {
            stage: u32::try_from(location.partition_id.stage_id).ok()?,
            task: u32::try_from(location.map_partition_id).ok()?,
            nonce: &location.executor_meta.id,
            offset: parts.next()?.parse().ok()?,
            bytes: parts.next()?.parse().ok()?,
            rows: parts.next()?.parse().ok()?,
            inline: parts.next()? == "1",
            sums: parts.next()?,
            file: parts.next()?,
        })
    }
}

/// How many rows lie there.
pub(crate) fn rows_of(location: &PartitionLocation) -> u64 {
    Address::of(location).map_or(0, |address| address.rows)
}

/// The slices of small inputs that travel with the task whose restricted plan is `plan`.
pub(crate) fn extra_for(plan: &dyn ExecutionPlan, done: &DoneTasks) -> TaskExtra {
    let mut extra = TaskExtra::default();
    let mut room = TASK_INLINE_BYTES_MAX;
    add_slices(plan, done, &mut extra, &mut room);
    extra
}

fn add_slices(plan: &dyn ExecutionPlan, done: &DoneTasks, extra: &mut TaskExtra, room: &mut usize) {
    for child in plan.children() {
        add_slices(child.as_ref(), done, extra, room);
    }
    let Some(reader) = plan.downcast_ref::<ShuffleReaderExec>() else { return };
    for address in reader.partition.iter().flatten().filter_map(Address::of).filter(|address| address.inline) {
        let slice = done.get(&(address.stage, address.task)).and_then(|done| inline_slice(done, &address));
        if let Some(body) = slice.filter(|body| body.len() <= *room) {
            *room -= body.len();
            let (stage, task, offset) = (address.stage, address.task, address.offset);
            extra.slices.push(InlineSlice { stage, task, offset, body, file: address.file.to_owned() });
        }
    }
}

fn inline_slice(done: &DoneRecord, address: &Address<'_>) -> Option<Bytes> {
    slice(done, address.file, address.offset, address.bytes)
}

/// Bytes of a file that travels inside `done`.
pub(super) fn slice(done: &DoneRecord, file: &str, offset: u64, bytes: u64) -> Option<Bytes> {
    let body = &done.inline.iter().find(|inline| inline.file == file)?.body;
    let (start, end) = (offset as usize, (offset + bytes) as usize);
    (end <= body.len()).then(|| body.slice(start..end))
}

/// Output prefixes that the task reads, for people and for the janitor.
pub(crate) fn inputs_of(query: &QueryId, plan: &dyn ExecutionPlan, inputs: &mut std::collections::BTreeSet<String>) {
    for child in plan.children() {
        inputs_of(query, child.as_ref(), inputs);
    }
    let Some(reader) = plan.downcast_ref::<ShuffleReaderExec>() else { return };
    for address in reader.partition.iter().flatten().filter_map(Address::of).filter(|address| !address.inline) {
        inputs.insert(layout::out_prefix(query, address.stage, address.task, address.nonce));
    }
}

/// The pieces that one of Ballista's readers would read, by its partitions. `scratch` is where this node keeps copies of
/// what it wrote itself.
pub(super) fn pieces_of(
    reader: &ShuffleReaderExec,
    query: &QueryId,
    extra: &TaskExtra,
    scratch: Option<&Path>,
) -> Result<Vec<Vec<Piece>>> {
    let piece = |location: &PartitionLocation| {
        let address = Address::of(location)
            .ok_or_else(|| EngineError::decode(format!("'{}' is no location", location.executor_meta.host)))?;
        let sums = sums::from_text(address.sums)
            .ok_or_else(|| EngineError::decode(format!("'{}' are no checksums", address.sums)))?;
        let source = source(&address, query, extra, scratch);
        Ok(Piece { bytes: address.bytes, rows: Some(address.rows), sums: sums.into(), source })
    };
    reader.partition.iter().map(|locations| locations.iter().map(piece).collect()).collect()
}

fn source(address: &Address<'_>, query: &QueryId, extra: &TaskExtra, scratch: Option<&Path>) -> Source {
    let task = TaskId::new(*query, address.stage, address.task);
    if address.inline {
        let same = |slice: &&InlineSlice| {
            (slice.stage, slice.task, slice.offset) == (address.stage, address.task, address.offset)
                && slice.file == address.file
                && slice.body.len() as u64 == address.bytes
        };
        return match extra.slices.iter().find(same) {
            Some(slice) => Source::Inline(slice.body.clone()),
            None => Source::Done { task, file: address.file.to_owned(), offset: address.offset },
        };
    }
    Source::Object {
        key: key_of(&task, address.nonce, address.file),
        local: scratch.map(|scratch| local_copy(scratch, &task, address.nonce, address.file)),
        offset: address.offset,
    }
}

/// The pieces of a finished task of the last stage, as the coordinator reads them.
pub(super) fn pieces_of_done(task: TaskId, done: &DoneRecord) -> Vec<Piece> {
    let piece = |piece: &OutputPiece| {
        let source = match slice(done, &piece.file, piece.offset, piece.bytes) {
            Some(body) => Source::Inline(body),
            None => Source::Object { key: key_of(&task, &done.nonce, &piece.file), local: None, offset: piece.offset },
        };
        Piece { bytes: piece.bytes, rows: Some(piece.rows), sums: piece.sums.clone().into(), source }
    };
    done.pieces.iter().map(piece).collect()
}

/// The key of an attempt's file.
pub(super) fn key_of(task: &TaskId, nonce: &str, file: &str) -> Key {
    layout::out(&task.query, task.stage, task.task, nonce, file)
}

/// Where a node keeps copies of what it wrote of a query.
pub(crate) fn query_dir(scratch: &Path, query: &QueryId) -> PathBuf {
    scratch.join(query.to_string())
}

/// Its copy of an attempt's file: no two attempts share a nonce.
pub(super) fn local_copy(scratch: &Path, task: &TaskId, nonce: &str, file: &str) -> PathBuf {
    query_dir(scratch, &task.query).join(format!("{nonce}-{file}"))
}

/// Deletes the copies of what an attempt wrote.
pub(crate) fn sweep(scratch: &Path, query: &QueryId, nonce: &str) {
    let mine =
        |name: &std::ffi::OsStr| name.to_string_lossy().strip_prefix(nonce).is_some_and(|at| at.starts_with('-'));
    let there = std::fs::read_dir(query_dir(scratch, query)).into_iter().flatten().flatten();
    for copy in there.filter(|copy| mine(&copy.file_name())) {
        let _ = std::fs::remove_file(copy.path());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_takes_away_what_is_its_own_and_nothing_else() {
        let (folder, nonces) = (tempfile::tempdir().unwrap(), ["00000000000000a1", "00000000000000a"]);
        let task = TaskId::new("01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap(), 3, 1);
        let copies = |nonce| ["0.arrow", "1.arrow"].map(|file| local_copy(folder.path(), &task, nonce, file));
        std::fs::create_dir_all(query_dir(folder.path(), &task.query)).unwrap();
        for path in nonces.into_iter().flat_map(copies) {
            std::fs::write(path, b"rows").unwrap();
        }
        sweep(folder.path(), &task.query, nonces[1]);
        let there = |nonce| copies(nonce).map(|copy| copy.exists());
        assert_eq!(nonces.map(there), [[true; 2], [false; 2]]);
        sweep(&folder.path().join("nowhere"), &task.query, nonces[0]);
    }
}
