//! Which file goes, and why: pure. The argument stands in `vacuum`.

use std::collections::{BTreeMap, HashMap};

use apiary_bucket::layout;
use apiary_core::{QueryId, TxnId, Version};

use super::{
    ENTRIES_EXTRA, ENTRIES_MAX, UNDECIDED_AGE, ms,
    report::{Fate, Hold, Reason},
};

/// When the entries of a log were written, by the store's clock: the newest of them, up to the head.
#[derive(Debug, Clone, Default)]
pub(super) struct Written {
    pub(super) at_ms: BTreeMap<Version, i64>,
    /// Whether there is none before them.
    pub(super) whole: bool,
}

/// How far back what matters lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Horizon {
    /// What this entry and later ones removed is in a version within retention.
    pub(super) retained_from: Version,
    /// What this entry and later ones removed may be read by the query; only those before `retained_from`.
    pub(super) pinned_from: Option<(Version, QueryId)>,
    /// The first entry to read.
    pub(super) read_from: Version,
    /// Whether all that matters is there to be read.
    pub(super) known: bool,
}

impl Horizon {
    /// `pins`: the versions of this frame that queries hold.
    pub(super) fn of(
        head: Version,
        written: &Written,
        pins: &[(Version, QueryId)],
        now_ms: i64,
        retention_ms: i64,
    ) -> Self {
        let since = |age_ms: i64| {
            let young = written.at_ms.iter().find(|(_, at_ms)| now_ms.saturating_sub(**at_ms) < age_ms);
            young.map_or(head.next(), |(version, _)| *version)
        };
        let (retained_from, undecided_from) = (since(retention_ms), since(ms(UNDECIDED_AGE)));
        let oldest_pin = pins.iter().filter(|(version, _)| version.next() < retained_from).min();
        let pinned_from = oldest_pin.map(|(version, query)| (version.next(), *query));
        let needed_from = pinned_from.map_or(retained_from, |(version, _)| version);
        // Entries are dense; where they are not, the log is being cleaned, and what lies below cannot be read.
        let dense = |version: &Version| written.at_ms.contains_key(version);
        let mut dense_from = head.next();
        while dense_from.0 > 0 && dense(&Version(dense_from.0 - 1)) {
            dense_from = Version(dense_from.0 - 1);
        }
        let first = written.at_ms.keys().next().copied().unwrap_or(head.next());
        // The first of a listing that was cut may have younger ones before it only if it is young itself.
        let cut = !written.whole && needed_from <= first;
        let reachable = Version((head.0 + 1).saturating_sub(ENTRIES_MAX));
        let wanted = Version(needed_from.min(undecided_from).0.saturating_sub(ENTRIES_EXTRA));
        Self {
            retained_from,
            pinned_from,
            read_from: wanted.max(dense_from).max(reachable),
            known: !cut && needed_from >= dense_from && needed_from >= reachable,
        }
    }
}

/// What was read of the log: every entry from `from` to the head.
#[derive(Debug, Clone)]
pub(super) struct Window {
    pub(super) from: Version,
    /// Which entry removed a path.
    pub(super) removed: HashMap<String, Version>,
    /// Where a transaction was committed.
    pub(super) committed: HashMap<TxnId, Version>,
    /// Where a transaction was sealed or doomed.
    pub(super) given_up: HashMap<TxnId, Version>,
}

/// One file in a frame's folder of cells that the head does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    /// Relative to the frame's folder.
    pub(super) path: String,
    pub(super) bytes: u64,
    pub(super) modified_ms: i64,
}

/// Everything that a judgement rests on.
#[derive(Debug)]
pub(super) struct Evidence {
    pub(super) horizon: Horizon,
    pub(super) window: Window,
    pub(super) written: Written,
}

/// Whether a file is too young for any judgement; then the log need not be read for it.
pub(super) fn is_young(file: &File, now_ms: i64, retention_ms: i64) -> bool {
    now_ms.saturating_sub(file.modified_ms) < retention_ms.min(ms(UNDECIDED_AGE))
}

/// What becomes of a file that the head does not have.
pub(super) fn judge(file: &File, evidence: &Evidence, now_ms: i64, retention_ms: i64) -> Fate {
    let Some((txn, _)) = layout::parse_cell_path(&file.path) else { return Fate::Stays(Hold::Foreign) };
    if is_young(file, now_ms, retention_ms) {
        return Fate::Stays(Hold::Young);
    }
    let Evidence { horizon, window, written } = evidence;
    if let Some(by) = window.removed.get(&file.path).copied() {
        return removed(by, horizon, written);
    }
    // From here on: if an entry removed it, then one before all that was read.
    if let Some(version) = window.committed.get(&txn).copied() {
        return Fate::Goes(Reason::LeftOut { txn, version });
    }
    if !horizon.known {
        return Fate::Stays(horizon.pinned_from.map_or(Hold::Unknown, |(_, query)| Hold::Pinned { query }));
    }
    // After the question above: an id may be doomed though it was committed before all that is left.
    if let Some(version) = window.given_up.get(&txn).copied() {
        return Fate::Goes(Reason::GivenUp { txn, version });
    }
    if now_ms.saturating_sub(file.modified_ms) < ms(UNDECIDED_AGE) {
        return Fate::Stays(Hold::Undecided { txn });
    }
    let all_read = window.from == Version(0);
    Fate::Goes(if all_read { Reason::Undecided { txn } } else { Reason::Forgotten { txn } })
}

fn removed(by: Version, horizon: &Horizon, written: &Written) -> Fate {
    if by >= horizon.retained_from {
        return Fate::Stays(Hold::Retained { by });
    }
    match horizon.pinned_from {
        Some((from, query)) if by >= from => Fate::Stays(Hold::Pinned { query }),
        // What was read was listed; what was not is not known to be old.
        _ => match written.at_ms.get(&by) {
            Some(at_ms) if horizon.known => Fate::Goes(Reason::Removed { by, at_ms: *at_ms }),
            _ => Fate::Stays(Hold::Unknown),
        },
    }
}

/// The transaction that must be doomed before a file goes.
pub(super) fn to_doom(fate: &Fate) -> Option<TxnId> {
    match fate {
        Fate::Goes(Reason::Undecided { txn } | Reason::Forgotten { txn }) => Some(*txn),
        _ => None,
    }
}
