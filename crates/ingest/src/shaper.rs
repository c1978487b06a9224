//! Leafcutter at work: which waiting rows become a row group next, and which open cell is closed next.
//!
//! Rows wait by partition. A partition with one and a half groups of rows gives one away, so that what stays behind
//! is never a crumb; when all partitions together hold more than the budget, the largest gives what it has. A cell is
//! closed at the target; when all open cells together hold more than their budget, the largest is closed early. Pure:
//! it holds rows and counts, and starts nothing.

use std::collections::HashMap;

use apiary_cell::{PendingRows, leafcutter};
use arrow::array::RecordBatch;

use crate::{IngestError, Result, limits::PARTITIONS_MAX};

/// Partition columns and their values as the ledger writes them.
pub(crate) type PartitionText = Vec<(String, Option<String>)>;

/// A partition's number within one write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PartId(usize);

/// The sizes by which a write is shaped.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    /// Most rows of a row group.
    pub(crate) group_rows: usize,
    /// Decoded bytes at which a row group is full whatever its rows.
    pub(crate) group_bytes: u64,
    /// Decoded bytes that may wait in all partitions together.
    pub(crate) waiting_bytes: u64,
    /// Parquet bytes at which a cell is full.
    pub(crate) cell_bytes: u64,
    /// Parquet bytes that may stand in all open cells together.
    pub(crate) open_bytes: u64,
}

impl Sizes {
    /// For a bee whose chamber holds `chamber_bytes`.
    pub(crate) fn for_chamber(chamber_bytes: u64) -> Self {
        let cell_bytes = leafcutter::target_bytes(chamber_bytes);
        Self {
            group_rows: apiary_cell::CellOptions::default().row_group_rows_max,
            group_bytes: leafcutter::group_bytes(chamber_bytes),
            waiting_bytes: (chamber_bytes / 4).max(leafcutter::TARGET_BYTES_MIN),
            cell_bytes,
            open_bytes: (chamber_bytes / 8 * 3).max(cell_bytes),
        }
    }
}

#[derive(Debug, Default)]
struct Part {
    values: PartitionText,
    waiting: PendingRows,
    open_bytes: u64,
}

/// The rows and open cells of one write.
#[derive(Debug)]
pub(crate) struct Shaper {
    sizes: Sizes,
    parts: Vec<Part>,
    ids: HashMap<PartitionText, PartId>,
}

impl Shaper {
    pub(crate) fn new(sizes: Sizes) -> Self {
        Self { sizes, parts: Vec::new(), ids: HashMap::new() }
    }

    /// Lets `rows` wait in the partition of `values`.
    pub(crate) fn push(&mut self, values: PartitionText, rows: RecordBatch) -> Result<()> {
        let id = match self.ids.get(&values) {
            Some(id) => *id,
            None => self.open(values)?,
        };
        self.parts[id.0].waiting.push(rows);
        Ok(())
    }

    fn open(&mut self, values: PartitionText) -> Result<PartId> {
        if self.parts.len() == PARTITIONS_MAX {
            let by = values.into_iter().map(|(column, _)| column).collect();
            return Err(IngestError::TooManyPartitions { max: PARTITIONS_MAX, by });
        }
        let id = PartId(self.parts.len());
        self.ids.insert(values.clone(), id);
        self.parts.push(Part { values, ..Part::default() });
        Ok(id)
    }

    /// The partition's values.
    pub(crate) fn values(&self, id: PartId) -> &PartitionText {
        &self.parts[id.0].values
    }

    /// Rows that should be encoded now, while more may come.
    pub(crate) fn next_group(&mut self) -> Option<(PartId, Vec<RecordBatch>)> {
        let id = self.full_part().or_else(|| self.largest_if_over_budget())?;
        Some((id, self.take_group(id)))
    }

    /// Rows that are to be encoded once no more come.
    pub(crate) fn next_rest(&mut self) -> Option<(PartId, Vec<RecordBatch>)> {
        let id = self.parts.iter().position(|part| part.waiting.rows() > 0).map(PartId)?;
        Some((id, self.take_group(id)))
    }

    fn full_part(&self) -> Option<PartId> {
        let full = |part: &Part| {
            part.waiting.rows() >= self.sizes.group_rows + self.sizes.group_rows / 2
                || part.waiting.bytes() >= self.sizes.group_bytes
        };
        self.parts.iter().position(full).map(PartId)
    }

    fn largest_if_over_budget(&self) -> Option<PartId> {
        let waiting: u64 = self.parts.iter().map(|part| part.waiting.bytes()).sum();
        if waiting <= self.sizes.waiting_bytes {
            return None;
        }
        (0..self.parts.len()).max_by_key(|part| self.parts[*part].waiting.bytes()).map(PartId)
    }

