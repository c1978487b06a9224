//! Checkpoints: whatever is written, damaged, half done or lied about, a frame opens to what its entries say, or names
//! what is lost.

use std::sync::Arc;

use apiary_bucket::{Bucket, Key, layout};
use apiary_core::{ErrorKind, Rng, SeededRng, Version};
use apiary_faults::{Fault as StoreFault, FaultStore, Op, Rule};
use bytes::Bytes;
use object_store::memory::InMemory;

use super::{
    super::Frames,
    aged::Aged,
    append_many,
    faulty::QuickClock,
    id, make,
    scribe::{Scribe, assert_same, objects},
};
use crate::CommitOutcome;

async fn cold(scribe: &Scribe) -> Arc<crate::Snapshot> {
    Frames::new(scribe.bucket.clone()).snapshot(&scribe.frame).await.unwrap()
}

fn requests(bucket: &Bucket) -> [u64; 3] {
    let counted = bucket.counters().snapshot();
    [counted.gets, counted.lists, counted.puts]
}

#[tokio::test]
async fn a_cold_frame_costs_four_requests_its_tail_and_one_that_finds_the_end() {
    let mut scribe = Scribe::begin(&Aged::default().bucket(), 1).await;
    scribe.write(150).await;
    Frames::new(scribe.bucket.clone()).checkpoint(&scribe.frame).await.unwrap();
    for tail in [0, 1, 7, 100] {
        scribe.write(tail).await;
        let before = requests(&scribe.bucket);
        assert_same(&cold(&scribe).await, &scribe.now);
        let after = requests(&scribe.bucket);
        let since = scribe.now.version.0 - 150;
        // Hint, checkpoint, checksum, tail, end; and one list.
        assert_eq!([after[0] - before[0], after[1] - before[1], after[2] - before[2]], [3 + since + 1, 1, 0]);
    }
}

#[tokio::test]
async fn a_large_entry_gets_its_checkpoint_from_whoever_wrote_it() {
    const CELLS: u32 = 32_000;
    let bucket = Bucket::in_memory();
    let frame = make(&bucket).await;
    let frames = Frames::new(bucket.clone());
    for (seed, cells) in [(1, 1), (2, CELLS)] {
        let before = requests(&bucket);
        let base = frames.snapshot(&frame).await.unwrap();
        let outcome = frames.commit(&frame, base, append_many(&frame, id(seed), 5, cells)).await.unwrap();
        assert_eq!(outcome, CommitOutcome::Committed { version: Version(seed), retries: 0 });
        frames.drain().await;
        // The entry; and its checkpoint, the checksum and the hint.
        let puts = if cells == CELLS { 4 } else { 1 };
        assert_eq!(requests(&bucket)[2] - before[2], puts);
    }
    let size = bucket.get(&layout::ledger_entry(&frame.folder, Version(2))).await.unwrap().unwrap().len();
    assert!(size > 8 << 20, "{size} bytes");
    let before = requests(&bucket);
    let opened = Frames::new(bucket.clone()).snapshot(&frame).await.unwrap();
    assert_eq!((opened.version, opened.cells.len()), (Version(2), CELLS as usize + 1));
    let after = requests(&bucket);
    assert_eq!([after[0] - before[0], after[1] - before[1]], [4, 1]);
}

#[tokio::test]
async fn the_same_snapshot_makes_the_same_bytes_however_it_was_come_by() {
    let mut scribe = Scribe::begin(&Aged::default().bucket(), 2).await;
    let warm = Frames::new(scribe.bucket.clone());
    for _ in 0..3 {
        scribe.write(40).await;
        // From the entry before the last, from a checkpoint with a tail, and from the first entry on.
        warm.snapshot(&scribe.frame).await.unwrap();
        let one = warm.checkpoint(&scribe.frame).await.unwrap();
        assert!(one.written);
        let key = layout::checkpoint(&scribe.frame.folder, one.version);
        let crc = layout::checksum(&scribe.frame.folder, one.version);
        let bodies = [scribe.bucket.get(&key).await.unwrap(), scribe.bucket.get(&crc).await.unwrap()];
        for forget in [1, u64::MAX] {
            for key in objects(&scribe.bucket, &scribe.frame).await.keys() {
                let key = Key::parse(key).unwrap();
                if key.as_str().contains("checkpoint")
                    && (forget > 1 || key.as_str().contains(&one.version.to_string()))
                {
                    scribe.bucket.delete(&key).await.unwrap();
                }
            }
            scribe.bucket.delete(&crc).await.unwrap();
            let again = Frames::new(scribe.bucket.clone()).checkpoint(&scribe.frame).await.unwrap();
            assert_eq!(again, one);
            let written = [scribe.bucket.get(&key).await.unwrap(), scribe.bucket.get(&crc).await.unwrap()];
            assert!(written == bodies && bodies[0].is_some());
        }
    }
}

