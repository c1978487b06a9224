//! Group commit: who shares an entry, who does not, and what each is told.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use apiary_bucket::layout;
use apiary_core::{Clock, ManualClock};
use apiary_faults::{Fault as StoreFault, FaultStore, Op, Rule};
use futures::future::join_all;
use object_store::memory::InMemory;

use super::{
    super::{
        committing::FrameProposal,
        line::{choose, linger},
    },
    lab::{Lab, Rows, partition, word},
    *,
};
use crate::Scope;

fn key(name: &str, digest: &str) -> Option<IdempotencyKey> {
    Some(IdempotencyKey { scope: "me".into(), key: name.into(), digest: digest.into() })
}

async fn lab(store: &Faulty) -> (Lab, Arc<Snapshot>) {
    let lab = Lab::new(over(store)).await;
    let base = lab.frames.snapshot(&lab.frame).await.unwrap();
    (lab, base)
}

async fn all(lab: &Lab, base: &Arc<Snapshot>, txns: Vec<Transaction>) -> Vec<Result<CommitOutcome>> {
    join_all(txns.into_iter().map(|txn| lab.commit(base, txn))).await
}

async fn rows(lab: &Lab) -> Rows {
    lab.rows_in(&lab.cold().await.unwrap(), None)
}

fn versions(told: &[Result<CommitOutcome>]) -> Vec<u64> {
    let version = |told: &Result<CommitOutcome>| match told {
        Ok(CommitOutcome::Committed { version, .. } | CommitOutcome::AlreadyApplied { version, .. }) => version.0,
        other => panic!("{other:?}"),
    };
    told.iter().map(version).collect()
}

#[tokio::test]
async fn who_comes_while_a_put_is_under_way_shares_the_next_entry() {
    let (lab, base) = lab(&Faulty::default()).await;
    let txns = (1..=100).map(|n| lab.append(id(n), ("a", n))).collect();
    let told = all(&lab, &base, txns).await;
    let versions = versions(&told);
    // All were in the line before the task that flies them had its turn, or all but the first few.
    assert!(versions.iter().max().unwrap() <= &3, "{versions:?}");
    assert_eq!(rows(&lab).await, (1..=100).map(|n| ("a", n)).collect::<Rows>());
    // The next one goes straight for its slot, against a base that is older than the last entry.
    let before = lab.bucket.counters().snapshot();
    assert_eq!(word(&lab.commit(&base, lab.append(id(101), ("b", 1))).await), "commit");
    let after = lab.bucket.counters().snapshot();
    assert_eq!((after.puts - before.puts, after.gets - before.gets), (1, 1), "a put, and a look for the fence");
}

#[tokio::test]
async fn each_is_answered_for_itself_whatever_the_store_answers() {
    for faults in [
        vec![],
        vec![Fault::AppliedThenError],
        vec![Fault::AppliedThenExists],
        vec![Fault::BareConflict, Fault::Lost],
        vec![Fault::Lost, Fault::BareConflict, Fault::AppliedThenError],
    ] {
        let store = Faulty::default();
        let (lab, base) = lab(&store).await;
        // One key is in the log already, with another digest; one id is doomed.
        let other = Frames::new(lab.bucket.clone());
        let used = lab.append(id(1), ("a", 1)).with_idem(key("used", "d"));
        other.commit(&lab.frame, Arc::clone(&base), used).await.unwrap();
        other.commit(&lab.frame, Arc::clone(&base), Transaction::vacuum(id(2), "n", vec![id(12)])).await.unwrap();
        store.script(faults.clone());
        let txns = vec![
            lab.append(id(10), ("a", 10)),
            lab.append(id(11), ("a", 11)).with_idem(key("used", "other")),
            lab.append(id(12), ("a", 12)),
            lab.append(id(13), ("a", 1)).with_idem(key("used", "d")),
            lab.append(id(14), ("a", 14)),
        ];
        let told: Vec<&str> = all(&lab, &base, txns).await.iter().map(word).collect();
        assert_eq!(told, ["commit", "reused", "abort", "applied", "commit"], "{faults:?}");
        store.release_lost().await;
        assert_eq!(rows(&lab).await, [("a", 1), ("a", 10), ("a", 14)], "{faults:?}");
    }
}

#[tokio::test]
async fn two_under_one_key_never_share_an_entry_and_the_second_is_told() {
    let (lab, base) = lab(&Faulty::default()).await;
    let txns = vec![
        lab.append(id(1), ("a", 1)).with_idem(key("k", "d")),
        lab.append(id(2), ("a", 1)).with_idem(key("k", "d")),
        lab.append(id(3), ("a", 3)).with_idem(key("k", "other")),
        lab.append(id(4), ("a", 4)),
    ];
    // The very same transaction, twice at once.
    let twice = lab.append(id(5), ("a", 5));
    let txns = txns.into_iter().chain([twice.clone(), twice]).collect();
    let told = all(&lab, &base, txns).await;
    let words: Vec<&str> = told.iter().map(word).collect();
    assert_eq!(words, ["commit", "applied", "reused", "commit", "commit", "commit"]);
    assert_eq!(rows(&lab).await, [("a", 1), ("a", 4), ("a", 5)]);
}

