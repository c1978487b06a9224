//! A region put together again, in a given order.

use std::sync::Arc;

use datafusion::{
    common::{JoinConstraint, JoinType, NullEquality},
    error::Result as DfResult,
    logical_expr::{Expr, Filter, Join, LogicalPlan, Projection, utils::conjunction},
};

use super::{
    region::{Equality, Region},
    search::{Mask, Tree},
};

/// The plan of `tree`, with the columns of the region in their order.
pub(super) fn plan(region: &Region, tree: &Tree) -> DfResult<LogicalPlan> {
    let joined = joined(region, tree)?;
    let columns = region.schema.columns().into_iter().map(Expr::Column).collect();
    Ok(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(joined))?))
}

fn joined(region: &Region, tree: &Tree) -> DfResult<LogicalPlan> {
    let (left_tree, right_tree) = match tree {
        Tree::Leaf(relation) => return leaf(region, *relation),
        Tree::Join(left, right) => (left, right),
    };
    let (left, right) = (joined(region, left_tree)?, joined(region, right_tree)?);
    if let Tree::Leaf(relation) = right_tree.as_ref()
        && let Some(filter) = &region.filters[*relation]
    {
        return join(left, right, filter.on.clone(), filter.filter.clone(), filter.join_type);
    }
    let (on, filter) = conditions(region, left_tree.mask(), right_tree.mask());
    join(left, right, on, filter, JoinType::Inner)
}

/// A relation under the conditions that name it alone.
fn leaf(region: &Region, relation: usize) -> DfResult<LogicalPlan> {
    let plan = region.relations[relation].clone();
    let own: Mask = 1 << relation;
    let equalities = region.equalities.iter().filter(|equality| equality.left_mask | equality.right_mask == own);
    let others = region.others.iter().filter(|(_, mask)| *mask == own).map(|(expr, _)| expr.clone());
    match conjunction(equalities.map(as_condition).chain(others)) {
        Some(predicate) => Ok(LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(plan))?)),
        None => Ok(plan),
    }
}

/// The conditions that can be applied where two sets of relations meet, and not before: as keys, and as a filter.
fn conditions(region: &Region, left: Mask, right: Mask) -> (Vec<(Expr, Expr)>, Option<Expr>) {
    let meets = |mask: Mask| mask & !(left | right) == 0 && mask & !left != 0 && mask & !right != 0;
    let (mut on, mut filter, mut classes) = (Vec::new(), Vec::new(), Vec::new());
    for equality in &region.equalities {
        if !meets(equality.left_mask | equality.right_mask) {
            continue;
        }
        // One of a class is enough: on either side its columns are equal already.
        if let Some(class) = equality.class {
            if classes.contains(&class) {
                continue;
            }
            classes.push(class);
        }
        let (a, b) = (equality.left.clone(), equality.right.clone());
        if equality.left_mask & !left == 0 && equality.right_mask & !right == 0 {
            on.push((a, b));
        } else if equality.left_mask & !right == 0 && equality.right_mask & !left == 0 {
            on.push((b, a));
        } else {
            filter.push(as_condition(equality));
        }
    }
    filter.extend(region.others.iter().filter(|(_, mask)| meets(*mask)).map(|(expr, _)| expr.clone()));
    (on, conjunction(filter))
}

fn as_condition(equality: &Equality) -> Expr {
    equality.left.clone().eq(equality.right.clone())
}

fn join(
    left: LogicalPlan,
    right: LogicalPlan,
    on: Vec<(Expr, Expr)>,
    filter: Option<Expr>,
    join_type: JoinType,
) -> DfResult<LogicalPlan> {
    let (left, right) = (Arc::new(left), Arc::new(right));
    let equality = NullEquality::NullEqualsNothing;
    Ok(LogicalPlan::Join(Join::try_new(left, right, on, filter, join_type, JoinConstraint::On, equality, false)?))
}
