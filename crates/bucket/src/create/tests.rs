//! Creates over a store that answers every way a store can.

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use apiary_core::{ErrorKind, SeededRng, SystemClock};
use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutResult, Result as StoreResult, memory::InMemory, path::Path,
};

use super::*;

/// What one request meets.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    /// It goes through.
    Fine,
    /// The write is applied and the answer lost.
    AppliedThenTimeout,
    /// The write is applied, and the client's own retry then finds it there.
    AppliedThenExists,
    /// S3's bare 409: nothing is written.
    ExistsButAbsent,
    /// Azure's word for a name that is taken.
    Precondition,
    /// Nothing is written and nothing is known.
    Timeout,
    /// The store says no.
    Denied,
    /// The store says no to what the client sends for the second time.
    DeniedLater,
}

#[derive(Debug)]
struct Fateful {
    inner: InMemory,
    puts: Mutex<Vec<Fate>>,
    gets: Mutex<Vec<Fate>>,
}

impl fmt::Display for Fateful {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fateful")
    }
}

/// The next fate; the last one stays.
fn next(fates: &Mutex<Vec<Fate>>) -> Fate {
    let mut fates = fates.lock().unwrap();
    if fates.len() > 1 { fates.remove(0) } else { fates.first().copied().unwrap_or(Fate::Fine) }
}

fn error(fate: Fate, path: &Path) -> StoreError {
    let (path, source) = (path.to_string(), "fate".into());
    match fate {
        Fate::AppliedThenExists | Fate::ExistsButAbsent => StoreError::AlreadyExists { path, source },
        Fate::Precondition => StoreError::Precondition { path, source },
        Fate::Denied => StoreError::PermissionDenied { path, source },
        // The words of the client's own error.
        Fate::DeniedLater => StoreError::PermissionDenied {
            path,
            source: "Error performing PUT k in 2s, after 1 retries, max_retries: 10, retry_timeout: 180s  - 403".into(),
        },
        _ => StoreError::Generic { store: "fateful", source },
    }
}

#[async_trait]
impl ObjectStore for Fateful {
    async fn put_opts(&self, path: &Path, body: PutPayload, options: PutOptions) -> StoreResult<PutResult> {
        let fate = next(&self.puts);
        if matches!(fate, Fate::Fine | Fate::AppliedThenTimeout | Fate::AppliedThenExists) {
            let put = self.inner.put_opts(path, body, options).await;
            if fate == Fate::Fine || put.is_err() {
                return put;
            }
        }
        Err(error(fate, path))
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> StoreResult<GetResult> {
        match next(&self.gets) {
            Fate::Fine => self.inner.get_opts(path, options).await,
            fate => Err(error(fate, path)),
        }
    }

    async fn put_multipart_opts(&self, path: &Path, o: PutMultipartOptions) -> StoreResult<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(path, o).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, StoreResult<Path>>) -> BoxStream<'static, StoreResult<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> StoreResult<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> StoreResult<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

const OURS: Bytes = Bytes::from_static(b"ours");
const THEIRS: Bytes = Bytes::from_static(b"theirs");

async fn store(there: Option<Bytes>, puts: &[Fate], gets: &[Fate]) -> (Bucket, Key) {
    let inner = InMemory::new();
    if let Some(body) = there {
        inner.put(&Path::from("k"), body.into()).await.unwrap();
    }
    let fateful = Fateful { inner, puts: Mutex::new(puts.to_vec()), gets: Mutex::new(gets.to_vec()) };
    let bucket = Bucket::over(Arc::new(fateful), Arc::new(SystemClock), Arc::new(SeededRng::new(1)));
    (bucket, Key::parse("k").unwrap())
}

#[tokio::test]
async fn one_attempt_is_told_by_what_is_there_and_not_by_the_answer() {
    let table = [
        (None, Fate::Fine, "Mine"),
        (None, Fate::AppliedThenTimeout, "Mine"),
        (None, Fate::AppliedThenExists, "Mine"),
        (None, Fate::ExistsButAbsent, "Absent"),
        (None, Fate::Precondition, "Absent"),
        (None, Fate::Timeout, "Absent"),
        (None, Fate::DeniedLater, "Absent"),
        (Some(THEIRS), Fate::Fine, "Taken(b\"theirs\")"),
        (Some(THEIRS), Fate::Precondition, "Taken(b\"theirs\")"),
        (Some(THEIRS), Fate::Timeout, "Taken(b\"theirs\")"),
        (Some(OURS), Fate::Timeout, "Mine"),
        (Some(OURS), Fate::Denied, "Mine"),
    ];
    for (there, fate, expected) in table {
        let (bucket, key) = store(there, &[fate], &[]).await;
        let answer = bucket.put_if_absent_once(&key, OURS).await.unwrap();
        assert_eq!(format!("{answer:?}"), expected, "{fate:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_read_back_is_unknown() {
    let (bucket, key) = store(None, &[Fate::Timeout], &[Fate::Timeout]).await;
    assert!(matches!(bucket.put_if_absent_once(&key, OURS).await, Ok(PutAnswer::Unknown(_))));
}

#[tokio::test]
async fn a_refusal_is_an_error_and_not_an_unknown_outcome() {
    let (bucket, key) = store(None, &[Fate::Denied], &[]).await;
    let error = bucket.put_if_absent_decided(&key, OURS).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
}

#[tokio::test]
async fn a_decided_create_sends_the_same_bytes_until_it_is_decided() {
    let puts = [Fate::ExistsButAbsent, Fate::Timeout, Fate::AppliedThenTimeout];
    let (bucket, key) = store(None, &puts, &[]).await;
    assert_eq!(bucket.put_if_absent_decided(&key, OURS).await.unwrap(), Created::Mine);
    let (bucket, key) = store(Some(THEIRS), &[Fate::Timeout], &[Fate::Timeout, Fate::Fine]).await;
    assert_eq!(bucket.put_if_absent_decided(&key, OURS).await.unwrap(), Created::Taken(THEIRS));
}

#[tokio::test]
async fn what_stays_undecided_is_said_to_be_unknown() {
    let (bucket, key) = store(None, &[Fate::Timeout], &[Fate::Timeout]).await;
    let error = bucket.put_if_absent_decided(&key, OURS).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown);
    assert!(error.to_string().contains("'k'"), "{error}");
}

#[tokio::test]
async fn a_denial_after_an_ambiguous_answer_decides_nothing() {
    let (bucket, key) = store(None, &[Fate::Timeout, Fate::Denied], &[]).await;
    let error = bucket.put_if_absent_decided(&key, OURS).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown);
}
