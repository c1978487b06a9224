//! The cell cache: blocks of cells in memory and on the node's disk, so that what was read once is not fetched again.
//!
//! Cells never change, so nothing in here grows stale, and nothing in here is the truth: whatever is missing, torn or
//! wrong is fetched again. A cell is held in blocks of 1 MiB, since queries read columns and not files. Four parts:
//!
//! ```text
//!   cached (the door) ─▶ held: where is each block?   memory │ disk │ being fetched by another │ nowhere
//!                          second_chance: what goes          files: a block, a file, a checksum
//! ```
//! What comes out is checked by the reader as if it came from the bucket (see `verified`); a cell that does not pass
//! is forgotten and fetched anew, so a damaged cache costs a request and never a row. One process at a time has a
//! node's folder, so nothing in here is shared with another.

mod budget;
mod digest;
mod files;
mod held;
mod second_chance;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

pub use budget::{DiskSpace, cache_memory_bytes};
pub use digest::{CellDigest, DIGEST_BYTES_MAX};
use files::Named;
use held::{Held, Seat};

/// What a cell is cut into: large beside the time a request takes, small beside a column of a row group.
pub(crate) const BLOCK_BYTES: u64 = 1 << 20;

/// Blocks on their way to the disk. More are not waited for: a card that is slower than the network keeps what it can.
const WRITES_MAX: usize = 32;

/// A cell's key, hashed: what names it in files, digests and maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct CellHash(pub(crate) u128);

impl CellHash {
    pub(crate) fn of(key: &str) -> Self {
        let sum: [u8; 32] = Sha256::digest(key.as_bytes()).into();
        Self(sum[..16].iter().fold(0, |hash, byte| hash << 8 | u128::from(*byte)))
    }
}

/// One block of one cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct BlockId {
    pub(crate) cell: CellHash,
    pub(crate) block: u32,
}

/// What a fetch brings those who wait for it: bytes of the whole cell, and the block.
pub(crate) type Landed = Option<(u64, Bytes)>;

/// How many blocks a cell of so many bytes has.
pub(crate) fn blocks(size: u64) -> u32 {
    u32::try_from(size.div_ceil(BLOCK_BYTES)).unwrap_or(u32::MAX)
}

/// Bytes of a block of a cell of `size` bytes: none of one behind its end.
pub(crate) fn block_len(size: u64, block: u32) -> u64 {
    size.saturating_sub(u64::from(block) * BLOCK_BYTES).min(BLOCK_BYTES)
}

/// The disk part of a cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheDisk {
    /// A folder of the cache's own; what is in there and not the cache's goes.
    pub folder: PathBuf,
    /// The colony whose cells these are.
    pub colony: String,
    /// Bytes that it may take.
    pub bytes_max: u64,
    /// Bytes of the disk that stay free, whoever else fills it.
    pub free_bytes_min: u64,
}

/// Blocks of cells, in memory and on disk. See the head of this file.
#[derive(Debug)]
pub struct CellCache {
    held: Mutex<Held>,
    disk: Option<CacheDisk>,
    writes: Arc<Semaphore>,
}

/// What a cache holds now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheHolds {
    /// Bytes in memory.
    pub memory_bytes: u64,
    /// Bytes on disk.
    pub disk_bytes: u64,
}

/// The right, and the duty, to fetch a block for all who want it.
#[derive(Debug)]
pub(crate) struct Claim {
    cache: Arc<CellCache>,
    pub(crate) id: BlockId,
    answer: watch::Sender<Landed>,
}

impl Drop for Claim {
    /// Who waits sees the sender go and asks for itself.
    fn drop(&mut self) {
        self.cache.held().landed(&self.id);
    }
}

/// Where the blocks that were asked for are.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Number, bytes of the whole cell, bytes.
    pub(crate) memory: Vec<(u32, u64, Bytes)>,
    pub(crate) disk: Vec<Named>,
    pub(crate) flying: Vec<(u32, watch::Receiver<Landed>)>,
    pub(crate) claimed: Vec<Claim>,
}

