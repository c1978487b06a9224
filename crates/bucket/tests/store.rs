//! The suite over memory and over a local folder, and buckets that cannot be opened.

mod suite;

use std::{sync::Arc, time::Duration};

use apiary_bucket::{Bucket, Key};
use apiary_core::{Clock, ErrorKind, SystemClock, SystemRng};
use apiary_faults::{FaultStore, MemoryStore};
use bytes::Bytes;

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_in_memory_conforms() {
    let bucket = Bucket::in_memory();
    assert!(!bucket.is_shared());
    suite::conforms(&bucket).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_in_a_folder_conforms() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("not there yet/a b");
    let bucket = Bucket::open(path.to_str().unwrap()).unwrap();
    assert!(bucket.is_shared() && bucket.uri().starts_with("file:///") && bucket.uri().ends_with("a%20b"));
    suite::conforms(&bucket).await;
    let again = Bucket::open(bucket.uri()).unwrap();
    assert_eq!(again.uri(), bucket.uri());
}

/// A fault store without faults is the store below it, in pages of any size.
#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_over_a_fault_store_without_faults_conforms() {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let memory = MemoryStore::new(Arc::clone(&clock));
    for (page, latency) in [(1_000, Duration::ZERO), (7, Duration::from_micros(50))] {
        let store = FaultStore::new(Arc::new(memory.clone()), 1, Arc::clone(&clock));
        store.pages_of(page);
        store.latency(latency);
        suite::conforms(&Bucket::over(Arc::new(store.clone()), Arc::clone(&clock), Arc::new(SystemRng))).await;
        assert!(store.calls().iter().all(|call| call.met.is_none()) && store.calls().len() > 1_000);
    }
}

#[tokio::test]
async fn two_handles_on_one_folder_see_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let open = || Bucket::open(&format!("file://{}", folder.path().display())).unwrap();
    let (one, two) = (open(), open());
    let key = Key::parse("h/b/x").unwrap();
    one.put(&key, Bytes::from_static(b"1")).await.unwrap();
    assert_eq!(two.get(&key).await.unwrap().unwrap(), "1");
}

#[test]
fn an_unknown_scheme_is_an_error_that_says_what_to_write() {
    let error = Bucket::open("gcs://bucket").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(error.to_string(), "cannot use 'gcs://bucket' as storage: there is no storage scheme 'gcs'");
    assert_eq!(error.hint().unwrap(), "did you mean gs://?");
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error_that_names_it() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().join("below");
    let error = Bucket::open(path.to_str().unwrap()).unwrap_err();
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
}

#[tokio::test]
async fn a_folder_that_went_away_cannot_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let bucket = Bucket::open(folder.path().to_str().unwrap()).unwrap();
    drop(folder);
    assert!(bucket.put(&Key::parse("x").unwrap(), Bytes::new()).await.is_err());
}
