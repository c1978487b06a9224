//! What is written is what is read: every row once, in its partition, in its order; whatever had to be put away early.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use apiary_bucket::Bucket;
use apiary_core::{Rng, SeededRng};
use apiary_swarm::{
    TaskId,
    board::{DoneRecord, OutputPiece},
};
use ballista_core::{
    JobId,
    execution_plans::{ShuffleWriterExec, SortShuffleWriterExec, sort_shuffle::SortShuffleConfig},
};
use datafusion::{
    arrow::{
        array::{ArrayRef, AsArray, BinaryArray, Int64Array, RecordBatch},
        datatypes::{Int64Type, SchemaRef},
    },
    datasource::{memory::MemorySourceConfig, source::DataSourceExec},
    error::DataFusionError,
    execution::{
        TaskContext,
        memory_pool::{GreedyMemoryPool, UnboundedMemoryPool},
        runtime_env::RuntimeEnvBuilder,
    },
    physical_expr::expressions::col,
    physical_plan::{
        ExecutionPlan, Partitioning, SendableRecordBatchStream, collect_partitioned,
        repartition::RepartitionExec,
        stream::RecordBatchStreamAdapter,
        streaming::{PartitionStream, StreamingTableExec},
    },
    prelude::{SessionConfig, SessionContext},
};
use futures::{StreamExt, TryStreamExt, stream};
use tokio_util::sync::CancellationToken;

use super::{
    Output, Written, pieces,
    read::{self, Piece, Source},
    write,
};
use crate::Result;

const NONCE: &str = "00000000000000a1";
const BATCH_ROWS: usize = 1000;