impl CellCache {
    /// A cache of at most `memory_bytes`, and `disk`. Reads the names in its folder, which blocks. A folder that cannot
    /// be used is no error: the cache does without a disk then, and says so in the log.
    #[must_use]
    pub fn open(memory_bytes: u64, disk: Option<CacheDisk>) -> Arc<Self> {
        let disk = disk.filter(|disk| disk.bytes_max > 0);
        let mut held = Held::new(memory_bytes, disk.as_ref().map_or(0, |disk| disk.bytes_max));
        let disk = disk.filter(|disk| match files::open(&disk.folder, &disk.colony) {
            Ok(found) => {
                let gone = found.into_iter().flat_map(|named| held.keep_on_disk(named)).collect::<Vec<_>>();
                for named in gone {
                    named.remove(&disk.folder);
                    held.left(&named.id);
                }
                true
            }
            Err(error) => {
                tracing::warn!(folder = %disk.folder.display(), %error, "no cell cache on disk: cannot use the folder");
                false
            }
        });
        if disk.is_none() {
            held = Held::new(memory_bytes, 0);
        }
        Arc::new(Self { held: Mutex::new(held), disk, writes: Arc::new(Semaphore::new(WRITES_MAX)) })
    }

    /// Takes a cache's folder off the disk.
    pub fn clear(folder: &Path) -> std::io::Result<()> {
        files::clear(folder)
    }

    /// Bytes of disk that an earlier life's cache in `folder` holds.
    #[must_use]
    pub fn held_in(folder: &Path) -> u64 {
        files::held_bytes(folder)
    }

    /// What it holds now.
    #[must_use]
    pub fn holds(&self) -> CacheHolds {
        let held = self.held();
        CacheHolds { memory_bytes: held.memory_bytes(), disk_bytes: held.disk_bytes() }
    }

    /// Which cells it holds much of.
    #[must_use]
    pub fn digest(&self) -> CellDigest {
        CellDigest::of(&self.held().fullest())
    }

