//! A colony in memory, and ways to ask it.

use std::{collections::BTreeMap, sync::Arc};

use apiary_bucket::{Bucket, layout};
use apiary_cell::{CellFormat, CellWriter, GroupEncoder, partition};
use apiary_core::{CellStats, ColumnStats, FramePath, StatValue, TxnId};
use apiary_ledger::{
    CellFacts, CellId, CommitOutcome, FrameRecord, FrameSpec, Frames, Registry, Transaction, delta_schema,
    partition_text,
};
use datafusion::{
    arrow::{
        array::RecordBatch,
        datatypes::{Schema, SchemaRef},
        util::pretty::pretty_format_batches,
    },
    execution::SendableRecordBatchStream,
};
use futures::TryStreamExt;

use crate::{
    Planned, Planner, QueryError, QueryStatement, Result, Session, Statement, gather, local_config, parse,
    with_text_views,
};

pub(crate) struct Colony {
    pub(crate) bucket: Bucket,
    pub(crate) planner: Planner,
    registry: Registry,
    frames: Frames,
}

impl Colony {
    pub(crate) fn new() -> Self {
        Self::over(Bucket::in_memory())
    }

    /// A colony that finds what is in the bucket.
    pub(crate) fn over(bucket: Bucket) -> Self {
        let (registry, frames) = (Registry::new(bucket.clone()), Frames::new(bucket.clone()));
        let planner = Planner::new(bucket.clone(), registry.clone(), frames.clone()).unwrap();
        Self { bucket, planner, registry, frames }
    }

    /// A frame with one cell for each batch and partition, two row groups each.
    pub(crate) async fn frame(&self, path: &str, by: &[&str], batches: &[RecordBatch]) {
        let by: Vec<String> = by.iter().map(|name| (*name).to_owned()).collect();
        let schema = batches[0].schema();
        let record = self.empty(path, &schema, &by).await;
        let txn = TxnId::new(self.bucket.clock().as_ref(), self.bucket.rng().as_ref());
        let mut adds = Vec::new();
        for (values, part) in batches.iter().flat_map(|batch| partition::split(batch, &by).unwrap()) {
            let id = CellId { txn, n: adds.len() as u32 };
            let cell = encode(&schema, &part, id);
            let text = |(name, value): (&String, &StatValue)| {
                let field = schema.field_with_name(name).unwrap();
                (name.clone(), Some(partition_text::to_text(name, value, field.data_type()).unwrap()))
            };
            self.bucket.put(&layout::cell(&record.folder, &txn, adds.len()), cell.bytes.clone()).await.unwrap();
            adds.push(CellFacts {
                folder: record.folder.clone(),
                id,
                size_bytes: cell.bytes.len() as u64,
                partition_values: by.iter().zip(&values).map(text).collect(),
                stats: cell.stats,
                sha256: cell.sha256,
                modified_ms: 0,
            });
        }
        self.append(&record, txn, adds).await;
    }

    /// A frame with one cell that the ledger has and the bucket has not: enough to plan.
    pub(crate) async fn hollow(&self, path: &str, schema: Schema, rows: u64, columns: BTreeMap<String, ColumnStats>) {
        let record = self.empty(path, &Arc::new(schema), &[]).await;
        let txn = TxnId::new(self.bucket.clock().as_ref(), self.bucket.rng().as_ref());
        let cell = CellFacts {
            folder: record.folder.clone(),
            id: CellId { txn, n: 0 },
            size_bytes: rows * 50,
            partition_values: Vec::new(),
            stats: CellStats { rows, columns },
            sha256: "00".repeat(32),
            modified_ms: 0,
        };
        self.append(&record, txn, vec![cell]).await;
    }

    /// A frame with one cell that another program may have written: `parquet`, with sums and a name put in.
    pub(crate) async fn of_parquet(&self, path: &str, schema: &SchemaRef, parquet: Vec<u8>, stats: CellStats) {
        let record = self.empty(path, schema, &[]).await;
        let txn = TxnId::new(self.bucket.clock().as_ref(), self.bucket.rng().as_ref());
        let body = bytes::Bytes::from(apiary_bucket::sums::with_sums(parquet, &txn, 0).unwrap());
        self.bucket.put(&layout::cell(&record.folder, &txn, 0), body.clone()).await.unwrap();
        let cell = CellFacts {
            folder: record.folder.clone(),
            id: CellId { txn, n: 0 },
            size_bytes: body.len() as u64,
            partition_values: Vec::new(),
            stats,
            sha256: apiary_cell::sha256_hex(&body),
            modified_ms: 0,
        };
        self.append(&record, txn, vec![cell]).await;
    }

