//! History and verification: what a frame tells of itself, and that nothing which is wrong with it stays unsaid.

use bytes::Bytes;

use super::{scribe::Scribe, *};
use crate::Kind;

/// A frame with two appends of one cell each, and a compaction of both.
async fn worked_on(bucket: &Bucket) -> (Frames, Arc<FrameRecord>) {
    let frame = make(bucket).await;
    let frames = Frames::new(bucket.clone());
    for n in [1, 2] {
        commit(bucket, &frames, &frame, append(&frame, id(n), 10 * n)).await;
    }
    let removes = frames.snapshot(&frame).await.unwrap().cells.iter().map(|cell| cell.path()).collect();
    commit(bucket, &frames, &frame, Transaction { kind: Kind::Compaction, removes, ..append(&frame, id(3), 30) }).await;
    (frames, frame)
}

async fn commit(bucket: &Bucket, frames: &Frames, frame: &FrameRecord, txn: Transaction) {
    bucket.put(&txn.adds[0].key(), Bytes::from_static(b"0123456789")).await.unwrap();
    let base = frames.snapshot(frame).await.unwrap();
    let outcome = frames.commit(frame, base, txn).await.unwrap();
    assert!(matches!(outcome, CommitOutcome::Committed { .. }), "{outcome:?}");
}

async fn problems(bucket: &Bucket, frame: &FrameRecord) -> Vec<String> {
    let (report, _) = Frames::new(bucket.clone()).verify(frame).await.unwrap();
    assert_eq!(report.problems.len() as u64, report.problems_total);
    assert!(report.problems.iter().all(|problem| !problem.advice.is_empty()));
    report.problems.into_iter().map(|problem| format!("{}: {}", problem.object, problem.what)).collect()
}

#[tokio::test]
async fn history_tells_newest_first_what_each_version_did() {
    let bucket = Bucket::in_memory();
    let (frames, frame) = worked_on(&bucket).await;
    let history = frames.history(&frame, 100).await.unwrap();
    assert!(!history.older_cleaned);
    let moved = |moved: Moved| (moved.rows.unwrap(), moved.cells, moved.bytes);
    let told: Vec<_> = history
        .entries
        .iter()
        .map(|e| (e.version.0, e.operation.as_str(), e.transactions, moved(e.added), moved(e.removed)))
        .collect();
    assert_eq!(
        told,
        [
            (3, "compaction", 1, (30, 1, 10), (30, 2, 20)),
            (2, "append", 1, (20, 1, 10), (0, 0, 0)),
            (1, "append", 1, (10, 1, 10), (0, 0, 0)),
            (0, "create", 1, (0, 0, 0), (0, 0, 0)),
        ]
    );
    assert_eq!(frames.history(&frame, 2).await.unwrap().entries, history.entries[..2]);
}

#[tokio::test]
async fn history_ends_where_the_log_was_cleaned_and_what_is_missing_is_not_said_to_be_cleaned_away() {
    let bucket = Bucket::in_memory();
    let (frames, frame) = worked_on(&bucket).await;
    bucket.delete(&layout::ledger_entry(&frame.folder, Version(1))).await.unwrap();
    let error = frames.history(&frame, 100).await.unwrap_err();
    let told = error.to_string();
    assert!(error.kind() == ErrorKind::Corrupt && told.contains("it was not cleaned away"), "{told}");
    assert!(told.contains(layout::ledger_entry(&frame.folder, Version(1)).as_str()), "{told}");
    assert_eq!(frames.history(&frame, 2).await.unwrap().entries.len(), 2);
    bucket.put(&layout::fence(&frame.id, 0), Bytes::from_static(b"{}")).await.unwrap();
    let history = frames.history(&frame, 100).await.unwrap();
    assert_eq!(history.entries.iter().map(|entry| entry.version.0).collect::<Vec<_>>(), [3, 2]);
    assert!(history.older_cleaned);
}

#[tokio::test]
async fn a_frame_that_is_whole_is_found_clean_and_orphans_are_no_fault() {
    let bucket = Bucket::in_memory();
    let (frames, frame) = worked_on(&bucket).await;
    bucket.put(&layout::cell(&frame.folder, &id(9), 0), Bytes::from_static(b"1234567")).await.unwrap();
    let (report, snapshot) = frames.verify(&frame).await.unwrap();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!((report.version, report.oldest, report.entries), (Some(Version(3)), Some(Version(0)), 4));
    assert_eq!((report.cells, report.rows, report.bytes, report.older_cells), (1, 30, 10, 2));
    assert_eq!((report.orphans, report.orphan_bytes), (1, 7));
    assert_eq!(snapshot.unwrap().version, Version(3));
}