#[tokio::test]
async fn a_flight_that_is_sealed_aborts_all_its_members_and_its_late_put_loses() {
    let store = Faulty::default();
    let (lab, base) = lab(&store).await;
    store.script(vec![Fault::Lost; 12]);
    let txns = (1..=5).map(|n| lab.append(id(n), ("a", n))).collect();
    let told = all(&lab, &base, txns).await;
    let aborted = told.iter().filter(|told| word(told) == "abort").count();
    assert!(aborted >= 1, "{told:?}");
    store.release_lost().await;
    let there: BTreeSet<u64> = rows(&lab).await.into_iter().map(|(_, n)| n).collect();
    let acknowledged = told.iter().zip(1..).filter(|(told, _)| word(told) == "commit").map(|(_, n)| n);
    assert_eq!(there, acknowledged.collect::<BTreeSet<u64>>());
    // Sealed once, dead for ever; the line goes on.
    assert_eq!(word(&lab.commit(&base, lab.append(id(9), ("a", 9))).await), "commit");
}

#[tokio::test]
async fn who_goes_away_takes_nobody_along() {
    let (lab, base) = lab(&Faulty::default()).await;
    let gone = id(1);
    {
        let mut left = Box::pin(lab.commit(&base, lab.append(gone, ("a", 1))));
        assert!(futures::poll!(&mut left).is_pending());
    }
    let told = all(&lab, &base, (2..=4).map(|n| lab.append(id(n), ("a", n))).collect()).await;
    assert!(told.iter().all(|told| word(told) == "commit"), "{told:?}");
    lab.frames.drain().await;
    let there = rows(&lab).await;
    assert!(there == [("a", 2), ("a", 3), ("a", 4)], "who left before take-off is left out: {there:?}");
}

#[tokio::test]
async fn a_frame_that_is_dropped_tells_everyone_in_the_line() {
    let (lab, base) = lab(&Faulty::default()).await;
    Frames::new(lab.bucket.clone())
        .commit(&lab.frame, Arc::clone(&base), Transaction::drop_frame(id(1), "n"))
        .await
        .unwrap();
    let told = all(&lab, &base, (2..=4).map(|n| lab.append(id(n), ("a", n))).collect()).await;
    assert!(told.iter().all(|told| word(told) == "dropped"), "{told:?}");
}

#[tokio::test]
async fn below_a_fence_nothing_is_acknowledged_and_nothing_is_left() {
    let (lab, base) = lab(&Faulty::default()).await;
    // The epoch was cleaned away under a sleeper: its slots look free.
    let fence = layout::fence(&lab.frame.id, 0);
    lab.bucket.put(&fence, bytes::Bytes::from_static(b"{}")).await.unwrap();
    let told = all(&lab, &base, (1..=3).map(|n| lab.append(id(n), ("a", n))).collect()).await;
    for told in &told {
        assert!(told.as_ref().is_err_and(|error| !matches!(error, LedgerError::Dropped { .. })), "{told:?}");
    }
    let slot = layout::ledger_entry(&lab.frame.folder, Version(1));
    assert_eq!(lab.bucket.get(&slot).await.unwrap(), None);
}

/// Two fly together: the line's own past tells one that it is in the log, and what befalls the other ends the flight.
async fn one_leaves_and_the_flight_ends_early(again: TxnId, reads: bool, fence: &str) -> [Result<CommitOutcome>; 2] {
    let clock = QuickClock::default();
    let store = FaultStore::new(Arc::new(InMemory::new()), 7, Arc::new(clock.clone()));
    let bucket = Bucket::over(Arc::new(store.clone()), Arc::new(clock.clone()), Arc::new(SeededRng::new(7)));
    let lab = Lab::new(bucket).await;
    let base = lab.frames.snapshot(&lab.frame).await.unwrap();
    let one = |id| lab.append(id, ("a", 1)).with_idem(key("k", "d"));
    assert_eq!(word(&lab.commit(&base, one(id(1))).await), "commit");
    let slot = layout::ledger_entry(&lab.frame.folder, Version(2));
    if reads {
        // Too long ago to go straight for the next slot.
        clock.sleep(Duration::from_secs(60)).await;
        store.script(Rule::on(Op::Get, StoreFault::Error).keys(slot.as_ref()).forever());
    } else {
        store.script(Rule::on(Op::Create, StoreFault::Denied).keys(slot.as_ref()));
    }
    match fence {
        "there" => {
            // As after a cleanup: nothing is left that could tell.
            for version in [0, 1].map(Version) {
                lab.bucket.delete(&layout::ledger_entry(&lab.frame.folder, version)).await.unwrap();
            }
            lab.bucket.put(&layout::fence(&lab.frame.id, 0), bytes::Bytes::from_static(b"{}")).await.unwrap();
        }
        "unread" => {
            let fences = layout::fence_prefix(&lab.frame.id);
            store.script(Rule::on(Op::Get, StoreFault::Error).keys(&fences).forever());
        }
        _ => {}
    }
    let told = all(&lab, &base, vec![one(again), lab.append(id(3), ("a", 3))]).await;
    told.try_into().unwrap()
}

