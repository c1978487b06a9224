//! Cleaning a log: what may go goes, everything else reads as before, whenever the cleanup is cut; and whoever slept
//! meanwhile notices.

use std::{sync::Arc, time::Duration};

use apiary_bucket::layout;
use apiary_core::{ErrorKind, Version};

use super::{
    super::{Frames, listing::Listing},
    aged::{Aged, Dial},
    scribe::{Scribe, assert_same, log, objects},
};
use crate::{LedgerError, Snapshot, fence::EPOCH_VERSIONS};

const DAY: Duration = Duration::from_secs(24 * 3600);
const RETENTION: Duration = Duration::from_secs(7 * 24 * 3600);

async fn cold(scribe: &Scribe) -> Arc<Snapshot> {
    Frames::new(scribe.bucket.clone()).snapshot(&scribe.frame).await.unwrap()
}

async fn checkpoint(scribe: &Scribe) {
    assert!(Frames::new(scribe.bucket.clone()).checkpoint(&scribe.frame).await.unwrap().written);
}

/// A frame of 2 500 versions, whose checkpoint at 2 300 and everything before is eight days old.
async fn old(aged: &Aged, seed: u64) -> Scribe {
    let mut scribe = Scribe::begin(&aged.bucket(), seed).await;
    for _ in 0..2 {
        scribe.write_small(1_150).await;
        checkpoint(&scribe).await;
    }
    aged.pass(8 * DAY);
    scribe.write_small(100).await;
    checkpoint(&scribe).await;
    scribe.write_small(100).await;
    scribe
}

async fn clean(scribe: &Scribe) -> crate::Result<super::super::CleanReport> {
    Frames::new(scribe.bucket.clone()).clean_log(&scribe.frame, RETENTION).await
}

async fn fences(scribe: &Scribe) -> Vec<u64> {
    let listed = scribe.bucket.list(&layout::fence_prefix(&scribe.frame.id), None, 100).await.unwrap();
    listed.iter().map(|fence| layout::parse_fence(&scribe.frame.id, &fence.key).unwrap()).collect()
}

/// Everything that must read reads as it was.
async fn check(scribe: &Scribe) {
    assert_same(&cold(scribe).await, &scribe.now);
    let frames = Frames::new(scribe.bucket.clone());
    for version in [2_300, 2_399, 2_401] {
        let read = frames.snapshot_at(&scribe.frame, Version(version)).await.unwrap();
        assert_same(&read, &scribe.history[usize::try_from(version).unwrap()]);
    }
}

#[tokio::test]
async fn whole_epochs_below_an_old_checkpoint_go_and_nothing_else() {
    let aged = Aged::default();
    let scribe = old(&aged, 1).await;
    let before = objects(&scribe.bucket, &scribe.frame).await;
    let report = clean(&scribe).await.unwrap();
    assert_eq!((report.below, report.epochs, report.entries), (Some(Version(2_300)), 2, 2_048));
    assert_eq!((report.checkpoints, fences(&scribe).await), (1, vec![0, 1]));
    check(&scribe).await;
    let after = objects(&scribe.bucket, &scribe.frame).await;
    assert_eq!(before.len() - after.len(), 2_050);
    assert_eq!(
        report.bytes,
        before.iter().filter(|(key, _)| !after.contains_key(*key)).map(|o| o.1.len() as u64).sum::<u64>()
    );
    assert!(
        after
            .keys()
            .all(|key| !key.ends_with(".json") || *key > layout::ledger_from(&scribe.frame.folder, Version(2_048)))
    );
    // Older versions are told apart from versions that never were.
    for version in [0, 1_150, 2_047, 2_048, 2_299] {
        let error = Frames::new(scribe.bucket.clone()).snapshot_at(&scribe.frame, Version(version)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains("2300 to 2500"), "{error}");
    }
    // Once more finds nothing to do.
    let again = clean(&scribe).await.unwrap();
    assert_eq!((again.below, again.epochs, again.entries), (Some(Version(2_300)), 0, 0));
}

