//! `apiary.cells` and `apiary.ledger`: rows that a walk through the frames' ledgers gives.
//!
//! Conditions that speak of `hive`, `box` and `frame` alone choose the frames before a ledger is read; the rest is
//! DataFusion's, over rows in memory. What would be too much is refused with the condition to add: rows that were
//! left out would be a wrong answer.

use std::sync::Arc;

use apiary_ledger::{CellEntry, FrameRecord, Frames, LedgerError, Snapshot};
use async_trait::async_trait;
use datafusion::{
    arrow::{
        array::{Array, ArrayRef, BooleanArray, RecordBatch, StringArray, TimestampMillisecondArray, UInt64Array},
        datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
    },
    catalog::{Session, TableProvider},
    common::DFSchema,
    datasource::{MemTable, TableType},
    error::{DataFusionError, Result as DfResult},
    logical_expr::{Expr, TableProviderFilterPushDown, utils::conjunction},
    physical_plan::ExecutionPlan,
};
use futures::{StreamExt, TryStreamExt, stream};

use super::SystemFrame;
use crate::{QueryError, Result, show_history};

/// Most frames that one statement walks through: one GET each.
const FRAMES_MAX: usize = 5_000;

/// Most cells that one statement tells of: about 100 MB of rows.
const CELLS_MAX: usize = 200_000;

/// Versions of each frame that `apiary.ledger` tells of, the newest.
const VERSIONS_OF_FRAME: u64 = 1_000;

/// Most versions that one statement tells of: one GET each.
const VERSIONS_MAX: usize = 20_000;

/// Frames that are read side by side.
const FRAMES_AT_ONCE: usize = 8;

/// The columns by which frames are chosen.
const NAMES: [&str; 3] = ["hive", "box", "frame"];

/// A walk through the frames that a statement could see.
#[derive(Debug)]
pub(super) struct Walk {
    system: SystemFrame,
    schema: SchemaRef,
    records: Vec<Arc<FrameRecord>>,
    frames: Frames,
}

impl Walk {
    pub(super) fn new(system: SystemFrame, records: Vec<Arc<FrameRecord>>, frames: Frames) -> Self {
        Self { system, schema: system.schema(), records, frames }
    }

    /// The frames that `filters` leave.
    fn chosen(&self, state: &dyn Session, filters: &[Expr]) -> DfResult<Vec<Arc<FrameRecord>>> {
        let about_names = |filter: &&Expr| filter.column_refs().iter().all(|column| NAMES.contains(&column.name()));
        let Some(filter) = conjunction(filters.iter().filter(about_names).cloned()) else {
            return Ok(self.records.clone());
        };
        let names = RecordBatch::try_new(name_schema(), names_of(&self.records))?;
        let schema = DFSchema::try_from(name_schema())?;
        let kept = state.create_physical_expr(filter, &schema)?.evaluate(&names)?.into_array(names.num_rows())?;
        let kept = kept.as_any().downcast_ref::<BooleanArray>().map(|kept| kept.iter().collect::<Vec<_>>());
        let kept = kept.unwrap_or_else(|| vec![Some(true); self.records.len()]);
        let chosen = self.records.iter().zip(kept).filter(|(_, kept)| *kept == Some(true));
        Ok(chosen.map(|(record, _)| Arc::clone(record)).collect())
    }

    async fn batches(&self, records: Vec<Arc<FrameRecord>>) -> Result<Vec<RecordBatch>> {
        if records.len() > FRAMES_MAX {
            return Err(self.too_much(&format!("{} frames", records.len()), &format!("{FRAMES_MAX}")));
        }
        let read = |record: Arc<FrameRecord>| async move {
            let batch = match self.system {
                SystemFrame::Ledger => self.versions(&record).await,
                _ => self.cells(&record).await,
            };
            match batch {
                // Dropped since the names were read.
                Err(QueryError::Ledger(LedgerError::Dropped { .. })) => Ok(None),
                batch => batch.map(Some),
            }
        };
        let mut found = stream::iter(records.into_iter().map(read)).buffered(FRAMES_AT_ONCE);
        let (mut batches, mut rows) = (Vec::new(), 0);
        while let Some(batch) = found.try_next().await? {
            let Some(batch) = batch else { continue };
            rows += batch.num_rows();
            match self.system {
                SystemFrame::Ledger if rows > VERSIONS_MAX => {
                    return Err(self.too_much("too many versions", &VERSIONS_MAX.to_string()));
                }
                SystemFrame::Cells if rows > CELLS_MAX => {
                    return Err(self.too_much("too many cells", &CELLS_MAX.to_string()));
                }
                _ => batches.push(batch),
            }
        }
        Ok(batches)
    }

    fn too_much(&self, what: &str, max: &str) -> QueryError {
        let name = self.system.name();
        let message = format!("apiary.{name} would tell of {what}; at most {max} in one statement");
        QueryError::meaning(message, "name the frames: WHERE hive = '…' AND frame = '…'".to_owned())
    }

