//! Shuffle output, read back.
//!
//! A piece is a byte range that holds one or more whole Arrow IPC streams, one after the other (each
//! input of the task that wrote it leaves one). It is fetched in chunks, a few ahead of the decoder, so memory is bounded by
//! [`CHUNK_BYTES`] times [`CHUNKS_AHEAD`] whatever its size. Sources in order: bytes that came with the task, this
//! node's own scratch file, a ranged GET from the bucket. Each chunk of a file is held against its sum before it is
//! decoded: a scratch file that is damaged is passed over, what came damaged from the bucket is asked for once more, and
//! then it is an error that names the object.
//!
//! Rows keep their order within a piece and pieces theirs: a merge above relies on it.

use std::{collections::VecDeque, ops::Range, path::PathBuf, sync::Arc};

use apiary_bucket::{Bucket, BucketError, Key};
use apiary_query::conform;
use apiary_swarm::{Board, TaskId};
use bytes::Bytes;
use datafusion::{
    arrow::{
        array::RecordBatch, buffer::Buffer, compute::BatchCoalescer, datatypes::SchemaRef, error::ArrowError,
        ipc::reader::StreamDecoder,
    },
    error::{DataFusionError, Result as DataFusionResult},
    physical_plan::{SendableRecordBatchStream, stream::RecordBatchStreamAdapter},
};
use futures::{Stream, StreamExt, TryStreamExt, stream};

use super::{
    pieces,
    sums::{self, CHUNK_BYTES},
};
use crate::EngineError;

/// How often a chunk is asked for: what is damaged in the bucket stays so.
const FETCHES_MAX: usize = 2;

/// How many requests are under way ahead of the decoder.
const CHUNKS_AHEAD: usize = 4;

/// A byte range of shuffle output.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    /// How long it is.
    pub(super) bytes: u64,
    /// How many rows its writer put into it, if that is known.
    pub(super) rows: Option<u64>,
    /// The sum of each chunk, of a piece that lies in a file.
    pub(super) sums: Arc<[u32]>,
    /// Where it is.
    pub(super) source: Source,
}

/// Where a piece is.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// Here.
    Inline(Bytes),
    /// In the producer's `done` object.
    Done { task: TaskId, file: String, offset: u64 },
    /// In a file of its own, perhaps on this node's disk as well.
    Object { key: Key, local: Option<PathBuf>, offset: u64 },
}

/// The rows of `pieces`, one after the other, in batches of about `batch_rows` rows.
pub(super) fn read(
    bucket: Bucket,
    pieces: Vec<Piece>,
    schema: SchemaRef,
    batch_rows: usize,
) -> SendableRecordBatchStream {
    let decoded = decode(chunks(bucket, pieces));
    let coalesced = coalesce(decoded, SchemaRef::clone(&schema), batch_rows);
    Box::pin(RecordBatchStreamAdapter::new(schema, coalesced))
}

/// A chunk of a piece.
struct Chunk {
    bytes: Bytes,
    /// It is the last of its piece.
    last: bool,
    /// The rows of the whole piece.
    rows: Option<u64>,
}

fn chunks(bucket: Bucket, pieces: Vec<Piece>) -> impl Stream<Item = DataFusionResult<Chunk>> + Send {
    let ranges = pieces.into_iter().flat_map(|piece| {
        let (bytes, rows, sums) = (piece.bytes, piece.rows, piece.sums);
        let starts = (0..bytes.div_ceil(CHUNK_BYTES)).map(|n| n * CHUNK_BYTES);
        let range = move |start| start..bytes.min(start + CHUNK_BYTES);
        let sum = move |start| sums.get((start / CHUNK_BYTES) as usize).copied();
        starts.map(move |start| (piece.source.clone(), range(start), sum(start), range(start).end == bytes, rows))
    });
    stream::iter(ranges)
        .map(move |(source, range, sum, last, rows)| {
            let bucket = bucket.clone();
            async move { Ok(Chunk { bytes: fetch(&bucket, &source, range, sum).await?, last, rows }) }
        })
        .buffered(CHUNKS_AHEAD)
}