    /// Returns when all that was on its way to the disk is there.
    pub async fn settled(&self) {
        let _all = self.writes.acquire_many(WRITES_MAX as u32).await;
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn size(&self, cell: CellHash) -> Option<u64> {
        self.held().size(cell)
    }

    /// Where these blocks are; those that are nowhere are the caller's to fetch.
    pub(crate) fn look(self: &Arc<Self>, cell: CellHash, blocks: impl Iterator<Item = u32>) -> Found {
        let mut found = Found::default();
        let mut held = self.held();
        for block in blocks {
            let id = BlockId { cell, block };
            match held.look(id) {
                Seat::Memory(size, bytes) => found.memory.push((block, size, bytes)),
                Seat::Disk(named) => found.disk.push(named),
                Seat::Flying(flight) => found.flying.push((block, flight)),
                Seat::Nowhere(answer) => found.claimed.push(Claim { cache: Arc::clone(self), id, answer }),
            }
        }
        found
    }

    /// Reads blocks from the disk, which blocks; those that are not what was written are taken away instead.
    pub(crate) fn read(&self, wanted: &[Named]) -> Vec<(u32, u64, Bytes)> {
        let Some(disk) = &self.disk else { return Vec::new() };
        let mut read = Vec::with_capacity(wanted.len());
        for named in wanted {
            match named.read(&disk.folder) {
                Some(bytes) => {
                    self.held().keep_in_memory(named.id, named.size, bytes.clone());
                    read.push((named.id.block, named.size, bytes));
                }
                None => {
                    tracing::warn!(block = ?named.id, "a cached block is damaged or gone: fetching it again");
                    let lost = self.held().lost(named.id);
                    self.take_away(lost);
                }
            }
        }
        read
    }

    /// Takes in what was fetched for `claims`, which follow each other: `bytes` begin where the first block does.
    /// Answers those who wait, and sends to the disk what should be there, without waiting for it.
    pub(crate) fn take_in(self: &Arc<Self>, claims: Vec<Claim>, size: u64, bytes: &Bytes) {
        let is_one = claims.len() == 1;
        let (mut at, mut to_write) = (0, Vec::new());
        for claim in claims {
            let len = block_len(size, claim.id.block) as usize;
            if len == 0 {
                continue;
            }
            let part = bytes.slice(at..at + len);
            // A part of something larger would hold on to all of it.
            let block = if is_one { part } else { Bytes::copy_from_slice(&part) };
            at += len;
            let named = Named { id: claim.id, size };
            let mut held = self.held();
            held.keep_in_memory(claim.id, size, block.clone());
            if self.disk.is_some() && held.admit(named) {
                to_write.push((named, block.clone()));
            }
            drop(held);
            claim.answer.send_replace(Some((size, block)));
        }
        self.write_behind(to_write);
    }

    fn write_behind(self: &Arc<Self>, blocks: Vec<(Named, Bytes)>) {
        let mut permitted: Vec<(Named, Bytes, OwnedSemaphorePermit)> = Vec::with_capacity(blocks.len());
        for (named, bytes) in blocks {
            match Arc::clone(&self.writes).try_acquire_owned() {
                Ok(permit) => permitted.push((named, bytes, permit)),
                Err(_) => drop(self.held().written(named, false)),
            }
        }
        if permitted.is_empty() {
            return;
        }
        let cache = Arc::clone(self);
        // Ends with at most `WRITES_MAX` files; nobody waits for it but `settled`.
        tokio::task::spawn_blocking(move || {
            for (named, bytes, _permit) in permitted {
                cache.write(named, &bytes);
            }
        });
    }

    /// Writes a block that was admitted.
    fn write(&self, named: Named, bytes: &[u8]) {
        let Some(disk) = &self.disk else { return };
        let space = DiskSpace::of(&disk.folder);
        let is_tight = space.is_some_and(|space| space.free_bytes < disk.free_bytes_min + named.file_bytes());
        let well = !is_tight
            && named.write(&disk.folder, bytes).inspect_err(|error| tracing::debug!(%error, "cannot cache")).is_ok();
        let mut held = self.held();
        let mut gone = held.written(named, well);
        // Someone else fills the disk: the cache gives way.
        gone.extend(is_tight.then(|| held.make_room_on_disk()).flatten());
        drop(held);
        self.take_away(gone);
    }

    /// Takes files away that have to go. Not under the lock: a card takes its time.
    fn take_away(&self, gone: impl IntoIterator<Item = Named>) {
        let Some(disk) = &self.disk else { return };
        for named in gone {
            named.remove(&disk.folder);
            self.held().left(&named.id);
        }
    }

    /// Takes in a cell that this node writes, as far as there is room: what was asked for is worth more. Without a disk
    /// only what is small beside the memory.
    pub(crate) async fn take_written(self: &Arc<Self>, key: &str, body: &Bytes) {
        let cell = CellHash::of(key);
        if self.disk.is_none() {
            if self.held().has_memory_for(body.len() as u64) {
                held::cut(cell, body).for_each(|(named, block)| {
                    self.held().keep_in_memory(named.id, named.size, Bytes::copy_from_slice(&block));
                });
            }
            return;
        }
        let (cache, body) = (Arc::clone(self), body.clone());
        let written = tokio::task::spawn_blocking(move || {
            for (named, block) in held::cut(cell, &body) {
                let mut held = cache.held();
                let admitted = held.has_room(named) && held.admit(named);
                drop(held);
                if admitted {
                    cache.write(named, &block);
                }
            }
        });
        // A panic in there loses blocks of a cache.
        let _ = written.await;
    }

    /// Drops all that is held of a cell; whether there was anything.
    pub(crate) fn forget(&self, key: &str) -> bool {
        let (files, any) = self.held().forget(CellHash::of(key));
        self.take_away(files);
        any
    }
}

#[cfg(test)]
#[path = "cell_cache/tests.rs"]
mod tests;
