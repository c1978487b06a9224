//! What a doctor is told of stores over HTTP, check by check: of healthy ones, and of those that lose a colony's rows.
//!
//! The doctor itself stands in the crate `apiary`, which these servers are no part of: how it puts these findings into
//! words is tested there, word for word.
#![expect(clippy::unwrap_used, reason = "a test ends where it fails")]

use apiary_bucket::{Bucket, Examination, Verdict};
use apiary_tests::{
    cloud_server::{CloudServer, Dialect},
    s3_server::{S3Options, S3Server},
};

const FIRST: &str = "create, and a second create refused";
const OVERWROTE: &str = "it overwrote an object that was to be created only if absent";

/// A first contact, as the doctor has it, and the examination, which must leave nothing behind.
async fn examined(uri: &str) -> Examination {
    let bucket = Bucket::open_existing(uri).unwrap();
    bucket.contact().await.unwrap();
    let examination = bucket.examine().await;
    assert!(bucket.list("", None, 1).await.unwrap().is_empty(), "{}: something is left behind", bucket.uri());
    examination
}

fn is_healthy(examination: &Examination) {
    assert_eq!(examination.checks.len(), 6, "{examination:?}");
    assert!(examination.checks.iter().all(|check| check.verdict == Verdict::Right), "{examination:?}");
    assert!(examination.broken_off.is_none() && examination.clock_skew_ms.is_some(), "{examination:?}");
}

fn is_refused(examination: &Examination) {
    let [first, rest @ ..] = examination.checks.as_slice() else { panic!("{examination:?}") };
    let Verdict::Wrong(fault) = &first.verdict else { panic!("{examination:?}") };
    assert!(first.name == FIRST && fault.starts_with(OVERWROTE), "{}: {fault}", first.name);
    assert!(first.danger.ends_with("rows would be lost"), "{}", first.danger);
    assert!(rest.iter().all(|check| check.verdict == Verdict::Unasked), "{rest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_s3_store_is_healthy_or_refused_by_name() {
    let healthy = S3Server::start(S3Options::default());
    is_healthy(&examined(&healthy.uri("p")).await);
    let careless = S3Server::start(S3Options { ignore_if_none_match: true, ..S3Options::default() });
    is_refused(&examined(&careless.uri("p")).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn google_and_azure_are_healthy_or_refused_by_name() {
    for dialect in [Dialect::Gcs, Dialect::Azure] {
        let server = CloudServer::start(dialect);
        is_healthy(&examined(&server.uri("p")).await);
        server.ignore_conditions();
        is_refused(&examined(&server.uri("p")).await);
    }
}
