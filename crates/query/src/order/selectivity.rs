//! What share of rows a condition leaves: from ranges where they are known, by custom where they are not.

use std::collections::HashMap;

use datafusion::{
    common::{Column, JoinType},
    logical_expr::{BinaryExpr, Expr, Operator},
};

use super::estimate::{ColumnEstimate, Estimate};
use crate::table::as_number;

/// Different values that a column of texts is taken to have in a condition: a brand, a state, a segment.
const TEXT_VALUES: f64 = 20.0;
/// A pattern, or anything that is not understood.
const PATTERN: f64 = 0.1;
const UNKNOWN: f64 = 0.25;
/// One side of a range.
const INEQUALITY: f64 = 1.0 / 3.0;
/// An anti join is never taken to drop all but this.
const ANTI_MIN: f64 = 0.3;

/// What all of `conjuncts` leave together. Conditions on one column are intersected; those on different ones are taken
/// to be independent.
pub(super) fn of(conjuncts: &[&Expr], input: &Estimate) -> f64 {
    let mut ranges: HashMap<&Column, (f64, f64)> = HashMap::new();
    let mut keeps = 1.0;
    for conjunct in conjuncts {
        match range(conjunct).filter(|(column, ..)| known_range(column, input).is_some()) {
            Some((column, low, high)) => {
                let range = ranges.entry(column).or_insert((f64::NEG_INFINITY, f64::INFINITY));
                *range = (range.0.max(low), range.1.min(high));
            }
            None => keeps *= one(conjunct, input),
        }
    }
    for (column, (low, high)) in ranges {
        if let Some((least, most)) = known_range(column, input) {
            keeps *= ((high.min(most) - low.max(least)) / (most - least)).clamp(1.0 / input.rows.max(1.0), 1.0);
        }
    }
    keeps
}

fn known_range(column: &Column, input: &Estimate) -> Option<(f64, f64)> {
    input.columns.get(column)?.range.filter(|(least, most)| most > least)
}

/// The column and the interval that a condition allows it.
fn range(expr: &Expr) -> Option<(&Column, f64, f64)> {
    let (everything_below, everything_above) = (f64::NEG_INFINITY, f64::INFINITY);
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let (column, literal, op) = match (bare(left), bare(right)) {
                (Expr::Column(column), Expr::Literal(value, _)) => (column, value, *op),
                (Expr::Literal(value, _), Expr::Column(column)) => (column, value, op.swap()?),
                _ => return None,
            };
            let value = as_number(literal)?;
            match op {
                Operator::Lt | Operator::LtEq => Some((column, everything_below, value)),
                Operator::Gt | Operator::GtEq => Some((column, value, everything_above)),
                _ => None,
            }
        }
        Expr::Between(between) if !between.negated => {
            match (bare(&between.expr), between.low.as_ref(), between.high.as_ref()) {
                (Expr::Column(column), Expr::Literal(low, _), Expr::Literal(high, _)) => {
                    Some((column, as_number(low)?, as_number(high)?))
                }
                _ => None,
            }
        }
        _ => None,
    }
}

/// An expression without its casts.
fn bare(expr: &Expr) -> &Expr {
    match expr {
        Expr::Cast(cast) => bare(&cast.expr),
        Expr::TryCast(cast) => bare(&cast.expr),
        other => other,
    }
}

fn one(expr: &Expr, input: &Estimate) -> f64 {
    let keeps = match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match op {
            Operator::And => of(&[left.as_ref(), right.as_ref()], input),
            Operator::Or => {
                let (left, right) = (one(left, input), one(right, input));
                left + right - left * right
            }
            Operator::Eq | Operator::IsNotDistinctFrom => equal(left, right, input),
            Operator::NotEq | Operator::IsDistinctFrom => 1.0 - equal(left, right, input),
            Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq => range(expr)
                .filter(|(column, ..)| known_range(column, input).is_some())
                .map_or(INEQUALITY, |_| of(&[expr], input)),
            _ => UNKNOWN,
        },
        Expr::Not(inner) => 1.0 - one(inner, input),
        Expr::IsNull(inner) => nulls(inner, input),
        Expr::IsNotNull(inner) => 1.0 - nulls(inner, input),
        Expr::InList(list) => {
            let share = (value(&list.expr, input) * list.list.len() as f64).min(1.0);
            if list.negated { 1.0 - share } else { share }
        }
        Expr::Between(between) if between.negated => 1.0 - INEQUALITY,
        Expr::Between(_) => UNKNOWN,
        Expr::Like(like) => {
            if like.negated {
                1.0 - PATTERN
            } else {
                PATTERN
            }
        }
        _ => UNKNOWN,
    };
    keeps.clamp(0.5 / input.rows.max(1.0), 1.0)
}

fn equal(left: &Expr, right: &Expr, input: &Estimate) -> f64 {
    value(left, input).min(value(right, input))
}

/// The share of rows in which an expression has one certain value.
fn value(expr: &Expr, input: &Estimate) -> f64 {
    let column = match bare(expr) {
        Expr::Column(column) => input.columns.get(column),
        Expr::Literal(..) => return 1.0,
        _ => None,
    };
    let values = column.and_then(|column: &ColumnEstimate| column.distinct).unwrap_or(TEXT_VALUES);
    1.0 / values.clamp(1.0, input.base.max(1.0))
}

fn nulls(expr: &Expr, input: &Estimate) -> f64 {
    match expr {
        Expr::Column(column) => input.columns.get(column).map_or(PATTERN, |column| column.nulls),
        _ => PATTERN,
    }
}

/// What a condition between two relations leaves, beyond equalities.
pub(super) fn between(expr: &Expr) -> f64 {
    match expr {
        Expr::BinaryExpr(BinaryExpr { op, .. }) => match op {
            Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq => INEQUALITY,
            Operator::NotEq => 0.9,
            Operator::Eq => PATTERN,
            _ => 0.5,
        },
        _ => 0.5,
    }
}

/// What a semi or anti join leaves: of `domain` different values, `rows` have a partner.
pub(super) fn semi(rows: f64, domain: f64, join_type: JoinType) -> f64 {
    let partner = (rows / domain.max(1.0)).min(1.0);
    match join_type {
        JoinType::LeftAnti | JoinType::RightAnti => (1.0 - partner).max(ANTI_MIN),
        _ => partner,
    }
}
