//! The newest known snapshot of each frame, shared by all queries of a process, as many as fit into a budget of bytes.
//! Whoever asks still reads on from it, so a stale one costs time, never truth.

use std::{collections::HashMap, sync::Arc};

use crate::{Snapshot, Tail, fence::Vouch};

/// Memory for snapshots: some frames of 100 000 cells, which take 50 MB each, and many small ones.
const BYTES_MAX: usize = 256 << 20;

/// Frames whose snapshots are kept: enough for most colonies, few enough to look through for the one to give up.
const CACHED_MAX: usize = 1024;

/// Newest known snapshots by folder; the least recently used leaves first.
#[derive(Debug, Default)]
pub(super) struct Cache {
    frames: HashMap<String, Known>,
    uses: u64,
    bytes: usize,
}

/// What is known of one frame.
#[derive(Debug)]
struct Known {
    used: u64,
    snapshot: Arc<Snapshot>,
    bytes: usize,
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
        self.remove(&snapshot.folder);
        let bytes = snapshot.memory_bytes();
        self.bytes += bytes;
        let known = Known { used: self.uses, snapshot: Arc::clone(&snapshot), bytes, vouch: vouch.clone() };
        self.frames.insert(snapshot.folder.clone(), known);
        self.make_room(CACHED_MAX, BYTES_MAX);
        snapshot
    }

    fn make_room(&mut self, frames_max: usize, bytes_max: usize) {
        // Ends: every round takes one away. The newest stays, however large: without it every query would begin anew.
        while self.frames.len() > 1 && (self.frames.len() > frames_max || self.bytes > bytes_max) {
            let oldest = self.frames.iter().min_by_key(|(_, known)| known.used).map(|(folder, _)| folder.clone());
            oldest.iter().for_each(|folder| self.remove(folder));
        }
    }

    fn remove(&mut self, folder: &str) {
        let gone = self.frames.remove(folder).map_or(0, |known| known.bytes);
        self.bytes = self.bytes.saturating_sub(gone);
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
            self.remove(&stale.folder);
        }
    }
}

#[cfg(test)]
mod tests {
    use apiary_bucket::Bucket;

    use super::*;
    use crate::{Frames, frames::tests::make};

    #[tokio::test]
    async fn the_least_recently_used_leave_when_there_is_no_room() {
        let (mut cache, mut folders) = (Cache::default(), Vec::new());
        for _ in 0..4 {
            let bucket = Bucket::in_memory();
            let frame = make(&bucket).await;
            let snapshot = Frames::new(bucket.clone()).snapshot(&frame).await.unwrap();
            folders.push(snapshot.folder().to_owned());
            let again = cache.put(Arc::clone(&snapshot), &Vouch::default());
            cache.put(Arc::clone(&again), &Vouch::default());
        }
        let each = cache.bytes / 4;
        assert!(each > 4096 && cache.frames.values().all(|known| known.bytes.abs_diff(each) < 100));
        assert!(cache.get(&folders[0]).is_some());
        cache.make_room(100, 3 * each + 50);
        let there = |cache: &Cache| folders.iter().map(|folder| cache.frames.contains_key(folder)).collect::<Vec<_>>();
        assert_eq!(there(&cache), [true, false, true, true]);
        cache.make_room(2, usize::MAX);
        assert_eq!(there(&cache), [true, false, false, true]);
        cache.make_room(100, 0);
        assert_eq!(there(&cache), [true, false, false, false]);
        assert_eq!(cache.bytes, cache.frames.values().map(|known| known.bytes).sum::<usize>());
    }
}
