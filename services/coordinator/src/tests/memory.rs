//! Queries over frames that are several times as large as the chamber they run in.

use apiary_proto::QueryStream;
use arrow::{
    array::AsArray,
    compute::cast,
    datatypes::{DataType, Int64Type},
};

use super::*;

/// Rows of the frame, a prime number: multiples of anything smaller go through all of them.
const ROWS: i64 = 500_009;
const BATCH_ROWS: i64 = 50_000;

/// Memory that leaves each bee the smallest chamber, of 16 MiB: the frame is five times as large.
const MEMORY_BYTES: u64 = 160 << 20;

fn big() -> FramePath {
    FramePath::new("demo", "sensors", "big").unwrap()
}

fn batch(from: i64) -> RecordBatch {
    let ids = from..(from + BATCH_ROWS).min(ROWS);
    let keys = Int64Array::from_iter_values(ids.clone().map(|id| id * 7919 % ROWS));
    let pads = StringArray::from_iter_values(ids.clone().map(|id| format!("{:0>96}", id * 104_729 % ROWS)));
    let columns: [(&str, ArrayRef); 3] =
        [("id", Arc::new(Int64Array::from_iter_values(ids))), ("k", Arc::new(keys)), ("pad", Arc::new(pads))];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, array)| (name, array, true))).unwrap()
}

/// A node with small chambers and the large frame.
async fn small(cores: usize) -> Colony {
    let folder = tempfile::tempdir().unwrap();
    let bucket = Bucket::in_memory();
    let settings = NodeSettings {
        roles: vec![Role::Coordinator],
        cores,
        memory_bytes: MEMORY_BYTES,
        cache_bytes: Some(0),
        ..NodeSettings::new(bucket.uri(), folder.path())
    };
    let colony = Colony::with(&bucket, folder, settings).await;
    colony.client.create_hive("demo").await.unwrap();
    colony.client.create_box("demo", "sensors").await.unwrap();
    colony.client.create_frame(&big(), &batch(0).schema(), &[]).await.unwrap();
    let batches = (0..ROWS).step_by(BATCH_ROWS as usize).map(|from| Ok(batch(from)));
    colony.client.append(&big(), &batch(0).schema(), stream::iter(batches.collect::<Vec<_>>()), None).await.unwrap();
    colony
}

async fn ask(colony: &Colony, sql: &str) -> QueryStream {
    let sql = sql.replace("BIG", "demo.sensors.big");
    colony.client.execute(&sql, &Session::default()).await.unwrap()
}

async fn numbers(colony: &Colony, sql: &str) -> Vec<i64> {
    let batches = ask(colony, sql).await.collect().await.unwrap_or_else(|error| unreachable!("{sql}: {error:?}"));
    let row = |batch: &RecordBatch| -> Vec<i64> {
        let of = |column: &ArrayRef| cast(column, &DataType::Int64).unwrap().as_primitive::<Int64Type>().value(0);
        batch.columns().iter().map(of).collect()
    };
    batches.iter().filter(|batch| batch.num_rows() > 0).flat_map(row).collect()
}

/// Everything that DataFusion can spill, and what must come out.
async fn everything_spills(cores: usize) {
    let colony = small(cores).await;
    let sum = ROWS * (ROWS - 1) / 2;
    for (sql, expected) in [
        ("SELECT count(*), sum(n) FROM (SELECT k, pad, count(*) AS n FROM BIG GROUP BY k, pad)", vec![ROWS, ROWS]),
        ("SELECT count(*) FROM (SELECT DISTINCT pad, id FROM BIG)", vec![ROWS]),
        (
            "SELECT count(*), sum(r), max(length(pad)) FROM (SELECT row_number() OVER (ORDER BY k) AS r, pad FROM BIG)",
            vec![ROWS, sum + ROWS, 96],
        ),
        ("SELECT count(*), sum(a.id), max(length(b.pad)) FROM BIG a JOIN BIG b ON a.k = b.id", vec![ROWS, sum, 96]),
        (
            "SELECT count(*), count(b.id), max(length(a.pad)) FROM BIG a LEFT JOIN BIG b ON a.pad = b.pad AND b.id < 7",
            vec![ROWS, 7, 96],
        ),
        ("SELECT count(*) FROM BIG a WHERE NOT EXISTS (SELECT 1 FROM BIG b WHERE b.id > 8 AND b.pad = a.pad)", vec![9]),
    ] {
        assert_eq!(numbers(&colony, sql).await, expected, "{sql}");
    }
    let sorted = ask(&colony, "SELECT k, pad, id FROM BIG ORDER BY k").await.collect().await.unwrap();
    let keys = sorted.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec());
    assert!(keys.eq(0..ROWS));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_larger_than_the_chamber_of_one_bee_spills() {
    everything_spills(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn and_what_is_larger_than_that_of_two() {
    everything_spills(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_spill_fails_alone_and_says_what_held_how_much_and_what_to_type() {
    let colony = small(2).await;
    let over = async { ask(&colony, "SELECT array_agg(pad) FROM BIG").await.collect().await.unwrap_err() };
    let beside = numbers(&colony, "SELECT count(*), sum(id) FROM BIG WHERE pad <> 'x'");
    let (error, counted) = tokio::join!(over, beside);
    assert_eq!(counted, [ROWS, ROWS * (ROWS - 1) / 2]);
    assert_eq!(error.kind, ErrorKind::MemoryBudget);
    assert!(error.message.starts_with("an aggregate held "), "{error:?}");
    assert!(error.message.contains(" more: the chamber has "), "{error:?}");
    let hint = error.hint.unwrap();
    assert!(["WHERE", "--memory", "SET execution = board"].iter().all(|remedy| hint.contains(remedy)), "{hint}");
    assert_eq!(tonic::Status::from(ClientError::new(error.kind, "x")).code(), tonic::Code::ResourceExhausted);
    assert_eq!(colony.node.chambers.used_bytes(), 0);
}
