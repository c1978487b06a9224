//! In which order frames are joined.
//!
//! DataFusion joins frames in the order in which the statement names them and only decides, for each join, which side
//! is built. The ledger knows the rows of every frame and the range of every column exactly, which is most of what
//! Selinger and others (1979, "Access Path Selection in a Relational Database Management System") ask for: so every
//! region of inner joins is taken apart into relations and conditions, and put together again in the cheapest order.
//!
//! ```text
//!            ⋈                              ⋈                 relations: s, l, o, c, n
//!         ⋈     n = 'FRANCE'             ⋈      c             conditions: s.key = l.skey, l.okey = o.key, …
//!      ⋈     c               ──▶      ⋈      o
//!   ⋈     o                        ⋈     l
//!  s  l                           s  n
//! ```
//!
//! * `region` takes apart. Inner joins are free to move; so are semi and anti joins over them, which are filters of
//!   the relations that their conditions name. Everything else (outer joins, aggregates, limits, volatile conditions)
//!   is a wall: it is one relation of the region above, and what lies below it is a region of its own.
//! * `estimate` says how many rows a relation has and how many different values its columns have (`selectivity`: what
//!   a condition leaves of them).
//! * `search` is pure: numbers in, a tree out. Dynamic programming over all sets of relations up to ten (Moerkotte and
//!   Neumann, 2006, call it DPsub), and greedily by the smallest result beyond (Fegaras, 1998: GOO).
//! * `build` puts together, and a projection on top gives the region's columns in their old order.
//!
//! * `reduce` is for groupings below a join: of the groups that nobody asks for none is made.
//! * `filters` tells the physical plan's filters what they keep, for the choice of the side that is built.
//!
//! Rows never depend on it: every condition is applied once both its sides are there, equalities of columns are
//! applied by their classes (a = b and b = c leave a = c to choose from), and an order that is not clearly cheaper
//! than the statement's own is not taken. A test runs random statements in both orders.

mod build;
mod estimate;
pub(crate) mod filters;
mod reduce;
mod region;
mod search;
mod selectivity;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, sync::Arc};

use datafusion::{
    common::tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    error::Result as DfResult,
    execution::SessionState,
    logical_expr::LogicalPlan,
    optimizer::{Optimizer, optimize_projections::OptimizeProjections},
};

use estimate::Estimator;
use region::Region;

/// The same rows, by joins in a better order where there is one. Reads no cell.
pub(crate) fn reorder(plan: LogicalPlan, state: &SessionState) -> DfResult<LogicalPlan> {
    let wanted = compared_columns(&plan)?;
    let estimator = Estimator::new(state, wanted);
    let moved = reorder_below(plan, &estimator)?;
    if !moved.transformed {
        return Ok(moved.data);
    }
    // Joins in a new order need other columns between them.
    Optimizer::with_rules(vec![Arc::new(OptimizeProjections::new())]).optimize(moved.data, state, |_, _| {})
}

/// The same rows, with groupings that make no group which the join above them has no use for. Reads no cell.
pub(crate) fn reduce(plan: LogicalPlan, state: &SessionState) -> DfResult<LogicalPlan> {
    let wanted = compared_columns(&plan)?;
    let estimator = Estimator::new(state, wanted);
    let reduced = plan.transform_up_with_subqueries(|plan| {
        let fewer = match &plan {
            LogicalPlan::Join(join) => reduce::groups_of(join, &estimator)?,
            _ => None,
        };
        Ok(fewer.map_or_else(|| Transformed::no(plan), Transformed::yes))
    })?;
    if !reduced.transformed {
        return Ok(reduced.data);
    }
    Optimizer::with_rules(vec![Arc::new(OptimizeProjections::new())]).optimize(reduced.data, state, |_, _| {})
}

/// The names of the columns that some condition of the plan compares: of these alone bounds are looked at.
fn compared_columns(plan: &LogicalPlan) -> DfResult<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    plan.apply_with_subqueries(|node| {
        let compares = matches!(node, LogicalPlan::Join(_) | LogicalPlan::Filter(_) | LogicalPlan::Aggregate(_));
        let scan = matches!(node, LogicalPlan::TableScan(_));
        if compares || scan {
            node.apply_expressions(|expr| {
                names.extend(expr.column_refs().into_iter().map(|column| column.name.clone()));
                Ok(TreeNodeRecursion::Continue)
            })?;
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(names)
}

fn reorder_below(plan: LogicalPlan, estimator: &Estimator<'_>) -> DfResult<Transformed<LogicalPlan>> {
    let plan = plan.map_subqueries(|subquery| reorder_below(subquery, estimator))?;
    let Some(region) = Region::of(&plan.data) else {
        return plan.transform_data(|plan| plan.map_children(|child| reorder_below(child, estimator)));
    };
    let changed = plan.transformed;
    let mut below = false;
    let region = region.map_relations(|relation| {
        let relation = reorder_below(relation, estimator)?;
        below |= relation.transformed;
        Ok(relation.data)
    })?;
    match ordered(&region, estimator)? {
        Some(plan) => Ok(Transformed::yes(plan)),
        // The statement's own order, over relations that may have changed within.
        None if below => Ok(Transformed::yes(build::plan(&region, &region.shape)?)),
        None => Ok(Transformed::new(plan.data, changed, TreeNodeRecursion::Continue)),
    }
}

/// The region in a cheaper order; `None`: there is none, or too little is known.
fn ordered(region: &Region, estimator: &Estimator<'_>) -> DfResult<Option<LogicalPlan>> {
    let Some(graph) = region.graph(estimator) else { return Ok(None) };
    match search::cheaper(&graph, &region.shape) {
        Some(tree) => Ok(Some(build::plan(region, &tree)?)),
        None => Ok(None),
    }
}
