//! `apiary verify`: whether the bucket is what its ledgers say. Exit code 1 if it is not.

use apiary_core::{ErrorKind, units};
use apiary_proto::v1::VerifyReport;
use serde_json::json;

use crate::{
    args::{ShownAs, VerifyArgs},
    connection::Connection,
    embedded::Leave,
    failure::CliError,
    progress::Progress,
    terminal::{Ink, Terminal},
};

/// Runs the command.
pub(crate) async fn run(args: &VerifyArgs, terminal: &Terminal) -> Result<(), CliError> {
    let connection = Connection::open(&args.target, Leave::Nothing).await?;
    let what = args.frame.as_ref().map_or_else(|| "the bucket".to_owned(), ToString::to_string);
    let progress = Progress::waiting(terminal, format!("checking {what}"));
    let mut reports = Vec::new();
    let told = |report: VerifyReport| {
        if args.format == ShownAs::Table {
            progress.beside(|| tell(&report, terminal));
        }
        reports.push(report);
    };
    let checked = progress.during(connection.client().verify(args.frame.as_ref(), args.deep, told)).await;
    progress.done();
    connection.close().await;
    if args.format == ShownAs::Json {
        terminal.line(json!(reports.iter().map(as_json).collect::<Vec<_>>()));
    }
    checked?;
    match reports.iter().map(|report| report.problems_total).sum() {
        0 => Ok(()),
        problems => Err(CliError::Refused {
            kind: ErrorKind::Corrupt,
            message: format!("{what} is damaged: {}", units::counted(problems, "problem")),
            hint: Some("nothing was changed; what to do stands beside each problem".to_owned()),
        }),
    }
}

fn name(report: &VerifyReport) -> String {
    let path = |path: &apiary_proto::v1::FramePath| format!("{}.{}.{}", path.hive, path.box_name, path.frame);
    report.frame.as_ref().map_or_else(|| "registry".to_owned(), path)
}

/// One line, and one for each problem.
fn tell(report: &VerifyReport, terminal: &Terminal) {
    let verdict = match report.problems_total {
        0 => terminal.paint(Ink::Green, "ok"),
        n => terminal.paint(Ink::Red, units::counted(n, "problem")),
    };
    terminal.line(format_args!("{}: {verdict}{}", name(report), checked(report)));
    for problem in &report.problems {
        terminal.line(format_args!("  {}: {}; {}", problem.object, problem.what, problem.advice));
    }
    let untold = report.problems_total.saturating_sub(report.problems.len() as u64);
    if untold > 0 {
        terminal.line(format_args!("  … and {} more", units::count(untold)));
    }
}

/// What was checked, and what lies beside it.
fn checked(report: &VerifyReport) -> String {
    let mut parts = Vec::new();
    parts.extend(report.version.map(|version| format!("version {version}")));
    parts.push(format!("{} {}", units::count(report.entries), if report.entries == 1 { "entry" } else { "entries" }));
    if report.checkpoints > 0 {
        parts.push(units::counted(report.checkpoints, "checkpoint"));
    }
    if report.frame.is_some() {
        parts.push(units::counted(report.cells, "cell"));
        parts.push(units::counted(report.rows, "row"));
        parts.push(units::bytes(report.bytes));
    }
    if report.cells_opened > 0 {
        parts.push(format!("{} opened", units::count(report.cells_opened)));
    }
    if report.older_cells > 0 {
        parts.push(format!("{} of older versions", units::counted(report.older_cells, "cell")));
    }
    if report.orphans > 0 {
        let bytes = units::bytes(report.orphan_bytes);
        parts.push(format!("{} ({bytes})", units::counted(report.orphans, "orphan")));
    }
    parts.into_iter().map(|part| format!(" · {part}")).collect()
}

fn as_json(report: &VerifyReport) -> serde_json::Value {
    let problem = |problem: &apiary_proto::v1::VerifyProblem| json!({ "object": problem.object, "what": problem.what, "advice": problem.advice });
    json!({
        "subject": name(report),
        "ok": report.problems_total == 0,
        "version": report.version,
        "oldest_version": report.oldest_version,
        "entries": report.entries,
        "checkpoints": report.checkpoints,
        "cells": report.cells,
        "rows": report.rows,
        "bytes": report.bytes,
        "cells_opened": report.cells_opened,
        "older_cells": report.older_cells,
        "orphans": report.orphans,
        "orphan_bytes": report.orphan_bytes,
        "problems": report.problems.iter().map(problem).collect::<Vec<_>>(),
        "problems_total": report.problems_total,
    })
}

#[cfg(test)]
mod tests {
    use apiary_proto::v1::VerifyProblem;

    use super::*;

    #[test]
    fn a_report_says_what_was_checked_and_what_is_wrong() {
        let problem =
            |n| VerifyProblem { object: format!("o{n}"), what: "it is missing".into(), advice: "restore it".into() };
        let report = VerifyReport {
            version: Some(3),
            entries: 1,
            orphans: 2,
            orphan_bytes: 5,
            problems: vec![problem(1)],
            problems_total: 2,
            ..VerifyReport::default()
        };
        let (terminal, out, _) = Terminal::captured();
        tell(&report, &terminal);
        assert_eq!(
            out.text(),
            "registry: 2 problems · version 3 · 1 entry · 2 orphans (5 B)\n  o1: it is missing; restore it\n  … and 1 more\n"
        );
    }
}