#[tokio::test]
async fn replay_from_any_checkpoint_equals_replay_from_the_first_entry_at_every_version() {
    for seed in 0..2 {
        let mut scribe = Scribe::begin(&Aged::default().bucket(), seed).await;
        let rng = SeededRng::new(seed);
        for _ in 0..4 {
            scribe.write(rng.below(20)).await;
            Frames::new(scribe.bucket.clone()).checkpoint(&scribe.frame).await.unwrap();
            scribe.write(rng.below(8)).await;
            assert_same(&cold(&scribe).await, &scribe.now);
        }
        let frames = Frames::new(scribe.bucket.clone());
        for then in &scribe.history {
            let read = frames.snapshot_at(&scribe.frame, then.version).await.unwrap();
            assert_same(&read, then);
        }
        let later = scribe.now.version.next();
        let error = frames.snapshot_at(&scribe.frame, later).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains(&format!("0 to {}", scribe.now.version)), "{error}");
    }
}

#[tokio::test]
async fn a_damaged_checkpoint_costs_time_and_never_truth() {
    let mut scribe = Scribe::begin(&Aged::default().bucket(), 3).await;
    let frames = Frames::new(scribe.bucket.clone());
    scribe.write(12).await;
    frames.checkpoint(&scribe.frame).await.unwrap();
    scribe.write(3).await;
    let newest = frames.checkpoint(&scribe.frame).await.unwrap().version;
    scribe.write(2).await;
    let rng = SeededRng::new(5);
    for key in [layout::checkpoint(&scribe.frame.folder, newest), layout::checksum(&scribe.frame.folder, newest)] {
        let whole = scribe.bucket.get(&key).await.unwrap().unwrap();
        let mut broken: Vec<Vec<u8>> = (0..whole.len()).step_by(256).map(|at| whole[..at].to_vec()).collect();
        for _ in 0..40 {
            let mut flipped = whole.to_vec();
            let bit = usize::try_from(rng.below(whole.len() as u64 * 8)).unwrap();
            flipped[bit / 8] ^= 1 << (bit % 8);
            broken.push(flipped);
        }
        broken.push([whole.as_ref(), b"\n"].concat());
        // A foreign one, as another writer of Delta would leave it.
        broken.push(br#"{"tableSizeBytes":1,"numFiles":1,"numMetadata":1,"numProtocol":1}"#.to_vec());
        for body in broken {
            scribe.bucket.put(&key, body.into()).await.unwrap();
            let read = cold(&scribe).await;
            assert_same(&read, &scribe.now);
            assert_eq!(read.tail().checkpoint, Some(Version(12)));
        }
        scribe.bucket.delete(&key).await.unwrap();
        assert_same(&cold(&scribe).await, &scribe.now);
        scribe.bucket.put(&key, whole).await.unwrap();
    }
    assert_eq!(cold(&scribe).await.tail().checkpoint, Some(newest));
}

#[tokio::test]
async fn a_checkpoint_of_another_frame_or_version_is_not_believed() {
    let aged = Aged::default();
    let mut scribe = Scribe::begin(&aged.bucket(), 4).await;
    let frames = Frames::new(scribe.bucket.clone());
    scribe.write(10).await;
    frames.checkpoint(&scribe.frame).await.unwrap();
    scribe.write(10).await;
    // Under a later name, whole in itself: its checksum says another version.
    for of in [layout::checkpoint, layout::checksum] {
        let body = scribe.bucket.get(&of(&scribe.frame.folder, Version(10))).await.unwrap().unwrap();
        scribe.bucket.put(&of(&scribe.frame.folder, Version(15)), body).await.unwrap();
    }
    let read = cold(&scribe).await;
    assert_same(&read, &scribe.now);
    assert_eq!(read.tail().checkpoint, Some(Version(10)));
    // Of another frame, under the right name and version.
    let mut other = Scribe::begin(&aged.bucket(), 5).await;
    other.write(15).await;
    Frames::new(other.bucket.clone()).checkpoint(&other.frame).await.unwrap();
    for of in [layout::checkpoint, layout::checksum] {
        let body = scribe.bucket.get(&of(&other.frame.folder, Version(15))).await.unwrap().unwrap();
        scribe.bucket.put(&of(&scribe.frame.folder, Version(15)), body).await.unwrap();
    }
    let read = cold(&scribe).await;
    assert_same(&read, &scribe.now);
    assert_eq!(read.tail().checkpoint, Some(Version(10)));
}

#[tokio::test]
async fn a_checkpoint_that_the_store_refuses_matters_only_if_it_is_the_newest() {
    let clock = QuickClock::default();
    let store = FaultStore::new(Arc::new(InMemory::new()), 7, Arc::new(clock.clone()));
    let bucket = Bucket::over(Arc::new(store.clone()), Arc::new(clock), Arc::new(SeededRng::new(7)));
    let mut scribe = Scribe::begin(&bucket, 6).await;
    let frames = Frames::new(scribe.bucket.clone());
    for _ in 0..2 {
        scribe.write(20).await;
        frames.checkpoint(&scribe.frame).await.unwrap();
    }
    let folder = &scribe.frame.folder;
    let older = Bytes::from_static(br#"{"version":20}"#);
    scribe.bucket.put(&layout::last_checkpoint(folder), older).await.unwrap();
    let refuse = |version| {
        let key = layout::checkpoint(folder, Version(version));
        store.script(Rule::on(Op::Get, StoreFault::Denied).keys(key.as_ref()).forever());
    };
    refuse(20);
    assert_same(&cold(&scribe).await, &scribe.now);
    refuse(40);
    assert!(Frames::new(scribe.bucket.clone()).snapshot(&scribe.frame).await.is_err());
}

#[tokio::test]
async fn a_hint_that_lies_costs_time_and_never_truth() {
    let mut scribe = Scribe::begin(&Aged::default().bucket(), 6).await;
    let frames = Frames::new(scribe.bucket.clone());
    for _ in 0..3 {
        scribe.write(20).await;
        frames.checkpoint(&scribe.frame).await.unwrap();
    }
    scribe.write(5).await;
    let key = layout::last_checkpoint(&scribe.frame.folder);
    let lies = [
        "",
        "{",
        "[]",
        "null",
        "{}",
        "\u{0}",
        r#"{"version":-1}"#,
        r#"{"version":"x"}"#,
        r#"{"version":0}"#,
        r#"{"version":20,"size":1}"#,
        r#"{"version":21}"#,
        r#"{"version":60,"size":-4}"#,
        r#"{"version":64}"#,
        r#"{"version":65}"#,
        r#"{"version":9999}"#,
        r#"{"version":18446744073709551615}"#,
        r#"{"version":40,"parts":7,"checkpointSchema":{"a":1}}"#,
    ];
    for ordered in [true, false] {
        let bucket = if ordered { scribe.bucket.clone() } else { scribe.bucket.without_ordered_lists() };
        for lie in lies {
            scribe.bucket.put(&key, lie.into()).await.unwrap();
            assert_same(&Frames::new(bucket.clone()).snapshot(&scribe.frame).await.unwrap(), &scribe.now);
        }
        scribe.bucket.delete(&key).await.unwrap();
        assert_same(&Frames::new(bucket.clone()).snapshot(&scribe.frame).await.unwrap(), &scribe.now);
    }
}

#[tokio::test]
async fn where_lists_have_no_order_the_end_is_found_by_trying() {
    let mut scribe = Scribe::begin(&Aged::default().bucket(), 7).await;
    scribe.write(30).await;
    Frames::new(scribe.bucket.clone()).checkpoint(&scribe.frame).await.unwrap();
    let bucket = scribe.bucket.without_ordered_lists();
    for tail in 0u64..40 {
        let before = requests(&bucket);
        assert_same(&Frames::new(bucket.clone()).snapshot(&scribe.frame).await.unwrap(), &scribe.now);
        let after = requests(&bucket);
        assert_eq!(after[1] - before[1], 0, "a list");
        assert!(after[0] - before[0] <= 3 + tail + 1 + 2 * u64::from((tail + 1).ilog2()) + 3, "{tail}");
        scribe.write(1).await;
    }
}

#[tokio::test]
async fn a_checkpoint_may_be_cut_at_every_request() {
    for seed in 0..2 {
        let aged = Aged::default();
        let mut scribe = Scribe::begin(&aged.bucket(), 8 + seed).await;
        scribe.write(25).await;
        let mut cut = 0;
        loop {
            aged.cut_after(cut);
            let done = Frames::new(scribe.bucket.clone()).checkpoint(&scribe.frame).await;
            aged.mend();
            assert_same(&cold(&scribe).await, &scribe.now);
            if done.is_ok_and(|report| !report.written) {
                break;
            }
            cut += 1;
            assert!(cut < 100);
            if cut % 5 == 0 {
                scribe.write(1).await;
            }
        }
        assert!(cut > 10, "{cut}");
        assert_eq!(cold(&scribe).await.tail().entries, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_that_checkpoint_at_once_write_one() {
    let mut scribe = Scribe::begin(&Bucket::in_memory(), 9).await;
    scribe.write(30).await;
    let runs = (0..8).map(|_| {
        let (frames, frame) = (Frames::new(scribe.bucket.clone()), scribe.frame.clone());
        tokio::spawn(async move { frames.checkpoint(&frame).await.unwrap() })
    });
    for run in runs.collect::<Vec<_>>() {
        assert_eq!(run.await.unwrap().version, Version(30));
    }
    let written = objects(&scribe.bucket, &scribe.frame).await;
    assert_eq!(written.keys().filter(|key| !key.ends_with(".json")).count(), 3);
    assert_same(&cold(&scribe).await, &scribe.now);
}
