//! A store of one process that dies: after so many requests nothing it sends arrives any more.

use std::{
    fmt,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use apiary_bucket::Bucket;
use apiary_core::{Clock, SeededRng};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream::BoxStream};
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, path::Path,
};

/// How the last request ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Death {
    /// It does not arrive.
    Before,
    /// It is done, and nobody is told.
    After,
}

/// The store as a mortal process sees it.
#[derive(Debug)]
pub(super) struct Mortal {
    inner: Arc<dyn ObjectStore>,
    /// Requests that are still answered; below zero once it is dead.
    left: Arc<AtomicI64>,
    death: Death,
}

/// The bucket of a process that dies with its `n`th request (from 0), over the store of `bucket`.
pub(super) fn mortal(bucket: &Bucket, n: u32, death: Death) -> (Bucket, Arc<AtomicI64>) {
    let left = Arc::new(AtomicI64::new(n.into()));
    let store = Mortal { inner: bucket.object_store(), left: Arc::clone(&left), death };
    (Bucket::over(Arc::new(store), Arc::new(Quick::default()), Arc::new(SeededRng::new(u64::from(n) + 100))), left)
}

fn dead() -> Error {
    Error::Generic { store: "mortal", source: "the process is dead".into() }
}

impl Mortal {
    /// Whether the next request is done, and whether it is answered.
    fn next(&self) -> (bool, bool) {
        let left = self.left.fetch_sub(1, Ordering::SeqCst);
        (left > 0 || (left == 0 && self.death == Death::After), left > 0)
    }
}

impl fmt::Display for Mortal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("mortal")
    }
}

#[async_trait]
impl ObjectStore for Mortal {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let (done, told) = self.next();
        if !done {
            return Err(dead());
        }
        let put = self.inner.put_opts(path, payload, options).await;
        if told { put } else { Err(dead()) }
    }

    async fn put_multipart_opts(&self, path: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        if self.next().1 { self.inner.get_opts(path, options).await } else { Err(dead()) }
    }

    async fn get_ranges(&self, path: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        if self.next().1 { self.inner.get_ranges(path, ranges).await } else { Err(dead()) }
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        match self.next() {
            (true, true) => self.inner.delete_stream(paths),
            _ => paths.map(|_| Err(dead())).boxed(),
        }
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        if self.next().1 { self.inner.list(prefix) } else { futures::stream::iter([Err(dead())]).boxed() }
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        if self.next().1 {
            self.inner.list_with_offset(prefix, offset)
        } else {
            futures::stream::iter([Err(dead())]).boxed()
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        if self.next().1 { self.inner.list_with_delimiter(prefix).await } else { Err(dead()) }
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

/// Time passes only in waits, and those end at once.
#[derive(Debug, Default)]
pub(super) struct Quick(Arc<AtomicU64>);

impl Clock for Quick {
    fn wall_ms(&self) -> i64 {
        1_750_000_000_000
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::SeqCst))
    }

    fn sleep(&self, duration: Duration) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send + 'static>> {
        let now = Arc::clone(&self.0);
        Box::pin(async move {
            now.fetch_add(u64::try_from(duration.as_millis()).unwrap(), Ordering::SeqCst);
            tokio::task::yield_now().await;
        })
    }
}
