//! The texts of EXPLAIN, golden.

use apiary_core::Version;

use super::*;
use crate::{CellReport, PruneKind, PruneReason};

fn reason(conjunct: &str, kind: PruneKind, cells: usize, range: Option<&str>) -> PruneReason {
    PruneReason { conjunct: conjunct.to_owned(), kind, cells, range: range.map(str::to_owned) }
}

fn scan() -> ScanReport {
    ScanReport {
        frame: "analytics.sensors.temperature".parse().unwrap(),
        version: Version(42),
        cells_total: 118,
        cells_kept: 9,
        bytes_kept: 412_000_000,
        cells_beyond_limit: 0,
        answered_by_ledger: false,
        pruned: vec![
            reason("region = 'north'", PruneKind::Partition, 71, None),
            reason("ts >= '2026-11-01'", PruneKind::Statistics, 38, Some("cell max 2026-10-30 … 2026-10-31")),
        ],
        cells: Vec::new(),
    }
}

fn share(node: &str, tasks: usize, cached: usize, fetch: usize) -> NodeShare {
    NodeShare { node: node.to_owned(), tasks, cached: Some(cached), to_fetch: Some(fetch) }
}

fn board() -> ExplainReport {
    ExplainReport {
        way: "board".to_owned(),
        why: "412 MB to scan > 96 MB local limit".to_owned(),
        workers: 3,
        scans: vec![scan()],
        stages: vec![
            StageReport {
                stage: 1,
                tasks: 9,
                sql: "SELECT region, sum(temp) FROM temperature GROUP BY region".to_owned(),
                distribute: Some("hash(region) into 4".to_owned()),
                placement: vec![share("pi-3", 4, 3, 1), share("pi-1", 5, 0, 5)],
                reason: Some("cache".to_owned()),
            },
            StageReport { stage: 2, tasks: 1, sql: "SELECT region, avg".to_owned(), ..StageReport::default() },
        ],
        ..ExplainReport::default()
    }
}

#[test]
fn a_plan_on_the_board_reads_as_in_the_manual() {
    let expected = "\
board · 2 stages · 10 tasks · 3 workers            why: 412 MB to scan > 96 MB local limit
frame analytics.sensors.temperature @ version 42   cells 118 → 9
  71 pruned by partition region = 'north'
  38 pruned by ts >= '2026-11-01'   (cell max 2026-10-30 … 2026-10-31)
stage 1 · 9 tasks    SELECT region, sum(temp) FROM temperature GROUP BY region   -- distribute by hash(region) into 4
  pi-3: 4 tasks (3 cached, 1 to fetch)   pi-1: 5 tasks (0 cached, 5 to fetch)   reason: cache
stage 2 · 1 task     SELECT region, avg";
    assert_eq!(board().text(), expected);
}

#[test]
fn a_local_plan_that_the_ledger_answers_says_so() {
    let scan = ScanReport { answered_by_ledger: true, pruned: Vec::new(), cells_kept: 118, ..scan() };
    let report = ExplainReport {
        way: "local".to_owned(),
        why: "0 B to scan".to_owned(),
        scans: vec![scan],
        ..Default::default()
    };
    let expected = "\
local                                              why: 0 B to scan
frame analytics.sensors.temperature @ version 42   cells 118 → 0
  118 answered by the ledger's statistics";
    assert_eq!(report.text(), expected);
}

fn analyzed() -> AnalyzeReport {
    let stats = QueryStats {
        rows: 4,
        elapsed_us: 2_000_000,
        cells_read: 9,
        cells_total: 118,
        get_requests: 14,
        bytes_read: 6_100_000,
        nodes: 2,
        ..QueryStats::default()
    };
    let run = StageRun {
        stage: 1,
        node: "pi-3".to_owned(),
        tasks: 9,
        attempts: 10,
        rows: 36,
        waiting_us: 120_000,
        computing_us: 800_000,
        get_requests: 14,
        bytes_read: 6_100_000,
        memory_peak_bytes: 80_000_000,
        memory_budget_bytes: 128_000_000,
        ..StageRun::default()
    };
    AnalyzeReport { stats, runs: vec![run], coordination_us: 100_000 }
}

#[test]
fn analyze_adds_what_each_node_did_and_the_footer() {
    let text = ExplainReport { analyze: Some(analyzed()), ..board() }.text();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(
        lines[6],
        "  pi-3: 9 tasks · 10 attempts · 36 rows · waiting 0.12 s · computing 0.80 s · 14 GETs · 6.1 MB · peak 80.0 MB of 128 MB"
    );
    assert_eq!(lines[8], "4 rows · 2.00 s · 9 of 118 cells · 14 GETs · 6.1 MB · 2 nodes");
    assert_eq!(lines[9], "coordination 0.10 s, 5 % of the whole");
}

/// Programs read it: docs/sql.md says that fields are added, never renamed or taken away.
#[test]
fn the_json_has_the_shape_that_the_manual_promises() {
    let mut analyze = analyzed();
    (analyze.stats.stages, analyze.stats.tasks, analyze.stats.retries) = (2, 10, 1);
    (analyze.stats.execution, analyze.stats.execution_reason) = ("board".to_owned(), board().why);
    let report = ExplainReport {
        scans: vec![ScanReport { cells: cells(), ..scan() }],
        plan: Some("stage 1\nSortShuffleWriterExec".to_owned()),
        analyze: Some(analyze),
        ..board()
    };
    assert_eq!(report.json(), include_str!("golden/report.json").trim_end());
    assert_eq!(serde_json::from_str::<ExplainReport>(&report.json()).unwrap(), report);
}

fn cells() -> Vec<CellReport> {
    let cell = |path: &str, pruned_by: Option<&str>| CellReport {
        path: path.to_owned(),
        bytes: 5_100_000,
        rows: 100_000,
        pruned_by: pruned_by.map(str::to_owned),
    };
    vec![cell("cells/a.parquet", None), cell("cells/b.parquet", Some("region = 'north'"))]
}

#[test]
fn verbose_names_every_cell_with_its_reason() {
    let text = ExplainReport { scans: vec![ScanReport { cells: cells(), ..scan() }], ..board() }.text();
    assert!(text.contains("\n  cells/a.parquet   100 000 rows · 5.1 MB   read\n"), "{text}");
    assert!(text.contains("\n  cells/b.parquet   100 000 rows · 5.1 MB   pruned by region = 'north'\n"), "{text}");
}

#[test]
fn the_json_form_reads_back() {
    let report = board();
    assert_eq!(serde_json::from_str::<ExplainReport>(&report.json()).unwrap(), report);
    assert_eq!(report.batch(true).unwrap().num_rows(), 1);
    assert_eq!(report.batch(false).unwrap().num_rows(), 7);
}
