//! EXPLAIN for people: the way first, then frames, stages and, where it was run, what it cost.

use std::time::Duration;

use apiary_core::units;

use super::{AnalyzeReport, ExplainReport, NodeShare, StageReport, StageRun};
use crate::{CellReport, PruneKind, PruneReason, ScanReport, footer};

/// Where `why:` begins if the line before it is short enough.
const WHY_COLUMN: usize = 50;

pub(super) fn render(report: &ExplainReport) -> String {
    let mut lines = vec![headline(report)];
    report.scans.iter().for_each(|scan| lines.extend(scan_lines(scan)));
    for stage in &report.stages {
        lines.extend(stage_lines(stage));
        let runs = report.analyze.iter().flat_map(|analyze| &analyze.runs);
        lines.extend(runs.filter(|run| run.stage == stage.stage).map(run_line));
    }
    if let Some(analyze) = &report.analyze {
        if report.stages.is_empty() {
            lines.extend(analyze.runs.iter().map(run_line));
        }
        lines.extend(cost_lines(analyze));
    }
    if let Some(plan) = &report.plan {
        lines.push("plan".to_owned());
        lines.extend(plan.lines().map(|line| format!("  {line}")));
    }
    lines.join("\n")
}

fn headline(report: &ExplainReport) -> String {
    let mut parts = vec![report.way.clone()];
    if !report.stages.is_empty() {
        let tasks: usize = report.stages.iter().map(|stage| stage.tasks).sum();
        parts.push(counted(report.stages.len(), "stage"));
        parts.push(counted(tasks, "task"));
    }
    if report.workers > 0 {
        parts.push(counted(report.workers, "worker"));
    }
    let what = parts.join(" · ");
    if report.why.is_empty() { what } else { format!("{what:WHY_COLUMN$} why: {}", report.why) }
}

fn scan_lines(scan: &ScanReport) -> Vec<String> {
    let head = format!("frame {} @ version {}", scan.frame, scan.version);
    let mut lines = vec![format!("{head:WHY_COLUMN$} cells {} → {}", scan.cells_total, read(scan))];
    lines.extend(scan.pruned.iter().map(reason_line));
    if scan.cells_beyond_limit > 0 {
        lines.push(format!("  {} not needed for the LIMIT", scan.cells_beyond_limit));
    }
    if scan.answered_by_ledger {
        lines.push(format!("  {} answered by the ledger's statistics", scan.cells_kept));
    }
    lines.extend(scan.cells.iter().map(cell_line));
    lines
}

fn read(scan: &ScanReport) -> usize {
    if scan.answered_by_ledger { 0 } else { scan.cells_kept }
}

fn reason_line(reason: &PruneReason) -> String {
    let kind = if reason.kind == PruneKind::Partition { "partition " } else { "" };
    let range = reason.range.as_ref().map(|range| format!("   ({range})")).unwrap_or_default();
    format!("  {} pruned by {kind}{}{range}", reason.cells, reason.conjunct)
}

fn cell_line(cell: &CellReport) -> String {
    let fate = match &cell.pruned_by {
        Some(conjunct) => format!("pruned by {conjunct}"),
        None => "read".to_owned(),
    };
    format!("  {}   {} · {}   {fate}", cell.path, units::counted(cell.rows, "row"), units::bytes(cell.bytes))
}

fn stage_lines(stage: &StageReport) -> Vec<String> {
    let distribute = stage.distribute.as_ref().map(|how| format!("   -- distribute by {how}")).unwrap_or_default();
    let head = format!("stage {} · {}", stage.stage, counted(stage.tasks, "task"));
    let mut lines = vec![format!("{head:<20} {}{distribute}", stage.sql).trim_end().to_owned()];
    let mut shares: Vec<_> = stage.placement.iter().map(share).collect();
    shares.extend(stage.reason.iter().map(|reason| format!("reason: {reason}")));
    if !shares.is_empty() {
        lines.push(format!("  {}", shares.join("   ")));
    }
    lines
}

fn share(share: &NodeShare) -> String {
    let cells = match (share.cached, share.to_fetch) {
        (Some(cached), Some(fetch)) => format!(" ({cached} cached, {fetch} to fetch)"),
        (Some(cached), None) => format!(" ({cached} cached)"),
        (None, Some(fetch)) => format!(" ({fetch} to fetch)"),
        (None, None) => String::new(),
    };
    format!("{}: {}{cells}", share.node, counted(share.tasks, "task"))
}

fn run_line(run: &StageRun) -> String {
    let time = |us: u64| units::duration(Duration::from_micros(us));
    let mut parts = vec![counted(run.tasks, "task")];
    if run.attempts > run.tasks {
        parts.push(counted(run.attempts, "attempt"));
    }
    parts.push(units::counted(run.rows, "row"));
    let spent = [
        ("waiting", run.waiting_us),
        ("fetching", run.fetching_us),
        ("computing", run.computing_us),
        ("writing", run.writing_us),
    ];
    parts.extend(spent.into_iter().filter(|(_, us)| *us > 0).map(|(what, us)| format!("{what} {}", time(us))));
    parts.push(units::counted(run.get_requests, "GET"));
    parts.push(units::bytes(run.bytes_read));
    if run.bytes_cached > 0 {
        parts.push(format!("{} cached", units::bytes(run.bytes_cached)));
    }
    if run.memory_budget_bytes > 0 {
        let (peak, budget) = (units::bytes(run.memory_peak_bytes), units::bytes(run.memory_budget_bytes));
        parts.push(format!("peak {peak} of {budget}"));
    }
    format!("  {}: {}", run.node, parts.join(" · "))
}

fn cost_lines(analyze: &AnalyzeReport) -> Vec<String> {
    let mut lines = vec![footer(&analyze.stats)];
    if analyze.coordination_us > 0 && analyze.stats.elapsed_us > 0 {
        let share = 100 * analyze.coordination_us.min(analyze.stats.elapsed_us) / analyze.stats.elapsed_us;
        let time = units::duration(Duration::from_micros(analyze.coordination_us));
        lines.push(format!("coordination {time}, {share} % of the whole"));
    }
    lines
}

fn counted(n: usize, noun: &str) -> String {
    units::counted(n as u64, noun)
}
