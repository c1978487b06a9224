//! Each fault does what its name says, and nothing else.

use apiary_core::{ManualClock, clock::within};
use object_store::{MultipartUpload, ObjectStoreExt, PutMode, PutOptions, PutResult};

use super::*;
use crate::MemoryStore;

const MINUTE: Duration = Duration::from_secs(60);

struct Kit {
    clock: ManualClock,
    memory: MemoryStore,
    store: FaultStore,
}

fn kit() -> Kit {
    let clock = ManualClock::new();
    let memory = MemoryStore::new(Arc::new(clock.clone()));
    let store = FaultStore::new(Arc::new(memory.clone()), 1, Arc::new(clock.clone()));
    Kit { clock, memory, store }
}

impl Kit {
    async fn create(&self, key: &str, body: &'static str) -> Result<PutResult> {
        self.store.put_opts(&key.into(), body.into(), PutOptions::from(PutMode::Create)).await
    }

    async fn read(&self, key: &str) -> Option<Bytes> {
        self.store.get(&key.into()).await.ok()?.bytes().await.ok()
    }

    async fn names(&self) -> Vec<String> {
        let listed: Vec<ObjectMeta> = self.store.list(None).try_collect().await.unwrap();
        listed.into_iter().map(|meta| meta.location.to_string()).collect()
    }
}

#[tokio::test]
async fn each_fault_of_a_create_writes_or_does_not_and_answers_as_it_says() {
    let table = [
        (Fault::Error, false, Outcome::Failed),
        (Fault::Unavailable, false, Outcome::Failed),
        (Fault::AppliedThenTimeout, true, Outcome::Failed),
        (Fault::AppliedThenError, true, Outcome::Failed),
        (Fault::AppliedThenExists, true, Outcome::Exists),
        (Fault::BareConflict, false, Outcome::Exists),
        (Fault::BarePrecondition, false, Outcome::Exists),
        (Fault::Denied, false, Outcome::Denied),
        (Fault::DiskFull, false, Outcome::Failed),
        (Fault::Slow(MINUTE), true, Outcome::Ok),
        (Fault::Hang, false, Outcome::Unanswered),
        (Fault::AppliedThenHang, true, Outcome::Unanswered),
        (Fault::Late(MINUTE), false, Outcome::Failed),
        (Fault::LateAndHang(MINUTE), false, Outcome::Unanswered),
    ];
    for (fault, is_written, outcome) in table {
        let kit = kit();
        kit.store.script(Rule::on(Op::Create, fault));
        let answer = kit.clock.run(within(&kit.clock, MINUTE * 2, kit.create("k", "1"))).await;
        assert_eq!(answer.is_none(), outcome == Outcome::Unanswered, "{fault:?}");
        assert_eq!(kit.memory.body("k").is_some(), is_written, "{fault:?}");
        let calls = kit.store.calls();
        assert_eq!((calls.len(), calls[0].outcome, calls[0].bytes), (1, outcome, 1), "{fault:?}");
        assert_eq!(kit.store.rules_left(), 0);
    }
}

#[tokio::test]
async fn a_late_put_arrives_in_its_time_and_keeps_its_condition() {
    for taken in [false, true] {
        let kit = kit();
        kit.store.script(Rule::on(Op::Create, Fault::Late(MINUTE * 5)));
        assert!(kit.create("k", "late").await.is_err());
        if taken {
            kit.create("k", "first").await.unwrap();
        }
        kit.clock.advance(MINUTE * 4);
        assert_eq!(kit.read("k").await.as_deref(), taken.then_some(&b"first"[..]));
        assert_eq!(kit.store.late(), 1);
        kit.clock.advance(MINUTE);
        assert_eq!(kit.read("k").await.unwrap(), if taken { "first" } else { "late" });
        assert_eq!(kit.store.late(), 0);
    }
}

#[tokio::test]
async fn late_puts_land_or_are_lost_on_demand() {
    let kit = kit();
    kit.store.script(Rule::on(Op::Create, Fault::Late(MINUTE)).times(2));
    let _ = (kit.create("a", "1").await, kit.create("b", "1").await);
    kit.store.land_late().await;
    assert_eq!(kit.memory.keys(""), ["a", "b"]);
    kit.store.script(Rule::on(Op::Put, Fault::Late(MINUTE)));
    assert!(kit.store.put(&"c".into(), "1".into()).await.is_err());
    kit.store.lose_late();
    kit.store.land_late().await;
    assert_eq!(kit.memory.keys(""), ["a", "b"]);
}

#[tokio::test]
async fn broken_bodies_are_short_or_differ_in_one_bit() {
    let kit = kit();
    kit.create("k", "0123456789").await.unwrap();
    kit.store.script(Rule::any(Fault::Truncated));
    let short = kit.read("k").await.unwrap();
    assert!(short.len() < 10 && b"0123456789".starts_with(&short));
    kit.store.script(Rule::any(Fault::Flipped));
    let flipped = kit.read("k").await.unwrap();
    let bits: u32 = flipped.iter().zip(b"0123456789").map(|(a, b)| (a ^ b).count_ones()).sum();
    assert_eq!((flipped.len(), bits), (10, 1));
    assert_eq!(kit.read("k").await.unwrap(), "0123456789");
}

