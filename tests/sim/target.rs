//! The three frames that are worked on, and how their cells look: an object of a few numbers, and an entry in the
//! ledger that says so.

use std::{collections::BTreeMap, sync::Arc};

use apiary_core::{CellStats, ColumnStats, FramePath, StatValue, TxnId};
use apiary_ledger::{CellEntry, CellFacts, CellId, FrameRecord, FrameSpec, Registry};
use arrow::datatypes::{DataType, Field, Schema};
use bytes::Bytes;

/// Accounts of the bank.
pub(crate) const ACCOUNTS: i64 = 6;

/// What each account begins with.
pub(crate) const BALANCE: i64 = 100;

/// A workload's frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Target {
    /// One cell an account, by partition: `[account, balance]`.
    Bank,
    /// Cells of ids: `[id, …]`.
    Set,
    /// One cell: `[value]`.
    Register,
}

impl Target {
    pub(crate) const ALL: [Self; 3] = [Self::Bank, Self::Set, Self::Register];

    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Bank => "sim.main.bank",
            Self::Set => "sim.main.set",
            Self::Register => "sim.main.register",
        }
    }

    pub(crate) fn spec(self) -> FrameSpec {
        let int = |name: &str| Field::new(name, DataType::Int64, false);
        let (fields, by) = match self {
            Self::Bank => (vec![int("account"), int("n")], vec!["account".to_owned()]),
            Self::Set | Self::Register => (vec![int("n")], vec![]),
        };
        FrameSpec { schema: Arc::new(Schema::new(fields)), partition_by: by }
    }

    /// The frame, made with its hive and its box.
    pub(crate) async fn make(self, registry: &Registry) -> Arc<FrameRecord> {
        let path: FramePath = self.path().parse().unwrap();
        registry.create_hive(&path.hive).await.unwrap();
        registry.create_box(&path.hive, &path.box_name).await.unwrap();
        registry.create_frame(&path, &self.spec()).await.unwrap();
        let names = registry.namespace().await.unwrap();
        names.frame(path.hive.as_str(), path.box_name.as_str(), path.frame.as_str()).unwrap()
    }

    /// The `nth` cell of a transaction, and its bytes.
    pub(crate) fn cell(self, frame: &FrameRecord, txn: TxnId, nth: u32, rows: &[i64]) -> (CellEntry, Bytes) {
        let body = Bytes::from(serde_json::to_vec(rows).unwrap());
        let (partition_values, values) = match self {
            Self::Bank => (vec![("account".to_owned(), Some(rows[0].to_string()))], &rows[1..]),
            Self::Set | Self::Register => (vec![], rows),
        };
        let bound = |value: Option<&i64>| value.map(|value| StatValue::Int(*value));
        let n = ColumnStats {
            min: bound(values.iter().min()),
            max: bound(values.iter().max()),
            null_count: Some(0),
            min_exact: true,
            max_exact: true,
        };
        let facts = CellFacts {
            folder: frame.folder.clone(),
            id: CellId { txn, n: nth },
            size_bytes: body.len() as u64,
            partition_values,
            stats: CellStats { rows: values.len() as u64, columns: BTreeMap::from([("n".to_owned(), n)]) },
            sha256: "00".repeat(32),
            modified_ms: 1,
        };
        (facts.pack().unwrap(), body)
    }
}
