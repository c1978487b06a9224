//! Many who change names at once.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn creators_of_different_names_do_not_starve() {
    let bucket = Bucket::in_memory();
    colony(&bucket, &["h", "h.b"]).await;
    let create = |i: usize| {
        let registry = Registry::new(bucket.clone());
        async move {
            for n in 0..8_u32 {
                assert!(registry.create_frame(&at(&format!("h.b.f{i}_{n}")), &plain()).await.unwrap());
            }
        }
    };
    for task in (0..8).map(create).map(tokio::spawn).collect::<Vec<_>>() {
        task.await.unwrap();
    }
    let names = Registry::new(bucket.clone()).namespace().await.unwrap();
    assert_eq!((names.all_frames().len(), names.version), (64, Some(Version(65))));
    assert_eq!(folders(&bucket).await.len(), 64);
}

#[tokio::test]
async fn what_is_renamed_meanwhile_is_looked_for_again() {
    let bucket = Bucket::in_memory();
    let other = colony(&bucket, &["h", "h.b"]).await;
    let registry = Registry::new(bucket.clone());
    let names = registry.namespace().await.unwrap();
    // Decided on names that are old by the time they are written.
    let frame = FrameRecord { path: at("h.b.f"), id: "0123abcd".to_owned().try_into().unwrap(), folder: "x".into() };
    other.rename_hive(&hive("h"), &hive("k")).await.unwrap();
    assert!(!registry.write(&names, vec![Change::Create(Thing::Frame(frame))]).await.unwrap());
    // A case is another spelling of the same name: whoever was on the way commits, and finds himself respelled.
    let names = registry.namespace().await.unwrap();
    other.rename_hive(&hive("k"), &hive("K")).await.unwrap();
    let change = Change::Create(Thing::Box { hive: hive("k"), box_name: in_box("c") });
    assert!(registry.write(&names, vec![change]).await.unwrap());
    assert_eq!(registry.namespace().await.unwrap().boxes(&hive("K")).unwrap().len(), 2);
}
