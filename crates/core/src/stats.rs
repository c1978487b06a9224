//! What the ledger knows of a cell without opening it: row count and, for each column, its bounds and NULLs.
//!
//! A wrong bound is a wrong answer, so each column says how far its numbers may be trusted: a bound that is absent
//! is unknown; a bound that is not exact may prune (everything lies inside it) but must not answer a query.

use std::{cmp::Ordering, collections::BTreeMap};

use serde::{Deserialize, Serialize};

/// One bound of a column, in the column's own type.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum StatValue {
    /// A boolean; false is below true.
    Bool(bool),
    /// Any signed integer.
    Int(i64),
    /// An unsigned integer.
    UInt(u64),
    /// Any float, never NaN.
    Float(f64),
    /// `value` times ten to the minus `scale`.
    Decimal {
        /// The digits.
        value: i128,
        /// Digits in all.
        precision: u8,
        /// Digits behind the point.
        scale: i8,
    },
    /// Text; bytes decide the order.
    Text(String),
    /// Days since 1970.
    Date(i32),
    /// Microseconds since 1970, UTC where the column has a zone.
    Timestamp(i64),
}

impl StatValue {
    /// The order of two bounds of one type; `None` between types.
    #[must_use]
    pub fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => Some(a.cmp(b)),
            (Self::Int(a), Self::Int(b)) | (Self::Timestamp(a), Self::Timestamp(b)) => Some(a.cmp(b)),
            (Self::UInt(a), Self::UInt(b)) => Some(a.cmp(b)),
            (Self::Float(a), Self::Float(b)) => a.partial_cmp(b),
            (Self::Decimal { value: a, scale: s, .. }, Self::Decimal { value: b, scale: t, .. }) if s == t => {
                Some(a.cmp(b))
            }
            (Self::Text(a), Self::Text(b)) => Some(a.as_bytes().cmp(b.as_bytes())),
            (Self::Date(a), Self::Date(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }
}

/// What is known of one column of one cell.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ColumnStats {
    /// No value is below this.
    pub min: Option<StatValue>,
    /// No value is above this.
    pub max: Option<StatValue>,
    /// How many values are NULL.
    pub null_count: Option<u64>,
    /// Whether `min` is itself a value of the column.
    pub min_exact: bool,
    /// Whether `max` is itself a value of the column.
    pub max_exact: bool,
}

/// What is known of one cell. Columns whose type has no order are absent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CellStats {
    /// Rows in the cell.
    pub rows: u64,
    /// By column name.
    pub columns: BTreeMap<String, ColumnStats>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_of_different_types_have_no_order() {
        assert_eq!(StatValue::Int(1).compare(&StatValue::Float(1.0)), None);
        assert_eq!(StatValue::Int(1).compare(&StatValue::Int(2)), Some(Ordering::Less));
        assert_eq!(StatValue::Float(-0.0).compare(&StatValue::Float(0.0)), Some(Ordering::Equal));
    }
}