#[tokio::test]
async fn nothing_goes_that_is_young_or_has_no_checkpoint_above_it_that_is_old_and_whole() {
    let aged = Aged::default();
    let mut scribe = Scribe::begin(&aged.bucket(), 2).await;
    scribe.write_small(1_200).await;
    let all = objects(&scribe.bucket, &scribe.frame).await.len();
    // No checkpoint at all; one that is young; one that is damaged; a retention too short to be safe.
    aged.pass(8 * DAY);
    assert_eq!(clean(&scribe).await.unwrap(), super::super::CleanReport::default());
    scribe.write_small(1).await;
    checkpoint(&scribe).await;
    assert_eq!(clean(&scribe).await.unwrap(), super::super::CleanReport::default());
    let short = Frames::new(scribe.bucket.clone()).clean_log(&scribe.frame, Duration::from_secs(60)).await;
    assert_eq!(short.unwrap_err().kind(), ErrorKind::InvalidInput);
    aged.pass(8 * DAY);
    let key = layout::checkpoint(&scribe.frame.folder, Version(1_201));
    let whole = scribe.bucket.get(&key).await.unwrap().unwrap();
    scribe.bucket.put(&key, whole.slice(..whole.len() - 1)).await.unwrap();
    assert_eq!(clean(&scribe).await.unwrap(), super::super::CleanReport::default());
    scribe.bucket.put(&key, whole).await.unwrap();
    // An entry after the checkpoint is missing: all that is left is needed.
    scribe.write_small(2).await;
    let (entry, hole) = (layout::ledger_entry(&scribe.frame.folder, Version(1_202)), Version(1_202));
    let body = scribe.bucket.get(&entry).await.unwrap().unwrap();
    scribe.bucket.delete(&entry).await.unwrap();
    let error = clean(&scribe).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Corrupt && error.to_string().contains(&format!("{hole}.json")), "{error}");
    scribe.bucket.put(&entry, body).await.unwrap();
    assert_eq!((fences(&scribe).await, objects(&scribe.bucket, &scribe.frame).await.len()), (vec![], all + 6));
    assert_eq!(clean(&scribe).await.unwrap().epochs, 1);
    assert_same(&cold(&scribe).await, &scribe.now);
}

#[tokio::test]
async fn a_cleanup_may_be_cut_at_every_request_and_run_again() {
    let aged = Aged::default();
    let scribe = old(&aged, 3).await;
    let mut cut = 0;
    // At every request up to the deletes, then at some of two thousand.
    loop {
        aged.cut_after(cut);
        let done = clean(&scribe).await;
        aged.mend();
        check(&scribe).await;
        let (gone, fenced) =
            (Listing::read(&log(&scribe.bucket, &scribe.frame), None, 10_000).await.unwrap(), fences(&scribe).await);
        // The fence is there before the first delete of its epoch.
        let first = gone.entries.first_key_value().unwrap().0.0;
        assert!((0..first / EPOCH_VERSIONS).all(|epoch| fenced.contains(&epoch)), "{first} {fenced:?}");
        assert!(
            (0..2u64)
                .all(|e| fenced.contains(&e) || gone.entries.range(Version(e * EPOCH_VERSIONS)..).count() >= 1_024)
        );
        match done {
            Ok(report) if report.entries == 0 => break,
            Ok(_) => {}
            Err(error) => assert!(matches!(error, LedgerError::Bucket(_)), "{error}"),
        }
        cut += if cut < 20 { 1 } else { 611 };
        assert!(cut < 5_000);
    }
    assert!(cut > 20, "{cut}");
}

#[tokio::test]
async fn a_frame_without_a_whole_checkpoint_above_its_fences_is_lost_and_says_so() {
    let aged = Aged::default();
    let scribe = old(&aged, 4).await;
    clean(&scribe).await.unwrap();
    let checkpoints = [2_300, 2_400].map(|v| layout::checkpoint(&scribe.frame.folder, Version(v)));
    for key in &checkpoints {
        scribe.bucket.put(key, "x".into()).await.unwrap();
        let read = Frames::new(scribe.bucket.clone()).snapshot(&scribe.frame).await;
        if key == &checkpoints[0] {
            assert_same(&read.unwrap(), &scribe.now);
        } else {
            let error = read.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt);
            assert!(checkpoints.iter().all(|key| error.to_string().contains(key.as_str())), "{error}");
        }
    }
}