#[tokio::test]
async fn who_left_a_flight_that_ends_early_is_told_nothing_before_its_fence_was_looked_for() {
    let fences = ["none", "there", "unread"];
    for (reads, fence) in [false, true].into_iter().flat_map(|reads| fences.map(|fence| (reads, fence))) {
        for (again, known) in [(id(1), "commit"), (id(2), "applied")] {
            let [left, stayed] = one_leaves_and_the_flight_ends_early(again, reads, fence).await;
            let what = format!("{reads} {fence}: {left:?} {stayed:?}");
            assert!(stayed.is_err_and(|error| error.kind() != ErrorKind::OutcomeUnknown), "{what}");
            if fence == "none" {
                assert_eq!(word(&left), known, "{what}");
                continue;
            }
            let error = left.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{what}");
            assert!(fence == "there" || error.to_string().contains("00000000000000000001.json"), "{what}");
        }
    }
}

#[test]
fn a_gate_stays_open_for_a_part_of_what_a_put_took_if_there_was_company() {
    let after = |members, ms| linger(members, Duration::from_millis(ms)).map(|moment| moment.as_micros());
    assert_eq!([after(0, 32), after(1, 32), after(2, 32), after(256, 32)], [None, None, Some(2000), Some(2000)]);
    assert_eq!(
        [after(9, 15), after(9, 16), after(9, 160), after(9, 600_000)],
        [None, Some(1000), Some(10_000), Some(10_000)]
    );
}

/// Every request takes 20 ms. A writer makes its rows in 2, uploads them, commits them, and begins again; four groups of
/// writers began one flight apart, so that a flight takes off whenever another has landed.
#[tokio::test]
async fn writers_who_come_back_catch_the_flight_that_takes_off_as_they_come() {
    let (own, request) = (Duration::from_millis(2), Duration::from_millis(20));
    let clock = ManualClock::new();
    let store = FaultStore::new(Arc::new(InMemory::new()), 7, Arc::new(clock.clone()));
    let lab =
        Lab::new(Bucket::over(Arc::new(store.clone()), Arc::new(clock.clone()), Arc::new(SeededRng::new(7)))).await;
    let base = lab.frames.snapshot(&lab.frame).await.unwrap();
    store.latency(request);
    let rounds = 10;
    let writer = async |n: u64| {
        clock.sleep(request * (n % 4) as u32).await;
        for round in 0..rounds {
            clock.sleep(own + request).await;
            let row = 100 * round + n;
            assert_eq!(word(&lab.commit(&base, lab.append(id(row), ("a", row))).await), "commit");
        }
    };
    clock.run(join_all((1..=12).map(writer))).await;
    // In three flights a round: 64 ms and what the gate takes. In four, and it was four: 80 ms and more.
    let each = clock.monotonic() / rounds as u32;
    assert!(each < Duration::from_millis(75), "{each:?} a round");
}