/// Bytes `range` of a piece, which have this `sum`. 1 GET at most, and 1 more if what came is damaged.
async fn fetch(bucket: &Bucket, source: &Source, range: Range<u64>, sum: Option<u32>) -> DataFusionResult<Bytes> {
    match source {
        Source::Inline(body) => Ok(body.slice(range.start as usize..range.end as usize)),
        Source::Done { task, file, offset } => {
            let done = Board::new(bucket.clone()).read_done(task).await.map_err(EngineError::from).map_err(external)?;
            let body = done.and_then(|done| pieces::slice(&done, file, offset + range.start, range.end - range.start));
            body.ok_or_else(|| external(EngineError::decode(format!("the result of {task} is gone"))))
        }
        Source::Object { key, local, offset } => {
            let range = offset + range.start..offset + range.end;
            let sum = sum.ok_or_else(|| corrupt(format!("a piece of '{key}' has no checksum")))?;
            if let Some(path) = local
                && let Some(body) = read_local(path.clone(), range.clone()).await
                && sums::is_whole(&body, sum)
            {
                return Ok(body);
            }
            fetch_whole(bucket, key, range, sum).await
        }
    }
}

/// A range of an object that has this sum. What was damaged on its way may come whole the second time.
async fn fetch_whole(bucket: &Bucket, key: &Key, range: Range<u64>, sum: u32) -> DataFusionResult<Bytes> {
    let mut found = 0;
    for _ in 0..FETCHES_MAX {
        let body = bucket.get_range(key, range.clone()).await;
        let body = body.map_err(|error: BucketError| DataFusionError::External(Box::new(error)))?;
        if sums::is_whole(&body, sum) {
            return Ok(body);
        }
        found = body.len() as u64;
    }
    Err(corrupt(match found == range.end - range.start {
        true => format!("bytes {} to {} of '{key}' do not match their checksum", range.start, range.end),
        false => format!("'{key}' is shorter than its writer said"),
    }))
}

/// A range of a local file, or `None` if it is not (or no longer) there as a whole: the bucket has it too.
async fn read_local(path: PathBuf, range: Range<u64>) -> Option<Bytes> {
    let read = move || {
        use std::io::{Read, Seek, SeekFrom};
        let mut file = std::fs::File::open(path).ok()?;
        file.seek(SeekFrom::Start(range.start)).ok()?;
        let bytes = range.end - range.start;
        let mut body = Vec::with_capacity(usize::try_from(bytes).ok()?);
        file.take(bytes).read_to_end(&mut body).ok()?;
        (body.len() as u64 == bytes).then(|| Bytes::from(body))
    };
    tokio::task::spawn_blocking(read).await.ok()?
}

