//! What must hold of a transaction before it is written. Pure.

use std::{collections::HashSet, sync::Arc};

use crate::{CellEntry, CellId, Kind, LedgerError, Result, Snapshot, Transaction, entry};

/// Most cells that one transaction adds and removes.
const ACTIONS_MAX: usize = 1_000_000;

/// Checks a transaction against its base; returns the cells that it removes.
pub(super) fn check(base: &Snapshot, txn: &Transaction) -> Result<Vec<Arc<CellEntry>>> {
    let refuse = |why: String| Err(LedgerError::Transaction { txn: txn.id, why });
    let actions = txn.adds.len() + txn.removes.len();
    let (least, most) = match txn.kind {
        Kind::Append | Kind::Compaction => (1, ACTIONS_MAX),
        Kind::Drop | Kind::Vacuum => (0, 0),
        kind => return refuse(format!("a frame's ledger takes no {} yet", kind.as_str())),
    };
    if actions < least || actions > most {
        return refuse(format!("it adds and removes {actions} cells; {least} to {most} are allowed"));
    }
    if txn.kind == Kind::Append && !txn.removes.is_empty() {
        return refuse("an append removes nothing".to_owned());
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
    let removed = find(base, txn)?;
    let rows = |cells: &mut dyn Iterator<Item = &CellEntry>| cells.map(|cell| cell.rows).sum::<u64>();
    let (before, after) = (rows(&mut removed.iter().map(AsRef::as_ref)), rows(&mut txn.adds.iter()));
    if txn.kind == Kind::Compaction && before != after {
        return refuse(format!("a compaction changes no row, but {before} rows would become {after}"));
    }
    Ok(removed)
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
    Ok(())
}

/// The cells that a transaction removes.
fn find(base: &Snapshot, txn: &Transaction) -> Result<Vec<Arc<CellEntry>>> {
    if txn.removes.is_empty() {
        return Ok(Vec::new());
    }
    let wanted: HashSet<CellId> = txn.removes.iter().filter_map(|path| CellId::of_path(path)).collect();
    let found = base.cells.find(&wanted);
    if found.len() == txn.removes.len() {
        return Ok(found);
    }
    let why =
        format!("of the {} cells that it removes {} are in version {}", txn.removes.len(), found.len(), base.version);
    Err(LedgerError::Transaction { txn: txn.id, why })
}
