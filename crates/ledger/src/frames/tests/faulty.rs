//! A store in memory whose creates go wrong by a script, and a clock whose waits take no time.

use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    ops::Range,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use apiary_core::Clock;
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, memory::InMemory, path::Path,
};

/// What happens to one create.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing.
    None,
    /// It is applied, and the answer is an error.
    AppliedThenError,
    /// It is applied, sent again by the client, and the answer is "exists already".
    AppliedThenExists,
    /// The answer is "exists already", and nothing was written.
    BareConflict,
    /// The request does not arrive, or arrives much later (see [`Faulty::release_lost`]).
    Lost,
    /// A rival's create arrives first (see [`Faulty::rival`]), this one is lost, and the answer is an error.
    RivalThenLost,
    /// A rival's create arrives first, this one is lost, and no answer ever comes.
    RivalThenSilence,
    /// A rival's create arrives first, and the answer is "the precondition failed".
    RivalThenConflict,
}

/// The store. Clones are the same store.
#[derive(Debug, Clone, Default)]
pub(super) struct Faulty {
    inner: Arc<InMemory>,
    script: Arc<Mutex<VecDeque<Fault>>>,
    sent: Arc<Mutex<Vec<Bytes>>>,
    lost: Arc<Mutex<Vec<(Path, Bytes)>>>,
    rival: Arc<Mutex<Option<Bytes>>>,
}

impl Faulty {
    /// What happens to the next creates; after them nothing does.
    pub(super) fn script(&self, faults: Vec<Fault>) {
        *self.script.lock().unwrap() = faults.into();
    }

    /// The bodies of all creates, as they were sent.
    pub(super) fn sent(&self) -> Vec<Bytes> {
        self.sent.lock().unwrap().clone()
    }

    /// Lets every lost create arrive now; how many of them won.
    pub(super) async fn release_lost(&self) -> usize {
        let lost = std::mem::take(&mut *self.lost.lock().unwrap());
        let mut won = 0;
        for (path, body) in lost {
            won += usize::from(self.create(&path, body).await.is_ok());
        }
        won
    }

    /// What a rival sends to the slot of the create that it is faster than.
    pub(super) fn rival(&self, body: Bytes) {
        *self.rival.lock().unwrap() = Some(body);
    }

    /// Whether the rival has not come yet.
    pub(super) fn rival_waits(&self) -> bool {
        self.rival.lock().unwrap().is_some()
    }

    /// Another store that holds the same.
    pub(super) fn copy(&self) -> Self {
        Self { inner: Arc::new(self.inner.fork()), ..Self::default() }
    }

    async fn create(&self, path: &Path, body: Bytes) -> Result<PutResult> {
        self.inner.put_opts(path, PutPayload::from_bytes(body), PutOptions::from(PutMode::Create)).await
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("faulty")
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        if options.mode != PutMode::Create {
            return self.inner.put_opts(path, payload, options).await;
        }
        let body: Bytes = payload.into();
        self.sent.lock().unwrap().push(body.clone());
        let fault = self.script.lock().unwrap().pop_front().unwrap_or(Fault::None);
        let error = || Error::Generic { store: "faulty", source: "500".into() };
        let exists = || Error::AlreadyExists { path: path.to_string(), source: "409".into() };
        if matches!(fault, Fault::RivalThenLost | Fault::RivalThenSilence | Fault::RivalThenConflict) {
            let rival = self.rival.lock().unwrap().take().unwrap();
            self.create(path, rival).await.unwrap();
        }
        match fault {
            Fault::None => self.create(path, body).await,
            Fault::AppliedThenError => {
                let _ = self.create(path, body).await;
                Err(error())
            }
            Fault::AppliedThenExists => {
                let _ = self.create(path, body).await;
                Err(exists())
            }
            Fault::BareConflict => Err(exists()),
            Fault::RivalThenConflict => Err(Error::Precondition { path: path.to_string(), source: "412".into() }),
            Fault::Lost | Fault::RivalThenLost => {
                self.lost.lock().unwrap().push((path.clone(), body));
                Err(error())
            }
            Fault::RivalThenSilence => {
                self.lost.lock().unwrap().push((path.clone(), body));
                std::future::pending().await
            }
        }
    }

    async fn put_multipart_opts(&self, path: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(path, options).await
    }

    async fn get_ranges(&self, path: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(path, ranges).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

/// Time passes only in waits, and those end at once. The wall clock stands still.
#[derive(Debug, Clone, Default)]
pub(super) struct QuickClock(Arc<AtomicU64>);

impl Clock for QuickClock {
    fn wall_ms(&self) -> i64 {
        1_750_000_000_000
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::SeqCst))
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + 'static>> {
        let now = Arc::clone(&self.0);
        Box::pin(async move {
            now.fetch_add(u64::try_from(duration.as_millis()).unwrap(), Ordering::SeqCst);
            tokio::task::yield_now().await;
        })
    }
}
