//! What the doctor says of healthy and of sick buckets, word for word.

use std::sync::Arc;

use apiary_bucket::{Key, layout};
use apiary_core::{Clock, Incarnation, ManualClock, NodeId, SeededRng, SystemClock, SystemRng};
use apiary_faults::{Fault, FaultStore, MemoryStore, Op, Rule, Weakness};
use apiary_swarm::{Bees, Heartbeat, Strain};

use super::*;

struct Kit {
    clock: ManualClock,
    memory: MemoryStore,
    store: FaultStore,
    bucket: Bucket,
}

fn kit() -> Kit {
    let clock = ManualClock::new();
    let shared: Arc<dyn Clock> = Arc::new(clock.clone());
    let memory = MemoryStore::new(Arc::clone(&shared));
    let store = FaultStore::new(Arc::new(memory.clone()), 1, Arc::clone(&shared));
    let bucket = Bucket::over(Arc::new(store.clone()), shared, Arc::new(SeededRng::new(1)));
    Kit { clock, memory, store, bucket }
}

impl Kit {
    /// What the doctor says, times left out. It must leave the bucket as it was.
    async fn told(&self) -> String {
        let before = self.memory.keys("");
        let diagnosis = self.clock.run(examine(&self.bucket)).await;
        assert_eq!(self.memory.keys(""), before, "nothing is left behind");
        assert_eq!(diagnosis.json()["safe_to_write"], diagnosis.is_safe());
        untimed(&diagnosis.text(|_, text| text.to_owned()))
    }
}

fn untimed(text: &str) -> String {
    let line = |line: &str| {
        line.split_once("   ").filter(|(start, _)| !start.trim().is_empty()).map(|(start, _)| start.to_owned())
    };
    text.lines()
        .map(|l| {
            // The mark is padded: times stand behind three spaces after the words.
            let (mark, words) = l.split_at(l.len().min(8));
            format!("{mark}{}", line(words).unwrap_or_else(|| words.to_owned()))
        })
        .collect::<Vec<_>>()
        .join("\n")
}

fn beat(node: &str) -> Heartbeat {
    Heartbeat {
        format: Heartbeat::FORMAT,
        node: NodeId::new(node).unwrap(),
        incarnation: Incarnation::new(&SystemClock, &SystemRng),
        counter: 1,
        interval_s: 10.0,
        roles: vec!["worker".into()],
        address: None,
        version: "0.1.0".into(),
        features: vec![],
        cores: 2,
        memory_bytes: 1 << 30,
        bees: Bees { total: 2, busy: 0 },
        chamber_bytes: 256 << 20,
        strain: Strain::default(),
        temperature: 0.0,
        leaving: false,
        cached: String::new(),
    }
}

const STORAGE_FINE: &str = "storage memory:
  ok    the bucket answers
  ok    create, and a second create refused
  ok    one winner among 16 racing creators
  ok    read after write
  ok    ranged read
  ok    list after write, in order
  ok    delete
";

#[tokio::test]
async fn an_empty_bucket_is_safe_to_write() {
    let expected = format!(
        "{STORAGE_FINE}  ok    the store's clock agrees with this machine's
colony
  ok    no colony yet: the first node founds it
safe to write"
    );
    assert_eq!(kit().told().await, expected);
}

#[tokio::test]
async fn a_colony_is_looked_over_and_wrong_clocks_are_shown() {
    let kit = kit();
    let format = ColonyFormat::load_or_create(&kit.bucket).await.unwrap();
    ColonySecret::load_or_create(&kit.bucket).await.unwrap();
    heartbeat::beat(&kit.bucket, &beat("pi-1")).await.unwrap();
    let clock: Arc<dyn Clock> = Arc::new(kit.clock.skewed(-180_000));
    let other = Bucket::over(Arc::new(kit.store.clone()), clock, Arc::new(SeededRng::new(2)));
    heartbeat::beat(&other, &beat("pi-2")).await.unwrap();
    kit.memory.set("_apiary/nodes/pi-3.json", Some("{".into()));
    let expected = format!(
        "{STORAGE_FINE}  ok    the store's clock agrees with this machine's
colony
  ok    format 1, cluster {}
  ok    the colony's secret is there
  ok    the registry of names is whole
  ok    3 nodes in the listing of nodes
  note  _apiary/nodes/pi-2.json: this node's clock is 3 min behind the store's
        means: nothing is lost by it; times that it writes are not what people expect
        do: set that machine's clock by NTP
  note  _apiary/nodes/pi-3.json: this heartbeat cannot be read: '_apiary/nodes/pi-3.json' is damaged: EOF while parsing an object at line 1 column 1
        do: other nodes pass it over; remove it if its node is gone
safe to write",
        format.cluster
    );
    assert_eq!(kit.told().await, expected);
}

