//! Which transactions may pass which: pure rules over what an entry says it did.
//!
//! Mine was made against a base; entries came after it. Mine meets each of them in turn, transaction by transaction,
//! and either may pass it, perhaps changed, or not. Where it may pass, the frame is the same as if mine had been made
//! after it. Mine down, the winner across:
//!
//! | | append | overwrite, rewrite | compaction | additive schema | narrowing schema | properties | drop |
//! |---|---|---|---|---|---|---|---|
//! | **append** | pass | pass | pass | pass if its cells fit | the same | pass | fail |
//! | **append that read** | fail if it added to what was read | fail if it touched what was read | remap what was read | as append | fail | pass | fail |
//! | **overwrite** | remove that, too | remove what is there now | remove what is there now | as append | fail | pass | fail |
//! | **overwrite of a version** | fail | fail | remove what is there now | as append | fail | pass | fail |
//! | **rewrite** | run again on new cells in its scope | the same, and on its cells that are gone | run again on what replaced its cells | as append | fail | pass | fail |
//! | **compaction** | pass | fail if its cells are gone | fail if its cells are gone | as append | as append | pass | fail |
//! | **additive schema** | pass | pass | pass | fail | fail | pass | fail |
//! | **narrowing schema** | pass if the new cells fit | the same | the same | fail | fail | pass | fail |
//! | **properties** | pass | pass | pass | merge | fail | merge | fail |
//! | **drop, vacuum** | pass | pass | pass | pass | pass | pass | fail |
//!
//! Everything passes a vacuum that does not doom it: doomed and sealed ids are recognised before any rule is asked.
//! What only a newer program knows fails rather than guesses. A compaction replaces all that it removes by all that it
//! adds; which of an entry's cells are whose follows from the counts of its transactions, in their order.
//!
//! "Its cells fit" means: the columns that they were made for are all there with the same types, and a column that
//! must not be NULL is in all of them and never NULL.

mod columns;
mod deed;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

use apiary_core::Version;
use arrow::datatypes::SchemaRef;

pub(crate) use self::columns::{Fit, fit, refusal};
use self::deed::{Deed, deeds};
use crate::{
    CellEntry, CellId, Change, Kind, Scope, Snapshot, Transaction, delta_schema,
    entry::{ARROW_SCHEMA, Add, CellReader, FrameEntry},
    snapshot::About,
};

/// A transaction on its way, and the frame as it is after the last entry that it met.
#[derive(Debug, Clone)]
pub(crate) struct Mine {
    pub(crate) txn: Arc<Transaction>,
    /// What it was made against.
    pub(crate) base: Arc<Snapshot>,
    /// The columns now.
    pub(crate) schema: SchemaRef,
    /// What the ledger says of the frame now.
    pub(crate) about: Arc<About>,
    /// The cells that it depends upon: those that it removes, or those that it read.
    pub(crate) held: BTreeMap<CellId, Arc<CellEntry>>,
    /// A rewrite: cells in which it must look for rows, too.
    pub(crate) fresh: BTreeSet<CellId>,
    /// A rewrite: cells that it removes and that are gone.
    pub(crate) gone: BTreeSet<CellId>,
    /// The frame was dropped.
    pub(crate) dropped: bool,
}

impl Mine {
    /// Nothing met yet.
    pub(crate) fn new(base: Arc<Snapshot>, txn: Arc<Transaction>) -> Self {
        let named: HashSet<CellId> = txn.removes.iter().filter_map(|path| CellId::of_path(path)).collect();
        let found = match (txn.kind, &txn.scope) {
            (Kind::Append | Kind::Overwrite, Scope::Nothing) => Vec::new(),
            (Kind::Append | Kind::Overwrite, scope) => {
                base.cells.iter().filter(|cell| scope.holds(cell)).map(Arc::clone).collect()
            }
            _ if named.is_empty() => Vec::new(),
            _ => base.cells.find(&named),
        };
        let held = found.into_iter().map(|cell| (cell.id, cell)).collect();
        Self {
            schema: Arc::clone(&base.schema),
            about: Arc::clone(&base.about),
            held,
            fresh: BTreeSet::new(),
            gone: BTreeSet::new(),
            dropped: false,
            base,
            txn,
        }
    }

