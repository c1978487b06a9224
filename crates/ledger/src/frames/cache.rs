//! The newest known snapshot of each frame. Whoever asks still reads on from it, so a stale one costs time, never truth.

use std::{collections::HashMap, sync::Arc};

use crate::Snapshot;

/// Frames whose snapshots are kept: one of 100 000 cells takes some hundred megabytes, most are small.
const CACHED_MAX: usize = 64;

/// Newest known snapshots by folder; the least recently used leaves first.
#[derive(Debug, Default)]
pub(super) struct Cache {
    snapshots: HashMap<String, (u64, Arc<Snapshot>)>,
    uses: u64,
}

impl Cache {
    pub(super) fn get(&mut self, folder: &str) -> Option<Arc<Snapshot>> {
        self.uses += 1;
        let (used, snapshot) = self.snapshots.get_mut(folder)?;
        *used = self.uses;
        Some(Arc::clone(snapshot))
    }

    /// Keeps a snapshot unless a newer one is known, and returns the newer of the two.
    pub(super) fn put(&mut self, snapshot: Arc<Snapshot>) -> Arc<Snapshot> {
        if let Some(known) = self.get(&snapshot.folder)
            && known.version >= snapshot.version
        {
            return known;
        }
        self.snapshots.insert(snapshot.folder.clone(), (self.uses, Arc::clone(&snapshot)));
        if self.snapshots.len() > CACHED_MAX {
            let oldest = self.snapshots.iter().min_by_key(|(_, (used, _))| *used).map(|(folder, _)| folder.clone());
            oldest.map(|folder| self.snapshots.remove(&folder));
        }
        snapshot
    }
}
