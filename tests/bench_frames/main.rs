//! Frames of very many cells, written without their cells: `bench-frames make FOLDER VERSIONS CELLS_OF_THE_FIRST`, and then
//! `bench-frames measure FOLDER` prints one line of JSON with what it costs to open, plan, append and overwrite.
//!
//! The ledger never opens a cell, so none is uploaded: a hundred thousand versions are there in seconds. Writing goes
//! through the ledger itself, over a store without fsync; measuring goes through the local store as it is.

mod plans;

use std::{collections::BTreeMap, error::Error, io::Write, path::Path, sync::Arc};

use apiary_bucket::{Bucket, CountersSnapshot};
use apiary_core::{CellStats, ColumnStats, FramePath, StatValue, SystemClock, SystemRng, TxnId};
use apiary_ledger::{
    CellEntry, CellFacts, CellId, CommitOutcome, FrameRecord, FrameSpec, Frames, Registry, Scope, Snapshot, Transaction,
};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use object_store::local::LocalFileSystem;
use serde_json::{Value, json};

/// As the product's binaries do.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const FRAME: &str = "bench.b.big";
const SMALL: &str = "bench.b.small";
/// Rows of a cell; ids run on from cell to cell.
const ROWS: i64 = 100;
const REGIONS: i64 = 500;
const DAY_US: i64 = 86_400_000_000;
/// Entries behind the checkpoint.
const TAIL: u64 = 10;
const ROUNDS: usize = 7;
const APPENDS: u32 = 1000;

fn schema() -> Schema {
    let at = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let fields = [
        ("id", DataType::Int64),
        ("sensor", DataType::Utf8),
        ("temp", DataType::Float64),
        ("price", DataType::Decimal128(12, 2)),
        ("at", at),
        ("day", DataType::Date32),
        ("ok", DataType::Boolean),
        ("n", DataType::UInt32),
        ("note", DataType::Utf8),
        ("region", DataType::Utf8),
    ];
    Schema::new(fields.map(|(name, data_type)| Field::new(name, data_type, true)).to_vec())
}

/// The `i`th cell of the frame.
fn cell(folder: &str, id: CellId, i: i64) -> Result<CellEntry> {
    let exact = |min, max| ColumnStats {
        min: Some(min),
        max: Some(max),
        null_count: Some(0),
        min_exact: true,
        max_exact: true,
    };
    let text = |text: String| StatValue::Text(text);
    let decimal = |value| StatValue::Decimal { value, precision: 12, scale: 2 };
    let note = ColumnStats {
        max_exact: false,
        null_count: Some(3),
        ..exact(text(format!("a note that begins so {i:06}")), text("zzz".into()))
    };
    let region = format!("r{:03}", i % REGIONS);
    let columns = [
        ("id", exact(StatValue::Int(i * ROWS), StatValue::Int(i * ROWS + ROWS - 1))),
        ("sensor", exact(text(format!("s-{:05}", i % 1000)), text(format!("s-{:05}", i % 1000 + 3)))),
        ("temp", exact(StatValue::Float((i % 40) as f64 - 10.25), StatValue::Float((i % 40) as f64 + 9.75))),
        ("price", exact(decimal(i128::from(i)), decimal(i128::from(i) + 99_999))),
        ("at", exact(StatValue::Timestamp(i * 60_000_000), StatValue::Timestamp(i * 60_000_000 + 59_999_999))),
        (
            "day",
            exact(StatValue::Date((i * 60_000_000 / DAY_US) as i32), StatValue::Date((i * 60_000_000 / DAY_US) as i32)),
        ),
        ("ok", exact(StatValue::Bool(false), StatValue::Bool(i % 2 == 0))),
        ("n", exact(StatValue::UInt(i as u64 % 7), StatValue::UInt(i as u64 % 7 + 1000))),
        ("note", note),
        ("region", exact(text(region.clone()), text(region.clone()))),
    ];
    let columns: BTreeMap<String, ColumnStats> = columns.map(|(name, stats)| (name.to_owned(), stats)).into();
    let facts = CellFacts {
        folder: folder.to_owned(),
        id,
        size_bytes: 1_000_000,
        partition_values: vec![("region".to_owned(), Some(region))],
        stats: CellStats { rows: ROWS as u64, columns },
        sha256: format!("{i:064x}"),
        modified_ms: 1_790_000_000_000 + i,
    };
    Ok(facts.pack()?)
}

/// What a measurement needs.
struct Bench {
    bucket: Bucket,
    registry: Registry,
}

impl Bench {
    fn over(bucket: Bucket) -> Self {
        Self { registry: Registry::new(bucket.clone()), bucket }
    }

    fn seconds(&self) -> f64 {
        self.bucket.clock().monotonic().as_secs_f64()
    }

    fn txn(&self) -> TxnId {
        TxnId::new(self.bucket.clock().as_ref(), self.bucket.rng().as_ref())
    }

