//! Conditions on the columns that part a frame: decided for each cell, once and for all.
//!
//! All rows of a cell have one value there, so a condition on such columns alone is true of the whole cell or of none
//! of it. DataFusion is told so: it does not ask the rows again, and `count(*)`, `min` and `max` under such a
//! condition are answered by the ledger. What cannot be decided with certainty (floats with their two zeros, a value
//! that a coarse type rounds, a condition that fails) stays a condition on rows.

use std::sync::Arc;

use apiary_ledger::Snapshot;
use datafusion::{
    arrow::{
        array::{Array, ArrayRef, BooleanArray, RecordBatch},
        datatypes::Schema,
    },
    common::{
        Column, DFSchema,
        tree_node::{Transformed, TreeNode},
    },
    logical_expr::{Expr, execution_props::ExecutionProps, physical_planning_context::PhysicalPlanningContext},
    physical_expr::create_physical_expr,
};

use super::columns::CellsBounds;

/// Whether `expr` speaks of nothing but columns that part the frame, and always gives the same.
pub(super) fn may_decide(snapshot: &Snapshot, expr: &Expr) -> bool {
    let columns = expr.column_refs();
    let parts = |column: &&Column| {
        let field = snapshot.schema.field_with_name(&column.name);
        snapshot.partition_by.contains(&column.name) && field.is_ok_and(|field| !field.data_type().is_floating())
    };
    let asks = |expr: &Expr| matches!(expr, Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_));
    let asks = expr.exists(|expr| Ok(asks(expr))).unwrap_or(true);
    !columns.is_empty() && columns.iter().all(parts) && !asks && !expr.is_volatile() && !expr.contains_outer()
}

/// For each cell whether its rows match `expr`; `None` if that cannot be said of all cells.
pub(super) fn matching(snapshot: &Snapshot, cells: &CellsBounds<'_>, expr: &Expr) -> Option<Vec<bool>> {
    if !may_decide(snapshot, expr) {
        return None;
    }
    let expr = unqualified(expr.clone());
    let named = expr.column_refs();
    let (mut fields, mut columns): (Vec<_>, Vec<ArrayRef>) = (Vec::new(), Vec::new());
    for field in
        snapshot.schema.fields().iter().filter(|field| named.iter().any(|column| column.name == **field.name()))
    {
        fields.push(Arc::clone(field));
        columns.push(cells.column(field.name())?.values(snapshot.cells.iter().map(|cell| cell.rows))?);
    }
    let schema = Arc::new(Schema::new(fields));
    let named = DFSchema::try_from(Arc::clone(&schema)).ok()?;
    let (props, context) = (ExecutionProps::new(), PhysicalPlanningContext::default());
    let physical = create_physical_expr(&expr, &named, &props, &context);
    let batch = RecordBatch::try_new(schema, columns).ok()?;
    let told = physical.ok()?.evaluate(&batch).ok()?.into_array(batch.num_rows()).ok()?;
    let told = told.as_any().downcast_ref::<BooleanArray>()?;
    Some((0..told.len()).map(|cell| told.is_valid(cell) && told.value(cell)).collect())
}

/// The condition as the frame itself is asked: columns without the name of their frame.
pub(super) fn unqualified(expr: Expr) -> Expr {
    let bare = |expr: Expr| {
        Ok(match expr {
            Expr::Column(column) if column.relation.is_some() => {
                Transformed::yes(Expr::Column(Column::new_unqualified(column.name)))
            }
            other => Transformed::no(other),
        })
    };
    expr.clone().transform(bare).map_or(expr, |moved| moved.data)
}
