//! `apiary compact`: merges the small cells of one frame now.

use apiary_core::units;
use serde_json::json;

use crate::{
    args::{CompactArgs, ShownAs},
    connection::Connection,
    embedded::Leave,
    failure::CliError,
    progress::Progress,
    terminal::Terminal,
};

/// Runs the command.
pub(crate) async fn run(args: &CompactArgs, terminal: &Terminal) -> Result<(), CliError> {
    let connection = Connection::open(&args.target, Leave::Work).await?;
    let progress = Progress::waiting(terminal, format!("compacting {}", args.frame));
    let result = progress.during(connection.client().compact(&args.frame)).await;
    progress.done();
    connection.close().await;
    let done = result?;
    if args.format == ShownAs::Json {
        terminal.line(json!({
            "frame": args.frame.to_string(),
            "version": done.version,
            "cells_before": done.cells_before,
            "cells_after": done.cells_after,
            "bytes_written": done.bytes_written,
            "groups_skipped": done.groups_skipped,
        }));
        return Ok(());
    }
    let before = units::counted(done.cells_before, "cell");
    if done.bytes_written == 0 && done.groups_skipped == 0 {
        terminal.line(format_args!("{}: nothing to merge · {before} · version {}", args.frame, done.version));
        return Ok(());
    }
    terminal.line(format_args!(
        "{}: {before} → {} · {} written · version {}",
        args.frame,
        units::count(done.cells_after),
        units::bytes(done.bytes_written),
        done.version
    ));
    if done.groups_skipped > 0 {
        let groups = units::counted(u64::from(done.groups_skipped), "group");
        terminal.note(format_args!("{groups} left alone because writers were faster; run it again later"));
    }
    Ok(())
}
