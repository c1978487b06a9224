//! Decided creates, and the probe, over a store on which everything goes wrong.
#![expect(clippy::unwrap_used, reason = "a test ends where it fails")]

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use apiary_bucket::{Bucket, BucketError, Created, Key};
use apiary_core::{Clock, ErrorKind, ManualClock, SeededRng};
use apiary_faults::{Fault, FaultStore, MemoryStore, Op, Rates, Rule, Weakness};
use bytes::Bytes;
use futures::future::join_all;

const MINUTE: Duration = Duration::from_secs(60);

struct Kit {
    clock: ManualClock,
    memory: MemoryStore,
    store: FaultStore,
    bucket: Bucket,
}

fn kit(seed: u64) -> Kit {
    let clock = ManualClock::new();
    let shared: Arc<dyn Clock> = Arc::new(clock.clone());
    let memory = MemoryStore::new(Arc::clone(&shared));
    let store = FaultStore::new(Arc::new(memory.clone()), seed, Arc::clone(&shared));
    let bucket = Bucket::over(Arc::new(store.clone()), shared, Arc::new(SeededRng::new(seed)));
    Kit { clock, memory, store, bucket }
}

fn key() -> Key {
    Key::parse("h/b/f/_delta_log/00000000000000000001.json").unwrap()
}

#[tokio::test]
async fn one_create_under_each_fault_ends_as_it_must() {
    let unknown = "OutcomeUnknown";
    let table = [
        (Fault::Error, "Mine"),
        (Fault::Unavailable, "Mine"),
        (Fault::AppliedThenTimeout, "Mine"),
        (Fault::AppliedThenError, "Mine"),
        (Fault::AppliedThenExists, "Mine"),
        (Fault::BareConflict, "Mine"),
        (Fault::BarePrecondition, "Mine"),
        (Fault::Late(MINUTE), "Mine"),
        (Fault::Slow(MINUTE), "Mine"),
        (Fault::Hang, unknown),
        (Fault::AppliedThenHang, unknown),
        (Fault::LateAndHang(MINUTE), unknown),
        (Fault::Denied, "PermissionDenied"),
        (Fault::DiskFull, "Mine"),
    ];
    for (fault, expected) in table {
        let kit = kit(1);
        kit.store.script(Rule::on(Op::Create, fault));
        let ended = kit.clock.run(kit.bucket.put_if_absent_decided(&key(), Bytes::from_static(b"mine"))).await;
        let text = ended.map_or_else(|error| format!("{:?}", error.kind()), |created| format!("{created:?}"));
        assert_eq!(text, expected, "{fault:?}");
        assert!(kit.clock.monotonic() <= MINUTE * 3, "{fault:?}");
    }
}

#[tokio::test]
async fn a_store_that_goes_on_failing_leaves_the_outcome_unknown_and_says_so() {
    for fault in [Fault::Error, Fault::BareConflict, Fault::DiskFull] {
        let kit = kit(1);
        kit.store.script(Rule::on(Op::Create, fault).forever());
        let ended = kit.clock.run(kit.bucket.put_if_absent_decided(&key(), Bytes::from_static(b"mine"))).await;
        assert_eq!(ended.unwrap_err().kind(), ErrorKind::OutcomeUnknown, "{fault:?}");
        let bodies: Vec<usize> =
            kit.store.calls().iter().filter(|call| call.op == Op::Create).map(|call| call.bytes).collect();
        assert_eq!(bodies, [4; 8], "the same bytes, eight times");
    }
}