fn external(error: EngineError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

fn corrupt(message: String) -> DataFusionError {
    DataFusionError::ArrowError(Box::new(ArrowError::IpcError(message)), None)
}

/// A decoder over pieces; each may hold several IPC streams.
#[derive(Default)]
struct Decoding {
    decoder: StreamDecoder,
    ready: VecDeque<RecordBatch>,
    /// Rows of the piece so far.
    rows: u64,
}

impl Decoding {
    fn push(&mut self, chunk: Chunk) -> DataFusionResult<()> {
        let mut buffer = Buffer::from(chunk.bytes);
        while !buffer.is_empty() {
            let before = buffer.len();
            match self.decoder.decode(&mut buffer) {
                Ok(Some(batch)) => self.take(batch),
                Ok(None) => {}
                // A decoder that has seen its end refuses what follows: the next stream of the same piece.
                Err(_) if self.decoder.schema().is_some() && self.decoder.finish().is_ok() => {
                    self.decoder = StreamDecoder::new();
                    if buffer.len() == before && before > 0 && self.ready.is_empty() {
                        self.restart(&mut buffer)?;
                    }
                }
                Err(error) => return Err(DataFusionError::from(error)),
            }
        }
        if chunk.last {
            self.decoder.finish().map_err(|_| corrupt("a shuffle piece ends in mid-stream".to_owned()))?;
            self.decoder = StreamDecoder::new();
            // A stream that was cut between two batches looks like one that has ended.
            let found = std::mem::take(&mut self.rows);
            if let Some(rows) = chunk.rows.filter(|rows| *rows != found) {
                return Err(corrupt(format!("a shuffle piece has {found} rows where its writer counted {rows}")));
            }
        }
        Ok(())
    }

    fn take(&mut self, batch: RecordBatch) {
        self.rows += batch.num_rows() as u64;
        self.ready.push_back(batch);
    }

    /// Reads with the fresh decoder at once, so that no input is refused twice without progress.
    fn restart(&mut self, buffer: &mut Buffer) -> DataFusionResult<()> {
        if let Some(batch) = self.decoder.decode(buffer)? {
            self.take(batch);
        }
        Ok(())
    }
}

fn decode(
    chunks: impl Stream<Item = DataFusionResult<Chunk>> + Send + 'static,
) -> impl Stream<Item = DataFusionResult<RecordBatch>> + Send {
    let start = (Box::pin(chunks), Decoding::default());
    stream::try_unfold(start, |(mut chunks, mut decoding)| async move {
        loop {
            if let Some(batch) = decoding.ready.pop_front() {
                return Ok(Some((batch, (chunks, decoding))));
            }
            match chunks.try_next().await? {
                Some(chunk) => decoding.push(chunk)?,
                None => return Ok(None),
            }
        }
    })
}

/// Small batches put together: a task that reads many producers gets a handful of rows from each.
fn coalesce(
    batches: impl Stream<Item = DataFusionResult<RecordBatch>> + Send + 'static,
    schema: SchemaRef,
    batch_rows: usize,
) -> impl Stream<Item = DataFusionResult<RecordBatch>> + Send {
    let coalescer = BatchCoalescer::new(SchemaRef::clone(&schema), batch_rows.max(1));
    let start = (Box::pin(batches), Some(coalescer), schema);
    stream::try_unfold(start, |(mut batches, mut coalescer, schema)| async move {
        while let Some(pending) = coalescer.as_mut() {
            if let Some(batch) = pending.next_completed_batch() {
                return Ok(Some((batch, (batches, coalescer, schema))));
            }
            match batches.try_next().await? {
                Some(batch) => pending.push_batch(conform(batch, &schema)?)?,
                None => {
                    pending.finish_buffered_batch()?;
                    let last = pending.next_completed_batch();
                    return Ok(last.map(|batch| (batch, (batches, None, schema))));
                }
            }
        }
        Ok(None)
    })
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::{
        array::Int64Array,
        datatypes::{DataType, Field, Schema},
        ipc::writer::StreamWriter,
    };

    use super::*;

    fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]))
    }

    /// `streams` IPC streams of `batches` batches of `rows` rows each, counting on from one to the next.
    fn ipc(streams: i64, batches: i64, rows: i64) -> Bytes {
        let mut body = Vec::new();
        let mut next = 0;
        for _ in 0..streams {
            let mut writer = StreamWriter::try_new(&mut body, &schema()).unwrap();
            for _ in 0..batches {
                let column = Int64Array::from_iter_values(next..next + rows);
                writer.write(&RecordBatch::try_new(schema(), vec![Arc::new(column)]).unwrap()).unwrap();
                next += rows;
            }
            writer.finish().unwrap();
        }
        body.into()
    }

    async fn numbers(pieces: Vec<Piece>, bucket: Bucket) -> DataFusionResult<Vec<i64>> {
        let batches: Vec<RecordBatch> = read(bucket, pieces, schema(), 1000).try_collect().await?;
        let column =
            |batch: &RecordBatch| batch.column(0).as_any().downcast_ref::<Int64Array>().unwrap().values().to_vec();
        Ok(batches.iter().flat_map(column).collect())
    }

    fn inline(body: Bytes) -> Piece {
        Piece { bytes: body.len() as u64, rows: None, sums: Arc::default(), source: Source::Inline(body) }
    }

    #[tokio::test]
    async fn several_streams_in_one_piece_are_read_in_order() {
        for (streams, batches) in [(1, 1), (1, 3), (3, 1), (4, 5), (2, 0)] {
            let read = numbers(vec![inline(ipc(streams, batches, 10))], Bucket::in_memory()).await.unwrap();
            assert_eq!(read, (0..streams * batches * 10).collect::<Vec<_>>(), "{streams} x {batches}");
        }
    }

    #[tokio::test]
    async fn a_piece_larger_than_a_chunk_is_read_from_the_middle_of_an_object() {
        let body = ipc(2, 4, 200_000);
        assert!(body.len() as u64 > 2 * CHUNK_BYTES);
        let bucket = Bucket::in_memory();
        let query = "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap();
        let key = apiary_bucket::layout::out(&query, 1, 0, "0123456789abcdef", "0/data.arrow");
        let stored = [Bytes::from_static(b"head"), body.clone(), Bytes::from_static(b"tail")].concat();
        bucket.put(&key, stored.into()).await.unwrap();
        let source = Source::Object { key, local: Some("/nowhere".into()), offset: 4 };
        let sums = body.chunks(CHUNK_BYTES as usize).map(crc32fast::hash).collect();
        let piece = Piece { bytes: body.len() as u64, rows: Some(1_600_000), sums, source };
        let read = numbers(vec![piece], bucket).await.unwrap();
        assert_eq!(read, (0..1_600_000).collect::<Vec<_>>());
    }

    /// A stored piece, perhaps with a copy on this node's disk, which are what they should be or damaged.
    async fn stored(bucket_has: &Bytes, disk_has: Option<&Bytes>, sum: Option<u32>) -> DataFusionResult<Vec<i64>> {
        let (bucket, folder) = (Bucket::in_memory(), tempfile::tempdir().unwrap());
        let query = "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap();
        let key = apiary_bucket::layout::out(&query, 1, 0, "0123456789abcdef", "0/data.arrow");
        bucket.put(&key, bucket_has.clone()).await.unwrap();
        let local = folder.path().join("data.arrow");
        if let Some(body) = disk_has {
            std::fs::write(&local, body).unwrap();
        }
        let source = Source::Object { key, local: Some(local), offset: 0 };
        let piece = Piece { bytes: bucket_has.len() as u64, rows: None, sums: sum.into_iter().collect(), source };
        numbers(vec![piece], bucket).await
    }

    #[tokio::test]
    async fn a_flipped_bit_between_two_stages_is_an_error_that_names_the_object() {
        let body = ipc(1, 2, 10);
        let sum = Some(crc32fast::hash(&body));
        assert_eq!(stored(&body, None, sum).await.unwrap().len(), 20);
        for at in 0..body.len() {
            let mut damaged = body.to_vec();
            damaged[at] ^= 1 << (at % 8);
            let error = stored(&damaged.into(), None, sum).await.unwrap_err().to_string();
            assert!(error.contains("out/1/0@0123456789abcdef/0/data.arrow' do not match"), "{at}: {error}");
        }
        let error = stored(&body, None, None).await.unwrap_err().to_string();
        assert!(error.contains("no checksum"), "{error}");
    }

    #[tokio::test]
    async fn a_damaged_scratch_file_is_passed_over_for_the_bucket() {
        let body = ipc(1, 2, 10);
        let mut damaged = body.to_vec();
        damaged[body.len() / 2] ^= 1;
        let damaged = Bytes::from(damaged);
        let sum = Some(crc32fast::hash(&body));
        assert_eq!(stored(&body, Some(&damaged), sum).await.unwrap().len(), 20);
        assert_eq!(stored(&damaged, Some(&body), sum).await.unwrap().len(), 20);
    }

    #[tokio::test]
    async fn a_torn_piece_is_an_error_and_never_fewer_rows() {
        let body = ipc(1, 3, 10);
        for cut in [1, 8, body.len() / 2, body.len() - 9] {
            let read = numbers(vec![inline(body.slice(..cut)), inline(ipc(1, 1, 1))], Bucket::in_memory()).await;
            assert!(read.is_err(), "cut at {cut} of {}", body.len());
        }
    }
    #[tokio::test]
    async fn a_piece_cut_between_two_batches_is_an_error_and_never_fewer_rows() {
        let two = ipc(1, 2, 10);
        // One batch and the end of a stream weigh as much in both; two batches have one message more.
        let cut = ipc(1, 1, 10).len() - 8;
        for (body, whole) in [(two.clone(), true), (two.slice(..cut), false)] {
            let piece = Piece { rows: Some(20), ..inline(body) };
            assert_eq!(numbers(vec![piece], Bucket::in_memory()).await.is_ok(), whole);
        }
        assert_eq!(numbers(vec![inline(two.slice(..cut))], Bucket::in_memory()).await.unwrap().len(), 10);
    }
}
