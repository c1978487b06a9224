//! A frame at one version, as DataFusion sees a table.
//!
//! Everything that DataFusion wants to know before it reads (which files, how large, what is in them) is already in
//! the ledger: a scan costs no HEAD and no LIST. The leaf handed over is a plain Parquet scan, because the engine
//! restricts tasks by it and knows no leaf of ours.

mod bounds;
mod columns;
mod exact;
mod groups;
mod prune;
mod size;
mod statistics;

pub(crate) use size::{ColumnSpan, FrameSize, as_number, distinct_between};

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use apiary_core::{FramePath, side_by_side};
use apiary_ledger::Snapshot;
use async_trait::async_trait;
use datafusion::{
    arrow::datatypes::SchemaRef,
    catalog::{Session, TableProvider},
    common::{Statistics, config::TableParquetOptions, plan_err},
    datasource::{
        TableType,
        listing::PartitionedFile,
        object_store::ObjectStoreUrl,
        physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource, parquet::CachedParquetFileReaderFactory},
        source::DataSourceExec,
    },
    error::{DataFusionError, Result as DfResult},
    logical_expr::{Expr, TableProviderFilterPushDown, utils::split_conjunction},
    physical_plan::{ExecutionPlan, empty::EmptyExec, project_schema},
};
use object_store::ObjectMeta;

use self::columns::CellsBounds;
use crate::{
    render,
    report::{CellReport, ScanReport},
};

/// Files that are worth a thread: a millisecond or two of work.
const FILES_A_THREAD: usize = 1024;

/// What the scans of one plan report, in the order in which they were planned.
#[derive(Debug, Clone, Default)]
pub(crate) struct ScanLog(Arc<Mutex<(Vec<ScanReport>, bool)>>);

impl ScanLog {
    fn push(&self, report: ScanReport) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0.push(report);
    }

    fn nan(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1 = true;
    }

    /// Takes the reports, and whether some scan reads a column of floats that may hold NaN.
    pub(crate) fn take(&self) -> (Vec<ScanReport>, bool) {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One frame at one version.
#[derive(Debug)]
pub(crate) struct FrameTable {
    pub(crate) path: FramePath,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) cells_url: ObjectStoreUrl,
    pub(crate) log: ScanLog,
    /// Whether reports name every cell.
    pub(crate) verbose: bool,
    /// Whether DataFusion was told of some filter that it need not apply.
    pub(crate) decides: AtomicBool,
}

impl FrameTable {
    /// Decides which cells are read, and writes down why.
    fn choose(&self, state: &dyn Session, filters: &[Expr], limit: Option<usize>) -> DfResult<Vec<usize>> {
        let mut pruned = prune::prune(&self.snapshot, filters, state)?;
        let cells = &self.snapshot.cells;
        let mut kept: Vec<usize> = (0..cells.len()).filter(|cell| pruned.dropped_by[*cell].is_none()).collect();
        let before = kept.len();
        if let (Some(limit), true) = (limit, filters.is_empty()) {
            kept.truncate(groups::cells_within(limit, kept.iter().map(|cell| cells[*cell].rows)));
        }
        let conjunct = |reason: usize| pruned.reasons[reason].conjunct.clone();
        let report = |(at, cell): (usize, &Arc<apiary_ledger::CellEntry>)| CellReport {
            path: cell.path(),
            bytes: cell.size_bytes,
            rows: cell.rows,
            pruned_by: pruned.dropped_by[at]
                .map(conjunct)
                .or_else(|| kept.binary_search(&at).is_err().then(|| "LIMIT".to_owned())),
        };
        let listed = if self.verbose { cells.iter().enumerate().map(report).collect() } else { Vec::new() };
        pruned.reasons.retain(|reason| reason.cells > 0);
        self.log.push(ScanReport {
            frame: self.path.clone(),
            version: self.snapshot.version,
            cells_total: cells.len(),
            cells_kept: kept.len(),
            bytes_kept: kept.iter().map(|cell| cells[*cell].size_bytes).sum(),
            cells_beyond_limit: before - kept.len(),
            answered_by_ledger: false,
            pruned: pruned.reasons,
            cells: listed,
        });
        Ok(kept)
    }

    /// Fails if a filter that nobody else applies could not be decided after all: rows would be there that must not.
    fn still_decided(&self, filters: &[Expr]) -> DfResult<()> {
        if !self.decides.load(Ordering::Relaxed) {
            return Ok(());
        }
        let cells = CellsBounds::new(&self.snapshot.cells, &self.snapshot.schema);
        let undecided = |filter: &&Expr| {
            exact::may_decide(&self.snapshot, filter) && exact::matching(&self.snapshot, &cells, filter).is_none()
        };
        match filters.iter().flat_map(split_conjunction).find(undecided) {
            Some(filter) => {
                plan_err!("{} cannot be decided for every cell of {}", render::condition(filter), self.path)
            }
            None => Ok(()),
        }
    }

