//! What can be asked of a store, and what can go wrong with it.

use std::time::Duration;

use object_store::{Error, path::Path};

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Op {
    /// A put that must not find anything.
    Create,
    /// A put that replaces, or a copy.
    Put,
    /// One part of an upload.
    Part,
    /// The end of an upload, which makes the object.
    Complete,
    /// A read of an object, of a range of it, or of its size.
    Get,
    /// One page of a listing.
    List,
    /// A delete of one object.
    Delete,
}

impl Op {
    /// Whether it changes the store.
    #[must_use]
    pub fn writes(self) -> bool {
        !matches!(self, Self::Get | Self::List)
    }
}

/// What one call meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A 500, and nothing happened.
    Error,
    /// A 503 after the client's own retries, and nothing happened.
    Unavailable,
    /// The request is lost, and with it every answer: the call never returns. Nothing happened.
    Hang,
    /// The change is made; the answer is lost, and the call ends in a timeout.
    AppliedThenTimeout,
    /// The change is made, and the answer is a 500.
    AppliedThenError,
    /// The change is made, and the call never returns.
    AppliedThenHang,
    /// The put is made, the client sends it again by itself and is told that the object is there already.
    AppliedThenExists,
    /// S3's bare 409, which the client passes on as "exists already": nothing was written.
    BareConflict,
    /// Azure's word for a name that is taken, though nothing was written.
    BarePrecondition,
    /// The call ends in a timeout now, and the put arrives when this much time has passed, under its own condition as
    /// it is then.
    Late(Duration),
    /// The put arrives when this much time has passed, and the call does not return: its caller may drop it.
    LateAndHang(Duration),
    /// The call takes this long, half of it before the store acts.
    Slow(Duration),
    /// The body ends early, without a word.
    Truncated,
    /// One bit of the body is wrong.
    Flipped,
    /// The listing does not know the last so many changes yet.
    Stale(usize),
    /// The right to do this is gone.
    Denied,
    /// There is no space left; nothing was written.
    DiskFull,
}

impl Fault {
    /// Whether a call of this kind can meet it.
    #[must_use]
    pub fn can_meet(self, op: Op) -> bool {
        match self {
            Self::Error | Self::Unavailable | Self::Hang | Self::Slow(_) | Self::Denied => true,
            Self::AppliedThenTimeout | Self::AppliedThenError | Self::AppliedThenHang => op.writes(),
            Self::AppliedThenExists | Self::BareConflict | Self::BarePrecondition => op == Op::Create,
            Self::Late(_) | Self::LateAndHang(_) => matches!(op, Op::Create | Op::Put),
            Self::Truncated | Self::Flipped => op == Op::Get,
            Self::Stale(_) => op == Op::List,
            Self::DiskFull => matches!(op, Op::Create | Op::Put | Op::Part | Op::Complete),
        }
    }

    /// Whether the change is made at once.
    pub(crate) fn applies(self) -> bool {
        matches!(
            self,
            Self::AppliedThenTimeout | Self::AppliedThenError | Self::AppliedThenHang | Self::AppliedThenExists
        )
    }

    /// Whether the caller never hears of it again.
    pub(crate) fn hangs(self) -> bool {
        matches!(self, Self::Hang | Self::AppliedThenHang | Self::LateAndHang(_))
    }

    /// The answer, if it is an error.
    pub(crate) fn error(self, path: &Path) -> Option<Error> {
        let generic = |why: &str| Some(Error::Generic { store: "faults", source: why.into() });
        let path = path.to_string();
        match self {
            Self::Error | Self::AppliedThenError => generic("500 internal error"),
            Self::Unavailable => generic("503 slow down"),
            Self::AppliedThenTimeout | Self::Late(_) => generic("operation timed out"),
            Self::DiskFull => generic("no space left on device"),
            Self::AppliedThenExists => Some(Error::AlreadyExists { path, source: "412 after a retry".into() }),
            Self::BareConflict => Some(Error::AlreadyExists { path, source: "409 conditional conflict".into() }),
            Self::BarePrecondition => Some(Error::Precondition { path, source: "409 blob exists".into() }),
            Self::Denied => Some(Error::PermissionDenied { path, source: "403 access denied".into() }),
            Self::Hang | Self::AppliedThenHang | Self::LateAndHang(_) => None,
            Self::Slow(_) | Self::Truncated | Self::Flipped | Self::Stale(_) => None,
        }
    }
}
