//! Which cells cannot hold a matching row, and by which condition.
//!
//! Each conjunct of the filter becomes a predicate of its own (DataFusion's `PruningPredicate`, over bounds instead
//! of rows), evaluated once over all cells at a time; a cell is charged to the first condition that it fails, those
//! on columns that part the frame first, which are decided for good (`exact`). A condition that cannot be said over bounds
//! prunes nothing.

use apiary_ledger::Snapshot;
use datafusion::{
    catalog::Session,
    common::{DFSchema, ScalarValue},
    error::Result as DfResult,
    logical_expr::{Expr, Operator, utils::split_conjunction},
    physical_optimizer::pruning::PruningPredicateBuilder,
};

use super::{
    columns::{self, CellsBounds},
    exact,
};
use crate::{
    render,
    report::{PruneKind, PruneReason},
};

/// Which cells went.
#[derive(Debug)]
pub(super) struct Pruned {
    /// For each cell the condition that it fails first; `None`: it stays.
    pub(super) dropped_by: Vec<Option<usize>>,
    /// The conditions.
    pub(super) reasons: Vec<PruneReason>,
}

/// Tries every conjunct of `filters` on every cell.
pub(super) fn prune(snapshot: &Snapshot, filters: &[Expr], state: &dyn Session) -> DfResult<Pruned> {
    let mut pruned = Pruned { dropped_by: vec![None; snapshot.cells.len()], reasons: Vec::new() };
    if filters.is_empty() || snapshot.cells.is_empty() {
        return Ok(pruned);
    }
    let cells = CellsBounds::new(&snapshot.cells, &snapshot.schema);
    let schema = DFSchema::try_from(std::sync::Arc::clone(&snapshot.schema))?;
    let mut conjuncts: Vec<_> =
        filters.iter().flat_map(split_conjunction).map(|expr| (kind(expr, &snapshot.partition_by), expr)).collect();
    conjuncts.sort_by_key(|(kind, _)| *kind == PruneKind::Statistics);
    for (kind, expr) in conjuncts {
        let decided = exact::matching(snapshot, &cells, expr);
        let Some(keep) = decided.or_else(|| keep(snapshot, &cells, &schema, expr, state)) else { continue };
        let reason = pruned.reasons.len();
        let mut gone = Vec::new();
        for (cell, keep) in keep.into_iter().enumerate() {
            if !keep && pruned.dropped_by[cell].is_none() {
                pruned.dropped_by[cell] = Some(reason);
                gone.push(cell);
            }
        }
        let range = if kind == PruneKind::Statistics { range(&cells, expr, &gone) } else { None };
        pruned.reasons.push(PruneReason { conjunct: render::condition(expr), kind, cells: gone.len(), range });
    }
    Ok(pruned)
}

/// Which cells may match `expr`; `None` if it says nothing about bounds.
fn keep(
    snapshot: &Snapshot,
    cells: &CellsBounds<'_>,
    schema: &DFSchema,
    expr: &Expr,
    state: &dyn Session,
) -> Option<Vec<bool>> {
    let physical = state.create_physical_expr(expr.clone(), schema).ok()?;
    let predicate =
        PruningPredicateBuilder::new().with_file_schema(std::sync::Arc::clone(&snapshot.schema)).build(physical)?;
    predicate.prune(cells).ok()
}

fn kind(expr: &Expr, partition_by: &[String]) -> PruneKind {
    let columns = expr.column_refs();
    let parts = !columns.is_empty() && columns.iter().all(|column| partition_by.contains(&column.name));
    if parts { PruneKind::Partition } else { PruneKind::Statistics }
}

/// The bounds of the cells that went, on the side that the condition looks at.
fn range(cells: &CellsBounds<'_>, expr: &Expr, gone: &[usize]) -> Option<String> {
    let columns = expr.column_refs();
    let [column] = columns.iter().collect::<Vec<_>>()[..] else { return None };
    let bounds = cells.column(&column.name)?;
    let (mins, maxs) = (|| columns::span(&bounds.min, gone), || columns::span(&bounds.max, gone));
    match direction(expr) {
        Some(Operator::Gt) => maxs().map(|(least, most)| format!("cell max {}", span(&least, &most))),
        Some(_) => mins().map(|(least, most)| format!("cell min {}", span(&least, &most))),
        None => Some(format!("cells within {}", span(&mins()?.0, &maxs()?.1))),
    }
}

/// `>` if the condition asks for large values, `<` for small ones.
fn direction(expr: &Expr) -> Option<Operator> {
    let Expr::BinaryExpr(binary) = expr else { return None };
    let flipped = matches!(*binary.left, Expr::Literal(..));
    match (binary.op, flipped) {
        (Operator::Gt | Operator::GtEq, false) | (Operator::Lt | Operator::LtEq, true) => Some(Operator::Gt),
        (Operator::Lt | Operator::LtEq, false) | (Operator::Gt | Operator::GtEq, true) => Some(Operator::Lt),
        _ => None,
    }
}

fn span(low: &ScalarValue, high: &ScalarValue) -> String {
    let (low, high) = (render::plain(low), render::plain(high));
    if low == high { low } else { format!("{low} … {high}") }
}
