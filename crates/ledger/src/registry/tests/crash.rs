//! A process that dies at every single request of a change, with the request done or not: afterwards another process
//! uses, finishes or repeats it, and whatever was acknowledged is so.

use std::{sync::atomic::Ordering, time::Duration};

use apiary_core::{Clock, ManualClock};
use apiary_faults::{Fault, FaultStore, MemoryStore, Op, Rule};

use super::{
    mortal::{Death, mortal},
    *,
};

/// More requests than any change here makes.
const REQUESTS_MAX: u32 = 200;

/// Lets `change` be made by a process that dies at its nth request, for every n until it lives to the end, each time
/// in a colony of its own made of `paths`. `check` looks at what is left; it is told whether the change was
/// acknowledged. Returns how many deaths there were.
async fn everywhere(
    paths: &[&str],
    change: impl AsyncFn(&Registry) -> Result<()>,
    check: impl AsyncFn(&Bucket, bool, &str),
) -> u32 {
    let mut deaths = 0;
    for death in [Death::Before, Death::After] {
        for n in 0..=REQUESTS_MAX {
            assert!(n < REQUESTS_MAX, "it never ends");
            let bucket = Bucket::in_memory();
            colony(&bucket, paths).await;
            let (dying, left) = mortal(&bucket, n, death);
            let done = change(&Registry::new(dying)).await;
            let lived = left.load(Ordering::SeqCst) >= 0;
            assert!(!lived || done.is_ok(), "{done:?}");
            check(&bucket, done.is_ok(), &format!("{death:?} {n}: {done:?}")).await;
            if lived {
                break;
            }
            deaths += 1;
        }
    }
    deaths
}

/// No name leads nowhere, for a process that follows all of them once.
pub(super) async fn every_name_leads_somewhere(bucket: &Bucket, context: &str) {
    for record in Registry::new(bucket.clone()).namespace().await.unwrap().all_frames() {
        match Frames::new(bucket.clone()).snapshot(&record).await {
            Ok(_) => {}
            Err(LedgerError::Dropped { .. }) => {
                let names = Registry::new(bucket.clone()).namespace().await.unwrap();
                assert!(names.in_folder(&record.folder).is_none(), "{context}: {record:?}");
            }
            Err(error) => panic!("{context}: {error}"),
        }
    }
}

#[tokio::test]
async fn a_frame_that_was_half_created_is_there_or_can_be_created() {
    let deaths = everywhere(
        &["h", "h.b"],
        async |registry| registry.create_frame(&at("h.b.f"), &plain()).await.map(|_| ()),
        async |bucket, acknowledged, context| {
            every_name_leads_somewhere(bucket, context).await;
            if acknowledged {
                assert!(find(bucket, "h.b.f").await.is_ok(), "{context}");
            }
            Registry::new(bucket.clone()).create_frame(&at("h.b.f"), &plain()).await.expect(context);
            assert_eq!(find(bucket, "h.b.f").await.expect(context).version, Version(0));
        },
    )
    .await;
    // Two reads of the registry, version 0, the entry's read and its create.
    assert!(deaths >= 10, "{deaths}");
}

#[tokio::test]
async fn a_rename_is_done_or_not_at_all() {
    everywhere(
        &["h", "h.b", "h.b.f"],
        async |registry| registry.rename_frame(&at("h.b.f"), &at("h.b.g")).await,
        async |bucket, acknowledged, context| {
            every_name_leads_somewhere(bucket, context).await;
            let (old, new) = (find(bucket, "h.b.f").await.is_ok(), find(bucket, "h.b.g").await.is_ok());
            assert!(old != new, "{context}");
            assert!(new || !acknowledged, "{context}");
            if old {
                Registry::new(bucket.clone()).rename_frame(&at("h.b.f"), &at("h.b.g")).await.expect(context);
            }
        },
    )
    .await;
    everywhere(
        &["h", "h.b", "h.b.f"],
        async |registry| registry.rename_hive(&hive("h"), &hive("k")).await,
        async |bucket, acknowledged, context| {
            let (old, new) = (find(bucket, "h.b.f").await.is_ok(), find(bucket, "k.b.f").await.is_ok());
            assert!(old != new && (new || !acknowledged), "{context}");
        },
    )
    .await;
}

