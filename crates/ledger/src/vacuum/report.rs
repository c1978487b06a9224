//! What callers ask of a vacuum, and what they are told: each file with the reason, and totals.

use std::time::Duration;

use apiary_core::{QueryId, TxnId, Version};

use super::{LISTED_MAX, RETENTION};

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VacuumOptions {
    /// Versions that were current within this time stay readable, by the store's clock.
    pub retention: Duration,
    /// Whether to delete; else only to tell.
    pub run: bool,
    /// Which node does it; for people.
    pub node: String,
    /// The store's time, if it was asked for lately; an older one makes files seem younger, never older.
    pub store_now_ms: Option<i64>,
}

impl Default for VacuumOptions {
    fn default() -> Self {
        Self { retention: RETENTION, run: false, node: "vacuum".to_owned(), store_now_ms: None }
    }
}

/// Why a file goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// An entry removed it.
    Removed {
        /// Which one.
        by: Version,
        /// When that was written, by the store's clock, in milliseconds since 1970.
        at_ms: i64,
    },
    /// Its transaction is in the ledger, without this file.
    LeftOut {
        /// The transaction.
        txn: TxnId,
        /// Where it is.
        version: Version,
    },
    /// Its transaction was given up for good.
    GivenUp {
        /// The transaction.
        txn: TxnId,
        /// The entry that says so.
        version: Version,
    },
    /// Its transaction was never committed, and now never will be.
    Undecided {
        /// The transaction.
        txn: TxnId,
    },
    /// No version that is left names it; what once named it was cleaned out of the ledger or is too long ago to be read.
    Forgotten {
        /// The transaction.
        txn: TxnId,
    },
}

/// Why a file stays though the newest version does not have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hold {
    /// It was written too lately to be judged.
    Young,
    /// A version within retention has it.
    Retained {
        /// The entry that removed it.
        by: Version,
    },
    /// A query that still runs may read it.
    Pinned {
        /// The query.
        query: QueryId,
    },
    /// Its transaction may still be committed.
    Undecided {
        /// The transaction.
        txn: TxnId,
    },
    /// The ledger could not be read as far back as would be needed.
    Unknown,
    /// Its name is not one that Apiary gives.
    Foreign,
    /// A limit of this run was reached: it is for the next.
    Later,
}

/// What becomes of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It goes.
    Goes(Reason),
    /// It stays.
    Stays(Hold),
}

/// One file that the newest version does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFate {
    /// Its path relative to the frame's folder.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// How old it is by the store's clock, in milliseconds.
    pub age_ms: i64,
    /// What becomes of it.
    pub fate: Fate,
}

/// A number of files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Total {
    /// How many.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Total {
    pub(super) fn add(&mut self, bytes: u64) {
        self.files += 1;
        self.bytes += bytes;
    }
}

/// What a vacuum of one frame found and did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VacuumReport {
    /// The version whose cells were taken for current.
    pub version: Version,
    /// What time it was by the store's clock, in milliseconds since 1970.
    pub store_now_ms: i64,
    /// Whether files were deleted; else this is what would be.
    pub run: bool,
    /// Files of the newest version.
    pub current: Total,
    /// Cells of the newest version that are not in the bucket. While one is missing nothing of the frame is deleted: what
    /// is left may be needed for its repair.
    pub missing: Vec<String>,
    /// Files that go, or went.
    pub goes: Total,
    /// Files that stay though the newest version does not have them.
    pub stays: Total,
    /// Each of both, those that go first, at most ten thousand.
    pub files: Vec<FileFate>,
    /// Transactions that were doomed, or would be.
    pub doomed: u64,
    /// A limit was reached: run it again.
    pub more: bool,
    /// The entry before the first delete; `None` if nothing was deleted.
    pub opened: Option<Version>,
    /// The entry that counts what went; `None` if it could not be written, which changes nothing.
    pub closed: Option<Version>,
}

