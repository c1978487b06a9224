//! How much a cache may take. Pure numbers, and the one question to the system that they need.

use std::path::Path;

/// Share of the free space that a cache takes unless told otherwise: a fifth.
const FREE_SHARE: u64 = 5;

/// Most that it takes unless told otherwise.
const DEFAULT_BYTES_MAX: u64 = 10 << 30;

/// The last tenth of a disk is nobody's: a full disk stops more than a cache.
const FLOOR_SHARE: u64 = 10;

/// Share of the node's memory in front of the disk: what is asked for again at once.
const MEMORY_SHARE: u64 = 16;

/// Most memory in front of the disk: the system keeps files that are read often in memory of its own.
const MEMORY_BYTES_MAX: u64 = 256 << 20;

/// A disk's bytes, all of them and those that are free for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskSpace {
    /// All.
    pub total_bytes: u64,
    /// Free.
    pub free_bytes: u64,
}

impl DiskSpace {
    /// Of the disk that `folder`, or what is there of the way to it, lies on; nothing where the system does not say.
    #[must_use]
    pub fn of(folder: &Path) -> Option<Self> {
        folder.ancestors().find_map(Self::ask)
    }

    #[cfg(unix)]
    fn ask(folder: &Path) -> Option<Self> {
        let told = rustix::fs::statvfs(folder).ok()?;
        let bytes = |blocks: u64| blocks.saturating_mul(told.f_frsize);
        Some(Self { total_bytes: bytes(told.f_blocks), free_bytes: bytes(told.f_bavail) })
    }

    #[cfg(not(unix))]
    fn ask(_: &Path) -> Option<Self> {
        None
    }

    /// What must stay free.
    #[must_use]
    pub fn floor_bytes(&self) -> u64 {
        self.total_bytes / FLOOR_SHARE
    }

    /// Bytes for a cache that holds `held_bytes` already: as told, else a fifth of what is free without it and at most
    /// 10 GiB; in any case not so much that less than the last tenth of the disk is free.
    #[must_use]
    pub fn cache_bytes(&self, told: Option<u64>, held_bytes: u64) -> u64 {
        let free = self.free_bytes.saturating_add(held_bytes);
        let wanted = told.unwrap_or_else(|| (free / FREE_SHARE).min(DEFAULT_BYTES_MAX));
        wanted.min(free.saturating_sub(self.floor_bytes()))
    }
}

/// Bytes of memory for a cache on a node with `memory_bytes`, of which the disk part takes `told` if it was told.
#[must_use]
pub fn cache_memory_bytes(memory_bytes: u64, told: Option<u64>) -> u64 {
    (memory_bytes / MEMORY_SHARE).min(MEMORY_BYTES_MAX).min(told.unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn disk(total: u64, free: u64) -> DiskSpace {
        DiskSpace { total_bytes: total * GIB, free_bytes: free * GIB }
    }

    #[test]
    fn a_fifth_of_what_is_free_and_never_over_ten_gib() {
        assert_eq!(disk(100, 20).cache_bytes(None, 0), 4 * GIB);
        assert_eq!(disk(1000, 900).cache_bytes(None, 0), 10 * GIB);
    }

    #[test]
    fn the_last_tenth_of_the_disk_stays_free_also_when_told_otherwise() {
        assert_eq!(disk(100, 11).cache_bytes(Some(50 * GIB), 0), GIB);
        assert_eq!(disk(100, 9).cache_bytes(None, 0), 0);
        assert_eq!(disk(100, 50).cache_bytes(Some(30 * GIB), 0), 30 * GIB);
    }

    #[test]
    fn what_a_cache_holds_already_does_not_shrink_it_at_each_start() {
        let empty = disk(100, 50).cache_bytes(None, 0);
        assert_eq!(disk(100, 40).cache_bytes(None, 10 * GIB), empty);
    }

    #[test]
    fn memory_is_a_sixteenth_and_no_more_than_the_disk_part_was_told() {
        assert_eq!(cache_memory_bytes(GIB, None), 64 << 20);
        assert_eq!(cache_memory_bytes(64 * GIB, None), 256 << 20);
        assert_eq!(cache_memory_bytes(GIB, Some(1 << 20)), 1 << 20);
        assert_eq!(cache_memory_bytes(GIB, Some(0)), 0);
    }

    #[test]
    fn this_machine_has_a_disk() {
        let space = DiskSpace::of(Path::new("/tmp/not/there/yet")).unwrap();
        assert!(space.total_bytes > 0 && space.free_bytes <= space.total_bytes);
    }
}