#[tokio::test]
async fn a_frame_that_was_half_dropped_is_dropped_by_whoever_sees_it() {
    let seen = std::sync::atomic::AtomicUsize::new(0);
    everywhere(
        &["h", "h.b", "h.b.f"],
        async |registry| registry.drop_frame(&at("h.b.f"), None).await.map(drop),
        async |bucket, acknowledged, context| {
            let names = Registry::new(bucket.clone()).namespace().await.unwrap();
            let named = names.frame("h", "b", "f").is_ok();
            match find(bucket, "h.b.f").await {
                Ok(_) => assert!(!acknowledged, "{context}"),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::NotFound, "{context}: {error}");
                    if named {
                        // Between the two logs: the reader has finished it.
                        seen.fetch_add(1, Ordering::SeqCst);
                        assert!(matches!(error, LedgerError::Dropped { .. }), "{context}: {error}");
                    }
                    let names = Registry::new(bucket.clone()).namespace().await.unwrap();
                    assert!(names.all_frames().is_empty(), "{context}");
                }
            }
            // Dropped again or not, the name is free for another then.
            let _ = Registry::new(bucket.clone()).drop_frame(&at("h.b.f"), None).await;
            let created = Registry::new(bucket.clone()).create_frame(&at("h.b.f"), &plain()).await;
            assert!(created.expect(context), "{context}");
            assert_eq!(find(bucket, "h.b.f").await.expect(context).version, Version(0));
            assert_eq!(folders(bucket).await.len(), 2);
        },
    )
    .await;
    assert!(seen.into_inner() >= 3, "no death between the two logs");
}

#[tokio::test]
async fn the_next_who_creates_or_renames_a_half_dropped_frame_finishes_the_drop() {
    for next in 0..3 {
        everywhere(
            &["h", "h.b", "h.b.f"],
            async |registry| registry.drop_frame(&at("h.b.f"), None).await.map(drop),
            async |bucket, acknowledged, context| {
                let registry = Registry::new(bucket.clone());
                match next {
                    0 => {
                        let other = spec(DataType::Utf8, &[]);
                        match registry.create_frame(&at("h.b.f"), &other).await {
                            Ok(created) => assert!(created, "{context}"),
                            Err(error) => {
                                assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{context}: {error}");
                                assert!(!acknowledged, "{context}");
                            }
                        }
                        find(bucket, "h.b.f").await.expect(context);
                    }
                    1 => match registry.rename_frame(&at("h.b.f"), &at("h.b.g")).await {
                        Ok(()) => assert!(find(bucket, "h.b.g").await.is_ok() && !acknowledged, "{context}"),
                        Err(error) => {
                            assert_eq!(error.kind(), ErrorKind::NotFound, "{context}: {error}");
                            assert!(registry.namespace().await.unwrap().all_frames().is_empty(), "{context}");
                        }
                    },
                    _ => {
                        // A box with nothing in it but a half-dropped frame is empty.
                        let alive = registry.namespace().await.unwrap().all_frames();
                        let alive = match alive.first() {
                            Some(frame) => frames_end(bucket, frame).await,
                            None => false,
                        };
                        let dropped = registry.drop_box(&hive("h"), &in_box("b"), false).await;
                        assert_eq!(dropped.is_ok(), !alive, "{context}: {dropped:?}");
                    }
                }
                every_name_leads_somewhere(bucket, context).await;
            },
        )
        .await;
    }
}

/// Whether a frame's ledger goes on, looked at without finishing anything.
async fn frames_end(bucket: &Bucket, frame: &FrameRecord) -> bool {
    let key = layout::ledger_entry(&frame.folder, Version(1));
    let entry = bucket.get(&key).await.unwrap();
    entry.is_none_or(|entry| !String::from_utf8_lossy(&entry).contains("DROP TABLE"))
}