    /// One group of a partition: all that waits if it fits, a full one if much waits, else the half.
    fn take_group(&mut self, id: PartId) -> Vec<RecordBatch> {
        let max = self.sizes.group_rows;
        let waiting = &mut self.parts[id.0].waiting;
        let rows = match waiting.rows() {
            few if few <= max => few,
            some if some < max + max / 2 => some.div_ceil(2),
            _ => max,
        };
        waiting.take(rows)
    }

    /// Notes that the partition's open cell now has `bytes`; says which cells are to be closed.
    pub(crate) fn grown(&mut self, id: PartId, bytes: u64) -> Vec<PartId> {
        self.parts[id.0].open_bytes = bytes;
        let mut close = Vec::new();
        if bytes >= self.sizes.cell_bytes {
            self.parts[id.0].open_bytes = 0;
            close.push(id);
        }
        let open: u64 = self.parts.iter().map(|part| part.open_bytes).sum();
        if open > self.sizes.open_bytes
            && let Some(largest) = (0..self.parts.len()).max_by_key(|part| self.parts[*part].open_bytes)
        {
            self.parts[largest].open_bytes = 0;
            close.push(PartId(largest));
        }
        close
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{
        array::Int64Array,
        datatypes::{DataType, Field, Schema},
    };
    use proptest::prelude::*;

    use super::*;

    fn rows(count: usize) -> RecordBatch {
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
        RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from(vec![1; count]))]).unwrap()
    }

    fn part(name: usize) -> PartitionText {
        vec![("p".to_owned(), Some(name.to_string()))]
    }

    fn sizes() -> Sizes {
        Sizes { group_rows: 100, group_bytes: 10_000, waiting_bytes: 4_000, cell_bytes: 1_000, open_bytes: 2_000 }
    }

    fn count(group: Option<(PartId, Vec<RecordBatch>)>) -> usize {
        group.map_or(0, |(_, batches)| batches.iter().map(RecordBatch::num_rows).sum())
    }

    #[test]
    fn rows_wait_for_a_group_and_a_half() {
        let mut shaper = Shaper::new(sizes());
        shaper.push(part(1), rows(149)).unwrap();
        assert_eq!(count(shaper.next_group()), 0);
        shaper.push(part(1), rows(1)).unwrap();
        assert_eq!((count(shaper.next_group()), count(shaper.next_group())), (100, 0));
        assert_eq!((count(shaper.next_rest()), count(shaper.next_rest())), (50, 0));
    }

    #[test]
    fn the_last_rows_are_cut_evenly() {
        let mut shaper = Shaper::new(sizes());
        shaper.push(part(1), rows(120)).unwrap();
        assert_eq!((count(shaper.next_rest()), count(shaper.next_rest())), (60, 60));
    }

    #[test]
    fn over_budget_the_largest_partition_gives() {
        let mut shaper = Shaper::new(sizes());
        for name in 0..10 {
            shaper.push(part(name), rows(50 + name)).unwrap();
        }
        assert_eq!(count(shaper.next_group()), 59);
        assert_eq!(count(shaper.next_group()), 0);
    }

    #[test]
    fn a_cell_is_closed_at_its_target_and_the_largest_when_memory_is_short() {
        let mut shaper = Shaper::new(sizes());
        for name in 0..3 {
            shaper.push(part(name), rows(1)).unwrap();
        }
        assert_eq!(shaper.grown(PartId(0), 999), []);
        assert_eq!(shaper.grown(PartId(1), 1_000), [PartId(1)]);
        assert_eq!(shaper.grown(PartId(1), 900), []);
        assert_eq!(shaper.grown(PartId(2), 500), [PartId(0)]);
    }

    #[test]
    fn partitions_have_a_limit() {
        let mut shaper = Shaper::new(sizes());
        for name in 0..PARTITIONS_MAX {
            shaper.push(part(name), rows(1)).unwrap();
        }
        let error = shaper.push(part(PARTITIONS_MAX), rows(1)).unwrap_err();
        assert!(error.to_string().contains("1024") && error.hint().is_some(), "{error}");
        shaper.push(part(0), rows(1)).unwrap();
    }

    proptest! {
        #[test]
        fn no_row_is_lost_and_no_group_too_large(pushes in proptest::collection::vec((0usize..5, 0usize..400), 0..40)) {
            let mut shaper = Shaper::new(sizes());
            let (mut pushed, mut seen) = (0, 0);
            for (name, size) in pushes {
                shaper.push(part(name), rows(size)).unwrap();
                pushed += size;
                loop {
                    let size = count(shaper.next_group());
                    prop_assert!(size <= 100);
                    if size == 0 { break; }
                    seen += size;
                }
            }
            loop {
                let size = count(shaper.next_rest());
                prop_assert!(size <= 100);
                if size == 0 { break; }
                seen += size;
            }
            prop_assert_eq!(seen, pushed);
        }
    }
}
