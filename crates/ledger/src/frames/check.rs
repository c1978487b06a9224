//! What must hold of a transaction before it is written. Pure.

use std::collections::HashSet;

use arrow::datatypes::Schema;

use crate::{
    CellEntry, CellId, Change, Kind, LedgerError, Result, Scope, Snapshot, Transaction,
    conflict::{Mine, refusal},
    entry,
};

/// Most cells that one transaction adds and removes.
const ACTIONS_MAX: usize = 1_000_000;

/// Checks a transaction against its base.
pub(super) fn check(mine: &Mine) -> Result<()> {
    let (base, txn) = (&mine.base, &mine.txn);
    let refuse = |why: String| Err(LedgerError::Transaction { txn: txn.id, why });
    if let Err(why) = check_shape(txn) {
        return refuse(why);
    }
    let reader = entry::CellReader::new(&base.folder, &base.schema, &base.partition_by);
    for cell in &txn.adds {
        if let Err(why) = check_cell(base, txn, cell) {
            return refuse(format!("the cell '{}' {why}", cell.path()));
        }
        // What nobody can read back, a bound beyond its column's type for one, would close the frame to every reader.
        if let Err(why) = entry::readable(cell, &reader) {
            return refuse(why);
        }
    }
    check_removes(mine)?;
    match &txn.change {
        Some(Change::Schema(new)) => check_columns(base, new).or_else(refuse),
        Some(Change::Properties(properties)) => {
            match properties.keys().find(|name| name.starts_with("delta.") || name.starts_with("apiary.")) {
                Some(name) => refuse(format!("the property '{name}' is not for users; choose another name")),
                None => Ok(()),
            }
        }
        None => Ok(()),
    }
}

/// What each kind must and must not have.
fn check_shape(txn: &Transaction) -> Result<(), String> {
    let actions = txn.adds.len() + txn.removes.len();
    let least = match txn.kind {
        Kind::Append | Kind::Rewrite => 1,
        Kind::Compaction => 2,
        _ => 0,
    };
    let most = match txn.kind {
        Kind::Append | Kind::Overwrite | Kind::Rewrite | Kind::Compaction => ACTIONS_MAX,
        _ => 0,
    };
    if actions < least || actions > most {
        return Err(format!("it adds and removes {actions} cells; {least} to {most} are allowed"));
    }
    if matches!(txn.kind, Kind::Append | Kind::Overwrite) && !txn.removes.is_empty() {
        return Err(format!("an {} names no cells to remove", txn.kind.as_str()));
    }
    let whole = matches!(txn.scope, Scope::All | Scope::Partitions(_));
    if txn.kind == Kind::Overwrite && !whole {
        return Err("an overwrite replaces a frame or partitions".to_owned());
    }
    let changes = matches!(
        (txn.kind, &txn.change),
        (Kind::Schema, Some(Change::Schema(_))) | (Kind::Properties, Some(Change::Properties(_)))
    );
    let has_change = matches!(txn.kind, Kind::Schema | Kind::Properties);
    if changes != has_change || txn.change.is_some() != has_change {
        return Err(format!("{} does not go with what it changes", txn.kind.as_str()));
    }
    if txn.kind != Kind::Vacuum && !txn.doomed.is_empty() {
        return Err("only a vacuum dooms others".to_owned());
    }
    Ok(())
}

fn check_cell(base: &Snapshot, txn: &Transaction, cell: &CellEntry) -> Result<(), String> {
    if cell.id.txn != txn.id {
        return Err("is not named by its transaction".to_owned());
    }
    if cell.folder() != base.folder {
        return Err(format!("has the key '{}', which is not in the frame's folder", cell.key()));
    }
    let values = cell.partition_values();
    if !values.iter().map(|(name, _)| name).eq(&base.partition_by) {
        return Err(format!("must have one value for each partition column, in their order: {:?}", base.partition_by));
    }
    if values.iter().any(|(_, value)| value.as_deref() == Some("")) {
        return Err("has an empty partition value, which means NULL to readers of Delta".to_owned());
    }
    if txn.kind == Kind::Overwrite && !txn.scope.holds(cell) {
        return Err("lies outside what the overwrite replaces".to_owned());
    }
    Ok(())
}

/// What a transaction removes is there; a compaction keeps every row.
fn check_removes(mine: &Mine) -> Result<()> {
    let (base, txn) = (&mine.base, &mine.txn);
    let refuse = |why: String| Err(LedgerError::Transaction { txn: txn.id, why });
    let named: HashSet<CellId> = txn.removes.iter().filter_map(|path| CellId::of_path(path)).collect();
    let found = named.iter().filter(|id| mine.held.contains_key(id)).count();
    if found != txn.removes.len() {
        let (wanted, version) = (txn.removes.len(), base.version);
        return refuse(format!("of the {wanted} cells that it removes {found} are in version {version}"));
    }
    let before: u64 = mine.held.values().map(|cell| cell.rows).sum();
    let after: u64 = txn.adds.iter().map(|cell| cell.rows).sum();
    if txn.kind == Kind::Compaction && before != after {
        return refuse(format!("a compaction changes no row, but {before} rows would become {after}"));
    }
    Ok(())
}

/// Columns may come, and may lose or gain the right to be NULL. What is stored keeps its names and types.
fn check_columns(base: &Snapshot, new: &Schema) -> Result<(), String> {
    for field in base.schema.fields() {
        let there = new.field_with_name(field.name()).map_err(|_| format!("the column '{}' would go", field.name()))?;
        if there.data_type() != field.data_type() {
            return Err(format!("the column '{}' would become {}", field.name(), there.data_type()));
        }
    }
    refusal(base.cells.iter().map(AsRef::as_ref), &base.schema, new).map_or(Ok(()), Err)
}
