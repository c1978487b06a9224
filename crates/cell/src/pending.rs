//! Rows that wait to become a row group: batches in the order they came, cut without copying.

use std::collections::VecDeque;

use arrow::array::{Array, RecordBatch};

/// Batches of one schema, oldest first.
#[derive(Debug, Default)]
pub struct PendingRows {
    batches: VecDeque<RecordBatch>,
    rows: usize,
    bytes: u64,
}

impl PendingRows {
    /// Puts `batch` behind the others; an empty one is let go.
    pub fn push(&mut self, batch: RecordBatch) {
        if batch.num_rows() > 0 {
            self.rows += batch.num_rows();
            self.bytes += decoded_bytes(&batch);
            self.batches.push_back(batch);
        }
    }

    /// Rows that wait.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Decoded bytes that wait.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes the oldest rows, at most `rows_max`.
    pub fn take(&mut self, rows_max: usize) -> Vec<RecordBatch> {
        let mut taken = Vec::new();
        let mut room = rows_max;
        while room > 0 {
            let Some(batch) = self.batches.pop_front() else { break };
            let keep = batch.num_rows().min(room);
            if keep < batch.num_rows() {
                self.batches.push_front(batch.slice(keep, batch.num_rows() - keep));
            }
            room -= keep;
            taken.push(batch.slice(0, keep));
        }
        self.rows -= rows_max - room;
        self.bytes = self.batches.iter().map(decoded_bytes).sum();
        taken
    }
}

/// Bytes that the rows of `batch` take in memory, not counting what its buffers hold beyond them.
#[must_use]
pub fn decoded_bytes(batch: &RecordBatch) -> u64 {
    let size = |column: &dyn Array| match column.to_data().get_slice_memory_size() {
        Ok(bytes) => bytes,
        Err(_) => column.get_array_memory_size(),
    };
    batch.columns().iter().map(|column| size(column.as_ref()) as u64).sum()
}
