//! What is gone is gone for everybody, and nothing can be acknowledged in it any more.

use super::*;
use crate::CommitOutcome;

#[tokio::test]
async fn nothing_is_acknowledged_after_a_drop() {
    let bucket = Bucket::in_memory();
    let registry = colony(&bucket, &["h", "h.b", "h.b.f"]).await;
    let record = registry.namespace().await.unwrap().frame("h", "b", "f").unwrap();
    let frames = Frames::new(bucket.clone());
    let base = frames.snapshot(&record).await.unwrap();
    registry.drop_frame(&at("H.b.F"), None).await.unwrap();
    // A writer and a reader that began before.
    let error = frames.commit(&record, Arc::clone(&base), append(&record, 1)).await.unwrap_err();
    assert!(matches!(error, LedgerError::Dropped { .. }), "{error}");
    for frames in [frames, Frames::new(bucket.clone())] {
        let error = frames.snapshot(&record).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert_eq!(error.to_string(), "there is no frame 'h.b.f' any more: it was dropped");
        assert!(error.hint().unwrap().contains("SHOW FRAMES"));
        assert!(frames.known(&record).is_none());
    }
    // The reader still holds its snapshot, and what it names is still in the bucket.
    assert_eq!((base.version, folders(&bucket).await.len()), (Version(0), 1));
    assert_eq!(registry.drop_frame(&at("h.b.f"), None).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn dropping_and_creating_again_never_meets_the_old_rows() {
    let bucket = Bucket::in_memory();
    let registry = colony(&bucket, &["h", "h.b", "h.b.f"]).await;
    let frames = Frames::new(bucket.clone());
    for round in 0..3 {
        let record = registry.namespace().await.unwrap().frame("h", "b", "f").unwrap();
        let base = frames.snapshot(&record).await.unwrap();
        assert_eq!((base.version, base.rows()), (Version(0), 0));
        let outcome = frames.commit(&record, base, append(&record, round)).await.unwrap();
        assert!(matches!(outcome, CommitOutcome::Committed { .. }));
        registry.drop_frame(&at("h.b.f"), None).await.unwrap();
        assert!(registry.create_frame(&at("h.b.f"), &plain()).await.unwrap());
    }
}

#[tokio::test]
async fn a_drop_that_expects_a_version_spares_what_changed() {
    let bucket = Bucket::in_memory();
    let registry = colony(&bucket, &["h", "h.b", "h.b.f"]).await;
    let frames = Frames::new(bucket.clone());
    let record = registry.namespace().await.unwrap().frame("h", "b", "f").unwrap();
    let base = frames.snapshot(&record).await.unwrap();
    frames.commit(&record, base, append(&record, 1)).await.unwrap();
    let error = registry.drop_frame(&at("h.b.f"), Some(Version(0))).await.unwrap_err();
    assert_eq!(error.to_string(), "the frame 'h.b.f' is at version 1, not 0; nothing was changed");
    assert_eq!(find(&bucket, "h.b.f").await.unwrap().rows(), 3);
    registry.drop_frame(&at("h.b.f"), Some(Version(1))).await.unwrap();
}

#[tokio::test]
async fn what_is_not_empty_goes_only_with_all_that_is_in_it() {
    let bucket = Bucket::in_memory();
    let registry = colony(&bucket, &["h", "h.b", "h.b.f", "h.b.g", "h.c", "i"]).await;
    let error = registry.drop_box(&hive("H"), &in_box("B"), false).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(error.to_string(), "the box 'h.b' is not empty: it holds 2 frames");
    assert!(error.hint().unwrap().contains("DROP BOX … CASCADE"));
    let error = registry.drop_hive(&hive("h"), false).await.unwrap_err();
    assert_eq!(error.to_string(), "the hive 'h' is not empty: it holds 2 boxes, 2 frames");
    assert!(find(&bucket, "h.b.f").await.is_ok() && find(&bucket, "h.b.g").await.is_ok());
    registry.drop_box(&hive("h"), &in_box("c"), false).await.unwrap();
    registry.drop_hive(&hive("i"), false).await.unwrap();
    let before = registry.namespace().await.unwrap();
    registry.drop_box(&hive("h"), &in_box("b"), true).await.unwrap();
    let after = registry.namespace().await.unwrap();
    // One entry for all of it.
    assert_eq!(after.version, before.version.map(Version::next));
    for record in before.all_frames() {
        assert_eq!(Frames::new(bucket.clone()).snapshot(&record).await.unwrap_err().kind(), ErrorKind::NotFound);
    }
    registry.drop_hive(&hive("h"), true).await.unwrap();
    assert_eq!(registry.namespace().await.unwrap().hives().len(), 0);
    for error in [
        registry.drop_hive(&hive("h"), true).await.unwrap_err(),
        registry.drop_box(&hive("h"), &in_box("b"), true).await.unwrap_err(),
        registry.drop_frame(&at("h.b.f"), None).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert_eq!(error.to_string(), "there is no hive 'h'");
    }
}

#[tokio::test]
async fn a_frame_that_was_created_meanwhile_is_dropped_with_its_box() {
    let bucket = Bucket::in_memory();
    let registry = colony(&bucket, &["h", "h.b", "h.b.f"]).await;
    let names = registry.namespace().await.unwrap();
    let other = Registry::new(bucket.clone());
    other.create_frame(&at("h.b.late"), &plain()).await.unwrap();
    // Decided on names that are old: the registry refuses to lose a frame unawares.
    let changes = vec![
        Change::Drop(Thing::Frame(FrameRecord::clone(&names.frame("h", "b", "f").unwrap()))),
        Change::Drop(Thing::Box { hive: hive("h"), box_name: in_box("b") }),
    ];
    assert!(!registry.write(&names, changes).await.unwrap());
    registry.drop_box(&hive("h"), &in_box("b"), true).await.unwrap();
    let names = other.namespace().await.unwrap();
    assert!(names.boxes(&hive("h")).unwrap().is_empty());
}

/// Takes away every object of a frame's ledger.
async fn lose_ledger(bucket: &Bucket, record: &FrameRecord) {
    let prefix = apiary_bucket::layout::ledger_prefix(&record.folder);
    for object in bucket.list(&prefix, None, 10_000).await.unwrap() {
        bucket.delete(&apiary_bucket::Key::parse(&object.key).unwrap()).await.unwrap();
    }
}

#[tokio::test]
async fn a_frame_whose_ledger_is_missing_can_be_dropped_and_is_said_to_have_had_none() {
    let bucket = Bucket::in_memory();
    let registry = colony(&bucket, &["h", "h.b", "h.b.f"]).await;
    let record = registry.namespace().await.unwrap().frame("h", "b", "f").unwrap();
    let frames = Frames::new(bucket.clone());
    let base = frames.snapshot(&record).await.unwrap();
    lose_ledger(&bucket, &record).await;
    let error = registry.drop_frame(&at("h.b.f"), Some(Version(0))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "nobody can say that it is at the version that was expected");
    let report = registry.drop_frame(&at("h.b.f"), None).await.unwrap();
    assert_eq!(report.without_ledger, [at("h.b.f")]);
    assert!(report.note().unwrap().starts_with("nothing was left of the ledger of 'h.b.f',"));
    assert_eq!(registry.drop_frame(&at("h.b.f"), None).await.unwrap_err().kind(), ErrorKind::NotFound);
    // A writer who knew it as it was is not told that it wrote to what is dropped.
    let told = frames.commit(&record, base, append(&record, 1)).await;
    assert!(matches!(&told, Err(error) if error.kind() == ErrorKind::OutcomeUnknown), "{told:?}");
    // The name is free, and another frame of that name is another.
    assert!(registry.create_frame(&at("h.b.f"), &plain()).await.unwrap());
    assert_eq!(find(&bucket, "h.b.f").await.unwrap().rows(), 0);
}

#[tokio::test]
async fn a_frame_that_others_dropped_and_swept_is_not_said_to_have_lost_its_ledger() {
    let bucket = Bucket::in_memory();
    let registry = colony(&bucket, &["h", "h.b", "h.b.f"]).await;
    let record = registry.namespace().await.unwrap().frame("h", "b", "f").unwrap();
    registry.drop_frame(&at("h.b.f"), None).await.unwrap();
    lose_ledger(&bucket, &record).await;
    let error = registry.end(&record, None).await.unwrap_err();
    assert!(matches!(error, LedgerError::Dropped { .. }), "{error}");
    let error = Frames::new(bucket.clone()).snapshot(&record).await.unwrap_err();
    assert!(matches!(error, LedgerError::Dropped { .. }), "{error}");
}

#[tokio::test]
async fn frames_without_ledgers_go_with_their_box_and_only_if_all_of_it_shall_go() {
    let bucket = Bucket::in_memory();
    let registry = colony(&bucket, &["h", "h.b", "h.b.f", "h.b.g", "h.b.i"]).await;
    let names = registry.namespace().await.unwrap();
    for name in ["f", "g"] {
        lose_ledger(&bucket, &names.frame("h", "b", name).unwrap()).await;
    }
    let error = registry.drop_box(&hive("h"), &in_box("b"), false).await.unwrap_err();
    assert!(matches!(error, LedgerError::NotEmpty { .. }), "{error}");
    let report = registry.drop_box(&hive("h"), &in_box("b"), true).await.unwrap();
    assert_eq!(report.without_ledger, [at("h.b.f"), at("h.b.g")]);
    assert!(report.note().unwrap().contains("'h.b.f' and of 1 more"));
    assert_eq!(registry.drop_hive(&hive("h"), false).await.unwrap().note(), None);
}

#[tokio::test]
async fn a_drop_without_a_ledger_that_stopped_before_the_name_went_is_finished_by_whoever_looks() {
    let bucket = Bucket::in_memory();
    let registry = colony(&bucket, &["h", "h.b", "h.b.f"]).await;
    let record = registry.namespace().await.unwrap().frame("h", "b", "f").unwrap();
    lose_ledger(&bucket, &record).await;
    registry.end(&record, None).await.unwrap();
    let error = find(&bucket, "h.b.f").await.unwrap_err();
    assert!(matches!(error, LedgerError::Dropped { .. }), "{error}");
    assert!(registry.namespace().await.unwrap().in_folder(&record.folder).is_none());
}
