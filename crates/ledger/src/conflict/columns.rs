//! Changes of columns: which widen, which narrow, and whether cells made before fit after.

use arrow::datatypes::Schema;

use crate::CellEntry;

/// What a change of columns asks of cells that were made before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fit {
    /// Nothing: whatever was right before is right after.
    Additive,
    /// Perhaps something.
    Narrowing,
}

/// How columns change. Additive: every column stays with its type, no column loses its NULLs, new ones have them.
pub(crate) fn fit(old: &Schema, new: &Schema) -> Fit {
    let kept = old.fields().iter().all(|field| {
        let there = new.field_with_name(field.name());
        there.is_ok_and(|there| there.data_type() == field.data_type())
    });
    let loose = new.fields().iter().all(|field| {
        field.is_nullable() || old.field_with_name(field.name()).is_ok_and(|before| !before.is_nullable())
    });
    if kept && loose { Fit::Additive } else { Fit::Narrowing }
}

/// Why cells that were made for the columns `made_for` cannot stand under the columns `new`, if so.
pub(crate) fn refusal<'a>(
    cells: impl Iterator<Item = &'a CellEntry>,
    made_for: &Schema,
    new: &Schema,
) -> Option<String> {
    let changed = made_for.fields().iter().find(|field| {
        let there = new.field_with_name(field.name());
        !there.is_ok_and(|there| there.data_type() == field.data_type())
    });
    let mut cells = cells.peekable();
    cells.peek()?;
    if let Some(field) = changed {
        return Some(format!("the column '{}' is not what it was", field.name()));
    }
    let strict: Vec<&String> =
        new.fields().iter().filter(|field| !field.is_nullable()).map(|field| field.name()).collect();
    let old_strict = |name: &String| made_for.field_with_name(name).is_ok_and(|field| !field.is_nullable());
    let newly: Vec<&&String> = strict.iter().filter(|name| !old_strict(name)).collect();
    for cell in cells {
        let counted = |name: &str| cell.column(name).and_then(|column| column.null_count);
        if let Some(name) = newly.iter().find(|name| cell.rows > 0 && counted(name) != Some(0)) {
            return Some(format!("the column '{name}' must not be NULL, and '{}' may hold one", cell.path()));
        }
    }
    None
}
