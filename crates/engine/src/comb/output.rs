//! Where a task's output is kept until all have read it.
//!
//! What came to little travels inside the `done`. The rest becomes objects of the attempt's own, lanes one after the
//! other, where it outlives this node; a node whose bucket is farther than its own disk keeps a copy there, for tasks of its
//! own that read it.

use std::{
    io::Write,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use apiary_bucket::Bucket;
use apiary_swarm::{
    TaskId,
    board::{InlineFile, OutputPiece},
};
use bytes::Bytes;

use super::{deal::Lane, pieces, sums};
use crate::Result;

/// The output of one attempt.
#[derive(Debug)]
pub(crate) struct Output {
    bucket: Bucket,
    task: TaskId,
    nonce: String,
    /// Where this node keeps copies of what it writes.
    scratch: Option<PathBuf>,
    files: AtomicU32,
}

impl Output {
    /// For the attempt at `task` with this nonce.
    pub(crate) fn new(bucket: Bucket, task: TaskId, nonce: &str, scratch: Option<&Path>) -> Self {
        let scratch = scratch.map(Path::to_owned);
        Self { bucket, task, nonce: nonce.to_owned(), scratch, files: AtomicU32::new(0) }
    }

    pub(super) fn now(&self) -> Duration {
        self.bucket.clock().monotonic()
    }

    /// Puts `lanes`, by partition, into an object of their own. 1 PUT for each 8 MiB, none without lanes.
    pub(super) async fn keep(&self, lanes: Vec<Lane>) -> Result<Vec<OutputPiece>> {
        if lanes.is_empty() {
            return Ok(Vec::new());
        }
        let file = format!("{}.arrow", self.files.fetch_add(1, Ordering::Relaxed));
        let mut pieces = laid_out(&lanes, &file);
        for piece in &mut pieces {
            let segments =
                lanes.iter().filter(|lane| lane.partition == piece.partition).flat_map(|lane| &lane.segments);
            piece.sums = sums::of(segments.map(AsRef::as_ref));
        }
        let segments: Vec<Bytes> = lanes.into_iter().flat_map(|lane| lane.segments).collect();
        let copied = self.copy(&file, segments.clone());
        let key = pieces::key_of(&self.task, &self.nonce, &file);
        let (put, ()) = futures::future::join(self.bucket.put_parts(&key, segments), copied).await;
        put?;
        Ok(pieces)
    }

    /// Pieces and the file that they lie in, which goes with them.
    pub(super) fn within(lanes: Vec<Lane>) -> (Vec<OutputPiece>, Option<InlineFile>) {
        let file = "0.arrow".to_owned();
        let pieces = laid_out(&lanes, &file);
        let segments: Vec<Bytes> = lanes.into_iter().flat_map(|lane| lane.segments).collect();
        let inline = (!pieces.is_empty()).then(|| InlineFile { file, body: segments.concat().into() });
        (pieces, inline)
    }

    /// A copy on this node's disk, if it can be had: the bucket has it too, and each chunk is summed.
    async fn copy(&self, file: &str, segments: Vec<Bytes>) {
        let Some(scratch) = &self.scratch else { return };
        let path = pieces::local_copy(scratch, &self.task, &self.nonce, file);
        let written = tokio::task::spawn_blocking(move || write(&path, &segments)).await;
        if let Ok(Err(error)) = written {
            tracing::debug!(task = %self.task, %error, "no copy of a task's output is kept on this node");
        }
    }
}

/// Lanes of one partition, which follow each other, as one piece.
fn laid_out(lanes: &[Lane], file: &str) -> Vec<OutputPiece> {
    let mut pieces: Vec<OutputPiece> = Vec::new();
    let mut offset = 0;
    for lane in lanes {
        let bytes = lane.bytes();
        match pieces.last_mut().filter(|piece| piece.partition == lane.partition) {
            Some(piece) => {
                piece.rows += lane.rows;
                piece.batches += lane.batches;
                piece.bytes += bytes;
            }
            None => pieces.push(OutputPiece {
                partition: lane.partition,
                file: file.to_owned(),
                rows: lane.rows,
                batches: lane.batches,
                bytes,
                offset,
                sums: Vec::new(),
            }),
        }
        offset += bytes;
    }
    pieces
}

fn write(path: &Path, segments: &[Bytes]) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let write = || {
        let mut file = std::fs::File::create(path)?;
        segments.iter().try_for_each(|segment| file.write_all(segment))
    };
    // A torn copy is passed over by its sums, but need not take the room.
    write().inspect_err(|_| drop(std::fs::remove_file(path)))
}
