//! What one transaction of an entry did.

use crate::{
    Kind,
    entry::{Add, FrameEntry, Remove},
};

/// One transaction of an entry, with its part of the entry's cells.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deed<'a> {
    /// `None` is what only a newer program knows.
    pub(super) kind: Option<Kind>,
    pub(super) word: &'a str,
    pub(super) adds: &'a [Add],
    pub(super) removes: &'a [Remove],
}

/// The transactions of an entry in their order. Cells are in that order, too; `decode` has checked the counts.
pub(super) fn deeds(entry: &FrameEntry) -> impl Iterator<Item = Deed<'_>> {
    let (mut added, mut removed) = (0, 0);
    entry.header.txns.iter().map(move |txn| Deed {
        kind: Kind::from_word(&txn.kind),
        word: &txn.kind,
        adds: part(&entry.adds, &mut added, txn.add),
        removes: part(&entry.removes, &mut removed, txn.remove),
    })
}

fn part<'a, T>(all: &'a [T], at: &mut usize, count: u64) -> &'a [T] {
    let from = (*at).min(all.len());
    let to = from.saturating_add(usize::try_from(count).unwrap_or(usize::MAX)).min(all.len());
    *at = to;
    &all[from..to]
}