/// Six creators of each of four objects, with a new body each, in a storm of faults.
async fn race(seed: u64) -> BTreeMap<&'static str, usize> {
    let kit = kit(seed);
    let rates =
        Rates::storm(40).with(20, Fault::LateAndHang(MINUTE)).with(20, Fault::Slow(MINUTE)).with(15, Fault::Denied);
    kit.store.deal(Some(rates.late(MINUTE * 5)));
    let key = |slot: usize| Key::parse(&format!("slot/{slot}")).unwrap();
    let body = |slot: usize, creator: usize| Bytes::from(format!("slot {slot}, creator {creator}"));
    let create = async |slot: usize, creator: usize| {
        kit.clock.sleep(Duration::from_millis(kit.bucket.rng().below(3_000))).await;
        (slot, creator, kit.bucket.put_if_absent_decided(&key(slot), body(slot, creator)).await)
    };
    let all = (0..24).map(|i| create(i % 4, i / 4));
    let ends = kit.clock.run(join_all(all)).await;
    kit.store.calm();
    kit.store.land_late().await;
    let mut counts = BTreeMap::new();
    for (slot, creator, end) in ends {
        let there = kit.memory.body(key(slot).as_str());
        let what = match end {
            Ok(Created::Mine) => {
                assert_eq!(there, Some(body(slot, creator)), "seed {seed}: told that it is ours");
                "mine"
            }
            Ok(Created::Taken(other)) => {
                assert_eq!(there, Some(other.clone()), "seed {seed}: told whose it is");
                assert_ne!(other, body(slot, creator), "seed {seed}");
                "taken"
            }
            Err(BucketError::OutcomeUnknown { .. }) => "unknown",
            Err(_) => {
                assert_ne!(there, Some(body(slot, creator)), "seed {seed}: told that it is not there");
                "refused"
            }
        };
        *counts.entry(what).or_insert(0) += 1;
    }
    counts
}

#[tokio::test]
async fn what_creators_are_told_in_a_storm_stays_true_when_all_late_puts_have_landed() {
    let mut counts = BTreeMap::new();
    for seed in 0..300 {
        for (what, count) in race(seed).await {
            *counts.entry(what).or_insert(0) += count;
        }
    }
    eprintln!("{counts:?}");
    assert!(counts["mine"] > 800 && counts["taken"] > 3_000, "{counts:?}");
    assert!(counts["unknown"] > 10 && counts["refused"] > 10, "every end is met: {counts:?}");
}

#[tokio::test]
async fn a_body_that_ends_early_is_an_error_and_not_a_body() {
    let kit = kit(1);
    kit.bucket.put(&key(), Bytes::from_static(b"0123456789")).await.unwrap();
    kit.store.script(Rule::on(Op::Get, Fault::Truncated));
    let error = kit.bucket.get(&key()).await.unwrap_err();
    assert!(matches!(error, BucketError::Short { bytes: 10, .. }) && error.is_retryable(), "{error}");
    assert_eq!(kit.bucket.get(&key()).await.unwrap().unwrap(), "0123456789");
}

#[tokio::test]
async fn the_probe_says_what_keeps_it_from_asking_and_leaves_nothing() {
    for (op, kind) in [(Op::Create, ErrorKind::PermissionDenied), (Op::List, ErrorKind::PermissionDenied)] {
        let kit = kit(1);
        kit.store.script(Rule::on(op, Fault::Denied).nth(2));
        let error = kit.clock.run(kit.bucket.probe()).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(kit.memory.keys("").is_empty());
    }
    let kit = kit(1);
    kit.store.script(Rule::on(Op::Create, Fault::Hang));
    let error = kit.clock.run(kit.bucket.probe()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage, "{error}");
    assert!(kit.memory.keys("").is_empty());
}

#[tokio::test]
async fn a_store_whose_listings_lag_is_refused() {
    let kit = kit(1);
    kit.store.script(Rule::on(Op::List, Fault::Stale(2)).forever());
    let error = kit.bucket.probe().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConditionalPutUnsupported, "{error}");
    assert!(error.to_string().contains("its listing is"), "{error}");
}

#[tokio::test]
async fn weak_stores_are_refused_with_what_they_did() {
    let table = [
        (Weakness::IgnoresCondition, "ignores If-None-Match"),
        (Weakness::ChecksThenWrites, "of 16 racing creators of one object were told that they had won"),
    ];
    for (weakness, words) in table {
        let kit = kit(1);
        kit.store.weak(Some(weakness));
        let error = kit.bucket.probe().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConditionalPutUnsupported, "{error}");
        assert!(error.to_string().contains(words), "{error}");
        assert!(kit.memory.keys("").is_empty());
    }
}