#[tokio::test]
async fn a_hive_that_was_half_dropped_with_all_in_it_can_be_dropped_again() {
    let paths = ["h", "h.b", "h.b.f", "h.b.g", "h.c", "h.c.f", "k", "k.b", "k.b.f"];
    let deaths = everywhere(
        &paths,
        async |registry| registry.drop_hive(&hive("h"), true).await.map(drop),
        async |bucket, acknowledged, context| {
            let names = Registry::new(bucket.clone()).namespace().await.unwrap();
            assert!(names.hive("h").is_err() || !acknowledged, "{context}");
            // What is left of it is whole: each frame is there, or is dropped for everybody.
            every_name_leads_somewhere(bucket, context).await;
            let again = Registry::new(bucket.clone()).drop_hive(&hive("h"), true).await;
            assert!(again.is_ok() || again.is_err_and(|error| error.kind() == ErrorKind::NotFound), "{context}");
            let names = Registry::new(bucket.clone()).namespace().await.unwrap();
            assert_eq!((names.hives(), names.all_frames().len()), (vec![&hive("k")], 1), "{context}");
            // Nothing can be acknowledged in what is gone.
            find(bucket, "k.b.f").await.expect(context);
            colony(bucket, &["h", "h.b", "h.b.f"]).await;
            assert_eq!(find(bucket, "h.b.f").await.expect(context).version, Version(0));
        },
    )
    .await;
    assert!(deaths > 20, "{deaths}");
}

#[tokio::test]
async fn a_box_is_dropped_or_not_at_all() {
    everywhere(
        &["h", "h.b", "h.c"],
        async |registry| registry.drop_box(&hive("h"), &in_box("b"), false).await.map(drop),
        async |bucket, acknowledged, context| {
            let names = Registry::new(bucket.clone()).namespace().await.unwrap();
            let boxes = names.boxes(&hive("h")).unwrap().len();
            assert!(boxes == 1 || (boxes == 2 && !acknowledged), "{context}");
        },
    )
    .await;
}

#[tokio::test]
async fn a_frame_whose_name_may_still_arrive_is_not_deleted() {
    for last in [Fault::Error, Fault::Denied] {
        let clock = ManualClock::new();
        let memory = MemoryStore::new(Arc::new(clock.clone()));
        let over = |store: Arc<dyn object_store::ObjectStore>| {
            Bucket::over(store, Arc::new(clock.clone()), Arc::new(SeededRng::new(1)))
        };
        let bucket = over(Arc::new(memory.clone()));
        colony(&bucket, &["h", "h.b"]).await;
        let store = FaultStore::new(Arc::new(memory.clone()), 1, Arc::new(clock.clone()));
        // The entry that names the frame is held up, and from then on the registry cannot be reached.
        store.script(Rule::on(Op::Create, Fault::Late(Duration::from_secs(86_400))).keys("_apiary/registry/"));
        store.script(Rule::on(Op::Create, last).keys("_apiary/registry/").forever());
        let slot = layout::registry(Version(2));
        store.script(Rule::on(Op::Get, last).keys(slot.as_ref()).nth(3).forever());
        let registry = Registry::new(over(Arc::new(store.clone())));
        let created = clock.run(registry.create_frame(&at("h.b.f"), &plain())).await;
        assert!(created.is_err() && store.late() == 1, "{created:?}");
        assert_eq!(folders(&bucket).await.len(), 1, "{created:?}");
        store.calm();
        store.land_late().await;
        assert_eq!(find(&bucket, "h.b.f").await.unwrap().version, Version(0));
    }
}

/// One request of each kind is never answered, the nth for every n: each change and each sweep ends all the same.
#[tokio::test]
async fn a_request_that_is_never_answered_holds_nobody_up_for_ever() {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    for op in [Op::Get, Op::List, Op::Create, Op::Put, Op::Delete] {
        for nth in 1..=12 {
            let clock = ManualClock::new();
            let memory = MemoryStore::new(Arc::new(clock.clone()));
            let store = FaultStore::new(Arc::new(memory), 1, Arc::new(clock.clone()));
            let bucket = Bucket::over(Arc::new(store.clone()), Arc::new(clock.clone()), Arc::new(SeededRng::new(1)));
            let registry = clock.run(colony(&bucket, &["h", "h.b", "h.b.f"])).await;
            store.script(Rule::on(op, Fault::Hang).nth(nth));
            let work = async {
                let _ = registry.create_frame(&at("h.b.g"), &plain()).await;
                let _ = registry.rename_frame(&at("h.b.g"), &at("h.b.i")).await;
                let _ = registry.drop_frame(&at("h.b.f"), None).await;
                clock.sleep(8 * DAY).await;
                let options = crate::VacuumOptions { run: true, ..Default::default() };
                let _ = crate::sweep(&bucket, &registry, &options).await;
            };
            let ended = clock.run(apiary_core::within(&clock, 10 * DAY, work)).await;
            assert!(ended.is_some(), "the {nth}th {op:?} was never answered, and nothing ended");
        }
    }
}
