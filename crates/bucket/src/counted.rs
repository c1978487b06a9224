//! A store that counts what is asked of it: for EXPLAIN ANALYZE, for tests, for the bill.
//!
//! Counts are of requests as the caller makes them; retries inside a client are not seen. Counting never changes
//! what a request does.

use std::{
    fmt,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use apiary_core::Clock;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream::BoxStream};
use object_store::{
    CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, OBJECT_STORE_COALESCE_DEFAULT,
    ObjectMeta, ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions,
    Result, UploadPart, coalesce_ranges, path::Path,
};

use crate::reading::{OneRead, Reading};

/// Requests and bytes so far; add them up over as many clones as you like.
#[derive(Debug, Default)]
pub struct Counters {
    gets: AtomicU64,
    puts: AtomicU64,
    lists: AtomicU64,
    deletes: AtomicU64,
    bytes_read: AtomicU64,
    bytes_written: AtomicU64,
    hits: AtomicU64,
    bytes_hit: AtomicU64,
    reading: Arc<Reading>,
}

/// [`Counters`] at one moment.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct CountersSnapshot {
    /// GET and HEAD requests.
    pub gets: u64,
    /// PUT requests, each part of an upload counted.
    pub puts: u64,
    /// LIST requests, one for each page of 1 000.
    pub lists: u64,
    /// Objects deleted or asked to be.
    pub deletes: u64,
    /// Bytes asked for in GETs that were answered.
    pub bytes_read: u64,
    /// Bytes sent in PUTs.
    pub bytes_written: u64,
    /// Blocks of cells that the cache had, or that another was fetching.
    pub hits: u64,
    /// Their bytes.
    pub bytes_hit: u64,
}

impl Counters {
    /// What was counted so far.
    #[must_use]
    pub fn snapshot(&self) -> CountersSnapshot {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CountersSnapshot {
            gets: read(&self.gets),
            puts: read(&self.puts),
            lists: read(&self.lists),
            deletes: read(&self.deletes),
            bytes_read: read(&self.bytes_read),
            bytes_written: read(&self.bytes_written),
            hits: read(&self.hits),
            bytes_hit: read(&self.bytes_hit),
        }
    }

    /// How long at least one GET was under way, as far as they have ended: time in which several were counts once.
    #[must_use]
    pub fn read_for(&self) -> Duration {
        self.reading.total()
    }

    /// A block came from the cache.
    pub(crate) fn hit(&self, bytes: u64) {
        self.hits.fetch_add(1, Ordering::Relaxed);
        self.bytes_hit.fetch_add(bytes, Ordering::Relaxed);
    }

    fn got(&self, gets: u64, bytes: u64) {
        self.gets.fetch_add(gets, Ordering::Relaxed);
        self.bytes_read.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn put(&self, bytes: u64) {
        self.puts.fetch_add(1, Ordering::Relaxed);
        self.bytes_written.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// `inner`, counted.
#[derive(Debug)]
pub(crate) struct Counted {
    inner: Arc<dyn ObjectStore>,
    counters: Arc<Counters>,
    clock: Arc<dyn Clock>,
    /// Whether `inner` reads many ranges better than one request each: true where a read is a system call.
    reads_ranges: bool,
}

impl Counted {
    pub(crate) fn new(
        inner: Arc<dyn ObjectStore>,
        counters: Arc<Counters>,
        clock: Arc<dyn Clock>,
        reads_ranges: bool,
    ) -> Self {
        Self { inner, counters, clock, reads_ranges }
    }

    fn read(&self) -> OneRead {
        self.counters.reading.begin(&self.clock)
    }
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

/// Objects in one page of a LIST, as all stores have it.
const LIST_PAGE: usize = 1000;

fn count_pages(
    counters: Arc<Counters>,
    stream: BoxStream<'static, Result<ObjectMeta>>,
) -> BoxStream<'static, Result<ObjectMeta>> {
    counters.lists.fetch_add(1, Ordering::Relaxed);
    let mut seen = 0usize;
    let counted = stream.inspect(move |_| {
        seen += 1;
        if seen.is_multiple_of(LIST_PAGE) {
            counters.lists.fetch_add(1, Ordering::Relaxed);
        }
    });
    counted.boxed()
}

/// The same answer, whose body ends `read` when it is over.
fn until_read(mut result: GetResult, read: OneRead) -> GetResult {
    result.payload = match result.payload {
        GetResultPayload::Stream(body) => GetResultPayload::Stream(body.inspect(move |_| _ = &read).boxed()),
        // What lies on this machine is read by whoever opens it.
        file => file,
    };
    result
}

#[async_trait]
impl ObjectStore for Counted {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.counters.put(payload.content_length() as u64);
        self.inner.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let inner = self.inner.put_multipart_opts(location, opts).await?;
        Ok(Box::new(CountedUpload { inner, counters: Arc::clone(&self.counters) }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let (head, read) = (options.head, self.read());
        let result = self.inner.get_opts(location, options).await;
        let bytes = match &result {
            Ok(result) if !head => result.range.end - result.range.start,
            _ => 0,
        };
        self.counters.got(1, bytes);
        result.map(|result| until_read(result, read))
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        if self.reads_ranges {
            let _read = self.read();
            self.counters.got(1, ranges.iter().map(|range| range.end.saturating_sub(range.start)).sum());
            return self.inner.get_ranges(location, ranges).await;
        }
        let fetch = |range| self.get_range(location, range);
        coalesce_ranges(ranges, fetch, OBJECT_STORE_COALESCE_DEFAULT).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let counters = Arc::clone(&self.counters);
        let counted = locations.inspect(move |_| {
            counters.deletes.fetch_add(1, Ordering::Relaxed);
        });
        self.inner.delete_stream(counted.boxed())
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        count_pages(Arc::clone(&self.counters), self.inner.list(prefix))
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        count_pages(Arc::clone(&self.counters), self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.counters.lists.fetch_add(1, Ordering::Relaxed);
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.counters.put(0);
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.counters.put(0);
        self.inner.rename_opts(from, to, options).await
    }
}

#[derive(Debug)]
struct CountedUpload {
    inner: Box<dyn MultipartUpload>,
    counters: Arc<Counters>,
}

#[async_trait]
impl MultipartUpload for CountedUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.counters.put(data.content_length() as u64);
        self.inner.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.inner.complete().await
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}
