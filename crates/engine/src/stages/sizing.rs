//! How coarsely a query is cut: what a stage costs, and what follows.
//!
//! A stage is not free. Whatever it does, somebody publishes its tasks, somebody hears of them and claims them, a plan
//! is decoded for each, files are opened, written and read back, a `done` is put and found. Over a
//! local folder with wake-up calls that is some milliseconds, over a store in the same house 50 to 70, over S3 a
//! quarter of a second; and it is waiting, which no second core shortens. Reading costs as well, but it is work: one
//! bee decodes some 100 to 300 MB of Parquet a second. So a stage is worth what a bee reads in the time that
//! the stage costs, and below that it is cheaper to read twice, or to read alone, than to share:
//!
//! ```text
//!   nation ─┐ broadcast            a join's small side is scanned by every task of the stage that needs it
//!           ▼                      rather than by a stage of its own:          bytes × tasks ≤ FOLD_BYTES_MAX
//!   supplier ─┐ broadcast
//!             ▼
//!   lineitem ──▶ Aggregate ──▶ …   a stage has as many tasks as it has bytes to read, by the ledger's sizes and the
//!                                  exact sizes in the `done` of its inputs:    one for each TASK_BYTES
//! ```
//!
//! And where one task would read all that another wrote, for which one task was enough as well, the first does both:
//! the end of most queries (merge the partial sums, sort them, merge the sorted) is one task instead of three stages.
//!
//! The *partitions* of a stage are fixed when it is cut, because hashing on both sides of a join must agree; a task
//! takes one or several neighbouring ones. How many tasks there are is decided when the inputs are done, from what they
//! say they wrote, and so is the same for whoever takes the query over.

use std::{any::Any, ops::Range};

use datafusion::{
    arrow::datatypes::Schema,
    datasource::{physical_plan::FileScanConfig, source::DataSourceExec},
    physical_plan::ExecutionPlan,
};

use crate::task_cells;

/// What a task should have to read, at least, before its stage is shared among more bees.
const TASK_BYTES: u64 = 16 << 20;

/// What the tasks of a stage may read, all together, to spare the stage that would read it once.
const FOLD_BYTES_MAX: u64 = 16 << 20;

/// Rows whose dealing takes longer than a stage waits for another.
const REDUCE_ROWS_MIN: usize = 250_000;

/// A side that has so many times the rows of the other is reduced by it.
const REDUCE_SHARE: usize = 4;

/// Bytes that a value without a fixed width is taken to have.
const TEXT_BYTES: u64 = 24;

/// How coarsely a query is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grain {
    /// Bytes to read for each task of a stage; 0: as many tasks as there are partitions.
    pub task_bytes: u64,
    /// Bytes that all tasks of a stage together may read again to spare another stage; 0: none is spared.
    pub fold_bytes_max: u64,
    /// Rows that a side of a join must have, at least, before it is reduced by the other; 0: whatever both sides have.
    pub reduce_rows_min: usize,
}

impl Default for Grain {
    fn default() -> Self {
        Self { task_bytes: TASK_BYTES, fold_bytes_max: FOLD_BYTES_MAX, reduce_rows_min: REDUCE_ROWS_MIN }
    }
}

impl Grain {
    /// As fine as can be, whatever it costs: for tests, whose frames are small.
    pub const FINE: Self = Self { task_bytes: 0, fold_bytes_max: 0, reduce_rows_min: 0 };

    /// How many tasks a stage of so many partitions gets that reads so much.
    #[must_use]
    pub fn tasks(&self, partitions: u32, bytes: u64) -> u32 {
        if self.task_bytes == 0 {
            return partitions;
        }
        let wanted = bytes.div_ceil(self.task_bytes).max(1);
        u32::try_from(wanted).unwrap_or(u32::MAX).min(partitions)
    }

    /// Whether a stage that reads so much has one task, however many partitions.
    pub(crate) fn is_one_task(&self, bytes: u64) -> bool {
        bytes <= self.task_bytes && self.task_bytes > 0
    }

    /// Whether a side of so many rows should wait for one of so many, to deal only the rows that find a partner there.
    pub(super) fn is_worth_reducing(&self, small: Option<usize>, large: Option<usize>) -> bool {
        if self.reduce_rows_min == 0 {
            return true;
        }
        let (Some(small), Some(large)) = (small, large) else { return false };
        large >= self.reduce_rows_min && small.saturating_mul(REDUCE_SHARE) <= large
    }

