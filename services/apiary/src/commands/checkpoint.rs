//! `apiary checkpoint`: one object that holds a frame's newest version, so that opening it takes no long replay.

use apiary_core::units;
use serde_json::json;

use crate::{
    args::{CheckpointArgs, ShownAs},
    connection::Connection,
    embedded::Leave,
    failure::CliError,
    progress::Progress,
    terminal::Terminal,
};

/// Runs the command.
pub(crate) async fn run(args: &CheckpointArgs, terminal: &Terminal) -> Result<(), CliError> {
    let connection = Connection::open(&args.target, Leave::Work).await?;
    let progress = Progress::waiting(terminal, format!("checkpointing {}", args.frame));
    let result = progress.during(connection.client().checkpoint(&args.frame, args.clean_log)).await;
    progress.done();
    connection.close().await;
    let done = result?;
    if args.format == ShownAs::Json {
        terminal.line(json!({
            "frame": args.frame.to_string(),
            "version": done.version,
            "written": done.written,
            "cells": done.cells,
            "bytes": done.bytes,
            "cleaned_below": done.cleaned_below,
            "entries_deleted": done.entries_deleted,
            "checkpoints_deleted": done.checkpoints_deleted,
            "bytes_deleted": done.bytes_deleted,
        }));
        return Ok(());
    }
    let how = if done.written { "written" } else { "was there already" };
    terminal.line(format_args!(
        "{}: checkpoint of version {} {how} · {} · {}",
        args.frame,
        done.version,
        units::counted(done.cells, "cell"),
        units::bytes(done.bytes)
    ));
    match (args.clean_log, done.cleaned_below) {
        (None, _) => {}
        (Some(age), None) => terminal.note(format_args!(
            "nothing cleaned: no whole epoch of 1 024 versions below a checkpoint is older than {}",
            units::duration(age)
        )),
        (Some(_), Some(below)) => terminal.line(format_args!(
            "{}: cleaned below version {below} · {} entries · {} · {}",
            args.frame,
            units::count(done.entries_deleted),
            units::counted(done.checkpoints_deleted, "checkpoint"),
            units::bytes(done.bytes_deleted)
        )),
    }
    Ok(())
}
