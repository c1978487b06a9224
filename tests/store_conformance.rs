//! The bucket's suite over HTTP, and the stores that the probe must refuse.
#![expect(clippy::unwrap_used, reason = "a test ends where it fails")]

#[path = "../crates/bucket/tests/suite/mod.rs"]
mod suite;

use std::time::{Duration, Instant};

use apiary_bucket::{Bucket, BucketError, Created, Key};
use apiary_core::ErrorKind;
use apiary_faults::{Fault, Op, Rule};
use apiary_tests::{
    cloud_server::{CloudServer, Dialect},
    s3_server::{S3Options, S3Server},
};
use bytes::Bytes;

fn open(server: &S3Server, prefix: &str) -> Bucket {
    Bucket::open(&server.uri(prefix)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_in_an_s3_store_conforms() {
    let server = S3Server::start(S3Options::default());
    let bucket = open(&server, "");
    assert!(bucket.is_shared() && !bucket.uri().contains("secret") && !format!("{bucket:?}").contains("secret"));
    suite::conforms(&bucket).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prefix_of_an_s3_store_conforms_and_shows_nothing_else() {
    let server = S3Server::start(S3Options::default());
    let (ours, all) = (open(&server, "team/a b"), open(&server, ""));
    suite::conforms(&ours).await;
    let key = apiary_bucket::Key::parse("x/y").unwrap();
    ours.put(&key, "1".into()).await.unwrap();
    let seen: Vec<String> = all.list("", None, 10).await.unwrap().into_iter().map(|object| object.key).collect();
    assert_eq!(seen, ["team/a b/x/y"]);
    assert_eq!(ours.list("", None, 10).await.unwrap()[0].key, "x/y");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_named_in_the_environment_conforms() {
    if let Ok(uri) = std::env::var("APIARY_TEST_S3_URL") {
        suite::conforms(&Bucket::open(&uri).unwrap()).await;
    }
}

async fn conforms_in_the_cloud(dialect: Dialect) {
    let server = CloudServer::start(dialect);
    let bucket = Bucket::open(&server.uri("")).unwrap();
    assert!(bucket.is_shared() && !bucket.uri().contains("key") && !format!("{bucket:?}").contains("aG9uZXk"));
    suite::conforms(&bucket).await;
    let ours = Bucket::open(&server.uri("team/a b")).unwrap();
    suite::conforms(&ours).await;
    server.ignore_conditions();
    let error = Bucket::open(&server.uri("p")).unwrap().probe().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConditionalPutUnsupported, "{error}");
    let error = no_contact(&server.uri("p").replace("colony", "other")).await;
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert!(error.hint().unwrap().starts_with("create it: "), "{error}");
    server.refuse();
    let error = no_contact(&server.uri("p")).await;
    assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_in_google_cloud_storage_conforms() {
    conforms_in_the_cloud(Dialect::Gcs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_in_azure_blob_storage_conforms() {
    conforms_in_the_cloud(Dialect::Azure).await;
}

async fn refused(options: S3Options) -> Vec<String> {
    let server = S3Server::start(options);
    let bucket = open(&server, "p");
    let error = bucket.probe().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConditionalPutUnsupported);
    let text = error.to_string();
    assert!(text.contains("s3://colony/p") && text.contains("stores that work: Amazon S3"), "{text}");
    assert!(bucket.list("", None, 1).await.unwrap().is_empty(), "the probe cleans up after itself");
    let BucketError::ConditionalPutUnsupported { faults, .. } = error else { unreachable!() };
    faults
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_ignores_the_condition_is_refused() {
    let faults = refused(S3Options { ignore_if_none_match: true, ..S3Options::default() }).await;
    assert!(faults[0].contains("ignores If-None-Match"), "{faults:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_checks_and_writes_later_is_refused() {
    let faults = refused(S3Options { racy: true, ..S3Options::default() }).await;
    assert!(faults[0].contains("of 16 racing creators"), "{faults:?}");
}

/// The first contact's error, which must come within its five seconds.
async fn no_contact(uri: &str) -> BucketError {
    let bucket = Bucket::open(uri).unwrap();
    #[expect(clippy::disallowed_methods, reason = "the wall is what is measured")]
    let start = Instant::now();
    let error = bucket.contact().await.unwrap_err();
    assert!(start.elapsed().as_secs_f64() < 5.5, "{error}");
    assert!(!format!("{error} {error:?} {:?}", error.hint()).contains("test+secret"));
    error
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_bucket_is_named_with_the_command_that_makes_it() {
    let server = S3Server::start(S3Options::default());
    let error = no_contact(&server.uri("p").replace("colony", "other")).await;
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("s3://other/p"), "{error}");
    assert_eq!(error.hint().unwrap(), format!("create it: aws s3 mb s3://other --endpoint-url {}", server.url));
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_are_told_apart_from_a_missing_store() {
    let server = S3Server::start(S3Options::default());
    for (from, to) in [("test+secret", "other"), ("apiary-test-key", "nobody")] {
        let error = no_contact(&server.uri("").replace(from, to)).await;
        assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error}");
        assert!(error.hint().unwrap().contains("AWS_ACCESS_KEY_ID"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_not_there_is_named_with_its_address() {
    let server = S3Server::start(S3Options::default());
    let uri = server.uri("");
    drop(server);
    let error = no_contact(&uri).await;
    assert_eq!(error.kind(), ErrorKind::Storage);
    assert!(error.to_string().contains("refused") && error.hint().unwrap().contains("http://127.0.0.1:"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_never_answers_is_given_up_within_five_seconds() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let error = no_contact(&format!("s3://b?endpoint={endpoint}&access_key_id=k&secret_access_key=s")).await;
    assert_eq!(error.kind(), ErrorKind::Storage);
}

fn key(name: &str) -> Key {
    Key::parse(name).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_create_over_http_is_decided_under_every_fault() {
    let server = S3Server::start(S3Options::default());
    let bucket = open(&server, "p");
    let faults = [
        Fault::Error,
        Fault::Unavailable,
        Fault::Hang,
        Fault::AppliedThenTimeout,
        Fault::AppliedThenError,
        Fault::AppliedThenExists,
        Fault::BareConflict,
        Fault::BarePrecondition,
        Fault::Slow(Duration::from_millis(50)),
    ];
    for (i, fault) in faults.into_iter().enumerate() {
        let key = key(&format!("h/b/f/_delta_log/{i}.json"));
        server.script(Rule::on(Op::Create, fault));
        let create = |body: &'static str| bucket.put_if_absent_decided(&key, Bytes::from_static(body.as_bytes()));
        assert_eq!(create("ours").await.unwrap(), Created::Mine, "{fault:?}");
        // Against another's object the same fault changes nothing.
        server.script(Rule::on(Op::Create, fault));
        assert_eq!(create("theirs").await.unwrap(), Created::Taken(Bytes::from_static(b"ours")), "{fault:?}");
        assert_eq!(server.rules_left(), 0, "{fault:?}");
    }
    server.script(Rule::on(Op::Create, Fault::Denied));
    let error = bucket.put_if_absent_decided(&key("h/denied"), Bytes::from_static(b"1")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_over_http_is_whole_or_an_error() {
    let server = S3Server::start(S3Options::default());
    let bucket = open(&server, "");
    let body: Bytes = (0..3_000_000u32).map(|i| (i / 7) as u8).collect();
    bucket.put(&key("x"), body.clone()).await.unwrap();
    for fault in [Fault::Truncated, Fault::Slow(Duration::from_millis(400)), Fault::Error, Fault::Hang] {
        server.script(Rule::on(Op::Get, fault).times(2));
        // The client may ask again for what is missing, from where it was cut.
        match bucket.get(&key("x")).await {
            Ok(read) => assert!(read.unwrap() == body, "{fault:?}"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Storage, "{fault:?}: {error}"),
        }
    }
    server.script(Rule::on(Op::Get, Fault::Truncated).forever());
    let error = bucket.get(&key("x")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage, "a body that never comes whole: {error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_over_http_that_fails_leaves_no_object() {
    let server = S3Server::start(S3Options::default());
    let bucket = open(&server, "");
    let parts = || vec![Bytes::from(vec![7; 1_000_000]); 20];
    for op in [Op::Part, Op::Complete] {
        server.script(Rule::on(op, Fault::Denied));
        assert!(bucket.put_parts(&key("up"), parts()).await.is_err(), "{op:?}");
        assert_eq!(bucket.get_at_most(&key("up"), 1 << 30).await.unwrap(), None, "{op:?}");
    }
    server.script(Rule::on(Op::Part, Fault::Error).times(2));
    bucket.put_parts(&key("up"), parts()).await.expect("a part is sent again");
    assert_eq!(bucket.get_at_most(&key("up"), 1 << 30).await.unwrap().unwrap().len(), 20_000_000);
}