    /// Cells as files, in groups that are read side by side, with what is known of each; where there are many, on several
    /// threads.
    fn groups(
        &self,
        kept: &[usize],
        max: usize,
        columns: &BTreeSet<usize>,
    ) -> DfResult<Vec<(FileGroup, Arc<Statistics>)>> {
        let bytes: Vec<u64> = kept.iter().map(|cell| self.snapshot.cells[*cell].size_bytes).collect();
        let groups = groups::spread(&bytes, max);
        side_by_side(groups.len(), kept.len() / FILES_A_THREAD, |group| {
            let files = groups[group].iter().map(|at| self.file(kept[*at], columns)).collect::<DfResult<Vec<_>>>()?;
            let known = files.iter().filter_map(|file| file.statistics.as_deref());
            let sum = Arc::new(statistics::sum(known, &self.snapshot.schema, columns));
            Ok((FileGroup::new(files).with_statistics(Arc::clone(&sum)), sum))
        })
    }

    /// A cell as a file to read, with what is known of the columns that are looked at.
    fn file(&self, cell: usize, columns: &BTreeSet<usize>) -> DfResult<PartitionedFile> {
        let cell = &self.snapshot.cells[cell];
        let meta = ObjectMeta {
            location: cell.key().to_path().map_err(|error| DataFusionError::External(Box::new(error)))?,
            last_modified: chrono::DateTime::from_timestamp_millis(cell.modified_ms).unwrap_or_default(),
            size: cell.size_bytes,
            e_tag: None,
            version: None,
        };
        let statistics = statistics::of_cell(cell, &self.snapshot.schema, columns);
        Ok(PartitionedFile::new_from_meta(meta).with_statistics(Arc::new(statistics)))
    }

    fn source(&self, state: &dyn Session, kept: &[usize], columns: &BTreeSet<usize>) -> DfResult<ParquetSource> {
        let mut global = state.config_options().execution.parquet.clone();
        if self.may_hide_nan(kept, columns) {
            self.log.nan();
            global.pruning = false;
            global.enable_page_index = false;
        }
        let options = TableParquetOptions { global, ..TableParquetOptions::default() };
        let runtime = state.runtime_env();
        let reader = CachedParquetFileReaderFactory::new(
            runtime.object_store(&self.cells_url)?,
            runtime.cache_manager.get_file_metadata_cache(),
        );
        Ok(ParquetSource::new(Arc::clone(&self.snapshot.schema))
            .with_table_parquet_options(options)
            .with_parquet_file_reader_factory(Arc::new(reader)))
    }

    /// Whether a footer's float bounds may be narrower than the truth: Parquet leaves NaN out of them, DataFusion
    /// sorts NaN above all numbers. Where there may be one, the ledger has no bounds, and footers must not prune.
    fn may_hide_nan(&self, kept: &[usize], columns: &BTreeSet<usize>) -> bool {
        let fields = self.snapshot.schema.fields();
        let floats: Vec<_> =
            columns.iter().map(|column| &fields[*column]).filter(|field| field.data_type().is_floating()).collect();
        kept.iter().any(|cell| floats.iter().any(|field| bounds::may_hold_nan(&self.snapshot.cells[*cell], field)))
    }

    /// The columns that a scan looks at.
    fn columns(&self, projection: Option<&Vec<usize>>, filters: &[Expr]) -> BTreeSet<usize> {
        let schema = &self.snapshot.schema;
        let asked = projection.map_or_else(|| (0..schema.fields().len()).collect(), Clone::clone);
        let filtered =
            filters.iter().flat_map(Expr::column_refs).filter_map(|column| schema.index_of(&column.name).ok());
        asked.into_iter().chain(filtered).collect()
    }
}

#[async_trait]
impl TableProvider for FrameTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.snapshot.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// Statistics can only say that a cell has no match, so a filter is applied again to the rows; but not one that is
    /// decided by what parts the frame.
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> DfResult<Vec<TableProviderFilterPushDown>> {
        let cells = CellsBounds::new(&self.snapshot.cells, &self.snapshot.schema);
        let decided = |filter: &&Expr| match exact::matching(&self.snapshot, &cells, filter) {
            Some(_) => {
                self.decides.store(true, Ordering::Relaxed);
                TableProviderFilterPushDown::Exact
            }
            None => TableProviderFilterPushDown::Inexact,
        };
        Ok(filters.iter().map(decided).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        self.still_decided(filters)?;
        let kept = self.choose(state, filters, limit)?;
        if kept.is_empty() {
            return Ok(Arc::new(EmptyExec::new(project_schema(&self.snapshot.schema, projection)?)));
        }
        let all = kept.len() == self.snapshot.cells.len();
        let columns = self.columns(projection, filters);
        let source = self.source(state, &kept, &columns)?;
        let groups = self.groups(&kept, state.config().target_partitions(), &columns)?;
        let (groups, sums): (Vec<_>, Vec<_>) = groups.into_iter().unzip();
        let statistics = statistics::sum(sums.iter().map(AsRef::as_ref), &self.snapshot.schema, &columns);
        // Nothing is exact where a LIMIT left cells out.
        let statistics = if !all && filters.is_empty() { statistics.to_inexact() } else { statistics };
        let config = FileScanConfigBuilder::new(self.cells_url.clone(), Arc::new(source))
            .with_file_groups(groups)
            .with_statistics(statistics)
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}