    async fn cells(&self, record: &FrameRecord) -> Result<RecordBatch> {
        let snapshot = self.frames.snapshot(record).await?;
        if snapshot.cells.len() > CELLS_MAX {
            return Err(self.too_much(&format!("{} cells of {}", snapshot.cells.len(), record.path), "200000"));
        }
        cells_batch(record, &snapshot).map_err(of_arrow)
    }

    async fn versions(&self, record: &FrameRecord) -> Result<RecordBatch> {
        let history = self.frames.history(record, VERSIONS_OF_FRAME).await?;
        let told = show_history::rows(&history.entries)?;
        let columns = same_names(record, told.num_rows()).into_iter().chain(told.columns().iter().cloned()).collect();
        RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(of_arrow)
    }
}

#[async_trait]
impl TableProvider for Walk {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// Filters choose frames here, and are applied again to the rows.
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> DfResult<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let records = self.chosen(state, filters)?;
        let batches = self.batches(records).await.map_err(|error| DataFusionError::External(Box::new(error)))?;
        let table = MemTable::try_new(Arc::clone(&self.schema), vec![batches])?;
        table.scan(state, projection, &[], limit.filter(|_| filters.is_empty())).await
    }
}

fn name_fields() -> Vec<Field> {
    NAMES.iter().map(|name| Field::new(*name, DataType::Utf8, false)).collect()
}

fn name_schema() -> SchemaRef {
    Arc::new(Schema::new(name_fields()))
}

/// The columns of `apiary.cells`.
pub(super) fn cells_schema() -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
    let mut fields = name_fields();
    fields.extend([
        Field::new("version", DataType::UInt64, false),
        Field::new("path", DataType::Utf8, false),
        Field::new("partition", DataType::Utf8, false),
        Field::new("rows", DataType::UInt64, false),
        Field::new("bytes", DataType::UInt64, false),
        Field::new("written", time, false),
        Field::new("sha256", DataType::Utf8, false),
    ]);
    Arc::new(Schema::new(fields))
}

/// The columns of `apiary.ledger`: those of `SHOW HISTORY` behind the frame's name.
pub(super) fn ledger_schema() -> SchemaRef {
    let mut fields = name_fields();
    if let Ok(empty) = show_history::rows(&[]) {
        fields.extend(empty.schema().fields().iter().map(|field| field.as_ref().clone()));
    }
    Arc::new(Schema::new(fields))
}

fn names_of(records: &[Arc<FrameRecord>]) -> Vec<ArrayRef> {
    let text = |of: fn(&FrameRecord) -> &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(records.iter().map(|record| of(record))))
    };
    vec![
        text(|record| record.path.hive.as_str()),
        text(|record| record.path.box_name.as_str()),
        text(|record| record.path.frame.as_str()),
    ]
}

/// One frame's name beside each of `rows` rows.
fn same_names(record: &FrameRecord, rows: usize) -> Vec<ArrayRef> {
    let path = &record.path;
    let repeated = |name: &str| -> ArrayRef { Arc::new(StringArray::from(vec![name; rows])) };
    vec![repeated(path.hive.as_str()), repeated(path.box_name.as_str()), repeated(path.frame.as_str())]
}

fn cells_batch(record: &FrameRecord, snapshot: &Snapshot) -> Result<RecordBatch, datafusion::arrow::error::ArrowError> {
    let cells: Vec<&Arc<CellEntry>> = snapshot.cells.iter().collect();
    let number = |of: &dyn Fn(&CellEntry) -> u64| -> ArrayRef {
        Arc::new(UInt64Array::from_iter_values(cells.iter().map(|cell| of(cell))))
    };
    let text = |of: &dyn Fn(&CellEntry) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(cells.iter().map(|cell| of(cell))))
    };
    let times = TimestampMillisecondArray::from_iter_values(cells.iter().map(|cell| cell.modified_ms));
    let mut columns = same_names(record, cells.len());
    columns.extend([
        number(&|_| snapshot.version.0),
        text(&CellEntry::path),
        text(&|cell| partition(&snapshot.partition_by, cell)),
        number(&|cell| cell.rows),
        number(&|cell| cell.size_bytes),
        Arc::new(times.with_timezone("UTC")) as ArrayRef,
        text(&CellEntry::sha256),
    ]);
    RecordBatch::try_new(cells_schema(), columns)
}

/// `region=north, day=NULL`, in the order in which the frame is parted; empty for a frame that is not.
fn partition(by: &[String], cell: &CellEntry) -> String {
    let value = |column: &String| cell.partition_value(column).flatten().unwrap_or("NULL").to_owned();
    by.iter().map(|column| format!("{column}={}", value(column))).collect::<Vec<_>>().join(", ")
}

fn of_arrow(error: datafusion::arrow::error::ArrowError) -> QueryError {
    QueryError::from(DataFusionError::from(error))
}
