//! Imports of which one takes back the frame that another is writing to.

use std::sync::Arc;

use apiary_bucket::Bucket;
use apiary_core::{FramePath, SystemClock, SystemRng};
use apiary_faults::{Fault, FaultStore, MemoryStore, Op, Rule};
use apiary_ledger::{Frames, Registry};
use apiary_node::{Listener, Node, NodeSettings, Role};
use clap::Parser;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::args::{Cli, Command};

#[test]
fn the_report_names_rows_cells_bytes_and_speed() {
    let written = WriteResult { version: 3, rows: 1000, cells: 2, bytes: 5_000, ..WriteResult::default() };
    assert_eq!(
        report("a.csv", &written, Duration::from_millis(500)),
        "a.csv: 1 000 rows → 2 cells · 5.0 kB · 0.50 s · 2 000 rows/s · version 3"
    );
}

fn args(file: &Path, create: bool) -> ImportArgs {
    let line = ["apiary", "import", file.to_str().unwrap(), "--into", "a.b.c", "--create"];
    match Cli::try_parse_from(&line[..if create { 6 } else { 5 }]).unwrap().command {
        Command::Import(args) => args,
        _ => unreachable!(),
    }
}

/// Imports a file while another import, which made the frame and failed, takes it back: just as the first cell is on
/// its way. What came of it, and the rows that are in the frame then.
async fn while_the_frame_goes_away(create: bool) -> (Result<(), CliError>, Option<u64>) {
    let folder = tempfile::tempdir().unwrap();
    let csv = folder.path().join("rows.csv");
    std::fs::write(&csv, "n\n1\n2\n3\n").unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let store = FaultStore::new(Arc::new(MemoryStore::new(Arc::clone(&clock))), 1, Arc::clone(&clock));
    let bucket = Bucket::over(Arc::new(store.clone()), clock, Arc::new(SystemRng));
    let settings = NodeSettings { roles: vec![Role::Coordinator], ..NodeSettings::new(bucket.uri(), folder.path()) };
    let node = Node::join(bucket.clone(), settings).await.unwrap();
    let (listener, channel) = Listener::memory();
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(apiary_coordinator::run(node, listener, shutdown.clone()));
    let client = Client::over(channel);
    let (terminal, ..) = Terminal::captured();

    // The other's half of the story.
    let other = args(&csv, true);
    let columns = open(csv.clone(), None, None).await.unwrap().schema;
    let (_, made) = super::create(&client, &other, &columns, &terminal).await.unwrap();
    store.script(Rule::on(Op::Put, Fault::Slow(Duration::from_secs(2))).keys("/cells/"));
    let takes_back = async {
        while !store.calls().iter().any(|call| call.op == Op::Put && call.key.contains("/cells/")) {
            tokio::task::yield_now().await;
        }
        take_back(&client, &other, &made.unwrap(), &terminal).await;
    };
    let ours = args(&csv, create);
    let interrupt = Interrupt::default();
    let (done, ()) = tokio::join!(all(&client, &ours, &terminal, &interrupt), takes_back);

    let path: FramePath = "a.b.c".parse().unwrap();
    let names = Registry::new(bucket.clone()).namespace().await.unwrap();
    let rows = match names.frame(path.hive.as_str(), path.box_name.as_str(), path.frame.as_str()) {
        Ok(record) => Some(Frames::new(bucket.clone()).snapshot(&record).await.unwrap().rows()),
        Err(_) => None,
    };
    drop(client);
    shutdown.cancel();
    running.await.unwrap().unwrap();
    (done, rows)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_another_import_takes_back_meanwhile_is_made_again_and_no_row_is_lost() {
    let (done, rows) = while_the_frame_goes_away(true).await;
    done.unwrap();
    assert_eq!(rows, Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_make_a_frame_is_told_that_it_went_away() {
    let (done, rows) = while_the_frame_goes_away(false).await;
    assert_eq!((done.unwrap_err().kind(), rows), (ErrorKind::NotFound, None));
}