    /// Whether it must be done again in part.
    pub(crate) fn is_unfinished(&self) -> bool {
        !self.fresh.is_empty() || !self.gone.is_empty()
    }

    /// The cells that leave the frame with it.
    pub(crate) fn removed(&self) -> impl Iterator<Item = &Arc<CellEntry>> {
        let removes = self.txn.kind != Kind::Append;
        self.held.values().filter(move |_| removes)
    }

    /// Meets the next entry: whether mine may pass it; if not, why.
    pub(crate) fn meet(&mut self, entry: &FrameEntry) -> Result<(), String> {
        let version = entry.header.v;
        // Those before the base are in it.
        if version <= self.base.version {
            return Ok(());
        }
        let known = [Some(Kind::Schema), Some(Kind::Properties)];
        let mut changes = 0;
        for deed in deeds(entry) {
            changes += usize::from(known.contains(&deed.kind));
            self.meet_deed(version, entry, &deed)?;
        }
        if (entry.metadata.is_some() || entry.protocol.is_some()) && changes == 0 {
            return Err(format!("version {version} changed the frame in a way that this program does not know"));
        }
        Ok(())
    }

    fn meet_deed(&mut self, version: Version, entry: &FrameEntry, deed: &Deed<'_>) -> Result<(), String> {
        match deed.kind {
            None => Err(format!("version {version} is of a kind that this program does not know: '{}'", deed.word)),
            Some(Kind::Drop) => {
                self.dropped = true;
                Err(format!("version {version} dropped the frame"))
            }
            Some(Kind::Vacuum) => Ok(()),
            Some(Kind::Properties) => {
                self.describe(entry);
                Ok(())
            }
            Some(Kind::Schema) => self.meet_schema(version, entry),
            Some(Kind::Compaction) => self.meet_compaction(version, deed),
            Some(Kind::Append | Kind::Overwrite | Kind::Rewrite) => self.meet_rows(version, deed),
        }
    }

    /// Rows came, or went, or both.
    fn meet_rows(&mut self, version: Version, deed: &Deed<'_>) -> Result<(), String> {
        if let Some(expected) = self.txn.expected {
            return Err(format!("version {version} changed rows, and this {} is for version {expected}", self.word()));
        }
        let touched =
            deed.removes.iter().find(|remove| id_of(&remove.path).is_some_and(|id| self.held.contains_key(&id)));
        match (self.txn.kind, touched) {
            (Kind::Append, _) if matches!(self.txn.scope, Scope::Nothing) => Ok(()),
            (Kind::Append, Some(gone)) => {
                Err(format!("version {version} removed '{}', which this append read", gone.path))
            }
            (Kind::Append, None) => match self.in_scope(deed.adds)?.first() {
                Some(cell) => Err(format!("version {version} added '{}' to what this append read", cell.path())),
                None => Ok(()),
            },
            (Kind::Overwrite, _) => self.follow(deed),
            (Kind::Rewrite, _) => {
                self.lose(deed);
                let fresh = self.in_scope(deed.adds)?;
                self.fresh.extend(fresh.into_iter().map(|cell| cell.id));
                Ok(())
            }
            (Kind::Compaction, Some(gone)) => {
                Err(format!("version {version} removed '{}', which this compaction rewrites", gone.path))
            }
            (Kind::Schema, _) => self.validate(version, deed),
            (Kind::Compaction | Kind::Properties | Kind::Drop | Kind::Vacuum, _) => Ok(()),
        }
    }

    /// The same rows in other cells.
    fn meet_compaction(&mut self, version: Version, deed: &Deed<'_>) -> Result<(), String> {
        let mine = |path: &str| id_of(path).is_some_and(|id| self.held.contains_key(&id) || self.fresh.contains(&id));
        let Some(touched) = deed.removes.iter().find(|remove| mine(&remove.path)) else {
            return if self.txn.kind == Kind::Schema { self.validate(version, deed) } else { Ok(()) };
        };
        match self.txn.kind {
            // A merged cell may look larger than a filter: what replaced one that was read was read.
            Kind::Append => {
                self.leave(deed);
                let cells = self.cells(deed.adds)?;
                self.held.extend(cells.into_iter().map(|cell| (cell.id, Arc::new(cell))));
                Ok(())
            }
            Kind::Overwrite => self.follow(deed),
            Kind::Rewrite => {
                self.lose(deed);
                self.fresh.extend(deed.adds.iter().filter_map(|add| id_of(&add.path)));
                Ok(())
            }
            _ => Err(format!("version {version} removed '{}', which this {} rewrites", touched.path, self.word())),
        }
    }