impl VacuumReport {
    pub(super) fn of(version: Version, store_now_ms: i64) -> Self {
        let none = Total::default();
        Self {
            version,
            store_now_ms,
            run: false,
            current: none,
            missing: Vec::new(),
            goes: none,
            stays: none,
            files: Vec::new(),
            doomed: 0,
            more: false,
            opened: None,
            closed: None,
        }
    }

    /// Why nothing is deleted, if something is wrong with the frame.
    #[must_use]
    pub fn refused(&self) -> Option<String> {
        let first = self.missing.first()?;
        let cells = apiary_core::units::counted(self.missing.len() as u64, "cell");
        let are = if self.missing.len() == 1 { "is" } else { "are" };
        Some(format!(
            "{cells} of version {} {are} missing from the bucket, '{first}' for one; nothing of this frame is deleted until \
             that is restored",
            self.version
        ))
    }

    pub(super) fn stay(&mut self, file: FileFate) {
        self.stays.add(file.bytes);
        if self.files.len() < LISTED_MAX {
            self.files.push(file);
        }
    }
}

impl Fate {
    /// Whether it goes.
    #[must_use]
    pub fn goes(&self) -> bool {
        matches!(self, Self::Goes(_))
    }

    /// A word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Goes(Reason::Removed { .. }) => "removed",
            Self::Goes(Reason::LeftOut { .. }) => "left_out",
            Self::Goes(Reason::GivenUp { .. }) => "given_up",
            Self::Goes(Reason::Undecided { .. }) => "never_committed",
            Self::Goes(Reason::Forgotten { .. }) => "forgotten",
            Self::Stays(Hold::Young) => "young",
            Self::Stays(Hold::Retained { .. }) => "retained",
            Self::Stays(Hold::Pinned { .. }) => "pinned",
            Self::Stays(Hold::Undecided { .. }) => "undecided",
            Self::Stays(Hold::Unknown) => "unknown",
            Self::Stays(Hold::Foreign) => "foreign",
            Self::Stays(Hold::Later) => "later",
        }
    }

    /// The sentence for people; `now_ms` by the store's clock.
    #[must_use]
    pub fn describe(&self, now_ms: i64) -> String {
        match self {
            Self::Goes(reason) => reason.describe(now_ms),
            Self::Stays(hold) => hold.describe(),
        }
    }
}

impl Reason {
    fn describe(&self, now_ms: i64) -> String {
        match self {
            Self::Removed { by, at_ms } => format!("removed by version {by}, {} ago", age(now_ms - at_ms)),
            Self::LeftOut { txn, version } => format!("orphan of transaction {txn}, committed as version {version}"),
            Self::GivenUp { txn, version } => format!("orphan of transaction {txn}, given up in version {version}"),
            Self::Undecided { txn } => format!("orphan of transaction {txn}, never committed"),
            Self::Forgotten { .. } => "no version that is left names it".to_owned(),
        }
    }
}

impl Hold {
    fn describe(&self) -> String {
        match self {
            Self::Young => "stays: written within retention".to_owned(),
            Self::Retained { by } => format!("stays: removed by version {by}, within retention"),
            Self::Pinned { query } => format!("stays: pinned by query {query}"),
            Self::Undecided { txn } => format!("stays: transaction {txn} is undecided and younger than 7 days"),
            Self::Unknown => "stays: the ledger cannot be read as far back as needed".to_owned(),
            Self::Foreign => "stays: not a name that Apiary gives".to_owned(),
            Self::Later => "stays until the next run: a limit was reached".to_owned(),
        }
    }
}

/// A span in the largest unit of which there are at least two.
#[must_use]
pub(super) fn age(span_ms: i64) -> String {
    let seconds = u64::try_from(span_ms / 1000).unwrap_or(0);
    let units = [(86_400, "day"), (3_600, "hour"), (60, "minute")];
    let fits = units.into_iter().find(|(unit, _)| seconds >= 2 * unit);
    let (unit, word) = fits.unwrap_or((1, "second"));
    apiary_core::units::counted(seconds / unit, word)
}
