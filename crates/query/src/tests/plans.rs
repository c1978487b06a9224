//! What plans read, what they report, and what planning costs.

use std::sync::Arc;

use apiary_core::FramePath;
use datafusion::arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use futures::StreamExt;

use super::kit::{Colony, query, session};
use crate::{ExplainReport, PruneKind, Session, local_config, runtime_like};

/// Ten hours in each of three regions, one cell an hour and region.
pub(super) async fn sensors() -> Colony {
    let colony = Colony::new();
    let hour = |hour: i64| {
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("region", Arc::new(StringArray::from(vec!["north", "south", "east"]))),
            ("hour", Arc::new(Int64Array::from(vec![hour; 3]))),
            ("temp", Arc::new(Float64Array::from(vec![hour as f64, 20.5, -3.0]))),
        ];
        RecordBatch::try_from_iter(columns).unwrap()
    };
    let hours: Vec<_> = (0..10).map(hour).collect();
    colony.frame("Demo.Sensors.temperature", &["region"], &hours).await;
    colony
}

async fn explained(colony: &Colony, sql: &str) -> String {
    let mut scans = colony.plan(sql, &Session::default()).await.unwrap().scans;
    scans.iter_mut().for_each(|scan| scan.cells.clear());
    let report = ExplainReport { way: "local".to_owned(), scans, ..ExplainReport::default() };
    report.text()
}

#[tokio::test]
async fn a_report_says_which_condition_dropped_which_cells() {
    let colony = sensors().await;
    assert_eq!(
        explained(&colony, "SELECT * FROM demo.sensors.temperature WHERE hour >= 8 AND region = 'north'").await,
        "local
frame Demo.Sensors.temperature @ version 1         cells 30 → 2
  20 pruned by partition region = 'north'
  8 pruned by hour >= 8   (cell max 0 … 7)"
    );
    assert_eq!(
        explained(&colony, "SELECT * FROM demo.sensors.temperature WHERE region = 'north' OR region = 'south'").await,
        "local
frame Demo.Sensors.temperature @ version 1         cells 30 → 20
  10 pruned by partition (region = 'north') OR (region = 'south')"
    );
    assert_eq!(
        explained(&colony, "SELECT count(*) FROM demo.sensors.temperature").await,
        "local
frame Demo.Sensors.temperature @ version 1         cells 30 → 0
  30 answered by the ledger's statistics"
    );
    let sql = "SELECT count(*), min(hour), max(hour) FROM demo.sensors.temperature WHERE region LIKE 'n%'";
    assert_eq!(
        explained(&colony, sql).await,
        "local
frame Demo.Sensors.temperature @ version 1         cells 30 → 0
  20 pruned by partition region LIKE 'n%'
  10 answered by the ledger's statistics"
    );
    assert_eq!(colony.rows(sql).await, ["| 10 | 0 | 9 |"]);
    assert_eq!(
        explained(&colony, "SELECT * FROM demo.sensors.temperature LIMIT 2").await,
        "local
frame Demo.Sensors.temperature @ version 1         cells 30 → 2
  28 not needed for the LIMIT"
    );
}

#[tokio::test]
async fn the_verbose_report_names_every_cell() {
    let colony = sensors().await;
    let planned =
        colony.plan("SELECT * FROM demo.sensors.temperature WHERE hour = 3", &Session::default()).await.unwrap();
    let scan = &planned.scans[0];
    assert_eq!((scan.cells.len(), scan.cells_kept), (30, 3));
    assert_eq!(scan.cells.iter().filter(|cell| cell.pruned_by.as_deref() == Some("hour = 3")).count(), 27);
    assert_eq!((scan.pruned[0].kind, scan.pruned[0].cells), (PruneKind::Statistics, 27));
    let json = serde_json::to_string(scan).unwrap();
    assert_eq!(&serde_json::from_str::<crate::ScanReport>(&json).unwrap(), scan);
}

