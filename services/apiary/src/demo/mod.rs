//! `apiary demo`: the whole thing in a minute. A coordinator, three workers and a compactor in one process, over
//! real ports of the loopback and a bucket in a temporary folder; sensor data, five queries that each show one
//! thing, and a worker that is stopped in the middle of a query.
//!
//! Nothing is staged: every figure comes from the colony, and the rows after the loss are compared one by one.

mod ask;
mod colony;
mod load;
mod loss;
mod scenes;
mod sensors;
mod stage;

use std::path::PathBuf;

use apiary_core::{Clock, SystemClock, units};

use self::{colony::Colony, stage::Stage};
use crate::{args::DemoArgs, failure::CliError, terminal::Terminal};

/// Sensor rows without `--rows`: enough to see pruning and a shuffle, few enough for a minute in a debug build.
pub(crate) const ROWS_DEFAULT: u64 = 2_000_000;
/// Below this every query is over before a worker can be stopped.
pub(crate) const ROWS_MIN: u64 = 100_000;
/// Above this the temporary folder grows past a few gigabytes.
pub(crate) const ROWS_MAX: u64 = 200_000_000;

/// What to type after the demo, and what it does.
const NEXT: [(&str, &str); 4] = [
    ("apiary sql \"SELECT 1\"", "the embedded default, in ~/.apiary/default"),
    ("apiary import data.parquet --into my.box.data --create", "your own files; CSV and JSON lines too"),
    ("apiary start", "a node that stays; more of them on one bucket"),
    ("apiary status", "who is there, and how hard they work"),
];

/// Runs the demo.
pub(crate) async fn run(args: DemoArgs, terminal: &Terminal) -> Result<(), CliError> {
    let started = SystemClock.monotonic();
    let folder = Folder::make(args.keep)?;
    let stage = Stage::new(terminal);
    stage.title("Apiary · a lakehouse that lives in a bucket");
    stage.say(format_args!("bucket: {} (a local folder; s3://… works the same)", folder.bucket().display()));
    let mut colony = Colony::start(&stage, &folder.path).await?;
    let told = tell(&mut colony, &stage, args.rows).await;
    let spent = units::duration(SystemClock.monotonic().saturating_sub(started));
    colony.stop().await;
    told?;
    farewell(&stage, &folder, &spent);
    Ok(())
}

async fn tell(colony: &mut Colony, stage: &Stage, rows: u64) -> Result<(), CliError> {
    load::run(colony.client(), stage, rows).await?;
    scenes::run(colony.client(), stage).await?;
    loss::run(colony, stage).await
}

fn farewell(stage: &Stage, folder: &Folder, spent: &str) {
    stage.chapter("Your turn");
    stage.say(format_args!("That was all of it, in {spent}. Next:"));
    stage.blank();
    if let Folder { keep: true, .. } = folder {
        let bucket = folder.bucket();
        stage.line(format_args!("apiary sql --storage {} \"SHOW FRAMES\"", bucket.display()));
    }
    for (command, does) in NEXT {
        stage.line(format_args!("{command:<56}{does}"));
    }
}

/// The demo's folder: gone at the end unless it is kept.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
    keep: bool,
    _temporary: Option<tempfile::TempDir>,
}

impl Folder {
    fn make(keep: bool) -> Result<Self, CliError> {
        let made = tempfile::Builder::new().prefix("apiary-demo-").tempdir();
        let made = made.map_err(CliError::io("make a temporary folder"))?;
        let path = made.path().to_path_buf();
        let temporary = if keep {
            let _ = made.keep();
            None
        } else {
            Some(made)
        };
        Ok(Self { path, keep, _temporary: temporary })
    }

    fn bucket(&self) -> PathBuf {
        self.path.join("bucket")
    }
}
