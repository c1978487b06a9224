//! What to keep of what does not all fit: CLOCK, which is first in, first out, but what was asked for again since its
//! last turn gets another turn. A scan that is larger than the room passes through without a queue of its own being
//! reordered at every hit. Pure: weights in, what goes out.

use std::collections::{HashMap, VecDeque};

use super::BlockId;

#[derive(Debug)]
struct Entry<V> {
    value: V,
    weight: u64,
    /// Tells this stay from an earlier one of the same block.
    stay: u64,
    touched: bool,
}

/// Blocks and what they weigh, never more than `weight_max` together.
#[derive(Debug)]
pub(super) struct SecondChance<V> {
    entries: HashMap<BlockId, Entry<V>>,
    /// Oldest first; may name stays that are over.
    turns: VecDeque<(BlockId, u64)>,
    weight: u64,
    weight_max: u64,
    stays: u64,
}

impl<V> SecondChance<V> {
    pub(super) fn new(weight_max: u64) -> Self {
        Self { entries: HashMap::new(), turns: VecDeque::new(), weight: 0, weight_max, stays: 0 }
    }

    pub(super) fn weight(&self) -> u64 {
        self.weight
    }

    pub(super) fn has(&self, id: &BlockId) -> bool {
        self.entries.contains_key(id)
    }

    /// Whether nothing would have to go for so much more.
    pub(super) fn has_room(&self, weight: u64) -> bool {
        self.weight + weight <= self.weight_max
    }

    /// Whether so much is at most a quarter of all room.
    pub(super) fn is_small(&self, weight: u64) -> bool {
        weight <= self.weight_max / 4
    }

    /// A block, which by that has earned another turn.
    pub(super) fn get(&mut self, id: &BlockId) -> Option<&V> {
        let entry = self.entries.get_mut(id)?;
        entry.touched = true;
        Some(&entry.value)
    }

    /// Keeps a block; returns what had to go for it, which is the block itself if it is larger than all room.
    pub(super) fn keep(&mut self, id: BlockId, value: V, weight: u64) -> Vec<(BlockId, V, u64)> {
        let mut gone: Vec<_> = self.remove(&id).map(|(value, weight)| (id, value, weight)).into_iter().collect();
        if weight > self.weight_max {
            gone.push((id, value, weight));
            return gone;
        }
        while !self.has_room(weight) {
            let Some(oldest) = self.next_out() else { break };
            gone.push(oldest);
        }
        self.stays += 1;
        self.turns.push_back((id, self.stays));
        self.weight += weight;
        self.entries.insert(id, Entry { value, weight, stay: self.stays, touched: false });
        gone
    }

    /// Takes out the block whose turn it is. Ends: every turn either goes or loses its mark.
    pub(super) fn next_out(&mut self) -> Option<(BlockId, V, u64)> {
        while let Some((id, stay)) = self.turns.pop_front() {
            match self.entries.get_mut(&id) {
                Some(entry) if entry.stay == stay && entry.touched => {
                    entry.touched = false;
                    self.turns.push_back((id, stay));
                }
                Some(entry) if entry.stay == stay => {
                    return self.remove(&id).map(|(value, weight)| (id, value, weight));
                }
                _ => {}
            }
        }
        None
    }

    pub(super) fn remove(&mut self, id: &BlockId) -> Option<(V, u64)> {
        let entry = self.entries.remove(id)?;
        self.weight -= entry.weight;
        // Stays that are over leave with their turn; too many of them at once are swept.
        if self.turns.len() > 2 * self.entries.len() + 64 {
            let entries = &self.entries;
            self.turns.retain(|(id, stay)| entries.get(id).is_some_and(|entry| entry.stay == *stay));
        }
        Some((entry.value, entry.weight))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell_cache::CellHash;

    fn id(block: u32) -> BlockId {
        BlockId { cell: CellHash(7), block }
    }

    fn gone<V>(gone: Vec<(BlockId, V, u64)>) -> Vec<u32> {
        gone.into_iter().map(|(id, ..)| id.block).collect()
    }

    #[test]
    fn the_oldest_goes_first_unless_it_was_asked_for() {
        let mut kept = SecondChance::new(3);
        for block in 0..3 {
            assert!(kept.keep(id(block), (), 1).is_empty());
        }
        kept.get(&id(0));
        assert_eq!(gone(kept.keep(id(3), (), 1)), [1]);
        assert_eq!(gone(kept.keep(id(4), (), 1)), [2]);
        assert_eq!(gone(kept.keep(id(5), (), 1)), [0], "its second chance is used up");
    }

    #[test]
    fn the_room_is_never_exceeded_whatever_comes() {
        let mut kept = SecondChance::new(100);
        for block in 0..10_000u32 {
            kept.keep(id(block * 7 % 193), (), u64::from(block % 40));
            kept.get(&id(block % 11));
            if block % 3 == 0 {
                kept.remove(&id(block % 193));
            }
            let sum: u64 = kept.entries.values().map(|entry| entry.weight).sum();
            assert!(kept.weight() == sum && sum <= 100);
            assert!(kept.turns.len() <= 2 * kept.entries.len() + 66);
        }
    }

    #[test]
    fn what_is_larger_than_all_room_is_not_kept() {
        let mut kept = SecondChance::new(10);
        kept.keep(id(1), (), 10);
        assert_eq!(gone(kept.keep(id(2), (), 11)), [2]);
        assert!(kept.has(&id(1)) && !kept.has(&id(2)));
    }
}