#[tokio::test]
async fn planning_reads_no_cell_and_running_reads_only_what_is_left() {
    let colony = sensors().await;
    let statement =
        query("SELECT region, max(temp) FROM demo.sensors.temperature WHERE hour = 3 GROUP BY region").unwrap();
    let pinned = colony.planner.pin(&statement, &Session::default()).await.unwrap();
    let counted = colony.bucket.with_counters(Arc::default());
    let runtime = runtime_like(&colony.planner.runtime(), &counted, None, None).unwrap();
    let planned = pinned.plan(local_config(4), runtime).await.unwrap();
    assert_eq!(counted.counters().snapshot(), Arc::new(apiary_bucket::Counters::default()).snapshot());
    let rows: Vec<RecordBatch> = futures::TryStreamExt::try_collect(super::kit::run(&planned).unwrap()).await.unwrap();
    assert_eq!(super::kit::lines(&rows), ["| east | -3.0 |", "| north | 3.0 |", "| south | 20.5 |"]);
    let after = counted.counters().snapshot();
    assert_eq!((after.lists, after.puts), (0, 0));
    assert!(after.gets >= 3 && after.gets <= 12, "{after:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_rests_holds_back_what_a_union_would_open() {
    const COPIES: usize = 40;
    let colony = Colony::new();
    let numbers = (0..500).collect::<Int64Array>();
    let cell = RecordBatch::try_from_iter([("n", Arc::new(numbers) as ArrayRef)]).unwrap();
    colony.frame("h.b.numbers", &[], &[cell]).await;
    let statement = query(&["SELECT n FROM h.b.numbers"; COPIES].join(" UNION ALL ")).unwrap();
    let pinned = colony.planner.pin(&statement, &Session::default()).await.unwrap();
    let counted = colony.bucket.with_counters(Arc::default());
    let runtime = runtime_like(&colony.planner.runtime(), &counted, None, None).unwrap();
    let planned = pinned.plan(local_config(2), runtime).await.unwrap();
    assert!(planned.physical.properties().partitioning.partition_count() >= COPIES);
    let mut answer = super::kit::run(&planned).unwrap();
    let first = answer.next().await.unwrap().unwrap().num_rows();
    colony.bucket.clock().sleep(std::time::Duration::from_millis(200)).await;
    let resting = counted.counters().snapshot().gets;
    let rest: Vec<RecordBatch> = futures::TryStreamExt::try_collect(answer).await.unwrap();
    assert_eq!(first + rest.iter().map(RecordBatch::num_rows).sum::<usize>(), COPIES * 500);
    let all = counted.counters().snapshot().gets;
    // Eight that run, and one in the place of each whose rows were taken; the first may have asked for the footer.
    assert!(resting <= 24 && all >= COPIES as u64, "{resting} GETs while the reader rested, {all} in all");
}

#[tokio::test]
async fn a_footer_is_fetched_once_and_statistics_never() {
    let colony = Colony::new();
    let cell = |from: i64| {
        let numbers = (from..from + 500).collect::<Int64Array>();
        RecordBatch::try_from_iter([("n", Arc::new(numbers) as ArrayRef)]).unwrap()
    };
    colony.frame("h.b.numbers", &[], &[cell(0), cell(500)]).await;
    let statement = query("SELECT count(*), sum(n) FROM h.b.numbers WHERE n % 2 = 0").unwrap();
    let mut gets = Vec::new();
    for _ in 0..3 {
        let pinned = colony.planner.pin(&statement, &Session::default()).await.unwrap();
        let counted = colony.bucket.with_counters(Arc::default());
        let runtime = runtime_like(&colony.planner.runtime(), &counted, None, None).unwrap();
        let planned = pinned.plan(local_config(2), runtime).await.unwrap();
        let rows: Vec<RecordBatch> =
            futures::TryStreamExt::try_collect(super::kit::run(&planned).unwrap()).await.unwrap();
        assert_eq!(super::kit::lines(&rows), ["| 500 | 249500 |"]);
        let cost = counted.counters().snapshot();
        assert_eq!((cost.lists, cost.puts), (0, 0), "{cost:?}");
        gets.push(cost.gets);
    }
    // Two cells: what is asked of their columns each time, and before that, once, their footers.
    assert!(gets[1] >= 2 && gets[2] == gets[1] && (2..=4).contains(&(gets[0] - gets[1])), "{gets:?}");
}

#[tokio::test]
async fn a_statement_sees_one_version_of_a_frame() {
    let colony = sensors().await;
    let statement =
        query("SELECT count(*) FROM demo.sensors.temperature a JOIN demo.sensors.temperature b USING (hour)").unwrap();
    let pinned = colony.planner.pin(&statement, &Session::default()).await.unwrap();
    let path: FramePath = "Demo.Sensors.temperature".parse().unwrap();
    assert_eq!(pinned.snapshots().len(), 1);
    assert_eq!(pinned.snapshots()[0].0, path);
    let planned = pinned.plan(local_config(2), colony.planner.runtime()).await.unwrap();
    assert_eq!((planned.scans.len(), planned.cells_total()), (2, 60));
}

#[tokio::test]
async fn a_statement_without_a_frame_costs_nothing() {
    let colony = Colony::new();
    let counted = colony.bucket.counters();
    let before = counted.snapshot();
    assert_eq!(colony.rows("SELECT 1 + 1 AS two").await, ["| 2 |"]);
    assert_eq!(colony.rows("SELECT sum(value) AS s FROM generate_series(1, 4)").await, ["| 10 |"]);
    assert_eq!(counted.snapshot(), before);
}

#[tokio::test]
async fn the_session_says_how_many_partitions() {
    let colony = sensors().await;
    let mut session = session("demo", "sensors");
    session.settings.set("target_partitions", "5").unwrap();
    let planned = colony.plan("SELECT * FROM temperature", &session).await.unwrap();
    let partitions = datafusion::physical_plan::ExecutionPlanProperties::output_partitioning(&planned.physical);
    assert_eq!(partitions.partition_count(), 5);
}
