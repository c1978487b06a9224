//! Whether a frame folder that no name leads to is garbage: pure.
//!
//! A folder's end is decided in its own ledger, never by its age alone: it goes only after a terminal entry, which
//! no writer passes. A folder that was made and never named has nothing but version 0; it is ended like any other and goes
//! at once. One that holds rows and has no terminal entry is nobody's garbage: the registry lost it.

use std::time::Duration;

use apiary_core::{QueryId, Version};

use super::{
    ms,
    report::{Total, age},
};

/// How old everything in a folder must be before its lack of a name means anything.
pub const UNNAMED_AGE: Duration = Duration::from_secs(24 * 3600);

/// What a folder holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Contents {
    pub(super) total: Total,
    /// The newest object, by the store's clock.
    pub(super) newest_ms: i64,
    /// An object that Apiary did not write.
    pub(super) foreign: Option<String>,
    /// The last entry and when it was written.
    pub(super) last: Option<(Version, i64)>,
    /// Whether that is a terminal one.
    pub(super) ended: bool,
    pub(super) cells: u64,
    pub(super) checkpoints: u64,
    /// The mark on its first epoch, where there is no entry.
    pub(super) mark: Option<Mark>,
    /// A query that holds a version of it.
    pub(super) pinned: Option<QueryId>,
}

/// Why a folder has no ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// An earlier sweep, or a cleaning of its log, fenced it.
    Fence,
    /// Its frame was dropped at this time, by the store's clock, and had no ledger then.
    WithoutLedger { at_ms: i64 },
}

/// What becomes of a folder that no name leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FolderFate {
    /// It goes: its frame was dropped.
    Dropped {
        /// The terminal entry.
        version: Version,
        /// When that was written, by the store's clock.
        at_ms: i64,
    },
    /// It goes: its frame was dropped, and had no ledger then.
    DroppedWithoutLedger {
        /// When it was dropped, by the store's clock.
        at_ms: i64,
    },
    /// It goes: it was made and never named.
    NeverNamed,
    /// It goes: what an earlier sweep that was cut short left.
    Leftover,
    /// It stays: something in it was written within a day.
    Young,
    /// It stays: its frame was dropped within retention.
    DroppedLately {
        /// The terminal entry.
        version: Version,
    },
    /// It stays: its frame was dropped within retention, and had no ledger then.
    DroppedLatelyWithoutLedger,
    /// It stays: a query reads it.
    Pinned {
        /// The query.
        query: QueryId,
    },
    /// It stays: it holds a frame that was never dropped.
    HoldsFrame,
    /// It stays: Apiary did not write all of it.
    Foreign {
        /// One such object.
        object: String,
    },
    /// It stays: a limit of this run was reached.
    Later,
    /// It stays: it got its name just now.
    Named,
}

impl FolderFate {
    /// Whether it goes.
    #[must_use]
    pub fn goes(&self) -> bool {
        use FolderFate::{Dropped, DroppedWithoutLedger, Leftover, NeverNamed};
        matches!(self, Dropped { .. } | DroppedWithoutLedger { .. } | NeverNamed | Leftover)
    }

    /// A word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Dropped { .. } | Self::DroppedWithoutLedger { .. } => "dropped",
            Self::NeverNamed => "never_named",
            Self::Leftover => "leftover",
            Self::Young => "young",
            Self::DroppedLately { .. } | Self::DroppedLatelyWithoutLedger => "retained",
            Self::Pinned { .. } => "pinned",
            Self::HoldsFrame => "holds_frame",
            Self::Foreign { .. } => "foreign",
            Self::Later => "later",
            Self::Named => "named",
        }
    }

    /// The sentence for people; `now_ms` by the store's clock.
    #[must_use]
    pub fn describe(&self, now_ms: i64) -> String {
        match self {
            Self::Dropped { version, at_ms } => format!("dropped in version {version}, {} ago", age(now_ms - at_ms)),
            Self::DroppedWithoutLedger { at_ms } => format!("dropped {} ago, without a ledger", age(now_ms - at_ms)),
            Self::NeverNamed => "made and never named".to_owned(),
            Self::Leftover => "left by an earlier vacuum".to_owned(),
            Self::Young => "stays: it has no name, and was written to within a day".to_owned(),
            Self::DroppedLately { version } => format!("stays: dropped in version {version}, within retention"),
            Self::DroppedLatelyWithoutLedger => "stays: dropped without a ledger, within retention".to_owned(),
            Self::Pinned { query } => format!("stays: pinned by query {query}"),
            Self::HoldsFrame => {
                "stays: it holds a frame that was never dropped, and no name leads to it; restore the registry"
                    .to_owned()
            }
            Self::Foreign { object } => format!("stays: '{object}' is not of Apiary's making"),
            Self::Later => "stays until the next run: a limit was reached".to_owned(),
            Self::Named => "stays: it got its name just now".to_owned(),
        }
    }
}