#[tokio::test]
async fn a_store_that_ignores_the_condition_is_told_apart_with_what_it_means_and_what_to_do() {
    let kit = kit();
    kit.store.weak(Some(Weakness::IgnoresCondition));
    let expected = "storage memory:
  ok    the bucket answers
  wrong create, and a second create refused: it overwrote an object that was to be created only if absent (it ignores If-None-Match)
        means: two writers would overwrite each other's versions, and rows would be lost
        do: use a store that is known to work: Amazon S3, Cloudflare R2, MinIO, Google Cloud Storage, Azure Blob Storage, or a folder on a file system with hard links
  -     one winner among 16 racing creators: not asked
  -     read after write: not asked
  -     ranged read: not asked
  -     list after write, in order: not asked
  -     delete: not asked
  -     the store's clock agrees with this machine's: not asked
colony
  ok    no colony yet: the first node founds it
do not write here: the store does not do what a colony stands on";
    assert_eq!(kit.told().await, expected);
}

#[tokio::test]
async fn a_store_that_checks_and_writes_later_is_found_by_the_race() {
    let kit = kit();
    kit.store.weak(Some(Weakness::ChecksThenWrites));
    let told = kit.told().await;
    assert!(told.contains("  wrong one winner among 16 racing creators: 16 of 16 racing creators"), "{told}");
    assert!(told.contains("  ok    ranged read") && told.ends_with("a colony stands on"), "{told}");
}

#[tokio::test]
async fn rights_that_are_missing_are_named() {
    for (op, words) in [(Op::Create, "the store denies create"), (Op::Delete, "the store denies delete")] {
        let kit = kit();
        kit.store.script(Rule::on(op, Fault::Denied).forever());
        let diagnosis = examine(&kit.bucket).await;
        let told = diagnosis.text(|_, text| text.to_owned());
        assert!(told.contains(words) && told.contains("do: grant the key read, write, list and delete"), "{told}");
        assert!(!diagnosis.is_safe());
    }
}

