//! `apiary compact`: merges the small cells of one frame now.

use apiary_core::units;

use crate::{
    args::CompactArgs, connection::Connection, embedded::Leave, failure::CliError, progress::Progress,
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
    terminal.line(format_args!(
        "{}: {} → {} · {} written · version {}",
        args.frame,
        units::counted(done.cells_before, "cell"),
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
