//! Groups that no row above will ask for are not made (semi-join reduction: Bernstein and Chiu, 1981).
//!
//! A condition such as `quantity < (SELECT avg(quantity) FROM lineitem WHERE partkey = p.partkey)` becomes a join with a
//! grouping of a whole frame, of which the join then takes the few groups whose key the other side has. What keys that
//! may be, some filtered relation of the other side knows before anything is grouped:
//!
//! ```text
//!          ⋈ partkey                           ⋈ partkey
//!        ╱   ╲                               ╱   ╲
//!      ⋈      γ partkey         ──▶        ⋈      γ partkey
//!    ╱   ╲     │                         ╱   ╲     │
//! part  lineitem  lineitem            part  lineitem  ⋉ ── part again, its key alone
//! (σ)                                 (σ)             │    (σ)
//!                                                  lineitem
//! ```
//!
//! Rows never depend on it. All rows of a group have its key, so whole groups go, and only such as the join would not
//! have found a partner for: the key's values on the other side are among those of any relation that it was joined
//! from, by equality, on the way up. The grouping must not be the side whose rows the join keeps without a partner. NULL
//! is equal to nothing, on both ways.
//!
//! The relation is read twice, so it is one that is read without a join, a quarter as large as what is grouped, at most,
//! and leaves a third of its keys.

use datafusion::{
    common::{Column, JoinType, NullEquality},
    error::Result as DfResult,
    logical_expr::{Aggregate, Expr, Join, LogicalPlan, LogicalPlanBuilder, expr::Alias},
};

use super::estimate::Estimator;

/// Most of the keys that a relation may leave.
const KEPT_SHARE_MAX: f64 = 0.33;

/// The rows that are grouped are at least so many times those of the relation.
const ROWS_PER_KEY_ROW: f64 = 4.0;

/// The name of the relation where it is read again.
const KEYS: &str = "__keys";

/// `join`, one side of which groups fewer rows; `None`: neither can, or it would not be worth it.
pub(super) fn groups_of(join: &Join, estimator: &Estimator<'_>) -> DfResult<Option<LogicalPlan>> {
    use JoinType as T;
    // A NOT IN asks whether there is a group of NULL.
    if join.null_equality != NullEquality::NullEqualsNothing || join.null_aware {
        return Ok(None);
    }
    let right = matches!(join.join_type, T::Inner | T::Left | T::LeftSemi);
    let left = matches!(join.join_type, T::Inner | T::Right | T::RightSemi);
    for (key, grouped) in &join.on {
        let (Expr::Column(key), Expr::Column(grouped)) = (key, grouped) else { continue };
        if right && let Some(fewer) = fewer_groups(&join.right, grouped, &join.left, key, estimator)? {
            return Ok(Some(LogicalPlan::Join(Join { right: fewer.into(), ..join.clone() })));
        }
        if left && let Some(fewer) = fewer_groups(&join.left, key, &join.right, grouped, estimator)? {
            return Ok(Some(LogicalPlan::Join(Join { left: fewer.into(), ..join.clone() })));
        }
    }
    Ok(None)
}

/// `plan`, a grouping by `column` among others below what only looks at one row at a time, with its input reduced to the
/// keys that `key` of `other` may have.
fn fewer_groups(
    plan: &LogicalPlan,
    column: &Column,
    other: &LogicalPlan,
    key: &Column,
    estimator: &Estimator<'_>,
) -> DfResult<Option<LogicalPlan>> {
    let below = match plan {
        LogicalPlan::Aggregate(aggregate) => return reduced(aggregate, column, other, key, estimator),
        LogicalPlan::Filter(filter) if !filter.predicate.is_volatile() => Some(column.clone()),
        LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) => source(plan, column),
        _ => None,
    };
    let (Some(below), [input]) = (below, &plan.inputs()[..]) else { return Ok(None) };
    let Some(fewer) = fewer_groups(input, &below, other, key, estimator)? else { return Ok(None) };
    plan.with_new_exprs(plan.expressions(), vec![fewer]).map(Some)
}