#[tokio::test]
async fn a_reader_that_slept_while_its_slot_was_cleaned_away_comes_back_right() {
    for by_wall in [true, false] {
        let (aged, dial) = (Aged::default(), Arc::new(Dial::default()));
        let mut scribe = Scribe::begin(&aged.bucket(), 5).await;
        scribe.write_small(10).await;
        let sleeper = Frames::new(aged.bucket_at(Arc::clone(&dial)));
        assert_same(&sleeper.snapshot(&scribe.frame).await.unwrap(), &scribe.now);
        scribe.write_small(1_500).await;
        checkpoint(&scribe).await;
        aged.pass(8 * DAY);
        scribe.write_small(1).await;
        assert_eq!(clean(&scribe).await.unwrap().entries, 1_024);
        // The machine sleeps, and its wall clock may be set back meanwhile.
        if by_wall {
            dial.pass(8 * DAY)
        } else {
            dial.sleep_with_the_wall_clock_set_back(8 * DAY)
        }
        let read = sleeper.snapshot(&scribe.frame).await.unwrap();
        assert_same(&read, &scribe.now);
    }
}

#[tokio::test]
async fn a_reader_is_not_fooled_by_what_a_writer_that_slept_put_into_a_cleaned_slot() {
    let (aged, dial) = (Aged::default(), Arc::new(Dial::default()));
    let mut scribe = Scribe::begin(&aged.bucket(), 6).await;
    scribe.write_small(10).await;
    let (mut fork, sleeper) = (scribe.fork(), Frames::new(aged.bucket_at(Arc::clone(&dial))));
    sleeper.snapshot(&scribe.frame).await.unwrap();
    scribe.write_small(1_500).await;
    checkpoint(&scribe).await;
    aged.pass(8 * DAY);
    scribe.write_small(1).await;
    clean(&scribe).await.unwrap();
    // Slot 11, after the sleeper's own version: whole, and follows entry 10.
    fork.write_small(1).await;
    dial.pass(8 * DAY);
    assert_same(&sleeper.snapshot(&scribe.frame).await.unwrap(), &scribe.now);
    check_old(&scribe).await;
    // Cleaned like everything else, once it is old.
    assert_eq!(clean(&scribe).await.unwrap().entries, 0);
    aged.pass(8 * DAY);
    assert_eq!(clean(&scribe).await.unwrap().entries, 1);
    assert_same(&cold(&scribe).await, &scribe.now);
}

async fn check_old(scribe: &Scribe) {
    assert_same(&cold(scribe).await, &scribe.now);
    for version in [10, 11] {
        let error = Frames::new(scribe.bucket.clone()).snapshot_at(&scribe.frame, Version(version)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
}

#[tokio::test]
async fn a_warm_frame_costs_one_get_and_a_fence_each_minute() {
    let (aged, dial) = (Aged::default(), Arc::new(Dial::default()));
    let mut scribe = Scribe::begin(&aged.bucket_at(Arc::clone(&dial)), 7).await;
    let frames = Frames::new(scribe.bucket.clone());
    frames.snapshot(&scribe.frame).await.unwrap();
    let second = Duration::from_secs(1);
    for (pass, new, gets) in [
        (second, 0, 1),
        (58 * second, 0, 1),
        // A minute since the last confirmation.
        (second, 0, 2),
        (59 * second, 1, 2),
        (second, 1, 3),
        (second, 0, 1),
        (3600 * second, 0, 2),
    ] {
        dial.pass(pass);
        scribe.write_small(new).await;
        let before = aged.asked();
        assert_same(&frames.snapshot(&scribe.frame).await.unwrap(), &scribe.now);
        assert_eq!(aged.asked() - before, gets, "{pass:?} {new}");
    }
}
