//! The bounds of one column while rows come by. Three states, because "no value seen" and "not known" merge
//! differently: the first takes the other side's bound, the second spoils it.

use std::cmp::Ordering;

use apiary_core::StatValue;

/// One bound.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) enum Bound {
    /// No value seen: only NULLs, or nothing at all.
    #[default]
    Empty,
    /// No value is beyond this.
    Known {
        /// The bound.
        value: StatValue,
        /// Whether it is itself a value of the column.
        exact: bool,
    },
    /// There may be values anywhere.
    Unknown,
}

impl Bound {
    pub(super) fn exact(value: StatValue) -> Self {
        Self::Known { value, exact: true }
    }

    /// The bound and whether it is exact.
    pub(super) fn known(self) -> (Option<StatValue>, bool) {
        match self {
            Self::Known { value, exact } => (Some(value), exact),
            Self::Empty | Self::Unknown => (None, false),
        }
    }

    /// The bound further out, where `outward` is how the outer one compares with the inner one.
    fn merge(self, other: Self, outward: Ordering) -> Self {
        match (self, other) {
            (Self::Empty, bound) | (bound, Self::Empty) => bound,
            (Self::Known { value: a, exact: x }, Self::Known { value: b, exact: y }) => match order(&a, &b) {
                Some(Ordering::Equal) => Self::Known { value: a, exact: x || y },
                Some(found) if found == outward => Self::Known { value: a, exact: x },
                Some(_) => Self::Known { value: b, exact: y },
                None => Self::Unknown,
            },
            (Self::Unknown, _) | (_, Self::Unknown) => Self::Unknown,
        }
    }
}

/// Floats by total order, so that -0.0 lies below 0.0 whichever way a reader compares them.
fn order(a: &StatValue, b: &StatValue) -> Option<Ordering> {
    match (a, b) {
        (StatValue::Float(a), StatValue::Float(b)) => Some(a.total_cmp(b)),
        _ => a.compare(b),
    }
}

/// What is known of one column's values.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Bounds {
    pub(super) min: Bound,
    pub(super) max: Bound,
    pub(super) nulls: u64,
}

impl Bounds {
    pub(super) fn merge(&mut self, other: Self) {
        self.min = std::mem::take(&mut self.min).merge(other.min, Ordering::Less);
        self.max = std::mem::take(&mut self.max).merge(other.max, Ordering::Greater);
        self.nulls += other.nulls;
    }
}