#[test]
fn a_group_is_bounded() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (lab, base) = runtime.block_on(lab(&Faulty::default()));
    let proposal = |n: u64| FrameProposal::for_test(&base, lab.append(id(n), ("a", n)));
    let mut waiting: VecDeque<FrameProposal> = (0..600).map(proposal).collect();
    let sizes: Vec<usize> = (0..3).map(|_| choose(&mut waiting).len()).collect();
    assert_eq!((sizes, waiting.len()), (vec![256, 256, 88], 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_of_five_hundred_appends_each_lose_nothing() {
    let lab = Arc::new(Lab::new(Bucket::in_memory()).await);
    let write = |writer: u64| {
        let (lab, frames) = (Arc::clone(&lab), Frames::new(lab.bucket.clone()));
        async move {
            let one = |n: u64| {
                let (lab, frames) = (Arc::clone(&lab), frames.clone());
                async move {
                    let row = ("a", writer * 1_000 + n);
                    // Bounded: others are faster at most a few times in a row.
                    for attempt in 0..20 {
                        let base = frames.snapshot(&lab.frame).await.unwrap();
                        let txn = lab.append(id(writer * 1_000_000 + n * 100 + attempt), row);
                        match word(&frames.commit(&lab.frame, base, txn).await) {
                            "commit" => return,
                            "fail" => {}
                            other => panic!("{other}"),
                        }
                    }
                    panic!("no end");
                }
            };
            for from in (0..500).step_by(20) {
                join_all((from..from + 20).map(one)).await;
            }
        }
    };
    let (a, b) = tokio::join!(tokio::spawn(write(1)), tokio::spawn(write(2)));
    a.unwrap();
    b.unwrap();
    let wanted: Rows = [1, 2].into_iter().flat_map(|w| (0..500).map(move |n| ("a", w * 1_000 + n))).collect();
    assert_eq!(rows(&lab).await, wanted);
}

/// Commits what `make` makes of the newest version, again and again until it is in; says whether it ever was.
async fn insist(lab: &Lab, frames: &Frames, make: impl Fn(&Snapshot) -> Option<Transaction>) -> bool {
    for _ in 0..50 {
        let base = frames.snapshot(&lab.frame).await.unwrap();
        let Some(txn) = make(&base) else { return false };
        match word(&frames.commit(&lab.frame, base, txn).await) {
            "commit" => return true,
            "fail" | "rerun" => {}
            other => panic!("{other}"),
        }
    }
    false
}

/// A thousand versions by two who append, one who overwrites the other partition and one who merges, each in a process
/// of its own, while readers look: what was acknowledged is there at once and stays, and no version is half a one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_of_every_kind_at_once_lose_nothing_and_readers_see_whole_versions() {
    let lab = Arc::new(Lab::new(Bucket::in_memory()).await);
    let ids = Arc::new(std::sync::atomic::AtomicU64::new(1));
    let done = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let order = std::sync::atomic::Ordering::SeqCst;
    let next = move |ids: &std::sync::atomic::AtomicU64| id(ids.fetch_add(1, order));
    insist(&lab, &lab.frames, |_| Some(lab.append(next(&ids), ("b", 0)))).await;
    let mut work = tokio::task::JoinSet::new();
    for writer in 0..2u64 {
        let (lab, ids, done) = (Arc::clone(&lab), Arc::clone(&ids), Arc::clone(&done));
        work.spawn(async move {
            let frames = Frames::new(lab.bucket.clone());
            for n in 0..500 {
                let row = ("a", writer * 1_000 + n);
                assert!(insist(&lab, &frames, |_| Some(lab.append(next(&ids), row))).await);
                done.fetch_add(1, order);
            }
        });
    }
    {
        let (lab, ids) = (Arc::clone(&lab), Arc::clone(&ids));
        work.spawn(async move {
            let frames = Frames::new(lab.bucket.clone());
            for n in 1..=80 {
                let scope = || Scope::Partitions(vec![partition("b")]);
                let over = |id| Transaction::overwrite(id, "n", vec![lab.cell(id, 0, &vec![("b", n)], 0)], scope());
                assert!(insist(&lab, &frames, |_| Some(over(next(&ids)))).await);
            }
        });
    }
    {
        let (lab, ids, done) = (Arc::clone(&lab), Arc::clone(&ids), Arc::clone(&done));
        work.spawn(async move {
            let frames = Frames::new(lab.bucket.clone());
            while done.load(order) < 1_000 {
                // Writers come first: how often a merge gets through is luck.
                insist(&lab, &frames, |base| lab.compact(next(&ids), base, "a")).await;
                tokio::task::yield_now().await;
            }
        });
    }
    for _ in 0..2 {
        let (lab, done) = (Arc::clone(&lab), Arc::clone(&done));
        work.spawn(async move {
            let frames = Frames::new(lab.bucket.clone());
            let (mut last, mut rows) = (Version(0), 0);
            while done.load(order) < 1_000 {
                let acknowledged = done.load(order);
                let snapshot = frames.snapshot(&lab.frame).await.unwrap();
                let (a, b) = (lab.rows_in(&snapshot, Some("a")), lab.rows_in(&snapshot, Some("b")));
                assert!(snapshot.version >= last && a.len() >= rows && a.len() as u64 >= acknowledged);
                assert!(a.windows(2).all(|pair| pair[0] < pair[1]), "a row is there twice");
                assert_eq!(b.len(), 1);
                (last, rows) = (snapshot.version, a.len());
                tokio::task::yield_now().await;
            }
        });
    }
    while let Some(ended) = work.join_next().await {
        ended.unwrap();
    }
    let newest = lab.cold().await.unwrap();
    assert!(newest.version >= Version(1_000), "{}", newest.version);
    let wanted: Rows = [0, 1].into_iter().flat_map(|w| (0..500).map(move |n| ("a", w * 1_000 + n))).collect();
    assert_eq!(lab.rows_in(&newest, Some("a")), wanted);
    assert_eq!(lab.rows_in(&newest, Some("b")), [("b", 80)]);
}
