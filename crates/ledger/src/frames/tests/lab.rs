//! A frame of two partitions whose rows are known one by one: every cell of it and every transaction on it is made here,
//! and a small model says what rows are there after transactions in the order of the log.

use std::sync::Mutex;

use super::*;
use crate::{CellEntry, CellFilter, PartitionValues, Scope};

/// Rows by number, and their partition.
pub(super) type Rows = Vec<(&'static str, u64)>;

pub(super) struct Lab {
    pub(super) bucket: Bucket,
    pub(super) frames: Frames,
    pub(super) frame: Arc<FrameRecord>,
    /// What is in each cell that was ever made.
    rows: Mutex<BTreeMap<CellId, Rows>>,
}

pub(super) fn partition(p: &str) -> PartitionValues {
    vec![("p".to_owned(), Some(p.to_owned()))]
}

pub(super) fn schema(more: bool, strict: bool) -> arrow::datatypes::SchemaRef {
    let mut fields = vec![Field::new("n", DataType::Int64, !strict), Field::new("p", DataType::Utf8, true)];
    if more {
        fields.push(Field::new("more", DataType::Int64, true));
    }
    Arc::new(Schema::new(fields))
}

impl Lab {
    pub(super) async fn new(bucket: Bucket) -> Self {
        let registry = Registry::new(bucket.clone());
        let path: apiary_core::FramePath = "h.b.lab".parse().unwrap();
        registry.create_hive(&path.hive).await.unwrap();
        registry.create_box(&path.hive, &path.box_name).await.unwrap();
        let spec = FrameSpec { schema: schema(false, false), partition_by: vec!["p".to_owned()] };
        registry.create_frame(&path, &spec).await.unwrap();
        let frame = registry.namespace().await.unwrap().frame("h", "b", "lab").unwrap();
        Self { frames: Frames::new(bucket.clone()), bucket, frame, rows: Mutex::default() }
    }

    /// The same frame in a copy of its bucket, in another process.
    pub(super) fn over_copy(&self, bucket: Bucket) -> Self {
        let rows = Mutex::new(self.rows.lock().unwrap().clone());
        Self { frames: Frames::new(bucket.clone()), bucket, frame: Arc::clone(&self.frame), rows }
    }

    /// A cell of a transaction; `nulls` of its rows have no `n`.
    pub(super) fn cell(&self, txn: TxnId, n: u32, rows: &Rows, nulls: u64) -> CellEntry {
        let bound = Some(StatValue::Int(1));
        let stats =
            ColumnStats { min: bound.clone(), max: bound, null_count: Some(nulls), min_exact: true, max_exact: true };
        let id = CellId { txn, n };
        self.rows.lock().unwrap().insert(id, rows.clone());
        let facts = CellFacts {
            folder: self.frame.folder.clone(),
            id,
            size_bytes: 10,
            partition_values: partition(rows[0].0),
            stats: CellStats { rows: rows.len() as u64, columns: BTreeMap::from([("n".to_owned(), stats)]) },
            sha256: "00".repeat(32),
            modified_ms: 1,
        };
        facts.pack().unwrap()
    }

    pub(super) fn rows_of(&self, cell: CellId) -> Rows {
        self.rows.lock().unwrap()[&cell].clone()
    }

    /// Rows of a version, those of one partition or all.
    pub(super) fn rows_in(&self, snapshot: &Snapshot, p: Option<&str>) -> Rows {
        let cells = snapshot.cells.iter().flat_map(|cell| self.rows_of(cell.id));
        let mut rows: Rows = cells.filter(|(of, _)| p.is_none_or(|p| p == *of)).collect();
        rows.sort_unstable();
        rows
    }

    pub(super) async fn commit(&self, base: &Arc<Snapshot>, txn: Transaction) -> Result<CommitOutcome> {
        self.frames.commit(&self.frame, Arc::clone(base), txn).await
    }

    pub(super) async fn cold(&self) -> Result<Arc<Snapshot>> {
        Frames::new(self.bucket.clone()).snapshot(&self.frame).await
    }

    /// Deletes a row: writes the cells that hold it anew. Looks wherever its partition is.
    pub(super) fn delete(&self, id: TxnId, base: &Snapshot, row: (&'static str, u64)) -> Transaction {
        let hit = base.cells.iter().filter(|cell| self.rows_of(cell.id).contains(&row));
        let (mut adds, mut removes) = (Vec::new(), Vec::new());
        for (n, cell) in hit.enumerate() {
            let left: Rows = self.rows_of(cell.id).into_iter().filter(|other| *other != row).collect();
            removes.push(cell.path());
            if !left.is_empty() {
                adds.push(self.cell(id, n as u32, &left, 0));
            }
        }
        Transaction::rewrite(id, "n", adds, removes, self.looks_at(row.0))
    }

    fn looks_at(&self, p: &'static str) -> Scope {
        Scope::Where(CellFilter::new(move |cell| cell.partition_values() == partition(p)))
    }

    /// Merges every cell of a partition.
    pub(super) fn compact(&self, id: TxnId, base: &Snapshot, p: &'static str) -> Option<Transaction> {
        let cells: Vec<_> = base.cells.iter().filter(|cell| cell.partition_values() == partition(p)).collect();
        let rows: Rows = cells.iter().flat_map(|cell| self.rows_of(cell.id)).collect();
        let removes: Vec<String> = cells.iter().map(|cell| cell.path()).collect();
        (removes.len() > 1).then(|| Transaction::compaction(id, "n", vec![self.cell(id, 0, &rows, 0)], removes))
    }

    pub(super) fn append(&self, id: TxnId, row: (&'static str, u64)) -> Transaction {
        Transaction::append(id, "n", vec![self.cell(id, 0, &vec![row], 0)])
    }
}

/// What a transaction does to rows, wherever it stands in the log.
#[derive(Debug, Clone)]
pub(super) enum Effect {
    Nothing,
    Add((&'static str, u64)),
    /// Everything in a partition, or in all, goes; a row comes.
    Replace(Option<&'static str>, (&'static str, u64)),
    Delete((&'static str, u64)),
}

impl Effect {
    pub(super) fn apply(&self, rows: &mut Rows) {
        match self {
            Self::Nothing => {}
            Self::Add(row) => rows.push(*row),
            Self::Replace(p, row) => {
                rows.retain(|(of, _)| p.is_some_and(|p| p != *of));
                rows.push(*row);
            }
            Self::Delete(row) => rows.retain(|other| other != row),
        }
        rows.sort_unstable();
    }
}

/// What is told, in a word.
pub(super) fn word(told: &Result<CommitOutcome>) -> &'static str {
    match told {
        Ok(CommitOutcome::Committed { .. }) => "commit",
        Ok(CommitOutcome::AlreadyApplied { .. }) => "applied",
        Ok(CommitOutcome::Conflict { .. }) => "fail",
        Ok(CommitOutcome::Rerun { .. }) => "rerun",
        Ok(CommitOutcome::Aborted { .. }) => "abort",
        Err(LedgerError::Dropped { .. }) => "dropped",
        Err(LedgerError::KeyReused { .. }) => "reused",
        Err(_) => "error",
    }
}
