//! What a cache holds, and what it does with a block that comes: pure but for the waiting that others may do.
//!
//! A block that was fetched goes into memory, and to the disk
//!
//! - while there is room: filling an empty disk once is the price of the next start being warm;
//! - else only if it had to be fetched before, not long ago. A scan of more than fits passes by and wears no card.

use std::collections::{HashMap, HashSet, VecDeque};

use bytes::Bytes;
use tokio::sync::watch;

use super::{BlockId, CellHash, Landed, block_len, files::Named, second_chance::SecondChance};

/// Fetched blocks that are remembered although they were not kept: 16 GiB of them in a megabyte.
const PASSED_MAX: usize = 16 * 1024;

/// What is held of one cell.
#[derive(Debug, Clone, Copy, Default)]
struct CellHeld {
    size: u64,
    memory_bytes: u64,
    disk_bytes: u64,
}

/// Where a block is.
#[derive(Debug)]
pub(super) enum Seat {
    /// With the bytes of the whole cell.
    Memory(u64, Bytes),
    Disk(Named),
    /// Someone is fetching it.
    Flying(watch::Receiver<Landed>),
    /// Nowhere: who asked is to fetch it, and to answer those who ask meanwhile.
    Nowhere(watch::Sender<Landed>),
}

/// A block on its way to the disk.
#[derive(Debug)]
struct Write {
    bytes: u64,
    /// It is not wanted any more; what comes of it goes.
    is_forgotten: bool,
}

#[derive(Debug)]
pub(super) struct Held {
    memory: SecondChance<Bytes>,
    disk: SecondChance<()>,
    cells: HashMap<CellHash, CellHeld>,
    flying: HashMap<BlockId, watch::Receiver<Landed>>,
    writing: HashMap<BlockId, Write>,
    writing_bytes: u64,
    /// Counted no more, and still on the disk: none of these is written until its file is gone.
    leaving: HashSet<BlockId>,
    passed: HashSet<BlockId>,
    passed_order: VecDeque<BlockId>,
}

impl Held {
    pub(super) fn new(memory_bytes_max: u64, disk_bytes_max: u64) -> Self {
        Self {
            memory: SecondChance::new(memory_bytes_max),
            disk: SecondChance::new(disk_bytes_max),
            cells: HashMap::new(),
            flying: HashMap::new(),
            writing: HashMap::new(),
            writing_bytes: 0,
            leaving: HashSet::new(),
            passed: HashSet::new(),
            passed_order: VecDeque::new(),
        }
    }

    /// A cell's size, if anything of it is held.
    pub(super) fn size(&self, cell: CellHash) -> Option<u64> {
        self.cells.get(&cell).map(|held| held.size)
    }

    /// Whether something of so many bytes would leave most of the memory to others.
    pub(super) fn has_memory_for(&self, bytes: u64) -> bool {
        self.memory.is_small(bytes)
    }

    pub(super) fn memory_bytes(&self) -> u64 {
        self.memory.weight()
    }

    pub(super) fn disk_bytes(&self) -> u64 {
        self.disk.weight()
    }

    /// Where a block is; from now on it is flying if it was nowhere.
    pub(super) fn look(&mut self, id: BlockId) -> Seat {
        if let (Some(size), Some(bytes)) = (self.size(id.cell), self.memory.get(&id)) {
            let bytes = bytes.clone();
            // What is asked for again is worth its place below, too.
            self.disk.get(&id);
            return Seat::Memory(size, bytes);
        }
        if let (Some(()), Some(size)) = (self.disk.get(&id).copied(), self.size(id.cell)) {
            return Seat::Disk(Named { id, size });
        }
        if let Some(flight) = self.flying.get(&id) {
            return Seat::Flying(flight.clone());
        }
        let (sender, receiver) = watch::channel(None);
        self.flying.insert(id, receiver);
        Seat::Nowhere(sender)
    }

    /// A flight is over, well or not.
    pub(super) fn landed(&mut self, id: &BlockId) {
        self.flying.remove(id);
    }

    pub(super) fn keep_in_memory(&mut self, id: BlockId, size: u64, bytes: Bytes) {
        let weight = bytes.len() as u64;
        self.cell(id.cell, size).memory_bytes += weight;
        for (gone, _, weight) in self.memory.keep(id, bytes, weight) {
            self.shrink(gone.cell, |held| held.memory_bytes = held.memory_bytes.saturating_sub(weight));
        }
    }

    /// Whether a block that was fetched should go to the disk; if so it is being written until [`Held::written`].
    pub(super) fn admit(&mut self, named: Named) -> bool {
        let (id, bytes) = (named.id, named.file_bytes());
        if self.disk.has(&id) || self.writing.contains_key(&id) || self.leaving.contains(&id) {
            return false;
        }
        if !self.disk.has_room(self.writing_bytes + bytes) && !self.was_passed(id) {
            return false;
        }
        self.writing.insert(id, Write { bytes, is_forgotten: false });
        self.writing_bytes += bytes;
        true
    }

    /// Whether there is room on the disk for a block without any other having to go.
    pub(super) fn has_room(&self, named: Named) -> bool {
        self.disk.has_room(self.writing_bytes + named.file_bytes())
    }

    /// Whether a block was fetched before; it is remembered from now on.
    fn was_passed(&mut self, id: BlockId) -> bool {
        if self.passed.remove(&id) {
            return true;
        }
        self.passed.insert(id);
        self.passed_order.push_back(id);
        if self.passed_order.len() > PASSED_MAX
            && let Some(oldest) = self.passed_order.pop_front()
        {
            self.passed.remove(&oldest);
        }
        false
    }