/// What becomes of a folder that no name leads to.
pub(super) fn judge(contents: &Contents, now_ms: i64, retention_ms: i64) -> FolderFate {
    let age_ms = |at_ms: i64| now_ms.saturating_sub(at_ms);
    if let Some(object) = &contents.foreign {
        return FolderFate::Foreign { object: object.clone() };
    }
    if let Some(query) = contents.pinned {
        return FolderFate::Pinned { query };
    }
    // Rows are written to a frame that has a name: who finds none finds that it was lost, however lately.
    if !contents.ended && contents.last.is_some_and(|(version, _)| version > Version(0)) {
        return FolderFate::HoldsFrame;
    }
    if age_ms(contents.newest_ms) < ms(UNNAMED_AGE) {
        return FolderFate::Young;
    }
    match contents.last {
        Some((version, at_ms)) if contents.ended && age_ms(at_ms) < retention_ms => {
            FolderFate::DroppedLately { version }
        }
        Some((version, at_ms)) if contents.ended => FolderFate::Dropped { version, at_ms },
        Some((Version(0), _)) if contents.cells == 0 && contents.checkpoints == 0 => FolderFate::NeverNamed,
        // Without a mark nobody knows why its log is gone.
        None if contents.checkpoints == 0 => match contents.mark {
            Some(Mark::Fence) => FolderFate::Leftover,
            Some(Mark::WithoutLedger { at_ms }) if age_ms(at_ms) < retention_ms => {
                FolderFate::DroppedLatelyWithoutLedger
            }
            Some(Mark::WithoutLedger { at_ms }) => FolderFate::DroppedWithoutLedger { at_ms },
            None => FolderFate::HoldsFrame,
        },
        _ => FolderFate::HoldsFrame,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000;
    const NOW: i64 = 100 * DAY;

    fn fate(contents: Contents) -> FolderFate {
        judge(&contents, NOW, 7 * DAY)
    }

    fn old(last: Option<u64>, ended: bool, cells: u64) -> Contents {
        let last = last.map(|version| (Version(version), NOW - 8 * DAY));
        Contents { newest_ms: NOW - 8 * DAY, last, ended, cells, ..Contents::default() }
    }

    #[test]
    fn what_was_dropped_long_ago_goes_and_what_was_dropped_lately_stays() {
        assert!(matches!(fate(old(Some(9), true, 5)), FolderFate::Dropped { version: Version(9), .. }));
        let lately = Contents { last: Some((Version(9), NOW - 6 * DAY)), ..old(None, true, 5) };
        assert_eq!(fate(lately), FolderFate::DroppedLately { version: Version(9) });
    }

    #[test]
    fn what_was_never_named_goes_after_a_day() {
        assert_eq!(fate(old(Some(0), false, 0)), FolderFate::NeverNamed);
        let young = Contents { newest_ms: NOW - DAY + 1, ..old(Some(0), false, 0) };
        assert_eq!(fate(young), FolderFate::Young);
    }

    #[test]
    fn a_frame_that_the_registry_lost_stays() {
        for lost in [old(Some(3), false, 0), old(Some(0), false, 1), Contents { checkpoints: 1, ..old(None, false, 4) }]
        {
            assert_eq!(fate(lost), FolderFate::HoldsFrame);
        }
        assert_eq!(fate(Contents { newest_ms: NOW, ..old(Some(3), false, 1) }), FolderFate::HoldsFrame, "a moment ago");
        assert_eq!(fate(old(None, false, 3)), FolderFate::HoldsFrame, "its log was lost, too");
        assert_eq!(fate(Contents { mark: Some(Mark::Fence), ..old(None, false, 3) }), FolderFate::Leftover);
    }

    #[test]
    fn what_was_dropped_without_a_ledger_stays_within_retention_and_so_does_what_was_restored() {
        let marked = |at_ms| Contents { mark: Some(Mark::WithoutLedger { at_ms }), ..old(None, false, 3) };
        assert_eq!(fate(marked(NOW - 6 * DAY)), FolderFate::DroppedLatelyWithoutLedger);
        let at_ms = NOW - 7 * DAY;
        assert_eq!(fate(marked(at_ms)), FolderFate::DroppedWithoutLedger { at_ms });
        let restored = Contents { last: Some((Version(9), NOW - 8 * DAY)), ..marked(at_ms) };
        assert_eq!(fate(restored), FolderFate::HoldsFrame);
        assert_eq!(fate(Contents { checkpoints: 1, ..marked(at_ms) }), FolderFate::HoldsFrame);
    }

    #[test]
    fn what_is_pinned_or_not_ours_stays() {
        let foreign = Contents { foreign: Some("f/x".into()), ..old(Some(9), true, 5) };
        assert_eq!(fate(foreign), FolderFate::Foreign { object: "f/x".into() });
        let query = QueryId::new(&apiary_core::SystemClock, &apiary_core::SeededRng::new(1));
        assert_eq!(fate(Contents { pinned: Some(query), ..old(Some(9), true, 5) }), FolderFate::Pinned { query });
    }
}