    async fn record(&self, path: &str) -> Result<Arc<FrameRecord>> {
        let path: FramePath = path.parse()?;
        Ok(self.registry.namespace().await?.frame(path.hive.as_str(), path.box_name.as_str(), path.frame.as_str())?)
    }

    async fn create(&self, path: &str) -> Result<Arc<FrameRecord>> {
        let name: FramePath = path.parse()?;
        if self.record(path).await.is_err() {
            // The hive and the box may be there.
            self.registry.create_hive(&name.hive).await.ok();
            self.registry.create_box(&name.hive, &name.box_name).await.ok();
            let spec = FrameSpec { schema: Arc::new(schema()), partition_by: vec!["region".to_owned()] };
            self.registry.create_frame(&name, &spec).await?;
        }
        self.record(path).await
    }

    /// Appends one cell against what is known.
    async fn append(&self, frames: &Frames, frame: &FrameRecord, i: i64) -> Result<()> {
        let base = frames.known(frame).ok_or("nothing is known of the frame")?;
        let txn = self.txn();
        let cell = cell(&frame.folder, CellId { txn, n: 0 }, i)?;
        expect_committed(&frames.commit(frame, base, Transaction::append(txn, "bench", vec![cell])).await?)
    }

    /// A cold look: the snapshot, milliseconds, requests.
    async fn open(&self, frame: &FrameRecord) -> Result<(Arc<Snapshot>, f64, CountersSnapshot)> {
        let counters = Arc::default();
        let frames = Frames::new(self.bucket.with_counters(Arc::clone(&counters)));
        let began = self.seconds();
        let snapshot = frames.snapshot(frame).await?;
        Ok((snapshot, (self.seconds() - began) * 1e3, counters.snapshot()))
    }

    /// Cold looks: least and median milliseconds, and requests.
    async fn opens(&self, frame: &FrameRecord) -> Result<Value> {
        let mut times = Vec::new();
        let mut asked = CountersSnapshot::default();
        let mut tail = None;
        for _ in 0..ROUNDS {
            let (snapshot, ms, requests) = self.open(frame).await?;
            times.push(ms);
            (asked, tail) = (requests, Some((snapshot.tail(), snapshot.cells.len(), snapshot.version)));
        }
        let (tail, cells, version) = tail.ok_or("no round")?;
        let first = times.first().copied();
        let mut told = spread(times);
        told["first_ms"] = json!(first);
        told["requests"] = json!({"get": asked.gets, "list": asked.lists, "bytes_read": asked.bytes_read});
        told["tail"] = json!({"entries": tail.entries, "bytes": tail.bytes});
        (told["cells"], told["version"]) = (json!(cells), json!(version.0));
        Ok(told)
    }
}

fn expect_committed(outcome: &CommitOutcome) -> Result<()> {
    match outcome {
        CommitOutcome::Committed { .. } => Ok(()),
        other => Err(format!("{other:?}").into()),
    }
}

fn spread(mut ms: Vec<f64>) -> Value {
    ms.sort_by(f64::total_cmp);
    let round = |ms: f64| (ms * 1e3).round() / 1e3;
    json!({"least_ms": round(ms[0]), "median_ms": round(ms[ms.len() / 2]), "most_ms": round(ms[ms.len() - 1])})
}

/// Bytes that this process has in memory.
fn resident() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/self/statm")?;
    Ok(text.split(' ').nth(1).ok_or("statm")?.parse::<u64>()? * 4096)
}

/// Writes what is missing of `versions` versions: `first` cells at once, then one cell in each.
async fn make(folder: &Path, versions: u64, first: u32) -> Result<Value> {
    std::fs::create_dir_all(folder)?;
    let store = LocalFileSystem::new_with_prefix(folder)?;
    let bench = Bench::over(Bucket::over(Arc::new(store), Arc::new(SystemClock), Arc::new(SystemRng)));
    let frame = bench.create(FRAME).await?;
    bench.create(SMALL).await?;
    let frames = Frames::new(bench.bucket.clone());
    let began = bench.seconds();
    let there = frames.snapshot(&frame).await?.version.0;
    if there == 0 {
        let (base, txn) = (frames.snapshot(&frame).await?, bench.txn());
        let cells = (0..first).map(|n| cell(&frame.folder, CellId { txn, n }, i64::from(n)));
        let append = Transaction::append(txn, "bench", cells.collect::<Result<_>>()?);
        expect_committed(&frames.commit(&frame, base, append).await?)?;
    }
    for version in there.max(1) + 1..=versions {
        if version == versions - TAIL {
            frames.checkpoint(&frame).await?;
        }
        bench.append(&frames, &frame, version as i64 + i64::from(first) - 2).await?;
    }
    Ok(json!({"versions": versions, "seconds": bench.seconds() - began}))
}