    async fn empty(&self, path: &str, schema: &SchemaRef, by: &[String]) -> Arc<FrameRecord> {
        let path: FramePath = path.parse().unwrap();
        // They may be there.
        self.registry.create_hive(&path.hive).await.ok();
        self.registry.create_box(&path.hive, &path.box_name).await.ok();
        let spec = FrameSpec { schema: Arc::clone(schema), partition_by: by.to_vec() };
        self.registry.create_frame(&path, &spec).await.unwrap();
        let namespace = self.registry.namespace().await.unwrap();
        namespace.frame(path.hive.as_str(), path.box_name.as_str(), path.frame.as_str()).unwrap()
    }

    async fn append(&self, record: &FrameRecord, txn: TxnId, cells: Vec<CellFacts>) {
        let base = self.frames.snapshot(record).await.unwrap();
        let adds = cells.into_iter().map(|cell| cell.pack().unwrap()).collect();
        let outcome = self.frames.commit(record, base, Transaction::append(txn, "test", adds)).await.unwrap();
        assert!(matches!(outcome, CommitOutcome::Committed { .. }), "{outcome:?}");
    }

    pub(crate) async fn plan(&self, sql: &str, session: &Session) -> Result<Planned> {
        let pinned = self.planner.pin(&query(sql)?, session).await?.verbose(true);
        pinned.plan(with_text_views(local_config(2), u64::MAX), self.planner.runtime()).await
    }

    /// Plans and runs `sql`.
    pub(crate) async fn ask(&self, sql: &str, session: &Session) -> Result<(Planned, Vec<RecordBatch>)> {
        let planned = self.plan(sql, session).await?;
        let batches = run(&planned)?.try_collect().await.map_err(QueryError::from)?;
        Ok((planned, batches))
    }

    /// The rows of `sql` as lines, sorted.
    pub(crate) async fn rows(&self, sql: &str) -> Vec<String> {
        let (_, batches) = self.ask(sql, &Session::default()).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        lines(&batches)
    }

    pub(crate) async fn error(&self, sql: &str, session: &Session) -> QueryError {
        match self.ask(sql, session).await {
            Ok(_) => panic!("{sql} is no error"),
            Err(error) => error,
        }
    }
}

/// Runs a plan, all its partitions merged.
pub(crate) fn run(planned: &Planned) -> Result<SendableRecordBatchStream> {
    Ok(gather(Arc::clone(&planned.physical), planned.ctx.task_ctx())?)
}

fn encode(schema: &SchemaRef, rows: &RecordBatch, id: CellId) -> apiary_cell::EncodedCell {
    let format = CellFormat::new(schema, &delta_schema::storage_schema(schema).unwrap());
    let encoder = GroupEncoder::new(&format).unwrap();
    let mut writer = CellWriter::new(&format).unwrap();
    let half = rows.num_rows().div_ceil(2);
    for start in [0, half].into_iter().filter(|start| *start < rows.num_rows()) {
        let group = rows.slice(start, half.min(rows.num_rows() - start));
        writer.append(encoder.encode(&[group]).unwrap()).unwrap();
    }
    writer.finish(&id.txn, id.n as usize).unwrap()
}

pub(crate) fn query(sql: &str) -> Result<QueryStatement> {
    match parse(sql)? {
        Statement::Query(query) => Ok(query),
        other => panic!("{other:?} is no query"),
    }
}

pub(crate) fn session(hive: &str, box_name: &str) -> Session {
    Session::from_parts(hive, box_name, []).unwrap()
}

/// Rows as text, sorted.
pub(crate) fn lines(batches: &[RecordBatch]) -> Vec<String> {
    let table = pretty_format_batches(batches).unwrap().to_string();
    let mut rows: Vec<String> =
        table.lines().skip(3).filter(|line| !line.starts_with('+')).map(str::to_owned).collect();
    rows.iter_mut().for_each(|row| *row = row.split_whitespace().collect::<Vec<_>>().join(" "));
    rows.sort();
    rows
}