fn task() -> TaskId {
    TaskId::new("01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap(), 3, 1)
}

/// The rows of `sql` in batches of `rows`, `inputs` partitions of them.
async fn input(sql: &str, rows: usize, inputs: usize) -> Arc<dyn ExecutionPlan> {
    let config = SessionConfig::new().with_target_partitions(1).with_batch_size(rows);
    let frame = SessionContext::new_with_config(config).sql(sql).await.unwrap();
    over(frame.collect().await.unwrap(), inputs)
}

fn over(batches: Vec<RecordBatch>, inputs: usize) -> Arc<dyn ExecutionPlan> {
    let schema = batches[0].schema();
    let mut partitions = vec![Vec::new(); inputs];
    for (at, batch) in batches.into_iter().enumerate() {
        partitions[at % inputs].push(batch);
    }
    let source = MemorySourceConfig::try_new(&partitions, schema, None).unwrap();
    Arc::new(DataSourceExec::new(Arc::new(source)))
}

fn by_hash(input: Arc<dyn ExecutionPlan>, column: &str, parts: usize) -> Arc<dyn ExecutionPlan> {
    let by = Partitioning::Hash(vec![col(column, &input.schema()).unwrap()], parts);
    let config = SortShuffleConfig::default();
    let writer = SortShuffleWriterExec::try_new(JobId::new("q"), 3, input, String::new(), by, config);
    Arc::new(writer.unwrap())
}

fn through(input: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    Arc::new(ShuffleWriterExec::try_new(JobId::new("q"), 3, input, String::new()).unwrap())
}

/// Where a task writes, and with how much memory.
struct Place {
    bucket: Bucket,
    scratch: Option<tempfile::TempDir>,
    memory_bytes: Option<usize>,
    inline_bytes_max: u64,
}

impl Place {
    fn new() -> Self {
        Self { bucket: Bucket::in_memory(), scratch: None, memory_bytes: None, inline_bytes_max: 0 }
    }

    fn scratch(&self) -> Option<&Path> {
        self.scratch.as_ref().map(|folder| folder.path())
    }

    async fn write(&self, writer: &Arc<dyn ExecutionPlan>, ids: &[u64]) -> Result<Written> {
        let mut runtime = RuntimeEnvBuilder::new().with_memory_pool(Arc::new(UnboundedMemoryPool::default()));
        if let Some(bytes) = self.memory_bytes {
            runtime = runtime.with_memory_pool(Arc::new(GreedyMemoryPool::new(bytes)));
        }
        let config = super::super::board_config(1).with_batch_size(BATCH_ROWS);
        let context = SessionContext::new_with_config_rt(config, runtime.build_arc().unwrap()).task_ctx();
        let output = Arc::new(Output::new(self.bucket.clone(), task(), NONCE, self.scratch()));
        write(writer.as_ref(), ids, self.inline_bytes_max, output, Arc::clone(&context)).await.inspect(|_| {
            assert_eq!(context.memory_pool().reserved(), 0);
        })
    }

    /// What others read, by partition.
    async fn read(&self, written: &Written, schema: &SchemaRef) -> BTreeMap<u64, Vec<RecordBatch>> {
        let mut read = BTreeMap::new();
        let partitions: std::collections::BTreeSet<u64> = written.pieces.iter().map(|piece| piece.partition).collect();
        for partition in partitions {
            let of = written.pieces.iter().filter(|piece| piece.partition == partition);
            let pieces = of.map(|piece| self.piece(written, piece)).collect();
            let rows = read::read(self.bucket.clone(), pieces, Arc::clone(schema), BATCH_ROWS);
            read.insert(partition, rows.try_collect().await.unwrap());
        }
        read
    }

    fn piece(&self, written: &Written, piece: &OutputPiece) -> Piece {
        let source = match &written.inline {
            Some(inline) => {
                let done = DoneRecord { inline: vec![inline.clone()], ..DoneRecord::default() };
                Source::Inline(pieces::slice(&done, &piece.file, piece.offset, piece.bytes).unwrap())
            }
            None => Source::Object {
                key: pieces::key_of(&task(), NONCE, &piece.file),
                local: self.scratch().map(|scratch| pieces::local_copy(scratch, &task(), NONCE, &piece.file)),
                offset: piece.offset,
            },
        };
        Piece { bytes: piece.bytes, rows: Some(piece.rows), sums: piece.sums.clone().into(), source }
    }

    async fn objects(&self) -> usize {
        self.bucket.list("_queries/", None, 1000).await.unwrap().len()
    }
}

fn rows_of(batches: &[RecordBatch]) -> Vec<String> {
    crate::tests::colony::rows(batches, false)
}

fn numbers(batches: &[RecordBatch]) -> Vec<i64> {
    batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect()
}

const ROWS: &str = "SELECT value AS n, CASE WHEN value % 7 = 0 THEN NULL ELSE concat('key-', value % 100) END AS k, \
                    arrow_cast(concat('a text that is longer than a view ', value), 'Utf8View') AS v, \
                    arrow_cast(concat('d', value % 5), 'Dictionary(Int32, Utf8)') AS d, \
                    CASE WHEN value % 3 = 0 THEN NULL ELSE [value, NULL] END AS l, \
                    CAST(value AS DECIMAL(38, 4)) AS m, NULL AS x, value % 2 = 0 AS b FROM generate_series(1, 6000)";

#[tokio::test]
async fn rows_are_dealt_as_an_exchange_within_a_process_deals_them() {
    for (inputs, rows, memory_bytes) in
        [(1, 8192, None), (3, 100, None), (2, 8192, Some(200 << 10)), (1, 17, Some(300 << 10))]
    {
        for key in ["k", "v", "n", "d", "m"] {
            let input = input(ROWS, rows, inputs).await;
            let place = Place { memory_bytes, ..Place::new() };
            let written = place.write(&by_hash(Arc::clone(&input), key, 5), &[]).await.unwrap();
            let schema = apiary_query::plain_schema(&input.schema());
            let read = place.read(&written, &schema).await;

            let by = Partitioning::Hash(vec![col(key, &input.schema()).unwrap()], 5);
            let exchange = Arc::new(RepartitionExec::try_new(input, by).unwrap());
            let expected = collect_partitioned(exchange, Arc::new(TaskContext::default())).await.unwrap();
            let mut in_all = 0;
            for (partition, expected) in expected.into_iter().enumerate() {
                let read = read.get(&(partition as u64)).map_or(&[][..], Vec::as_slice);
                let conformed = expected.into_iter().map(|batch| apiary_query::conform(batch, &schema).unwrap());
                let conformed: Vec<_> = conformed.collect();
                assert!(rows_of(read) == rows_of(&conformed), "{key} {inputs} {rows} {memory_bytes:?} {partition}");
                in_all += numbers(read).len();
            }
            assert_eq!(in_all, 6_000);
        }
    }
}

#[tokio::test]
async fn an_input_keeps_its_order_and_its_number_whatever_was_put_away_early() {
    let rng = SeededRng::new(7);
    // Bytes that nothing makes shorter.
    let random = |_: i64| (0..64).flat_map(|_| rng.next_u64().to_le_bytes()).collect::<Vec<u8>>();
    let batch = |from: i64| {
        let rows = from..from + 1000;
        let numbers = Int64Array::from_iter_values(rows.clone());
        let bytes = BinaryArray::from_iter_values(rows.map(random));
        RecordBatch::try_from_iter([("n", Arc::new(numbers) as ArrayRef), ("s", Arc::new(bytes))]).unwrap()
    };
    let batches: Vec<_> = (0..80).map(|at| batch(at * 1000 + 1)).collect();
    for (memory_bytes, least, most) in [(None, 2, 4), (Some(3 << 20), 10, 60), (Some(1 << 10), 10, 60)] {
        let input = over(batches.clone(), 1);
        let place = Place { memory_bytes, ..Place::new() };
        let written = place.write(&through(Arc::clone(&input)), &[11]).await.unwrap();
        let objects = place.objects().await;
        assert!((least..=most).contains(&objects), "{memory_bytes:?}: {objects}");
        assert_eq!(written.pieces.len(), objects);
        assert!(written.inline.is_none() && !written.writing.is_zero());
        let read = place.read(&written, &input.schema()).await;
        assert_eq!(numbers(&read[&11]), (1..=80_000).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_little_goes_without_an_object_and_more_with_one() {
    let input = input("SELECT value AS n FROM generate_series(1, 50)", 10, 2).await;
    for (inline_bytes_max, objects) in [(64 << 10, 0), (100, 1)] {
        let place = Place { inline_bytes_max, ..Place::new() };
        let written = place.write(&by_hash(Arc::clone(&input), "n", 4), &[]).await.unwrap();
        assert_eq!((place.objects().await, written.inline.is_some()), (objects, objects == 0));
        let puts = place.bucket.counters().snapshot().puts;
        assert_eq!(puts, objects as u64);
        let mut all: Vec<i64> =
            place.read(&written, &input.schema()).await.values().flat_map(|batches| numbers(batches)).collect();
        all.sort_unstable();
        assert_eq!(all, (1..=50).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn rows_without_columns_are_counted() {
    let input = input("SELECT value AS n FROM generate_series(1, 50)", 10, 2).await;
    let none = datafusion::physical_plan::projection::ProjectionExec::try_new(
        Vec::<datafusion::physical_plan::projection::ProjectionExpr>::new(),
        input,
    );
    let none: Arc<dyn ExecutionPlan> = Arc::new(none.unwrap());
    let place = Place::new();
    let written = place.write(&through(Arc::clone(&none)), &[0, 1]).await.unwrap();
    let read = place.read(&written, &none.schema()).await;
    let rows: usize = read.values().flatten().map(RecordBatch::num_rows).sum();
    assert_eq!((read.len(), rows), (2, 50));
}

#[tokio::test]
async fn a_node_far_from_its_bucket_reads_its_own_copy() {
    let input = input("SELECT value AS n FROM generate_series(1, 5000)", 1000, 1).await;
    let place = Place { scratch: Some(tempfile::tempdir().unwrap()), ..Place::new() };
    let written = place.write(&by_hash(Arc::clone(&input), "n", 4), &[]).await.unwrap();
    let key = pieces::key_of(&task(), NONCE, &written.pieces[0].file);
    let stored = place.bucket.get(&key).await.unwrap().unwrap();
    let copy = pieces::local_copy(place.scratch().unwrap(), &task(), NONCE, &written.pieces[0].file);
    assert!(stored == std::fs::read(&copy).unwrap());
    let before = place.bucket.counters().snapshot().gets;
    assert_eq!(place.read(&written, &input.schema()).await.len(), 4);
    assert_eq!(place.bucket.counters().snapshot().gets, before);
    std::fs::remove_file(copy).unwrap();
    assert_eq!(place.read(&written, &input.schema()).await.len(), 4);
    assert_eq!(place.bucket.counters().snapshot().gets, before + 4);

    // Without room for a copy the bucket has it all the same.
    let place = Place { scratch: Some(tempfile::tempdir().unwrap()), ..Place::new() };
    std::fs::write(pieces::query_dir(place.scratch().unwrap(), &task().query), "in the way").unwrap();
    let written = place.write(&by_hash(Arc::clone(&input), "n", 4), &[]).await.unwrap();
    assert_eq!(place.read(&written, &input.schema()).await.len(), 4);
}

/// A partition that does as it is told.
#[derive(Debug)]
struct Told {
    schema: SchemaRef,
    what: What,
    ended: CancellationToken,
}

#[derive(Debug, Clone, Copy)]
enum What {
    Fails,
    Panics,
    Hangs,
}

impl PartitionStream for Told {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (what, ended) = (self.what, self.ended.clone().drop_guard());
        let rows = stream::once(async move {
            let _ended = ended;
            match what {
                What::Fails => Err(DataFusionError::Execution("as told".to_owned())),
                What::Panics => panic!("as told"),
                What::Hangs => std::future::pending().await,
            }
        });
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), rows.boxed()))
    }
}

#[tokio::test]
async fn one_input_that_fails_ends_the_others_and_so_does_nobody_waiting() {
    let schema = input("SELECT 1 AS n", 1, 1).await.schema();
    for what in [What::Fails, What::Panics, What::Hangs] {
        let ended = [CancellationToken::new(), CancellationToken::new()];
        let told = |what, ended: &CancellationToken| {
            Arc::new(Told { schema: Arc::clone(&schema), what, ended: ended.clone() }) as Arc<dyn PartitionStream>
        };
        let parts = vec![told(What::Hangs, &ended[0]), told(what, &ended[1])];
        let plan = StreamingTableExec::try_new(Arc::clone(&schema), parts, None, [], false, None).unwrap();
        let writer = by_hash(Arc::new(plan), "n", 3);
        let running = tokio::spawn(async move { Place::new().write(&writer, &[]).await });
        match what {
            What::Fails => assert!(running.await.unwrap().unwrap_err().to_string().contains("as told")),
            What::Panics => assert!(running.await.unwrap_err().is_panic()),
            What::Hangs => {
                tokio::task::yield_now().await;
                running.abort();
            }
        }
        for ended in ended {
            ended.cancelled().await;
        }
    }
}