    /// A block was written, or could not be; returns the files that have to go for it. Whatever is returned to go, here
    /// and below, is leaving until [`Held::left`].
    pub(super) fn written(&mut self, named: Named, well: bool) -> Vec<Named> {
        let Some(write) = self.writing.remove(&named.id) else { return Vec::new() };
        self.writing_bytes -= write.bytes;
        match well {
            true if write.is_forgotten => vec![self.leaves(named)],
            true => self.keep_on_disk(named),
            false => Vec::new(),
        }
    }

    /// Takes in a block that is on the disk; returns the files that have to go for it.
    pub(super) fn keep_on_disk(&mut self, named: Named) -> Vec<Named> {
        let bytes = named.file_bytes();
        self.cell(named.id.cell, named.size).disk_bytes += bytes;
        let gone = self.disk.keep(named.id, (), bytes);
        gone.into_iter().filter_map(|(id, (), weight)| self.off_disk(id, weight)).collect()
    }

    /// Takes the disk's oldest block out; returns its file.
    pub(super) fn make_room_on_disk(&mut self) -> Option<Named> {
        let (id, (), weight) = self.disk.next_out()?;
        self.off_disk(id, weight)
    }

    fn off_disk(&mut self, id: BlockId, weight: u64) -> Option<Named> {
        let size = self.size(id.cell)?;
        self.shrink(id.cell, |held| held.disk_bytes = held.disk_bytes.saturating_sub(weight));
        Some(self.leaves(Named { id, size }))
    }

    fn leaves(&mut self, named: Named) -> Named {
        self.leaving.insert(named.id);
        named
    }

    /// The file of a block that had to go is gone.
    pub(super) fn left(&mut self, id: &BlockId) {
        self.leaving.remove(id);
    }

    /// A block's file is not what it was: it has to go, unless someone else was first to see that.
    pub(super) fn lost(&mut self, id: BlockId) -> Option<Named> {
        let ((), weight) = self.disk.remove(&id)?;
        self.off_disk(id, weight)
    }

    /// Drops all that is held of a cell; returns the files that have to go, and whether there was anything.
    pub(super) fn forget(&mut self, cell: CellHash) -> (Vec<Named>, bool) {
        // Not taken out: whoever writes one of these has not ended, and another must not begin before.
        for (_, write) in self.writing.iter_mut().filter(|(id, _)| id.cell == cell) {
            write.is_forgotten = true;
        }
        let Some(size) = self.size(cell) else { return (Vec::new(), false) };
        let mut files = Vec::new();
        for block in 0..super::blocks(size) {
            let id = BlockId { cell, block };
            self.memory.remove(&id);
            if self.disk.remove(&id).is_some() {
                files.push(self.leaves(Named { id, size }));
            }
        }
        self.cells.remove(&cell);
        (files, true)
    }

    /// The cells of which at least a quarter is held, the most of it first.
    pub(super) fn fullest(&self) -> Vec<CellHash> {
        let much = |held: &CellHeld| held.memory_bytes.max(held.disk_bytes);
        let mut cells: Vec<_> = self.cells.iter().filter(|(_, held)| much(held) * 4 >= held.size).collect();
        cells.sort_unstable_by_key(|(cell, held)| (std::cmp::Reverse(much(held)), cell.0));
        cells.into_iter().map(|(cell, _)| *cell).collect()
    }

    fn cell(&mut self, cell: CellHash, size: u64) -> &mut CellHeld {
        self.cells.entry(cell).or_insert(CellHeld { size, ..CellHeld::default() })
    }

    fn shrink(&mut self, cell: CellHash, by: impl FnOnce(&mut CellHeld)) {
        if let Some(held) = self.cells.get_mut(&cell) {
            by(held);
            if held.memory_bytes == 0 && held.disk_bytes == 0 {
                self.cells.remove(&cell);
            }
        }
    }
}

/// The blocks of a whole cell, one after the other.
pub(super) fn cut(cell: CellHash, body: &Bytes) -> impl Iterator<Item = (Named, Bytes)> + use<'_> {
    let size = body.len() as u64;
    (0..super::blocks(size)).map(move |block| {
        let start = block as usize * super::BLOCK_BYTES as usize;
        let end = start + block_len(size, block) as usize;
        (Named { id: BlockId { cell, block }, size }, body.slice(start..end))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(n: u128) -> Named {
        Named { id: BlockId { cell: CellHash(n), block: 0 }, size: 100 }
    }

    fn held(blocks: u64) -> Held {
        Held::new(0, blocks * block(1).file_bytes())
    }

    #[test]
    fn a_block_that_is_forgotten_while_it_is_written_is_not_written_again_meanwhile() {
        let mut held = held(9);
        assert!(held.admit(block(1)));
        held.keep_in_memory(block(1).id, 100, Bytes::new());
        held.forget(block(1).id.cell);
        assert!(!held.admit(block(1)), "two would write one file, and the first to end take it away");
        assert_eq!(held.written(block(1), true), [block(1)]);
        assert!(!held.admit(block(1)), "its file is there still");
        held.left(&block(1).id);
        assert!(held.admit(block(1)) && held.written(block(1), true).is_empty());
        assert_eq!((held.disk_bytes(), held.writing_bytes), (block(1).file_bytes(), 0));
    }

    #[test]
    fn a_block_that_goes_is_not_written_again_before_it_has_left() {
        let mut held = held(1);
        assert!(held.admit(block(1)) && held.written(block(1), true).is_empty());
        assert_eq!(held.keep_on_disk(block(2)), [block(1)]);
        held.passed.insert(block(1).id);
        assert!(!held.admit(block(1)));
        held.left(&block(1).id);
        assert!(held.admit(block(1)));
    }
}
