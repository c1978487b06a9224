//! The newest known snapshot of each frame. Whoever asks still reads on from it, so a stale one costs time, never truth.

use std::{collections::HashMap, sync::Arc};

use crate::{Snapshot, Tail, fence::Vouch};

/// Frames whose snapshots are kept: one of 100 000 cells takes some hundred megabytes, most are small.
const CACHED_MAX: usize = 64;

/// Newest known snapshots by folder; the least recently used leaves first.
#[derive(Debug, Default)]
pub(super) struct Cache {
    frames: HashMap<String, Known>,
    uses: u64,
}

/// What is known of one frame.
#[derive(Debug)]
struct Known {
    used: u64,
    snapshot: Arc<Snapshot>,
    vouch: Vouch,
}

impl Cache {
    pub(super) fn get(&mut self, folder: &str) -> Option<Arc<Snapshot>> {
        self.uses += 1;
        let known = self.frames.get_mut(folder)?;
        known.used = self.uses;
        Some(Arc::clone(&known.snapshot))
    }

    /// What all who read a frame tell each other about its fences; alone, while its snapshot is not kept.
    pub(super) fn vouch(&self, folder: &str) -> Vouch {
        self.frames.get(folder).map_or_else(Vouch::default, |known| known.vouch.clone())
    }

    /// Keeps a snapshot unless a newer one is known, and returns the newer of the two. `vouch` is its reader's.
    pub(super) fn put(&mut self, snapshot: Arc<Snapshot>, vouch: &Vouch) -> Arc<Snapshot> {
        if let Some(known) = self.get(&snapshot.folder)
            && known.version >= snapshot.version
        {
            return known;
        }
        let known = Known { used: self.uses, snapshot: Arc::clone(&snapshot), vouch: vouch.clone() };
        self.frames.insert(snapshot.folder.clone(), known);
        if self.frames.len() > CACHED_MAX {
            let oldest = self.frames.iter().min_by_key(|(_, known)| known.used).map(|(folder, _)| folder.clone());
            oldest.map(|folder| self.frames.remove(&folder));
        }
        snapshot
    }

    /// The version of a snapshot has a checkpoint now.
    pub(super) fn checkpointed(&mut self, snapshot: &Snapshot) {
        if let Some(known) = self.frames.get_mut(&snapshot.folder)
            && known.snapshot.version == snapshot.version
        {
            let tail = Tail { checkpoint: Some(snapshot.version), ..Tail::default() };
            known.snapshot = Arc::new(Snapshot { tail, ..(*known.snapshot).clone() });
        }
    }

    /// Forgets a frame whose snapshot is too old to go on from, unless someone else came back with a newer one.
    pub(super) fn forget(&mut self, stale: &Snapshot) {
        if self.frames.get(&stale.folder).is_some_and(|known| known.snapshot.version <= stale.version) {
            self.frames.remove(&stale.folder);
        }
    }
}
