//! What an attempt wrote, and where it is kept.
//!
//! Ballista's writers leave files of the attempt's own. Here they become pieces, one for each output partition:
//! byte ranges with their sums. Small output travels inside the `done`; the rest goes up to the bucket, where it
//! outlives this node.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    path::{Path, PathBuf},
};

use apiary_bucket::Bucket;
use apiary_core::limits::INLINE_BYTES_MAX;
use apiary_swarm::{
    TaskId,
    board::{DoneRecord, InlineFile, OutputPiece},
};
use ballista_core::{
    JobId,
    execution_plans::{create_shuffle_path, sort_shuffle::ShuffleIndex},
    serde::protobuf::ShuffleWritePartition,
};
use tokio_util::sync::CancellationToken;

use crate::{EngineError, Result, pieces, sums};

/// What one attempt has for itself.
pub(crate) struct Work {
    pub(crate) bucket: Bucket,
    /// The folder of the query, which attempts share.
    pub(crate) dir: PathBuf,
    /// That of the stage.
    pub(crate) files: PathBuf,
    /// What tells this attempt's files there from others'.
    pub(crate) file_id: usize,
    pub(crate) stop: CancellationToken,
}

impl Work {
    /// What Ballista's writers wrote, as byte ranges of files, by partition.
    pub(crate) fn pieces(&self, task: &TaskId, written: &[ShuffleWritePartition]) -> Result<Vec<OutputPiece>> {
        let mut indexes: BTreeMap<PathBuf, ShuffleIndex> = BTreeMap::new();
        let mut pieces = Vec::new();
        let job = JobId::new(pieces::JOB);
        for part in written.iter().filter(|part| part.num_rows > 0) {
            let (stage, partition) = (task.stage as usize, part.partition_id as usize);
            let path = create_shuffle_path(&self.dir, &job, stage, partition, part.file_id, part.is_sort_shuffle)?;
            let (offset, end) = if part.is_sort_shuffle {
                let index = match indexes.entry(path.clone()) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(place) => place.insert(read_index(&path)?),
                };
                let (start, end) = index.get_partition_range(partition);
                (start as u64, end as u64)
            } else {
                (0, std::fs::metadata(&path).map_err(|source| scratch_error(&path, source))?.len())
            };
            let file =
                path.strip_prefix(&self.files).map_err(|_| EngineError::decode("a file lies outside its folder"))?;
            pieces.push(OutputPiece {
                partition: part.partition_id,
                file: file.to_string_lossy().into_owned(),
                file_id: part.file_id,
                is_sort_shuffle: part.is_sort_shuffle,
                rows: part.num_rows,
                batches: part.num_batches,
                bytes: end.saturating_sub(offset),
                offset,
                sums: Vec::new(),
            });
        }
        // A task of several partitions ends them in any order; a client reads them in theirs.
        pieces.sort_by_key(|piece| piece.partition);
        Ok(pieces)
    }

    /// Puts the output of `done` where others find it: into `done` itself, if that is asked for and there is little, or
    /// into the bucket.
    pub(crate) async fn keep(&self, task: &TaskId, inline: bool, done: &mut DoneRecord) -> Result<()> {
        let mut files: BTreeMap<String, u64> = BTreeMap::new();
        for piece in &done.pieces {
            let end = files.entry(piece.file.clone()).or_default();
            *end = (*end).max(piece.offset + piece.bytes);
        }
        if inline && files.values().sum::<u64>() <= INLINE_BYTES_MAX as u64 {
            for (file, end) in files {
                let path = self.files.join(&file);
                let mut body = tokio::fs::read(&path).await.map_err(|source| scratch_error(&path, source))?;
                // Partitions without rows may lie behind: nobody reads them, and they count against the limit.
                body.truncate(end as usize);
                done.inline.push(InlineFile { file, body: body.into() });
            }
            return Ok(());
        }
        self.sum(&mut done.pieces).await?;
        for file in files.into_keys() {
            let key = pieces::key_of(task, &done.nonce, &file);
            self.bucket.put_file(&key, &self.files.join(&file)).await?;
        }
        Ok(())
    }

    /// Sums every piece, from the file as it is before it leaves this node.
    async fn sum(&self, pieces: &mut [OutputPiece]) -> Result<()> {
        let ranges: Vec<_> = pieces.iter().map(|p| (self.files.join(&p.file), p.offset, p.bytes)).collect();
        let sum = |(path, offset, bytes): &(PathBuf, u64, u64)| {
            sums::of_range(path, *offset, *bytes).map_err(|source| scratch_error(path, source))
        };
        let summing = tokio::task::spawn_blocking(move || ranges.iter().map(sum).collect::<Result<Vec<_>>>());
        let summed = summing.await.map_err(|error| scratch_error(&self.files, std::io::Error::other(error)))??;
        for (piece, sums) in pieces.iter_mut().zip(summed) {
            piece.sums = sums;
        }
        Ok(())
    }
}

fn read_index(data: &Path) -> Result<ShuffleIndex> {
    let path = data.with_extension("arrow.index");
    ShuffleIndex::read_from_file(&path).map_err(|error| scratch_error(&path, std::io::Error::other(error.to_string())))
}

fn scratch_error(path: &Path, source: std::io::Error) -> EngineError {
    EngineError::Scratch { path: path.display().to_string(), source }
}
