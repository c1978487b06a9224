//! Small appends to one frame: how many transactions a second, and how long each waits for its answer. Called by
//! `benches/small_appends.py`; prints one JSON object.
//!
//! Eight clients keep sixteen appends of a hundred rows each in flight, on a local store or on a store in memory in
//! which every request takes as long as on a remote one. What is measured is the way of a coordinator's appends from
//! the batch to the answer, without the network to its client.

use std::{sync::Arc, time::Duration};

use apiary_bucket::Bucket;
use apiary_core::{BoxName, Clock, FramePath, HiveName, SystemClock, SystemRng};
use apiary_faults::{FaultStore, MemoryStore};
use apiary_ingest::{AppendOptions, Ingest, IngestSettings};
use apiary_ledger::{FrameSpec, Frames, Registry};
use arrow::{
    array::{ArrayRef, Float64Array, Int64Array, RecordBatch},
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use futures::{StreamExt, stream};
use serde_json::json;

/// As the product's binaries do.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CLIENTS: usize = 8;
const IN_FLIGHT: usize = 16;
const ROWS: usize = 100;

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("sensor", DataType::Int64, false),
        Field::new("temperature", DataType::Float64, true),
    ]))
}

fn batch(n: usize) -> Result<RecordBatch, Failure> {
    let from = i64::try_from(n * ROWS)?;
    let sensors = Int64Array::from_iter_values((from..).take(ROWS));
    let temperatures = Float64Array::from_iter_values((0..ROWS).map(|i| i as f64 / 7.0));
    let columns: Vec<ArrayRef> = vec![Arc::new(sensors), Arc::new(temperatures)];
    Ok(RecordBatch::try_new(schema(), columns)?)
}

/// `local` is a folder; without one every request to a store in memory takes `request_ms`.
fn open(local: Option<&str>, request_ms: u64) -> Result<Bucket, Failure> {
    if let Some(folder) = local {
        return Ok(Bucket::open(folder)?);
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let store = FaultStore::new(Arc::new(MemoryStore::new(Arc::clone(&clock))), 1, Arc::clone(&clock));
    store.latency(Duration::from_millis(request_ms));
    Ok(Bucket::over(Arc::new(store), clock, Arc::new(SystemRng)))
}

async fn make(bucket: &Bucket) -> Result<(Ingest, FramePath, Registry, Frames), Failure> {
    let (registry, frames) = (Registry::new(bucket.clone()), Frames::new(bucket.clone()));
    let path = FramePath::new("bench", "sensors", "small")?;
    registry.create_hive(&HiveName::new("bench")?).await?;
    registry.create_box(&path.hive, &BoxName::new("sensors")?).await?;
    registry.create_frame(&path, &FrameSpec { schema: schema(), partition_by: vec![] }).await?;
    let settings = IngestSettings { chamber_bytes: 64 << 20, node: "bench".to_owned() };
    Ok((Ingest::new(bucket.clone(), registry.clone(), frames.clone(), settings), path, registry, frames))
}

/// One client: appends `count` batches, some at a time; the time each took in milliseconds.
async fn client(ingest: Ingest, path: FramePath, first: usize, count: usize) -> Result<Vec<f64>, Failure> {
    let clock = SystemClock;
    let one = |n: usize| {
        let (ingest, path) = (ingest.clone(), path.clone());
        async move {
            let batches = stream::iter([Ok(batch(n)?)]);
            let began = clock.monotonic();
            let options = AppendOptions { principal: "bench".to_owned(), ..AppendOptions::default() };
            ingest.append(&path, schema(), batches, options).await?;
            Ok::<f64, Failure>((clock.monotonic() - began).as_secs_f64() * 1000.0)
        }
    };
    let done = stream::iter((first..first + count).map(one)).buffer_unordered(IN_FLIGHT);
    done.collect::<Vec<_>>().await.into_iter().collect()
}

/// What one request takes when nothing else is under way, the median of fifty, in milliseconds: a store that is told to
/// wait 20 ms answers after 21 or 22, as timers are.
async fn one_request_ms(bucket: &Bucket) -> Result<f64, Failure> {
    let (clock, key) = (SystemClock, apiary_bucket::layout::secret());
    let mut times = Vec::new();
    for _ in 0..50 {
        let began = clock.monotonic();
        bucket.get(&key).await?;
        times.push((clock.monotonic() - began).as_secs_f64() * 1000.0);
    }
    times.sort_by(f64::total_cmp);
    Ok(at(&times, 0.5))
}

fn at(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get(((last as f64) * share).round() as usize).copied().unwrap_or_default()
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "it prints its result")]
async fn main() -> Result<(), Failure> {
    let argument = |n: usize| std::env::args().nth(n);
    let usage = "small-appends <appends> <folder uri, or milliseconds a request takes in memory>";
    let appends: usize = argument(1).ok_or(usage)?.parse()?;
    let place = argument(2).ok_or(usage)?;
    let request_ms: Option<u64> = place.parse().ok();
    let bucket = open(request_ms.is_none().then_some(place.as_str()), request_ms.unwrap_or_default())?;
    let (ingest, path, registry, frames) = make(&bucket).await?;
    client(ingest.clone(), path.clone(), 0, 64).await?;
    let one_ms = one_request_ms(&bucket).await?;
    let per_client = appends / CLIENTS;
    let (clock, before) = (SystemClock, bucket.counters().snapshot());
    let began = clock.monotonic();
    let clients =
        (0..CLIENTS).map(|n| tokio::spawn(client(ingest.clone(), path.clone(), 64 + n * per_client, per_client)));
    let mut times = Vec::with_capacity(appends);
    for client in clients.collect::<Vec<_>>() {
        times.extend(client.await??);
    }
    let seconds = (clock.monotonic() - began).as_secs_f64();
    let after = bucket.counters().snapshot();
    // Every append is there, once.
    let record = registry.namespace().await?.frame("bench", "sensors", "small")?;
    let there = frames.snapshot(&record).await?;
    let wanted = ((64 + per_client * CLIENTS) * ROWS) as u64;
    if there.rows() != wanted {
        return Err(format!("{} rows are there, and {wanted} were acknowledged", there.rows()).into());
    }
    times.sort_by(f64::total_cmp);
    let requests = |ms: f64| request_ms.map(|_| ms / one_ms);
    let (p50, p99) = (at(&times, 0.5), at(&times, 0.99));
    println!(
        "{}",
        json!({
            "place": place, "appends": times.len(), "in_flight": CLIENTS * IN_FLIGHT, "seconds": seconds,
            "per_second": times.len() as f64 / seconds, "p50_ms": p50, "p99_ms": p99, "one_request_ms": one_ms,
            "p50_requests": requests(p50), "p99_requests": requests(p99), "entries": there.version.0,
            "puts": after.puts - before.puts, "gets": after.gets - before.gets,
        })
    );
    Ok(())
}
