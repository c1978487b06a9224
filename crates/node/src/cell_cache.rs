//! A node's cell cache: how large, where, and whether there is one at all.
//!
//! A bucket that is a folder has none unless one was asked for: its cells are files already, which the system keeps in
//! all the memory that nobody else wants and gives back at once. A second copy would take that memory from chambers,
//! or write to the same disk what it has. Where the folder is another machine's, `--cache-size` says so.

use std::{path::Path, sync::Arc};

use apiary_bucket::{Bucket, CacheDisk, CellCache, DiskSpace, cache_memory_bytes};
use apiary_core::units;

use crate::NodeSettings;

/// What there is to decide by.
#[derive(Debug, Clone, Copy)]
struct Facts {
    told: Option<u64>,
    is_local: bool,
    memory_bytes: u64,
    /// Nothing where the system does not say.
    space: Option<DiskSpace>,
    held_bytes: u64,
}

/// Bytes of memory and of disk, and of disk that stays free. Pure.
fn plan(facts: &Facts) -> Option<(u64, u64, u64)> {
    if facts.told == Some(0) || (facts.is_local && facts.told.is_none()) {
        return None;
    }
    let memory = cache_memory_bytes(facts.memory_bytes, facts.told);
    let Some(space) = facts.space else { return Some((memory, facts.told.unwrap_or(0), 0)) };
    Some((memory, space.cache_bytes(facts.told, facts.held_bytes), space.floor_bytes()))
}

/// Opens the cache of a node of `colony`, below its data folder. Reads names of files, on a thread of their own.
pub(crate) async fn open(settings: &NodeSettings, bucket: &Bucket, colony: &str) -> Option<Arc<CellCache>> {
    let folder = settings.data_dir.join("cells");
    let (told, is_local, memory_bytes) = (settings.cache_bytes, bucket.is_local(), settings.memory_bytes);
    let colony = colony.to_owned();
    let opening = tokio::task::spawn_blocking(move || {
        let (space, held_bytes) = (DiskSpace::of(&folder), CellCache::held_in(&folder));
        let facts = Facts { told, is_local, memory_bytes, space, held_bytes };
        let Some((memory, disk, floor)) = plan(&facts) else {
            give_back(&folder, told);
            return None;
        };
        tracing::info!(memory = units::bytes(memory), disk = units::bytes(disk), "cell cache");
        let disk = CacheDisk { folder, colony, bytes_max: disk, free_bytes_min: floor };
        Some(CellCache::open(memory, Some(disk)))
    });
    // A panic in there costs the cache.
    opening.await.ok().flatten()
}

/// Who says that there shall be no cache wants its disk back.
fn give_back(folder: &Path, told: Option<u64>) {
    if told == Some(0)
        && let Err(error) = CellCache::clear(folder)
    {
        tracing::warn!(folder = %folder.display(), %error, "cannot take the old cell cache away");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn facts() -> Facts {
        let space = Some(DiskSpace { total_bytes: 100 * GIB, free_bytes: 50 * GIB });
        Facts { told: None, is_local: false, memory_bytes: GIB, space, held_bytes: 0 }
    }

    #[test]
    fn a_node_caches_in_a_share_of_its_memory_and_disk() {
        assert_eq!(plan(&facts()), Some((64 << 20, 10 * GIB, 10 * GIB)));
        assert_eq!(plan(&Facts { told: Some(2 * GIB), ..facts() }), Some((64 << 20, 2 * GIB, 10 * GIB)));
    }

    #[test]
    fn a_folder_is_cached_only_when_asked_and_nothing_when_told_so() {
        assert_eq!(plan(&Facts { is_local: true, ..facts() }), None);
        assert!(plan(&Facts { is_local: true, told: Some(GIB), ..facts() }).is_some());
        assert_eq!(plan(&Facts { told: Some(0), ..facts() }), None);
    }

    #[test]
    fn a_disk_that_does_not_say_its_size_is_used_only_when_told() {
        assert_eq!(plan(&Facts { space: None, ..facts() }), Some((64 << 20, 0, 0)));
        assert_eq!(plan(&Facts { space: None, told: Some(GIB), ..facts() }), Some((64 << 20, GIB, 0)));
    }
}
