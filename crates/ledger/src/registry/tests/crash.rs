//! A process that dies at every single request of a change, with the request done or not: afterwards another process
//! uses, finishes or repeats it, and whatever was acknowledged is so.

use std::sync::atomic::Ordering;

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
async fn every_name_leads_somewhere(bucket: &Bucket, context: &str) {
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