/// Requests and time of a warm look.
async fn warm(bench: &Bench, frame: &FrameRecord) -> Result<Value> {
    let frames = Frames::new(bench.bucket.clone());
    frames.snapshot(frame).await?;
    let counters = Arc::default();
    let warm = frames.over(bench.bucket.with_counters(Arc::clone(&counters)));
    let mut times = Vec::new();
    for _ in 0..100 {
        let began = bench.seconds();
        warm.snapshot(frame).await?;
        times.push((bench.seconds() - began) * 1e3);
    }
    let mut told = spread(times);
    told["gets_for_100"] = json!(counters.snapshot().gets);
    Ok(told)
}

async fn memory(bench: &Bench, frame: &FrameRecord) -> Result<Value> {
    let mut held = vec![bench.open(frame).await?.0, bench.open(frame).await?.0];
    let before = resident()?;
    for _ in 0..4 {
        held.push(bench.open(frame).await?.0);
    }
    let cells = held[0].cells.len() as u64;
    if cells == 0 {
        return Err("the frame has no cells: make it first".into());
    }
    let resident = (resident()? - before) / 4 / cells;
    Ok(json!({"resident_bytes_a_cell": resident, "counted_bytes_a_cell": held[0].cells.memory_bytes() as u64 / cells}))
}

/// Appends of one cell each; most of a commit is the store's fsync, so the work in memory is told apart: the same
/// appends over a store without fsync.
async fn appends(folder: &Path, path: &str) -> Result<Value> {
    let store = LocalFileSystem::new_with_prefix(folder)?;
    let bench = Bench::over(Bucket::over(Arc::new(store), Arc::new(SystemClock), Arc::new(SystemRng)));
    let frame = bench.record(path).await?;
    let frames = Frames::new(bench.bucket.clone());
    let cells = frames.snapshot(&frame).await?.cells.len();
    let mut times = Vec::new();
    for i in 0..APPENDS {
        let began = bench.seconds();
        bench.append(&frames, &frame, i64::from(i)).await?;
        times.push((bench.seconds() - began) * 1e3);
    }
    let mut told = spread(times);
    told["cells"] = json!(cells);
    Ok(told)
}

async fn overwrite(bench: &Bench, frame: &FrameRecord) -> Result<Value> {
    let frames = Frames::new(bench.bucket.clone());
    let base = frames.snapshot(frame).await?;
    let (count, txn) = (base.cells.len() as u32, bench.txn());
    let cells = (0..count).map(|n| cell(&frame.folder, CellId { txn, n }, i64::from(n)));
    let cells = cells.collect::<Result<Vec<CellEntry>>>()?;
    let began = bench.seconds();
    expect_committed(&frames.commit(frame, base, Transaction::overwrite(txn, "bench", cells, Scope::All)).await?)?;
    let committed = bench.seconds() - began;
    // The entry is all there is; the writer makes its checkpoint meanwhile.
    let (_, at_once, _) = bench.open(frame).await?;
    frames.drain().await;
    let checkpointed = bench.seconds() - began - committed;
    drop(frames);
    let opened = bench.opens(frame).await?;
    Ok(
        json!({"cells": count, "commit_seconds": committed, "open_at_once_ms": at_once, "checkpoint_after_seconds": checkpointed, "open": opened}),
    )
}

fn over_local_store(folder: &Path) -> Result<Bench> {
    Ok(Bench::over(Bucket::open(&format!("file://{}", folder.canonicalize()?.display()))?))
}

/// The first cold look of a process, and those after it.
async fn open(folder: &Path) -> Result<Value> {
    let bench = over_local_store(folder)?;
    let frame = bench.record(FRAME).await?;
    bench.opens(&frame).await
}

async fn measure(folder: &Path) -> Result<Value> {
    let bench = over_local_store(folder)?;
    let frame = bench.record(FRAME).await?;
    let mut told = json!({"open": bench.opens(&frame).await?});
    told["memory"] = memory(&bench, &frame).await?;
    told["warm"] = warm(&bench, &frame).await?;
    told["plan"] = plans::plans(&bench).await?;
    told["append_small"] = appends(folder, SMALL).await?;
    told["append_big"] = appends(folder, FRAME).await?;
    told["overwrite"] = overwrite(&bench, &frame).await.unwrap_or_else(|error| json!(error.to_string()));
    Ok(told)
}

#[tokio::main]
async fn main() -> Result<()> {
    let usage = "usage: bench-frames make FOLDER VERSIONS CELLS_OF_THE_FIRST | open FOLDER | measure FOLDER";
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let told = match args[..] {
        ["make", folder, versions, first] => make(Path::new(folder), versions.parse()?, first.parse()?).await?,
        ["open", folder] => open(Path::new(folder)).await?,
        ["measure", folder] => measure(Path::new(folder)).await?,
        _ => return Err(usage.into()),
    };
    Ok(writeln!(std::io::stdout(), "{told}")?)
}