    /// Whether reading `bytes` again in each of `tasks` tasks is cheaper than a stage.
    pub(super) fn spares_a_stage(&self, bytes: u64, tasks: usize) -> bool {
        bytes.saturating_mul(tasks as u64) <= self.fold_bytes_max && self.fold_bytes_max > 0
    }
}

/// The partitions of task `task` of `tasks`: neighbours, nearly as many for each.
pub(crate) fn slice(partitions: u32, tasks: u32, task: u32) -> Range<usize> {
    let at = |n: u32| (u64::from(partitions) * u64::from(n) / u64::from(tasks.max(1))) as usize;
    at(task.min(tasks))..at((task + 1).min(tasks))
}

/// Bytes of cells that `plan` reads, as far as the widths of its columns tell.
pub(super) fn scan_bytes(plan: &dyn ExecutionPlan) -> u64 {
    let below: u64 = plan.children().into_iter().map(|child| scan_bytes(child.as_ref())).sum();
    below + scan_of(plan).map_or(0, |scan| bytes_of(scan, &plan.schema()))
}

fn scan_of(plan: &dyn ExecutionPlan) -> Option<&FileScanConfig> {
    let source: &dyn Any = plan.downcast_ref::<DataSourceExec>()?.data_source().as_ref();
    source.downcast_ref::<FileScanConfig>()
}

fn bytes_of(scan: &FileScanConfig, read: &Schema) -> u64 {
    let bytes: u64 = scan.file_groups.iter().flat_map(|group| group.iter()).map(task_cells::bytes_of).sum();
    let (read, whole) = (width(read), width(scan.file_schema()).max(1));
    u64::try_from(u128::from(bytes) * u128::from(read.min(whole)) / u128::from(whole)).unwrap_or(u64::MAX)
}

fn width(schema: &Schema) -> u64 {
    let width = |width: Option<usize>| width.map_or(TEXT_BYTES, |width| width as u64);
    schema.fields().iter().map(|field| width(field.data_type().primitive_width())).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_has_as_many_tasks_as_it_has_bytes_for() {
        let grain = Grain { task_bytes: 10, ..Grain::FINE };
        let tasks = [0, 1, 10, 11, 59, 60, 10_000].map(|bytes| grain.tasks(6, bytes));
        assert_eq!(tasks, [1, 1, 1, 2, 6, 6, 6]);
        assert_eq!([grain.tasks(0, 100), grain.tasks(1, 100)], [0, 1]);
    }

    #[test]
    fn the_finest_grain_has_one_task_for_each_partition_and_spares_nothing() {
        assert_eq!([Grain::FINE.tasks(6, 0), Grain::FINE.tasks(6, 1 << 40)], [6, 6]);
        assert!(!Grain::FINE.spares_a_stage(0, 1));
    }

    #[test]
    fn every_partition_is_in_one_slice() {
        for partitions in 0..20u32 {
            for tasks in 1..=partitions.max(1) {
                let slices: Vec<_> = (0..tasks).flat_map(|task| slice(partitions, tasks, task)).collect();
                assert_eq!(slices, (0..partitions as usize).collect::<Vec<_>>(), "{partitions} in {tasks}");
                let sizes = (0..tasks).map(|task| slice(partitions, tasks, task).len());
                assert!(sizes.clone().max().unwrap_or(0) <= sizes.min().unwrap_or(0) + 1);
            }
        }
    }

    #[test]
    fn a_side_is_reduced_by_one_much_smaller() {
        let grain = Grain::default();
        let worth = |small, large| grain.is_worth_reducing(Some(small), Some(large));
        assert!(worth(0, REDUCE_ROWS_MIN) && worth(1_000_000, 4_000_000));
        assert!(!worth(0, REDUCE_ROWS_MIN - 1) && !worth(1_000_001, 4_000_000) && !worth(usize::MAX, usize::MAX - 1));
        assert!(!grain.is_worth_reducing(None, Some(1 << 40)) && !grain.is_worth_reducing(Some(1), None));
        assert!(Grain::FINE.is_worth_reducing(None, None));
    }

    #[test]
    fn a_stage_is_spared_while_reading_again_is_cheap() {
        let grain = Grain { fold_bytes_max: 100, ..Grain::FINE };
        assert!(grain.spares_a_stage(50, 2) && grain.spares_a_stage(0, 9));
        assert!(!grain.spares_a_stage(51, 2));
        assert!(!grain.spares_a_stage(u64::MAX, 2));
    }
}
