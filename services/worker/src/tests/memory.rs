//! Tasks over more rows than their chambers hold: they spill, or get another attempt that does, or say why not.

use apiary_engine::{BoardMetrics, EngineError};
use datafusion::{
    arrow::{array::ArrayRef, compute::cast, datatypes::DataType},
    error::DataFusionError,
};

use super::*;

/// Rows of the frame, a prime number: multiples of anything smaller go through all of them.
const ROWS: i64 = 400_009;

/// Memory that leaves each bee the smallest chamber, of 16 MiB; half of the frame is 24 MB.
const MEMORY_BYTES: u64 = 160 << 20;

struct Answer {
    numbers: Vec<i64>,
    metrics: Arc<BoardMetrics>,
}

impl Hive {
    async fn with_large_frame() -> Self {
        let hive = Self::new().await;
        let context = SessionContext::new_with_config_rt(SessionConfig::new(), Arc::clone(&hive.runtime));
        for file in 0..4 {
            let (from, to) = (file * ROWS / 4, (file + 1) * ROWS / 4 - 1);
            let sql = format!(
                "SELECT value AS id, value * 7919 % {ROWS} AS k, lpad(CAST(value * 104729 % {ROWS} AS VARCHAR), 96, '0') \
                 AS pad FROM generate_series({from}, {to})"
            );
            let options = DataFrameWriteOptions::new().with_single_file_output(true);
            let url = format!("apiary://cells/frames/big/{file}.parquet");
            context.sql(&sql).await.unwrap().write_parquet(&url, options, None).await.unwrap();
        }
        hive
    }

    async fn small_worker(&mut self, name: &str) -> Running {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = NodeSettings::new("memory:", folder.path());
        (settings.roles, settings.cores, settings.memory_bytes) = (vec![Role::Worker], 2, MEMORY_BYTES);
        settings.name = Some(name.to_owned());
        self.folders.push(folder);
        let node = Node::join(self.bucket.clone(), settings).await.unwrap();
        self.run(node, Hooks::default())
    }

    /// Asks two partitions' worth of tasks. `chamber_bytes` is what the planner believes of the workers.
    async fn numbers(&self, queen: &Arc<Node>, sql: &str, chamber_bytes: u64) -> Result<Answer, EngineError> {
        let config = board_config(2).set_u64("datafusion.optimizer.hash_join_single_partition_threshold", 0);
        let config = config.set_u64("datafusion.optimizer.hash_join_single_partition_threshold_rows", 0);
        let config = config.set_usize("ballista.optimizer.broadcast_join_threshold_bytes", 1);
        let context = SessionContext::new_with_config_rt(config, Arc::clone(&self.runtime));
        context.register_parquet("big", "apiary://cells/frames/big/", ParquetReadOptions::default()).await.unwrap();
        let plan = context.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
        let (_, result) = self.open(queen, &context, &plan, chamber_bytes, CancellationToken::new()).await;
        let metrics = Arc::clone(&result.metrics);
        let batches: Vec<RecordBatch> = result.stream.try_collect().await.map_err(told)?;
        let row = |batch: &RecordBatch| -> Vec<i64> {
            let of = |column: &ArrayRef| cast(column, &DataType::Int64).unwrap().as_primitive::<Int64Type>().value(0);
            batch.columns().iter().map(of).collect()
        };
        let numbers = batches.iter().filter(|batch| batch.num_rows() > 0).flat_map(row).collect();
        Ok(Answer { numbers, metrics })
    }
}

fn told(error: DataFusionError) -> EngineError {
    match error {
        DataFusionError::External(inner) => *inner.downcast::<EngineError>().unwrap(),
        other => EngineError::Plan(other),
    }
}

const JOIN: &str = "SELECT count(*), sum(a.id), max(length(b.pad)) FROM big a JOIN big b ON a.k = b.id AND b.pad >= a.pad \
                    OR a.k = b.id AND b.pad < a.pad";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_larger_than_their_chambers_spill_or_are_tried_again_with_joins_that_do() {
    let mut hive = Hive::with_large_frame().await;
    let queen = hive.node(Role::Coordinator, "queen").await;
    let _workers = [hive.small_worker("a").await, hive.small_worker("b").await];
    let sum = ROWS * (ROWS - 1) / 2;
    for (sql, expected) in [
        ("SELECT count(*), sum(n) FROM (SELECT k, pad, count(*) AS n FROM big GROUP BY k, pad)", vec![ROWS, ROWS]),
        (
            "SELECT count(*), sum(r), max(length(pad)) FROM (SELECT row_number() OVER (ORDER BY k) AS r, pad FROM big)",
            vec![ROWS, sum + ROWS, 96],
        ),
    ] {
        let answer = hive.numbers(&queen, sql, 16 << 20).await.unwrap_or_else(|error| unreachable!("{sql}: {error}"));
        assert_eq!(answer.numbers, expected, "{sql}");
        assert_eq!(answer.metrics.progress().retries, 0, "{sql}");
    }
    // Nobody knew how large the sides are: hash joins run out of memory, and the next attempts merge. A chamber that holds
    // nothing holds no hash table: joins merge at once.
    for (chamber_bytes, is_tried_again) in [(16 << 20, true), (0, false)] {
        let answer = hive.numbers(&queen, JOIN, chamber_bytes).await.unwrap();
        assert_eq!(answer.numbers, [ROWS, sum, 96]);
        assert_eq!(answer.metrics.progress().retries > 0, is_tried_again, "{chamber_bytes}");
    }
    let error = hive.numbers(&queen, "SELECT cardinality(array_agg(pad)) FROM big", 16 << 20).await;
    let error = error.err().unwrap();
    let report = error.to_string();
    assert_eq!(error.kind(), apiary_core::ErrorKind::MemoryBudget, "{report}");
    assert!(report.contains("its memory was not enough: an aggregate held"), "{report}");
    assert!(report.contains(" more: the chamber has ") && report.contains("after 2 attempts"), "{report}");
    let hint = error.hint().unwrap();
    assert!(["WHERE", "--memory", "SET target_partitions"].iter().all(|remedy| hint.contains(remedy)), "{hint}");
}