fn reduced(
    aggregate: &Aggregate,
    column: &Column,
    other: &LogicalPlan,
    key: &Column,
    estimator: &Estimator<'_>,
) -> DfResult<Option<LogicalPlan>> {
    let groups = aggregate.group_expr.iter().zip(aggregate.schema.columns());
    let grouped = groups.filter_map(|(expr, named)| Some((expr.try_as_col()?, named)));
    let Some((input_column, _)) = grouped.into_iter().find(|(_, named)| named == column) else { return Ok(None) };
    let Some(input) = estimator.estimate(&aggregate.input) else { return Ok(None) };
    let mut best: Option<(f64, LogicalPlan, Column)> = None;
    let mut found = Vec::new();
    relations(other, key, &mut found);
    for (relation, key) in found {
        let Some(known) = estimator.estimate(relation) else { continue };
        let share = known.rows / known.domain(&key);
        let is_small = known.base * ROWS_PER_KEY_ROW <= input.rows && share <= KEPT_SHARE_MAX;
        if is_small && best.as_ref().is_none_or(|(least, ..)| share < *least) {
            best = Some((share, relation.clone(), key));
        }
    }
    let Some((_, relation, key)) = best else { return Ok(None) };
    let keys = LogicalPlanBuilder::from(relation).project([Expr::Column(key.clone())])?.alias(KEYS)?;
    let on = (vec![input_column.clone()], vec![Column::new(Some(KEYS), &key.name)]);
    let input = LogicalPlanBuilder::from(aggregate.input.as_ref().clone());
    let input = input.join(keys.build()?, JoinType::LeftSemi, on, None)?.build()?;
    let (by, of) = (aggregate.group_expr.clone(), aggregate.aggr_expr.clone());
    Ok(Some(LogicalPlan::Aggregate(Aggregate::try_new(input.into(), by, of)?)))
}

/// Relations that hold, each in the column named, every value that `column` of `plan` has, but NULL.
fn relations<'a>(plan: &'a LogicalPlan, column: &Column, found: &mut Vec<(&'a LogicalPlan, Column)>) {
    if is_relation(plan) {
        return found.push((plan, column.clone()));
    }
    match plan {
        LogicalPlan::Filter(filter) => relations(&filter.input, column, found),
        LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) => {
            if let (Some(below), [input]) = (source(plan, column), &plan.inputs()[..]) {
                relations(input, &below, found);
            }
        }
        LogicalPlan::Join(join) => {
            use JoinType as T;
            let both = join.join_type == T::Inner;
            let of_left = both || matches!(join.join_type, T::Left | T::LeftSemi | T::LeftAnti | T::LeftMark);
            if of_left && join.left.schema().has_column(column) {
                relations(&join.left, column, found);
            } else if both && join.right.schema().has_column(column) {
                relations(&join.right, column, found);
            }
            // What it is equal to has all its values as well.
            for (left, right) in &join.on {
                match (left, right) {
                    (Expr::Column(left), Expr::Column(right))
                        if left == column && (both || join.join_type == T::LeftSemi) =>
                    {
                        relations(&join.right, right, found);
                    }
                    (Expr::Column(left), Expr::Column(right)) if right == column && both => {
                        relations(&join.left, left, found);
                    }
                    _ => {}
                }
            }
        }
        _ => {}
    }
}

/// Whether `plan` is a frame, read once, under conditions.
fn is_relation(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::TableScan(scan) => scan.fetch.is_none(),
        LogicalPlan::Filter(filter) => !filter.predicate.is_volatile() && is_relation(&filter.input),
        LogicalPlan::SubqueryAlias(alias) => is_relation(&alias.input),
        LogicalPlan::Projection(projection) => {
            projection.expr.iter().all(|expr| expr.try_as_col().is_some()) && is_relation(&projection.input)
        }
        _ => false,
    }
}

/// What `column` of a projection or an alias is in its input, if it is a column there.
fn source(plan: &LogicalPlan, column: &Column) -> Option<Column> {
    let at = plan.schema().columns().iter().position(|named| named == column)?;
    match plan {
        LogicalPlan::Projection(projection) => match projection.expr.get(at)? {
            Expr::Column(below) => Some(below.clone()),
            Expr::Alias(Alias { expr, .. }) => expr.try_as_col().cloned(),
            _ => None,
        },
        LogicalPlan::SubqueryAlias(alias) => alias.input.schema().columns().into_iter().nth(at),
        _ => None,
    }
}
