//! A store in memory with a clock of its own, that can be cut off after any number of requests; and a machine's clocks,
//! set by hand.

use std::{
    collections::HashMap,
    fmt,
    future::Future,
    ops::Range,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use apiary_bucket::Bucket;
use apiary_core::{Clock, SeededRng};
use async_trait::async_trait;
use bytes::Bytes;
use chrono::DateTime;
use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, memory::InMemory, path::Path,
};

/// When tests begin, in milliseconds since 1970.
const START_MS: i64 = 1_750_000_000_000;

/// The store. Clones are the same store.
#[derive(Debug, Clone)]
pub(super) struct Aged {
    inner: Arc<InMemory>,
    written: Arc<Mutex<HashMap<Path, i64>>>,
    now_ms: Arc<AtomicI64>,
    /// Requests that are still answered; below zero all are.
    left: Arc<AtomicI64>,
    asked: Arc<AtomicU64>,
}

impl Default for Aged {
    fn default() -> Self {
        Self {
            inner: Arc::default(),
            written: Arc::default(),
            now_ms: Arc::new(AtomicI64::new(START_MS)),
            left: Arc::new(AtomicI64::new(-1)),
            asked: Arc::default(),
        }
    }
}

impl Aged {
    pub(super) fn bucket(&self) -> Bucket {
        self.bucket_at(Arc::new(Dial::default()))
    }

    /// The bucket as a machine with this clock sees it.
    pub(super) fn bucket_at(&self, clock: Arc<Dial>) -> Bucket {
        Bucket::over(Arc::new(self.clone()), clock, Arc::new(SeededRng::new(7)))
    }

    /// Time passes at the store.
    pub(super) fn pass(&self, time: Duration) {
        self.now_ms.fetch_add(i64::try_from(time.as_millis()).unwrap(), Ordering::SeqCst);
    }

    /// Answers so many more requests and then none.
    pub(super) fn cut_after(&self, requests: u64) {
        self.left.store(i64::try_from(requests).unwrap(), Ordering::SeqCst);
    }

    pub(super) fn mend(&self) {
        self.left.store(-1, Ordering::SeqCst);
    }

    /// Requests so far, one for each object deleted.
    pub(super) fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }

    fn answer(&self) -> Result<()> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        match self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| (left > 0).then(|| left - 1)) {
            // Permission is what nobody tries again.
            Err(0) => Err(Error::PermissionDenied { path: "cut".to_owned(), source: "the store is cut off".into() }),
            _ => Ok(()),
        }
    }

    fn aged(&self, mut meta: ObjectMeta) -> ObjectMeta {
        if let Some(ms) = self.written.lock().unwrap().get(&meta.location) {
            meta.last_modified = DateTime::from_timestamp_millis(*ms).unwrap();
        }
        meta
    }
}

impl fmt::Display for Aged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("aged")
    }
}

#[async_trait]
impl ObjectStore for Aged {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.answer()?;
        let put = self.inner.put_opts(path, payload, options).await?;
        self.written.lock().unwrap().insert(path.clone(), self.now_ms.load(Ordering::SeqCst));
        Ok(put)
    }

    async fn put_multipart_opts(&self, path: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.answer()?;
        self.inner.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.answer()?;
        self.inner.get_opts(path, options).await
    }

    async fn get_ranges(&self, path: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.answer()?;
        self.inner.get_ranges(path, ranges).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        let one = move |path: Path| {
            let store = store.clone();
            async move {
                store.answer()?;
                let gone = store.inner.delete_stream(futures::stream::iter([Ok(path.clone())]).boxed());
                let _: Vec<Path> = gone.try_collect().await?;
                Ok(path)
            }
        };
        paths.and_then(one).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        if let Err(error) = self.answer() {
            return futures::stream::iter([Err(error)]).boxed();
        }
        let store = self.clone();
        self.inner.list(prefix).map_ok(move |meta| store.aged(meta)).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.answer()?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.answer()?;
        self.inner.copy_opts(from, to, options).await
    }
}

/// A machine's clocks. Waits take no time.
#[derive(Debug)]
pub(super) struct Dial {
    boot_ms: AtomicU64,
    wall_ms: AtomicI64,
}

impl Default for Dial {
    fn default() -> Self {
        Self { boot_ms: AtomicU64::new(1_000_000), wall_ms: AtomicI64::new(START_MS) }
    }
}

impl Dial {
    /// The machine sleeps, or its user does.
    pub(super) fn pass(&self, time: Duration) {
        self.sleep_with_the_wall_clock_set_back(time);
        self.wall_ms.fetch_add(i64::try_from(time.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

impl Dial {
    pub(super) fn sleep_with_the_wall_clock_set_back(&self, time: Duration) {
        self.boot_ms.fetch_add(u64::try_from(time.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for Dial {
    fn wall_ms(&self) -> i64 {
        self.wall_ms.load(Ordering::SeqCst)
    }

    fn monotonic(&self) -> Duration {
        // Stands still while the machine sleeps, so this tells nothing.
        Duration::ZERO
    }

    fn boottime(&self) -> Option<Duration> {
        Some(Duration::from_millis(self.boot_ms.load(Ordering::SeqCst)))
    }

    fn sleep(&self, _: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + 'static>> {
        Box::pin(tokio::task::yield_now())
    }
}
