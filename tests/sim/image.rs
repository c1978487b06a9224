//! The store as a seed finds it: three frames, made while nothing went wrong. One of them may be so old that the first
//! epoch of its log is nearly full, so that a log cleanup finds something to do. Made once, and copied for each seed.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use apiary_bucket::Bucket;
use apiary_core::{Clock, ManualClock, SeededRng, TxnId};
use apiary_faults::MemoryStore;
use apiary_ledger::{FrameRecord, Frames, Registry, Transaction};

use super::{
    ghost::Ghost,
    target::{ACCOUNTS, BALANCE, Target},
};

/// Versions of an old frame: a few more, and its first epoch of 1 024 may be cleaned away.
const OLD: u64 = 1_021;

/// What is there.
#[derive(Debug)]
pub(crate) struct Image {
    pub(crate) ghost: Ghost,
    pub(crate) frames: BTreeMap<Target, Arc<FrameRecord>>,
    pub(crate) old: Option<Target>,
}

/// A store in which this frame is old. Not to be called within a runtime.
pub(crate) fn image(old: Option<Target>) -> &'static Image {
    static IMAGES: [OnceLock<Image>; 4] = [const { OnceLock::new() }; 4];
    let nth = old.map_or(0, |old| 1 + Target::ALL.iter().position(|target| *target == old).unwrap());
    IMAGES[nth].get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(make(old))
    })
}

async fn make(old: Option<Target>) -> Image {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new());
    let ghost = Ghost::new(MemoryStore::new(Arc::clone(&clock)), None);
    let bucket = Bucket::over(Arc::new(ghost.clone()), clock, Arc::new(SeededRng::new(0x5eed)));
    let frames = make_frames(&bucket).await;
    let accounts: Vec<_> = (0..ACCOUNTS).map(|account| vec![account, BALANCE]).collect();
    fill(&bucket, &frames, Target::Bank, &accounts).await;
    fill(&bucket, &frames, Target::Register, &[vec![0]]).await;
    if let Some(target) = old {
        grow_old(&bucket, &frames[&target]).await;
    }
    Image { ghost, frames, old }
}

async fn make_frames(bucket: &Bucket) -> BTreeMap<Target, Arc<FrameRecord>> {
    let registry = Registry::new(bucket.clone());
    let mut frames = BTreeMap::new();
    for target in Target::ALL {
        frames.insert(target, target.make(&registry).await);
    }
    frames
}

async fn fill(bucket: &Bucket, frames: &BTreeMap<Target, Arc<FrameRecord>>, target: Target, rows: &[Vec<i64>]) {
    let record = &frames[&target];
    let frames = Frames::new(bucket.clone());
    let id = TxnId::new(bucket.clock().as_ref(), bucket.rng().as_ref());
    let mut adds = Vec::new();
    for (nth, rows) in rows.iter().enumerate() {
        let (cell, body) = target.cell(record, id, nth as u32, rows);
        bucket.put(&cell.key(), body).await.unwrap();
        adds.push(cell);
    }
    let base = frames.snapshot(record).await.unwrap();
    frames.commit(record, base, Transaction::append(id, "maker", adds)).await.unwrap();
}

/// Many versions in which no row changes, and a checkpoint of the last.
async fn grow_old(bucket: &Bucket, record: &FrameRecord) {
    let frames = Frames::new(bucket.clone());
    loop {
        let base = frames.snapshot(record).await.unwrap();
        if base.version.0 >= OLD {
            break;
        }
        let id = TxnId::new(bucket.clock().as_ref(), bucket.rng().as_ref());
        let age = BTreeMap::from([("age".to_owned(), Some(base.version.to_string()))]);
        frames.commit(record, base, Transaction::properties(id, "maker", age)).await.unwrap();
    }
    frames.checkpoint(record).await.unwrap();
}