    fn meet_schema(&mut self, version: Version, entry: &FrameEntry) -> Result<(), String> {
        let text = entry.metadata.as_ref().and_then(|metadata| metadata.configuration.get(ARROW_SCHEMA));
        let text = text.ok_or_else(|| format!("version {version} changed the columns without naming them"))?;
        let new: SchemaRef = delta_schema::exact_from_text(text)?;
        let narrowing = || format!("version {version} narrowed the columns");
        let reads = !matches!(self.txn.scope, Scope::Nothing);
        match (self.txn.kind, fit(&self.schema, &new)) {
            (Kind::Schema, _) => return Err(format!("version {version} changed the columns, too")),
            (Kind::Drop | Kind::Vacuum, _) | (Kind::Properties, Fit::Additive) => {}
            (Kind::Properties, Fit::Narrowing) => return Err(narrowing()),
            (Kind::Overwrite | Kind::Rewrite, Fit::Narrowing) => return Err(narrowing()),
            (Kind::Append, Fit::Narrowing) if reads => return Err(narrowing()),
            (Kind::Append | Kind::Overwrite | Kind::Rewrite | Kind::Compaction, _) => {
                let made_for = &self.base.schema;
                refusal(self.txn.adds.iter(), made_for, &new)
                    .map_or(Ok(()), |why| Err(format!("version {version} changed the columns: {why}")))?;
            }
        }
        self.schema = new;
        self.describe(entry);
        Ok(())
    }

    /// Mine changes the columns: whether cells that came may stay under them.
    fn validate(&self, version: Version, deed: &Deed<'_>) -> Result<(), String> {
        let Some(Change::Schema(new)) = &self.txn.change else { return Ok(()) };
        let cells = self.cells(deed.adds)?;
        refusal(cells.iter(), &self.schema, new)
            .map_or(Ok(()), |why| Err(format!("version {version} added cells that the new columns exclude: {why}")))
    }

    fn describe(&mut self, entry: &FrameEntry) {
        let mut about = (*self.about).clone();
        if let Some(metadata) = &entry.metadata {
            about.metadata = metadata.clone();
        }
        if let Some(protocol) = &entry.protocol {
            about.protocol = protocol.clone();
        }
        self.about = Arc::new(about);
    }

    /// What mine replaces is what is there now.
    fn follow(&mut self, deed: &Deed<'_>) -> Result<(), String> {
        self.leave(deed);
        let there = self.in_scope(deed.adds)?;
        self.held.extend(there.into_iter().map(|cell| (cell.id, Arc::new(cell))));
        Ok(())
    }

    fn leave(&mut self, deed: &Deed<'_>) {
        for id in deed.removes.iter().filter_map(|remove| id_of(&remove.path)) {
            self.held.remove(&id);
        }
    }

    fn lose(&mut self, deed: &Deed<'_>) {
        for id in deed.removes.iter().filter_map(|remove| id_of(&remove.path)) {
            if self.held.remove(&id).is_some() {
                self.gone.insert(id);
            }
            self.fresh.remove(&id);
        }
    }

    fn in_scope(&self, adds: &[Add]) -> Result<Vec<CellEntry>, String> {
        let mut cells = self.cells(adds)?;
        cells.retain(|cell| self.txn.scope.holds(cell));
        Ok(cells)
    }

    fn cells(&self, adds: &[Add]) -> Result<Vec<CellEntry>, String> {
        let reader = CellReader::new(&self.base.folder, &self.schema, &self.base.partition_by);
        adds.iter().map(|add| reader.read(add)).collect()
    }

    fn word(&self) -> &'static str {
        self.txn.kind.as_str()
    }
}

/// The cell of a path; one that has none is nobody's.
fn id_of(path: &str) -> Option<CellId> {
    CellId::of_path(path)
}