#[tokio::test]
async fn a_colony_of_another_version_or_a_damaged_one_is_not_safe() {
    let table = [
        (layout::format(), r#"{"cluster":"c","format":2,"features":[]}"#, "update this node"),
        (layout::secret(), "{}", "it is not the secret of a colony"),
        (
            Key::parse("_apiary/registry/00000000000000000000.json").unwrap(),
            "{}",
            "_apiary/registry/00000000000000000000.json: ",
        ),
    ];
    for (key, body, words) in table {
        let kit = kit();
        ColonyFormat::load_or_create(&kit.bucket).await.unwrap();
        ColonySecret::load_or_create(&kit.bucket).await.unwrap();
        kit.memory.set(key.as_str(), Some(body.into()));
        let told = kit.told().await;
        assert!(told.contains(words), "{told}");
        assert!(told.ends_with("do not write here: the colony in it is damaged, or of another version"), "{told}");
    }
}

#[tokio::test]
async fn clocks_that_differ_from_the_stores_are_told() {
    let kit = kit();
    let clock: Arc<dyn Clock> = Arc::new(kit.clock.skewed(365 * 86_400_000));
    let bucket = Bucket::over(Arc::new(kit.store.clone()), clock, Arc::new(SeededRng::new(2)));
    let told = examine(&bucket).await.text(|_, text| text.to_owned());
    assert!(told.contains("  note  clock: the store's clock is 365 days behind this machine's"), "{told}");
    assert!(told.ends_with("safe to write"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_scheme_that_cannot_be_reached_is_an_answer_within_seconds() {
    let here = "endpoint=http://127.0.0.1:1";
    let table = [
        format!("s3://bucket/p?{here}&access_key_id=k&secret_access_key=s3cret"),
        format!("gs://bucket/p?{here}"),
        format!("az://container/p?{here}&account_name=a&account_key=czNjcmV0"),
    ];
    for uri in table {
        let bucket = Bucket::open(&uri).unwrap();
        let start = SystemClock.monotonic();
        let diagnosis = examine(&bucket).await;
        assert!((SystemClock.monotonic() - start).as_secs_f64() < 6.0);
        let told = diagnosis.text(|_, text| text.to_owned());
        assert!(told.contains("  wrong the bucket answers: ") && told.contains("\n        do: "), "{told}");
        assert!(!told.contains("s3cret") && !told.contains("czNj"), "{told}");
        assert!(!diagnosis.is_safe());
        assert_eq!(diagnosis.json()["verdict"], "do not write here: the store could not be asked");
    }
}

/// What the whole command says of a place: on standard output, on standard error, and its exit code.
async fn run_at(storage: &str, format: ShownAs) -> (String, String, u8) {
    let (terminal, out, err) = Terminal::captured();
    let error = run(&DoctorArgs { storage: Some(storage.to_owned()), format }, &terminal).await.unwrap_err();
    let _ = error.tell(&terminal);
    (out.text(), err.text(), error.kind().exit_code())
}

#[tokio::test]
async fn a_store_that_cannot_be_opened_is_a_finding_in_words_and_in_json() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "no folder").unwrap();
    let below = file.join("x");
    let (file, below) = (file.to_str().unwrap(), below.to_str().unwrap());
    let table = [
        ("s3://b/p?allow_http=perhaps&secret_access_key=s3cret", "s3://b/p?allow_http=perhaps", "AWS_"),
        ("gs://b/p?service_account=/nowhere/key.json", "gs://b/p", "GOOGLE_"),
        ("az://c?account_name=a&account_key=s3cret!", "az://c?account_name=a", "AZURE_STORAGE_ACCOUNT_NAME"),
        ("s3://b?regoin=eu&secret_access_key=s3cret", "s3://b", "did you mean region?"),
        ("az:c", "az:c", "write az://bucket/prefix"),
        ("ftp://host/x", "ftp://host/x", "file:///folder"),
        (below, below, "`apiary start`"),
        (file, file, "give a folder"),
    ];
    for (uri, shown, advice) in table {
        let (out, err, code) = run_at(uri, ShownAs::Table).await;
        let start = format!("storage {shown}\n  wrong the storage can be opened: ");
        assert!(out.starts_with(&start), "{out}");
        assert!(out.contains("\n        do: ") && out.contains(advice), "{out}");
        assert!(out.ends_with("\ndo not write here: the store could not be asked\n"), "{out}");
        assert!(err.starts_with("error: "), "{err}");
        let (told, _, code_of_json) = run_at(uri, ShownAs::Json).await;
        assert_eq!((code, code_of_json), (1, 1), "{out}");
        let json: serde_json::Value = serde_json::from_str(&told).unwrap();
        assert_eq!((&json["storage"], &json["safe_to_write"]), (&shown.into(), &false.into()), "{told}");
        let [check] = json["checks"].as_array().unwrap().as_slice() else { panic!("{told}") };
        assert_eq!(check["verdict"], "wrong", "{told}");
        assert!(check["do"].as_str().unwrap().contains(advice), "{told}");
        assert!(json["colony"].as_array().unwrap().is_empty(), "{told}");
        assert!(![out, err, told].concat().contains("s3cret"), "a secret is shown: {uri}");
    }
}

#[tokio::test]
async fn a_container_without_an_account_is_told_word_for_word() {
    if std::env::vars().any(|(name, _)| name.starts_with("AZURE_")) {
        println!("not tried: this shell names an account; open.rs's own tests stand for it");
        return;
    }
    let (out, err, code) = run_at("az://c", ShownAs::Table).await;
    let expected = "storage az://c
  wrong the storage can be opened: cannot use 'az://c' as storage: it names no storage account
        do: set AZURE_STORAGE_ACCOUNT_NAME, or add ?account_name=… to the uri
do not write here: the store could not be asked
";
    assert_eq!((out.as_str(), code), (expected, 1));
    let expected = "error: cannot use 'az://c' as storage: it names no storage account
hint: set AZURE_STORAGE_ACCOUNT_NAME, or add ?account_name=… to the uri
";
    assert_eq!(err, expected);
}
