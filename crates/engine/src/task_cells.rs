//! Which cells a plan reads. A task names them, and its plan may read no other.

use std::collections::HashSet;

use datafusion::{
    datasource::{listing::PartitionedFile, physical_plan::FileScanConfig, source::DataSourceExec},
    physical_plan::ExecutionPlan,
};

use crate::error::{EngineError, Result};

/// Every cell that `plan` reads: its key, and how many of its bytes at most.
pub(crate) fn cells_of(plan: &dyn ExecutionPlan) -> Vec<(String, u64)> {
    let mut cells = Vec::new();
    add_cells(plan, &mut cells);
    cells
}

fn add_cells(plan: &dyn ExecutionPlan, cells: &mut Vec<(String, u64)>) {
    for child in plan.children() {
        add_cells(child.as_ref(), cells);
    }
    let source = plan.downcast_ref::<DataSourceExec>().map(DataSourceExec::data_source);
    let Some(source) = source else { return };
    let source: &dyn std::any::Any = source.as_ref();
    if let Some(scan) = source.downcast_ref::<FileScanConfig>() {
        let files = scan.file_groups.iter().flat_map(|group| group.iter());
        cells.extend(files.map(|file| (file.object_meta.location.to_string(), bytes_of(file))));
    }
}

/// The bytes of a cell, or of the part of it that is meant.
pub(crate) fn bytes_of(file: &PartitionedFile) -> u64 {
    match &file.range {
        Some(range) => u64::try_from(range.end.saturating_sub(range.start)).unwrap_or(0),
        None => file.object_meta.size,
    }
}

/// A plan that reads what the task does not name was made by somebody who is confused.
pub(crate) fn check(plan: &dyn ExecutionPlan, allowed: &[String]) -> Result<()> {
    let allowed: HashSet<&str> = allowed.iter().map(String::as_str).collect();
    match cells_of(plan).iter().map(|(cell, _)| cell).find(|cell| !allowed.contains(cell.as_str())) {
        Some(cell) => Err(EngineError::decode(format!("the plan reads '{cell}', which its task does not name"))),
        None => Ok(()),
    }
}
