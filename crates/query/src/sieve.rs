//! Sieves: rows that a join will drop go before they are carried to it.
//!
//! A hash join tells the scans of its other side which keys it has (DataFusion calls that a dynamic filter), and a
//! scan skips whole row groups by it. But keys lie scattered, so nearly every row group has one, and all of its rows
//! are grouped or joined with others before the join drops them. A sieve stands on the scan and asks the same filter of
//! each row.
//!
//! ```text
//!        ⋈  has 57 orders                   ⋈
//!       ╱ ╲                                ╱ ╲
//!   orders  ⋈                  ──▶     orders  ⋈       57 rows arrive, not 1 500 000
//!          ╱ ╲                                ╱ ╲
//!   customer  orders                   customer  sieve
//!                                                  │
//!                                                orders
//! ```
//!
//! * It stands only where something costly lies between the scan and the join: another join, a grouping, a sort. A join
//!   right above drops the rows as cheaply itself, also behind a way to other partitions: that hashes each row as well.
//! * It watches what it is worth (`worth`): a filter that keeps most rows is asked only now and then.
//! * Rows never depend on it. DataFusion brought the filter to the scan, so any row may be dropped by it there, and the
//!   join asks again.
//!
//! DataFusion's own way of asking such filters row by row is `pushdown_filters`, which asks them, and every other
//! condition, while Parquet is decoded: docs/adr/0011-what-makes-a-local-query-fast.md says what that costs.

mod exec;
mod worth;

use std::sync::Arc;

use datafusion::{
    common::tree_node::{Transformed, TreeNode},
    datasource::{physical_plan::FileScanConfig, source::DataSourceExec},
    error::Result as DfResult,
    physical_expr::{
        PhysicalExpr,
        expressions::{Column, DynamicFilterPhysicalExpr},
        utils::split_conjunction,
    },
    physical_plan::{
        ChildrenPropertiesMode, ExecutionPlan, ReplaceChildrenOptions, coalesce_partitions::CoalescePartitionsExec,
        coop::CooperativeExec, filter::FilterExec, joins::HashJoinExec, projection::ProjectionExec,
        repartition::RepartitionExec,
    },
};

use exec::SieveExec;

/// A join above that finds a filter while it runs.
#[derive(Debug, Clone, Copy)]
struct Join {
    /// The filter's own number.
    filter: u64,
    /// Whether something costly lies between it and here.
    far: bool,
}

/// The plan with sieves on the scans where they may be worth it.
pub(crate) fn lay(plan: Arc<dyn ExecutionPlan>) -> DfResult<Arc<dyn ExecutionPlan>> {
    below(plan, &[])
}

fn below(plan: Arc<dyn ExecutionPlan>, joins: &[Join]) -> DfResult<Arc<dyn ExecutionPlan>> {
    if let Some(sieved) = on_scan(&plan, joins)? {
        return Ok(sieved);
    }
    let mut known: Vec<Join> = joins.iter().map(|join| Join { far: join.far || is_costly(&plan), ..*join }).collect();
    if plan.fetch().is_some() {
        // Which rows it takes is its own affair.
        known.clear();
    }
    let found: Vec<u64> = match plan.downcast_ref::<HashJoinExec>() {
        Some(join) => join.dynamic_expressions_produced().iter().filter_map(|found| found.expression_id()).collect(),
        None => Vec::new(),
    };
    let mut children = Vec::new();
    let mut changed = false;
    for (side, child) in plan.children().into_iter().enumerate() {
        let mut joins = known.clone();
        // The right side is looked up in what the left side gave.
        let found = found.iter().filter(|_| side == 1);
        joins.extend(found.map(|filter| Join { filter: *filter, far: false }));
        let sieved = below(Arc::clone(child), &joins)?;
        changed |= !Arc::ptr_eq(&sieved, child);
        children.push(sieved);
    }
    // A sieve has the properties of its scan, so nothing above it changes.
    let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Keep);
    if changed { plan.replace_children(children, options) } else { Ok(plan) }
}

/// Whether a row that passes the node costs more than a look at it.
fn is_costly(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let cheap = plan.downcast_ref::<FilterExec>().is_some()
        || plan.downcast_ref::<ProjectionExec>().is_some()
        || plan.downcast_ref::<CoalescePartitionsExec>().is_some()
        || plan.downcast_ref::<RepartitionExec>().is_some()
        || plan.downcast_ref::<CooperativeExec>().is_some();
    !cheap
}

/// The scan, with its own conditions, under a sieve; `None`: it is no scan, or no filter comes from far.
fn on_scan(plan: &Arc<dyn ExecutionPlan>, joins: &[Join]) -> DfResult<Option<Arc<dyn ExecutionPlan>>> {
    let far = |filter: &Arc<dyn PhysicalExpr>| {
        let id = filter.downcast_ref::<DynamicFilterPhysicalExpr>().and_then(PhysicalExpr::expression_id);
        id.is_some_and(|id| joins.iter().any(|join| join.far && join.filter == id))
    };
    if plan.fetch().is_some() {
        return Ok(None);
    }
    let conditions = plan.downcast_ref::<FilterExec>();
    let scan = conditions.map_or(plan, FilterExec::input);
    let Some(config) =
        scan.downcast_ref::<DataSourceExec>().and_then(|leaf| leaf.data_source().downcast_ref::<FileScanConfig>())
    else {
        return Ok(None);
    };
    let source = config.file_source();
    let Some(predicate) = source.filter() else { return Ok(None) };
    let kept = conditions.and_then(|filter| filter.projection().as_ref());
    let place = |column: &Column| {
        let scanned = source.projection()?.projected_column_position(column)?;
        kept.map_or(Some(scanned), |kept| kept.iter().position(|kept| *kept == scanned))
    };
    let mut filters = Vec::new();
    for filter in split_conjunction(&predicate).into_iter().filter(|filter| far(filter)) {
        filters.extend(moved(filter, &place)?);
    }
    Ok(if filters.is_empty() { None } else { Some(Arc::new(SieveExec::new(filters, Arc::clone(plan)))) })
}

/// The filter over other columns, each at its new place; `None`: one of them is not there.
fn moved(
    filter: &Arc<dyn PhysicalExpr>,
    place: &dyn Fn(&Column) -> Option<usize>,
) -> DfResult<Option<Arc<dyn PhysicalExpr>>> {
    let mut all = true;
    let moved = Arc::clone(filter).transform_down(|expr| {
        let Some(column) = expr.downcast_ref::<Column>() else { return Ok(Transformed::no(expr)) };
        match place(column) {
            Some(at) => Ok(Transformed::yes(Arc::new(Column::new(column.name(), at)) as Arc<dyn PhysicalExpr>)),
            None => {
                all = false;
                Ok(Transformed::no(expr))
            }
        }
    })?;
    Ok(all.then_some(moved.data))
}

#[cfg(test)]
mod tests;
