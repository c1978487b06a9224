//! The demo's data goes in: a frame parted by region, filled by several commits, and a small one beside it.

use apiary_core::{Clock, FramePath, SystemClock, units};
use apiary_proto::{Client, ClientError};
use arrow::{array::RecordBatch, error::ArrowError};
use futures::{Stream, StreamExt, stream};

use super::{
    sensors::{self, DAYS, REGIONS},
    stage::Stage,
};
use crate::{failure::CliError, progress::Progress};

/// Commits that bring the readings; each covers a few days, which is what statistics pruning needs to see.
const COMMITS: u64 = 8;
/// Readings in a batch.
const BATCH_ROWS: usize = 65_536;

/// Creates and fills both frames.
pub(super) async fn run(client: &Client, stage: &Stage, rows: u64) -> Result<(), CliError> {
    stage.chapter("Write: sensor readings become cells (Parquet files) in the bucket");
    stage.say("demo.sensors.temperature = hive (database) . box (schema) . frame (table), parted by region");
    let readings = path("demo", "sensors", "temperature")?;
    client.create_hive("demo").await?;
    client.create_box("demo", "sensors").await?;
    client.create_frame(&readings, &sensors::readings_schema(), &["region".to_owned()]).await?;
    write_readings(client, stage, &readings, rows).await?;
    let stations = path("demo", "sensors", "stations")?;
    client.create_frame(&stations, &sensors::stations_schema(), &[]).await?;
    let batch = sensors::stations()?;
    let schema = batch.schema();
    let written = client.append(&stations, &schema, stream::iter([Ok(batch)]), None).await?;
    stage.line(format_args!("demo.sensors.stations: {}, one for each sensor", units::counted(written.rows, "row")));
    Ok(())
}

async fn write_readings(client: &Client, stage: &Stage, frame: &FramePath, rows: u64) -> Result<(), CliError> {
    let started = SystemClock.monotonic();
    let (mut cells, mut bytes) = (0, 0);
    let progress = stage.progress("writing", "rows", Some(rows));
    let schema = sensors::readings_schema();
    for commit in 0..COMMITS {
        let (from, to) = (rows * commit / COMMITS, rows * (commit + 1) / COMMITS);
        let batches = batches(from, to, rows, progress.clone());
        let written = client.append(frame, &schema, batches, None);
        let written = progress.during(written).await.inspect_err(|_| progress.done())?;
        (cells, bytes) = (cells + written.cells, bytes + written.bytes);
        progress.set(to, None, format!("commit {} of {COMMITS}", commit + 1));
    }
    progress.done();
    let spent = SystemClock.monotonic().saturating_sub(started);
    stage.line(format_args!(
        "{} of {} days in {} regions, {COMMITS} commits, each all or nothing",
        units::counted(rows, "reading"),
        DAYS,
        REGIONS.len()
    ));
    stage.line(format_args!(
        "→ {} · {} · {} · {} rows/s",
        units::counted(cells, "cell"),
        units::bytes(bytes),
        units::duration(spent),
        units::count((rows as f64 / spent.as_secs_f64().max(1e-3)) as u64)
    ));
    Ok(())
}

/// Readings `from..to` in batches, made as they are asked for.
fn batches(
    from: u64,
    to: u64,
    total: u64,
    progress: Progress,
) -> impl Stream<Item = Result<RecordBatch, ClientError>> + Send + 'static {
    let made = move |start: u64| {
        let end = to.min(start + BATCH_ROWS as u64);
        progress.set(start, None, "");
        sensors::readings(start, end, total).map_err(|error| failed(&error))
    };
    stream::iter((from..to).step_by(BATCH_ROWS)).map(made)
}

fn failed(error: &ArrowError) -> ClientError {
    ClientError::new(apiary_core::ErrorKind::Internal, format!("cannot make sensor readings: {error}"))
}

/// A path that is spelt in this file.
pub(super) fn path(hive: &str, box_name: &str, frame: &str) -> Result<FramePath, CliError> {
    FramePath::new(hive, box_name, frame).map_err(|error| CliError::defect(error.to_string()))
}
