//! Which cells a plan reads. A task names them, and its plan may read no other.

use std::collections::HashSet;

use datafusion::{
    datasource::{physical_plan::FileScanConfig, source::DataSourceExec},
    physical_plan::ExecutionPlan,
};

use crate::error::{EngineError, Result};

/// Every cell that `plan` reads, by key.
pub(crate) fn cells_of(plan: &dyn ExecutionPlan, cells: &mut Vec<String>) {
    for child in plan.children() {
        cells_of(child.as_ref(), cells);
    }
    let source = plan.downcast_ref::<DataSourceExec>().map(DataSourceExec::data_source);
    let Some(source) = source else { return };
    let source: &dyn std::any::Any = source.as_ref();
    if let Some(scan) = source.downcast_ref::<FileScanConfig>() {
        let files = scan.file_groups.iter().flat_map(|group| group.iter());
        cells.extend(files.map(|file| file.object_meta.location.to_string()));
    }
}

/// A plan that reads what the task does not name was made by somebody who is confused.
pub(crate) fn check(plan: &dyn ExecutionPlan, allowed: &[String]) -> Result<()> {
    let mut cells = Vec::new();
    cells_of(plan, &mut cells);
    let allowed: HashSet<&str> = allowed.iter().map(String::as_str).collect();
    match cells.iter().find(|cell| !allowed.contains(cell.as_str())) {
        Some(cell) => Err(EngineError::decode(format!("the plan reads '{cell}', which its task does not name"))),
        None => Ok(()),
    }
}
