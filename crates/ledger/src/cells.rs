//! The cells of a frame, oldest first, as a list that versions share.
//!
//! ```text
//! version 7   [ 512 cells ][ 512 cells ][ 80 cells ]
//!                  │            │
//! version 8   [ same     ][ same     ][ 81 cells ]      an append copies one chunk's pointers, never the frame's
//! ```
//!
//! A chunk knows the least and the greatest id in it. Ids are made in the order of time and cells join in about that
//! order, so one cell is looked for in a few chunks, whatever the frame's size; where clocks disagree it takes more,
//! and finds the same.

use std::{
    any::Any,
    collections::{HashMap, HashSet},
    ops::Index,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{CellEntry, CellId};

/// Cells in a chunk: few enough to copy on every commit, enough to have few chunks.
const CHUNK_MAX: usize = 512;

/// About how much is kept for a cell of what was worked out from it.
const MEMO_BYTES: usize = 48;

/// What was worked out from the cells of one chunk, by a name that says what it is.
type Memo = HashMap<String, Arc<dyn Any + Send + Sync>>;

/// Some cells that follow each other.
#[derive(Debug)]
pub struct Chunk {
    cells: Vec<Arc<CellEntry>>,
    least: CellId,
    greatest: CellId,
    rows: u64,
    bytes: u64,
    memory_bytes: usize,
    memo: Mutex<Memo>,
}

impl Chunk {
    /// `None` of no cells.
    fn new(cells: Vec<Arc<CellEntry>>) -> Option<Arc<Self>> {
        let least = cells.iter().map(|cell| cell.id).min()?;
        let greatest = cells.iter().map(|cell| cell.id).max()?;
        let rows = cells.iter().map(|cell| cell.rows).fold(0, u64::saturating_add);
        let bytes = cells.iter().map(|cell| cell.size_bytes).fold(0, u64::saturating_add);
        let memory_bytes = cells.iter().map(|cell| cell.memory_bytes()).sum();
        Some(Arc::new(Self { cells, least, greatest, rows, bytes, memory_bytes, memo: Mutex::default() }))
    }

    /// Its cells.
    #[must_use]
    pub fn cells(&self) -> &[Arc<CellEntry>] {
        &self.cells
    }

    /// Something worked out from these cells once and kept as long as they are: the next version of the frame shares
    /// the chunk and what is known of it. `name` must say all that the result depends on besides the cells.
    pub fn memo<T: Any + Send + Sync>(&self, name: &str, work: impl FnOnce(&[Arc<CellEntry>]) -> T) -> Arc<T> {
        let known = self.lock().get(name).cloned();
        if let Some(known) = known.and_then(|known| known.downcast().ok()) {
            return known;
        }
        // Not under the lock: two that come at once work twice, and both are right.
        let made = Arc::new(work(&self.cells));
        let kept: Arc<dyn Any + Send + Sync> = Arc::<T>::clone(&made);
        self.lock().insert(name.to_owned(), kept);
        made
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Memo> {
        self.memo.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether some id of the list may be in here.
    fn may_hold(&self, least: CellId, greatest: CellId) -> bool {
        self.least <= greatest && least <= self.greatest
    }
}

/// The cells of a frame. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Cells {
    chunks: Vec<Arc<Chunk>>,
    /// Where each chunk begins.
    starts: Vec<usize>,
    len: usize,
}

impl Cells {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All of them, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Arc<CellEntry>> + Clone {
        self.chunks.iter().flat_map(|chunk| chunk.cells.iter())
    }

    /// The oldest.
    #[must_use]
    pub fn first(&self) -> Option<&Arc<CellEntry>> {
        self.get(0)
    }

    /// The one at a place. Searches among the chunks.
    #[must_use]
    pub fn get(&self, at: usize) -> Option<&Arc<CellEntry>> {
        let chunk = self.starts.partition_point(|start| *start <= at).checked_sub(1)?;
        self.chunks[chunk].cells.get(at - self.starts[chunk])
    }

    /// The pieces that versions share, in order.
    #[must_use]
    pub fn chunks(&self) -> &[Arc<Chunk>] {
        &self.chunks
    }

    /// Rows in all of them.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.chunks.iter().map(|chunk| chunk.rows).fold(0, u64::saturating_add)
    }

    /// Bytes of all of them.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.chunks.iter().map(|chunk| chunk.bytes).fold(0, u64::saturating_add)
    }

    /// About how much memory they take.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let memos = |chunk: &Chunk| chunk.lock().len() * chunk.cells.len() * MEMO_BYTES;
        self.chunks.iter().map(|chunk| chunk.memory_bytes + memos(chunk)).sum()
    }

    /// Those of `wanted` that are there, in the order of the frame. Looks only where they may be.
    #[must_use]
    pub fn find(&self, wanted: &HashSet<CellId>) -> Vec<Arc<CellEntry>> {
        let Some((least, greatest)) = span(wanted) else { return Vec::new() };
        let near = self.chunks.iter().filter(|chunk| chunk.may_hold(least, greatest));
        near.flat_map(|chunk| &chunk.cells).filter(|cell| wanted.contains(&cell.id)).map(Arc::clone).collect()
    }

    /// Whether some of `wanted` are there.
    pub(crate) fn any(&self, wanted: &HashSet<CellId>) -> Option<CellId> {
        let (least, greatest) = span(wanted)?;
        let near = self.chunks.iter().filter(|chunk| chunk.may_hold(least, greatest));
        near.flat_map(|chunk| &chunk.cells).map(|cell| cell.id).find(|id| wanted.contains(id))
    }

    /// Adds cells behind the others.
    pub(crate) fn extend(&mut self, cells: Vec<Arc<CellEntry>>) {
        let mut rest = cells.into_iter().peekable();
        if rest.peek().is_none() {
            return;
        }
        let open = self.chunks.pop_if(|chunk| chunk.cells.len() < CHUNK_MAX);
        // A chunk that no other version has is taken over as it is.
        let own =
            |chunk| Arc::try_unwrap(chunk).map_or_else(|shared: Arc<Chunk>| shared.cells.clone(), |own| own.cells);
        let mut begun = open.map_or_else(Vec::new, own);
        self.starts.truncate(self.chunks.len());
        self.len = self.chunks.last().map_or(0, |chunk| chunk.cells.len()) + self.starts.last().copied().unwrap_or(0);
        // Ends: every round takes at least one cell.
        while rest.peek().is_some() || !begun.is_empty() {
            begun.extend(rest.by_ref().take(CHUNK_MAX - begun.len()));
            self.push(std::mem::take(&mut begun));
        }
    }

    /// Takes cells away; the error is one that is not there, and then nothing was taken.
    pub(crate) fn remove(&mut self, gone: &HashSet<CellId>) -> Result<(), CellId> {
        let Some((least, greatest)) = span(gone) else { return Ok(()) };
        let mut left = gone.clone();
        let mut kept = Self::default();
        for chunk in &self.chunks {
            if !chunk.may_hold(least, greatest) || !chunk.cells.iter().any(|cell| left.contains(&cell.id)) {
                kept.share(chunk);
                continue;
            }
            let stays = chunk.cells.iter().filter(|cell| !left.remove(&cell.id)).map(Arc::clone).collect();
            kept.push(stays);
        }
        if let Some(id) = left.into_iter().min() {
            return Err(id);
        }
        *self = kept.joined();
        Ok(())
    }

    /// The same cells in full chunks, where removals have left too many small ones.
    fn joined(self) -> Self {
        if self.chunks.len() <= 8 + 2 * self.len.div_ceil(CHUNK_MAX) {
            return self;
        }
        self.iter().map(Arc::clone).collect()
    }

    fn push(&mut self, cells: Vec<Arc<CellEntry>>) {
        if let Some(chunk) = Chunk::new(cells) {
            self.share(&chunk);
        }
    }

    fn share(&mut self, chunk: &Arc<Chunk>) {
        self.starts.push(self.len);
        self.len += chunk.cells.len();
        self.chunks.push(Arc::clone(chunk));
    }
}

fn span(ids: &HashSet<CellId>) -> Option<(CellId, CellId)> {
    Some((*ids.iter().min()?, *ids.iter().max()?))
}

impl Index<usize> for Cells {
    type Output = Arc<CellEntry>;

    fn index(&self, at: usize) -> &Arc<CellEntry> {
        let chunk = self.starts.partition_point(|start| *start <= at) - 1;
        &self.chunks[chunk].cells[at - self.starts[chunk]]
    }
}

impl PartialEq for Cells {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().eq(other.iter())
    }
}

impl FromIterator<Arc<CellEntry>> for Cells {
    fn from_iter<I: IntoIterator<Item = Arc<CellEntry>>>(cells: I) -> Self {
        let mut all = Self::default();
        all.extend(cells.into_iter().collect());
        all
    }
}

impl<'a> IntoIterator for &'a Cells {
    type Item = &'a Arc<CellEntry>;
    type IntoIter = Box<dyn Iterator<Item = &'a Arc<CellEntry>> + 'a>;

    fn into_iter(self) -> Self::IntoIter {
        Box::new(self.iter())
    }
}

#[cfg(test)]
mod tests;