#[tokio::test]
async fn a_stale_listing_is_one_of_the_past() {
    let kit = kit();
    for key in ["a", "b"] {
        kit.create(key, "1").await.unwrap();
    }
    kit.store.delete(&"a".into()).await.unwrap();
    kit.create("c", "1").await.unwrap();
    kit.store.put(&"b".into(), "2".into()).await.unwrap();
    for (back, expected) in [(0, vec!["b", "c"]), (1, vec!["b"]), (2, vec!["a", "b"]), (3, vec!["a"]), (9, vec![])] {
        kit.store.script(Rule::on(Op::List, Fault::Stale(back)));
        assert_eq!(kit.names().await, expected, "{back} changes back");
    }
}

#[tokio::test]
async fn pages_are_calls_and_see_what_came_in_between() {
    let kit = kit();
    for key in ["a", "b", "d"] {
        kit.create(key, "1").await.unwrap();
    }
    kit.store.pages_of(2);
    let mut listing = kit.store.list(None);
    assert_eq!(listing.next().await.unwrap().unwrap().location.as_ref(), "a");
    kit.memory.set("c", Some("1".into()));
    let rest: Vec<ObjectMeta> = listing.try_collect().await.unwrap();
    assert_eq!(rest.iter().map(|meta| meta.location.as_ref()).collect::<Vec<_>>(), ["b", "c", "d"]);
    assert_eq!(kit.store.count(Op::List, ""), 3);
}

#[tokio::test]
async fn a_listing_without_order_has_all_names() {
    let kit = kit();
    kit.store.ordered(false);
    let keys: Vec<String> = (0..20).map(|i| format!("{i:02}")).collect();
    for key in &keys {
        kit.create(key, "1").await.unwrap();
    }
    let mut listed = kit.names().await;
    assert_ne!(listed, keys);
    listed.sort();
    assert_eq!(listed, keys);
}

#[tokio::test]
async fn rights_and_space_end_and_come_back() {
    let kit = kit();
    kit.store.space(Some(3));
    kit.create("a", "12").await.unwrap();
    assert!(kit.create("b", "12").await.unwrap_err().to_string().contains("no space left"));
    kit.create("c", "1").await.unwrap();
    kit.store.deny(&[Op::Get, Op::List]);
    assert!(kit.read("a").await.is_none() && kit.store.list(None).try_next().await.is_err());
    kit.store.calm();
    assert_eq!(kit.names().await, ["a", "c"]);
    kit.create("b", "12").await.unwrap();
}

#[tokio::test]
async fn slow_calls_take_their_time_and_act_in_the_middle() {
    let kit = kit();
    kit.store.latency(MINUTE);
    let call = kit.create("k", "1");
    let early = within(&kit.clock, MINUTE / 4, call);
    assert!(kit.clock.run(early).await.is_none(), "dropped before the store acts");
    assert!(kit.memory.body("k").is_none());
    let dropped = kit.clock.run(within(&kit.clock, MINUTE * 3 / 4, kit.create("k", "1"))).await;
    assert!(dropped.is_none() && kit.memory.body("k").is_some(), "dropped on the way back");
}

#[tokio::test]
async fn an_upload_meets_faults_in_its_parts_and_at_its_end() {
    let kit = kit();
    for (op, fault, is_there) in [
        (Op::Part, Fault::Error, false),
        (Op::Complete, Fault::Error, false),
        (Op::Complete, Fault::AppliedThenError, true),
    ] {
        kit.store.script(Rule::on(op, fault));
        let mut upload = kit.store.put_multipart(&"u".into()).await.unwrap();
        let part = upload.put_part("12".into()).await;
        let end = if part.is_ok() { upload.complete().await.map(drop) } else { part };
        assert!(end.is_err(), "{op:?}");
        assert_eq!(kit.memory.body("u").is_some(), is_there, "{op:?} {fault:?}");
    }
}

#[tokio::test]
async fn the_same_seed_gives_the_same_history() {
    let history = async || {
        let kit = kit();
        kit.store.deal(Some(Rates::storm(30).with(20, Fault::Stale(3))));
        for i in 0..200 {
            let _ = kit.create(&format!("{}", i % 50), "1").await;
            let _ = kit.store.list(None).try_collect::<Vec<_>>().await;
            kit.clock.advance(MINUTE);
        }
        kit.store.calls()
    };
    let (one, two) = (history().await, history().await);
    assert_eq!(one, two);
    assert!(one.iter().filter(|call| call.met.is_some()).count() > 50);
}

#[tokio::test]
async fn ages_are_by_the_clock_that_was_given_and_a_fork_is_apart() {
    let kit = kit();
    kit.create("k", "1").await.unwrap();
    let age = async |store: &MemoryStore| {
        kit.clock.wall_ms() - store.head(&"k".into()).await.unwrap().last_modified.timestamp_millis()
    };
    kit.clock.advance(MINUTE);
    assert_eq!(age(&kit.memory).await, 60_000);
    let fork = kit.memory.fork();
    assert_eq!(fork.age("", 1_000), 1);
    fork.set("new", Some("1".into()));
    assert_eq!((age(&fork).await, age(&kit.memory).await), (61_000, 60_000));
    assert_eq!((fork.keys("").len(), kit.memory.keys("").len()), (2, 1));
}
