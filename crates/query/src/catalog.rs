//! Hives as catalogs and boxes as schemas, found in any case.
//!
//! The frames that a statement names are there already, at the versions it was pinned to. Others are looked up only
//! when `information_schema` asks for their columns.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use apiary_core::{BoxName, FramePath, HiveName, names::fold};
use apiary_ledger::{Frames, LedgerError, Namespace, Snapshot};
use async_trait::async_trait;
use datafusion::{
    catalog::{CatalogProvider, CatalogProviderList, SchemaProvider, TableProvider},
    common::TableReference,
    datasource::{TableType, ViewTable, object_store::ObjectStoreUrl, provider_as_source},
    error::{DataFusionError, Result as DfResult},
    logical_expr::{LogicalPlanBuilder, ident},
};

use crate::{
    case::Spellings,
    system::{SYSTEM_BOX, SystemFrame},
    table::{FrameTable, ScanLog},
};

/// What one plan may see.
#[derive(Clone)]
pub(crate) struct Colony {
    /// The names; `None` for a statement that names nothing.
    pub(crate) namespace: Option<Arc<Namespace>>,
    /// The pinned frames by folded path.
    pub(crate) pinned: HashMap<String, (FramePath, Arc<Snapshot>)>,
    /// Where a frame that is not pinned is looked up.
    pub(crate) frames: Frames,
    /// Where cells are.
    pub(crate) cells_url: ObjectStoreUrl,
    /// The system frames that the statement names.
    pub(crate) system: BTreeMap<SystemFrame, Arc<dyn TableProvider>>,
    /// How the statement sees columns.
    pub(crate) spellings: Spellings,
    /// Where scans report.
    pub(crate) log: ScanLog,
    /// Whether they report every cell.
    pub(crate) verbose: bool,
}

impl std::fmt::Debug for Colony {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Colony").field("pinned", &self.pinned.keys()).finish_non_exhaustive()
    }
}

impl Colony {
    fn hives(&self) -> Vec<HiveName> {
        let hives = self.namespace.as_ref().map(|names| names.hives().into_iter().cloned().collect());
        hives.unwrap_or_default()
    }

    fn boxes(&self, hive: &HiveName) -> Vec<BoxName> {
        let boxes = self.namespace.as_ref().and_then(|names| names.boxes(hive).ok());
        boxes.map(|boxes| boxes.into_iter().cloned().collect()).unwrap_or_default()
    }

    fn table(&self, path: FramePath, snapshot: Arc<Snapshot>) -> DfResult<Arc<dyn TableProvider>> {
        let (cells_url, log) = (self.cells_url.clone(), self.log.clone());
        let name = path.frame.to_string();
        let table = FrameTable { path, snapshot, cells_url, log, verbose: self.verbose, decides: false.into() };
        self.dressed(name, Arc::new(table))
    }

    /// The system frame of that name, if the statement names it.
    fn system(&self, box_name: &BoxName, frame: &str) -> Option<&Arc<dyn TableProvider>> {
        let system = SystemFrame::named(frame).filter(|_| box_name.folded() == SYSTEM_BOX)?;
        self.system.get(&system)
    }

    /// A table whose columns are spelled as the statement sees them.
    fn dressed(&self, name: String, table: Arc<dyn TableProvider>) -> DfResult<Arc<dyn TableProvider>> {
        let schema = table.schema();
        let Some(shown) = self.spellings.shown(&schema) else { return Ok(table) };
        let columns = schema.fields().iter().zip(shown).map(|(field, shown)| ident(field.name()).alias(shown));
        let scan = LogicalPlanBuilder::scan(TableReference::bare(name), provider_as_source(table), None)?;
        Ok(Arc::new(ViewTable::new(scan.project(columns)?.build()?, None)))
    }
}

/// The hives.
#[derive(Debug)]
pub(crate) struct Hives(pub(crate) Arc<Colony>);

impl CatalogProviderList for Hives {
    fn register_catalog(&self, _: String, _: Arc<dyn CatalogProvider>) -> Option<Arc<dyn CatalogProvider>> {
        None
    }

    fn catalog_names(&self) -> Vec<String> {
        self.0.hives().into_iter().map(String::from).collect()
    }

    fn catalog(&self, name: &str) -> Option<Arc<dyn CatalogProvider>> {
        let known = self.0.hives().into_iter().find(|hive| hive.folded() == fold(name));
        // The system frames are in the default hive, too, before that is made.
        let unmade = || (!self.0.system.is_empty()).then(|| HiveName::new(name).ok()).flatten();
        Some(Arc::new(Hive { colony: Arc::clone(&self.0), hive: known.or_else(unmade)? }))
    }
}

#[derive(Debug)]
struct Hive {
    colony: Arc<Colony>,
    hive: HiveName,
}

impl CatalogProvider for Hive {
    fn schema_names(&self) -> Vec<String> {
        self.colony.boxes(&self.hive).into_iter().map(String::from).collect()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        let boxes = self.colony.boxes(&self.hive);
        let known = boxes.into_iter().find(|box_name| box_name.folded() == fold(name));
        let is_system = fold(name) == SYSTEM_BOX && !self.colony.system.is_empty();
        let box_name = known.or_else(|| is_system.then(|| BoxName::new(name).ok()).flatten())?;
        Some(Arc::new(OneBox { colony: Arc::clone(&self.colony), hive: self.hive.clone(), box_name }))
    }
}

#[derive(Debug)]
struct OneBox {
    colony: Arc<Colony>,
    hive: HiveName,
    box_name: BoxName,
}

impl OneBox {
    fn folded(&self, frame: &str) -> String {
        format!("{}.{}.{}", self.hive.folded(), self.box_name.folded(), fold(frame))
    }
}

#[async_trait]
impl SchemaProvider for OneBox {
    fn table_names(&self) -> Vec<String> {
        let frames = self.colony.namespace.as_ref().and_then(|names| names.frames(&self.hive, &self.box_name).ok());
        frames.unwrap_or_default().iter().map(|record| record.path.frame.to_string()).collect()
    }

    async fn table(&self, name: &str) -> DfResult<Option<Arc<dyn TableProvider>>> {
        if let Some((path, snapshot)) = self.colony.pinned.get(&self.folded(name)) {
            return self.colony.table(path.clone(), Arc::clone(snapshot)).map(Some);
        }
        let (hive, box_name) = (self.hive.as_str(), self.box_name.as_str());
        let record = self.colony.namespace.as_ref().and_then(|names| names.frame(hive, box_name, name).ok());
        let Some(record) = record else {
            let system = self.colony.system(&self.box_name, name);
            return system.map(|table| self.colony.dressed(name.to_owned(), Arc::clone(table))).transpose();
        };
        let snapshot = match self.colony.frames.snapshot(&record).await {
            Ok(snapshot) => snapshot,
            // Dropped since the names were read.
            Err(LedgerError::Dropped { .. }) => return Ok(None),
            Err(error) => return Err(DataFusionError::External(Box::new(error))),
        };
        self.colony.table(record.path.clone(), snapshot).map(Some)
    }

    async fn table_type(&self, name: &str) -> DfResult<Option<TableType>> {
        Ok(self.table_exist(name).then_some(TableType::Base))
    }

    fn table_exist(&self, name: &str) -> bool {
        let (hive, box_name) = (self.hive.as_str(), self.box_name.as_str());
        self.colony.pinned.contains_key(&self.folded(name))
            || self.colony.namespace.as_ref().is_some_and(|names| names.frame(hive, box_name, name).is_ok())
            || self.colony.system(&self.box_name, name).is_some()
    }
}