#[tokio::test]
async fn whatever_is_missing_or_changed_is_named() {
    let bucket = Bucket::in_memory();
    let (frames, frame) = worked_on(&bucket).await;
    let cell = frames.snapshot(&frame).await.unwrap().cells[0].key();
    let entry = |v| layout::ledger_entry(&frame.folder, Version(v));

    bucket.put(&cell, Bytes::from_static(b"012345678")).await.unwrap();
    assert_eq!(problems(&bucket, &frame).await, [format!("{cell}: it is cut short: it has 9 of 10 bytes")]);
    bucket.delete(&cell).await.unwrap();
    assert_eq!(problems(&bucket, &frame).await, [format!("{cell}: it is missing")]);
    bucket.put(&cell, Bytes::from_static(b"0123456789")).await.unwrap();
    assert!(problems(&bucket, &frame).await.is_empty());

    let whole = bucket.get(&entry(2)).await.unwrap().unwrap();
    let text = String::from_utf8(whole.to_vec()).unwrap();
    let changed = text.replace("\"node\":\"n\"", "\"node\":\"m\"");
    bucket.put(&entry(2), changed.clone().into()).await.unwrap();
    let found = problems(&bucket, &frame).await;
    assert!(found.len() == 1 && found[0].starts_with(&format!("{}: its bytes do not", entry(2))), "{found:?}");
    bucket.put(&entry(2), crate::sum::summed(changed.into())).await.unwrap();
    let found = problems(&bucket, &frame).await;
    assert!(found.len() == 1 && found[0].starts_with(&format!("{}: it does not follow", entry(3))), "{found:?}");
    bucket.put(&entry(2), whole.slice(..whole.len() / 2)).await.unwrap();
    let found = problems(&bucket, &frame).await;
    assert!(found.len() == 1 && found[0].starts_with(entry(2).as_str()), "{found:?}");
    bucket.delete(&entry(2)).await.unwrap();
    let found = problems(&bucket, &frame).await;
    assert_eq!(found[0], format!("{}: it is missing, and later entries are there", entry(2)));
}

#[tokio::test]
async fn a_frame_without_a_ledger_is_a_problem_and_no_panic() {
    let bucket = Bucket::in_memory();
    let frame = make(&bucket).await;
    bucket.delete(&layout::ledger_entry(&frame.folder, Version(0))).await.unwrap();
    assert_eq!(problems(&bucket, &frame).await.len(), 1);
    let error = Frames::new(bucket.clone()).snapshot(&frame).await.unwrap_err();
    assert!(matches!(error, LedgerError::LedgerMissing { .. }) && error.kind() == ErrorKind::Corrupt, "{error}");
    assert!(error.hint().unwrap().contains("DROP FRAME"));
}

/// A history of every kind of entry with two checkpoints, so many entries before each, and the cells of its newest
/// version.
async fn with_checkpoints(bucket: &Bucket, steps: [u64; 2]) -> (Frames, FrameRecord) {
    let mut scribe = Scribe::begin(bucket, 5).await;
    let frames = Frames::new(bucket.clone());
    let frame = scribe.frame.clone();
    for entries in steps {
        scribe.write(entries).await;
        assert!(frames.checkpoint(&frame).await.unwrap().written);
    }
    scribe.write(12).await;
    for cell in &scribe.now.cells {
        let body = vec![0; usize::try_from(cell.size_bytes).unwrap()];
        bucket.put(&cell.key(), body.into()).await.unwrap();
    }
    (frames, frame)
}

#[tokio::test]
async fn every_checkpoint_is_held_against_the_entries_before_it() {
    let bucket = Bucket::in_memory();
    let (frames, frame) = with_checkpoints(&bucket, [20, 25]).await;
    let (report, _) = frames.verify(&frame).await.unwrap();
    assert!(report.is_clean(), "{:?}", report.problems);
    assert_eq!((report.entries, report.checkpoints), (58, 2));

    // A copy of another checkpoint, with its checksum, in the place of this one.
    let (here, there) = (Version(20), Version(45));
    for key in [layout::checkpoint, layout::checksum] {
        let body = bucket.get(&key(&frame.folder, there)).await.unwrap().unwrap();
        bucket.put(&key(&frame.folder, here), body).await.unwrap();
    }
    let found = problems(&bucket, &frame).await;
    let named = layout::checkpoint(&frame.folder, here);
    assert!(found.len() == 1 && found[0].starts_with(named.as_str()), "{found:?}");
    // Without its checksum nobody takes it for ours.
    bucket.delete(&layout::checksum(&frame.folder, here)).await.unwrap();
    assert!(problems(&bucket, &frame).await.is_empty());
}

#[tokio::test]
async fn a_log_that_was_cleaned_is_checked_from_its_first_entry_and_a_gap_without_a_fence_is_a_loss() {
    let bucket = Bucket::in_memory();
    let (frames, frame) = with_checkpoints(&bucket, [1000, 30]).await;
    let entry = |v| layout::ledger_entry(&frame.folder, Version(v));
    bucket.put(&layout::fence(&frame.id, 0), Bytes::from_static(b"{}")).await.unwrap();
    // A cleanup that was cut off: some of the epoch is still there.
    for version in (0..400).chain(500..1024) {
        bucket.delete(&entry(version)).await.unwrap();
    }
    let (report, newest) = Frames::new(bucket.clone()).verify(&frame).await.unwrap();
    assert!(report.is_clean(), "{:?}", report.problems);
    assert_eq!((report.oldest, report.entries, report.checkpoints), (Some(Version(1024)), 19, 1));
    assert_eq!(newest.unwrap().cells, frames.snapshot(&frame).await.unwrap().cells);

    bucket.delete(&layout::fence(&frame.id, 0)).await.unwrap();
    let found = problems(&bucket, &frame).await;
    assert_eq!(found, [format!("{}: it is missing, and later entries are there", entry(1023))]);
    bucket.delete(&layout::checksum(&frame.folder, Version(1030))).await.unwrap();
    let found = problems(&bucket, &frame).await;
    assert!(found.len() == 2 && found[1].contains("are gone, and no checkpoint stands for them"), "{found:?}");
}
