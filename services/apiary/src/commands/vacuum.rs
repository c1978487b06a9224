//! `apiary vacuum`: what nothing needs any more, and with `--run` it is gone.

use std::time::Duration;

use apiary_core::{ErrorKind, units};
use apiary_proto::v1::{FramePath, VacuumFile, VacuumReport, VacuumRequest};
use serde_json::json;

use crate::{
    args::{ShownAs, VacuumArgs},
    connection::Connection,
    embedded::Leave,
    failure::CliError,
    progress::Progress,
    terminal::{Ink, Terminal},
};

/// Most files of one frame that a table names; json names more.
const LINES_MAX: usize = 40;

/// Runs the command.
pub(crate) async fn run(args: &VacuumArgs, terminal: &Terminal) -> Result<(), CliError> {
    let connection = Connection::open(&args.target, Leave::Work).await?;
    let what = args.frame.as_ref().map_or_else(|| "the bucket".to_owned(), ToString::to_string);
    let progress = Progress::waiting(terminal, format!("looking through {what}"));
    let mut reports = Vec::new();
    let told = |report: VacuumReport| {
        if args.format == ShownAs::Table {
            progress.beside(|| tell(&report, terminal));
        }
        reports.push(report);
    };
    let request = VacuumRequest {
        frame: args.frame.as_ref().map(FramePath::from),
        run: args.run,
        retain_ms: Some(u64::try_from(args.retain.as_millis()).unwrap_or(u64::MAX)),
        force: args.force,
    };
    let done = progress.during(connection.client().vacuum(request, told)).await;
    progress.done();
    connection.close().await;
    if args.format == ShownAs::Json {
        terminal.line(json!(reports.iter().map(as_json).collect::<Vec<_>>()));
    }
    done?;
    advise(&reports, args, terminal);
    let refused: Vec<&str> =
        reports.iter().map(|report| report.refused.as_str()).filter(|why| !why.is_empty()).collect();
    match refused.first() {
        None => Ok(()),
        Some(why) => Err(CliError::Refused {
            kind: ErrorKind::Corrupt,
            message: (*why).to_owned(),
            hint: Some("apiary verify".to_owned()),
        }),
    }
}

fn name(report: &VacuumReport) -> String {
    let path = |path: &FramePath| format!("{}.{}.{}", path.hive, path.box_name, path.frame);
    report.frame.as_ref().map_or_else(|| "rest of the bucket".to_owned(), path)
}

/// One line, and one for each file.
fn tell(report: &VacuumReport, terminal: &Terminal) {
    let files = units::counted(report.deleted_files, if report.frame.is_some() { "file" } else { "object" });
    if !report.refused.is_empty() {
        terminal.line(format_args!("{}: {}", name(report), terminal.paint(Ink::Red, &report.refused)));
        return;
    }
    let verdict = match (report.deleted_files, report.run) {
        (0, _) => terminal.paint(Ink::Green, "nothing to delete"),
        (_, true) => format!("{files} deleted · {}", units::bytes(report.deleted_bytes)),
        (_, false) => format!("{files} would go · {}", units::bytes(report.deleted_bytes)),
    };
    let mut parts = vec![verdict];
    if report.kept_files > 0 {
        parts.push(format!("{} stay · {}", units::count(report.kept_files), units::bytes(report.kept_bytes)));
    }
    if report.frame.is_some() {
        parts.push(format!("{} in version {}", units::counted(report.current_files, "cell"), report.version));
    }
    terminal.line(format_args!("{}: {}", name(report), parts.join(" · ")));
    for file in report.files.iter().take(LINES_MAX) {
        terminal.line(line(file));
    }
    let untold = report.files.len().saturating_sub(LINES_MAX);
    if untold > 0 {
        terminal.line(format_args!("  … and {} more; --format json names up to 10 000", units::count(untold as u64)));
    }
}

fn line(file: &VacuumFile) -> String {
    let age = match Duration::from_millis(file.age_ms).as_secs() {
        old if old >= 2 * 86_400 => units::counted(old / 86_400, "day"),
        old if old >= 2 * 3_600 => units::counted(old / 3_600, "hour"),
        old => units::counted(old / 60, "minute"),
    };
    format!("  {}  {:>9}  {age:>10}  {}", file.path, units::bytes(file.bytes), file.reason)
}

/// What to type next.
fn advise(reports: &[VacuumReport], args: &VacuumArgs, terminal: &Terminal) {
    let goes: u64 = reports.iter().map(|report| report.deleted_files).sum();
    if goes > 0 && !args.run {
        terminal.note(format_args!("nothing was deleted; --run deletes what is said to go"));
    }
    if reports.iter().any(|report| report.more) {
        terminal.note(format_args!("there is more than one run takes; run it again"));
    }
}

fn as_json(report: &VacuumReport) -> serde_json::Value {
    let file = |file: &VacuumFile| {
        json!({
            "path": file.path, "bytes": file.bytes, "objects": file.objects, "age_ms": file.age_ms,
            "goes": file.goes, "code": file.code, "reason": file.reason,
        })
    };
    json!({
        "subject": name(report),
        "run": report.run,
        "version": report.frame.as_ref().map(|_| report.version),
        "current_files": report.current_files,
        "current_bytes": report.current_bytes,
        "deleted_files": report.deleted_files,
        "deleted_bytes": report.deleted_bytes,
        "kept_files": report.kept_files,
        "kept_bytes": report.kept_bytes,
        "doomed": report.doomed,
        "more": report.more,
        "opened_version": report.opened_version,
        "closed_version": report.closed_version,
        "refused": (!report.refused.is_empty()).then_some(&report.refused),
        "files": report.files.iter().map(file).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_what_would_go_and_why() {
        let file = |n: u64, goes: bool, reason: &str| VacuumFile {
            path: format!("cells/{n}.parquet"),
            bytes: 1_200_000,
            objects: 1,
            age_ms: 9 * 86_400_000,
            goes,
            code: "removed".into(),
            reason: reason.into(),
        };
        let frame = FramePath { hive: "h".into(), box_name: "b".into(), frame: "f".into() };
        let mut report = VacuumReport {
            frame: Some(frame),
            version: 7,
            current_files: 3,
            deleted_files: 1,
            deleted_bytes: 1_200_000,
            kept_files: 1,
            kept_bytes: 5,
            files: vec![file(1, true, "removed by version 4, 9 days ago"), file(2, false, "stays: pinned by query q")],
            ..VacuumReport::default()
        };
        let (terminal, out, _) = Terminal::captured();
        tell(&report, &terminal);
        assert_eq!(
            out.text(),
            "h.b.f: 1 file would go · 1.2 MB · 1 stay · 5 B · 3 cells in version 7\n  cells/1.parquet     1.2 MB      9 days  \
             removed by version 4, 9 days ago\n  cells/2.parquet     1.2 MB      9 days  stays: pinned by query q\n"
        );
        (report.run, report.frame) = (true, None);
        report.files = (0..50).map(|n| file(n, true, "x")).collect();
        let (terminal, out, _) = Terminal::captured();
        tell(&report, &terminal);
        assert!(out.text().starts_with("rest of the bucket: 1 object deleted"), "{}", out.text());
        assert!(out.text().contains("… and 10 more"), "{}", out.text());
    }
}
