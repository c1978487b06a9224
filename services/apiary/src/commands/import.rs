//! `apiary import`: files into a frame, one transaction a file, so that a file is in or not, never half.
//!
//! With `--create` several imports may find one frame missing at the same time: one makes it, the others find it there.
//! If the file of the one that made it fails, it takes the frame back while nothing is in it; then the others, who are
//! in the middle of theirs, make it again.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use apiary_core::{Clock, ErrorKind, SystemClock, units, within};
use apiary_ingest::{
    files::{FileSource, ReadOptions},
    storable_schema,
};
use apiary_proto::{
    Client, ClientError,
    v1::{Overwrite, WriteResult},
};
use arrow::datatypes::{Schema, SchemaRef};
use futures::StreamExt;

use crate::{
    args::ImportArgs,
    connection::Connection,
    embedded::Leave,
    failure::CliError,
    interrupt::Interrupt,
    progress::Progress,
    roles::failed,
    terminal::{Ink, Terminal},
};

/// How often a file is begun because its frame went away under it: others took it back as often.
const TRIES_MAX: u32 = 5;

/// How long taking back an empty frame may hold up a person who wants to leave.
const TAKE_BACK_MAX: Duration = Duration::from_secs(5);

/// Runs the command.
pub(crate) async fn run(args: ImportArgs, terminal: &Terminal, interrupt: &Interrupt) -> Result<(), CliError> {
    for path in &args.files {
        // A slip in the tenth name must not show after nine imports.
        std::fs::metadata(path).map_err(CliError::io(format!("read {}", path.display())))?;
    }
    if args.overwrite && args.files.len() > 1 {
        return Err(CliError::usage(
            format!("--overwrite takes one file, not {}: each is a transaction of its own", args.files.len()),
            "import the first with --overwrite, then the others without",
        ));
    }
    let leave = if args.create { Leave::Colony } else { Leave::Work };
    let connection = tokio::select! {
        biased;
        () = interrupt.asked() => return Err(CliError::Interrupted),
        connection = Connection::open(&args.target, leave) => connection?,
    };
    let result = all(connection.client(), &args, terminal, interrupt).await;
    connection.close().await;
    result
}

async fn all(client: &Client, args: &ImportArgs, terminal: &Terminal, interrupt: &Interrupt) -> Result<(), CliError> {
    let started = SystemClock.monotonic();
    let mut frame = find_frame(client, args).await?;
    let (mut files, mut total) = (0, WriteResult::default());
    for path in &args.files {
        let before = SystemClock.monotonic();
        let written = file(client, args, path, &mut frame, terminal, interrupt).await?;
        let spent = SystemClock.monotonic().saturating_sub(before);
        terminal.line(report(&path.display().to_string(), &written, spent));
        files += 1;
        total.rows += written.rows;
        total.cells += written.cells;
        total.bytes += written.bytes;
    }
    if files > 1 {
        let spent = SystemClock.monotonic().saturating_sub(started);
        terminal.line(report(&units::counted(files, "file"), &total, spent));
    }
    Ok(())
}

/// One file, in a frame that is there or may be made. Who is told that there is no such frame has written nothing.
async fn file(
    client: &Client,
    args: &ImportArgs,
    path: &Path,
    frame: &mut Option<SchemaRef>,
    terminal: &Terminal,
    interrupt: &Interrupt,
) -> Result<WriteResult, CliError> {
    for tries_left in (0..TRIES_MAX).rev() {
        match attempt(client, args, path, frame, terminal, interrupt).await {
            Err(error) if error.kind() == ErrorKind::NotFound && args.create && tries_left > 0 => {
                *frame = find_frame(client, args).await?;
            }
            done => return done,
        }
    }
    Err(CliError::defect("an import without a try"))
}

async fn attempt(
    client: &Client,
    args: &ImportArgs,
    path: &Path,
    frame: &mut Option<SchemaRef>,
    terminal: &Terminal,
    interrupt: &Interrupt,
) -> Result<WriteResult, CliError> {
    let source = open(path.to_owned(), frame.clone(), args.delimiter).await?;
    let mut made = None;
    if frame.is_none() {
        let (schema, folder) = create(client, args, &source.schema, terminal).await?;
        (*frame, made) = (Some(schema), folder);
    }
    // A write that is dropped may be committed all the same: a commit is not stopped half way.
    let written = tokio::select! {
        biased;
        () = interrupt.asked() => Err(CliError::InterruptedWrite(args.into.to_string())),
        written = one(client, source, args, terminal) => written,
    };
    match (written, made) {
        (Err(error), Some(folder)) => {
            let is_gone = take_back(client, args, &folder, terminal).await;
            // A frame that was dropped at its first version takes no write any more: now it is known.
            Err(if is_gone && matches!(error, CliError::InterruptedWrite(_)) { CliError::Interrupted } else { error })
        }
        (written, _) => written,
    }
}

/// The frame's schema; `None` if it is to be created.
async fn find_frame(client: &Client, args: &ImportArgs) -> Result<Option<SchemaRef>, CliError> {
    match client.describe_frame(&args.into).await {
        Ok(frame) if args.partition_by.is_empty() || same_names(&frame.partition_by, &args.partition_by) => {
            Ok(Some(frame.schema))
        }
        Ok(frame) => {
            let by = if frame.partition_by.is_empty() { "nothing".to_owned() } else { frame.partition_by.join(", ") };
            Err(CliError::usage(
                format!("{} is there already and is parted by {by}", args.into),
                "leave out --partition-by, or import into another frame",
            ))
        }
        Err(error) if error.kind == ErrorKind::NotFound && args.create => Ok(None),
        Err(mut error) if error.kind == ErrorKind::NotFound => {
            let create = "add --create to make it from the file's columns";
            error.hint = Some(error.hint.map_or_else(|| create.to_owned(), |hint| format!("{hint}; or {create}")));
            Err(error.into())
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether these are the same columns, in any case.
fn same_names(these: &[String], those: &[String]) -> bool {
    these.iter().map(|name| name.to_lowercase()).eq(those.iter().map(|name| name.to_lowercase()))
}

/// Opens a file, its text read into the frame's types if there is a frame: blocking work, off the runtime.
async fn open(path: PathBuf, like: Option<SchemaRef>, delimiter: Option<u8>) -> Result<FileSource, CliError> {
    let options = ReadOptions { like, delimiter, ..ReadOptions::default() };
    let opened = tokio::task::spawn_blocking(move || FileSource::open(&path, &options)).await;
    let broke = |error| ClientError::new(ErrorKind::Internal, format!("reading the file broke off: {error}"));
    Ok(opened.map_err(broke)??)
}

/// Drops the frame that this import created in this folder and into which nothing went. Should there be rows in it, or
/// should its name mean another frame by now, it stays. Whether it is gone.
async fn take_back(client: &Client, args: &ImportArgs, folder: &str, terminal: &Terminal) -> bool {
    let path = &args.into;
    let drop = async {
        let there = client.describe_frame(path).await.is_ok_and(|there| there.folder == folder);
        there && client.drop_frame_at(path, 0).await.is_ok()
    };
    let is_gone = within(&SystemClock, TAKE_BACK_MAX, drop).await.unwrap_or(false);
    if is_gone {
        terminal.note(terminal.paint(Ink::Dim, format_args!("dropped {path}, which is empty")));
    }
    is_gone
}

/// Creates the frame for a file's columns, and what it stands in; its schema, and its folder if it is new.
async fn create(
    client: &Client,
    args: &ImportArgs,
    columns: &Schema,
    terminal: &Terminal,
) -> Result<(SchemaRef, Option<String>), CliError> {
    let path = &args.into;
    let schema = storable_schema(columns)?;
    there(client.create_hive(path.hive.as_str()).await)?;
    there(client.create_box(path.hive.as_str(), path.box_name.as_str()).await)?;
    if !client.create_frame(path, &schema, &args.partition_by).await? {
        return Ok((schema, None));
    }
    let folder = client.describe_frame(path).await?.folder;
    let by = match args.partition_by.as_slice() {
        [] => String::new(),
        by => format!(", parted by {}", by.join(", ")),
    };
    let columns = units::counted(schema.fields().len() as u64, "column");
    terminal.note(terminal.paint(Ink::Dim, format_args!("created {path}: {columns}{by}")));
    Ok((schema, Some(folder)))
}

/// A hive or box that is there in another spelling is there.
fn there(created: Result<bool, ClientError>) -> Result<(), CliError> {
    match created {
        Err(error) if error.kind != ErrorKind::AlreadyExists => Err(error.into()),
        _ => Ok(()),
    }
}

async fn one(
    client: &Client,
    source: FileSource,
    args: &ImportArgs,
    terminal: &Terminal,
) -> Result<WriteResult, CliError> {
    let file = source.path.display().to_string();
    let progress = Progress::counting(terminal, source.path.display().to_string(), "rows", source.rows);
    let schema = SchemaRef::clone(&source.schema);
    let (mut read, shown) = (0u64, progress.clone());
    let batches = source.into_stream().map(move |batch| {
        let batch = batch.map_err(|error| failed(error.kind(), &error, error.hint()))?;
        read += batch.num_rows() as u64;
        shown.set(read, None, "");
        Ok(batch)
    });
    let overwrite = args.overwrite.then(Overwrite::default);
    let written = progress.during(client.write(&args.into, &schema, batches, None, overwrite)).await;
    progress.done();
    Ok(written.map_err(|error| of_file(&file, error))?)
}

/// An error of the rows themselves, with the file that they stand in; errors of reading it name it already.
fn of_file(file: &str, error: ClientError) -> ClientError {
    if error.kind != ErrorKind::SchemaMismatch || error.message.contains(file) {
        return error;
    }
    ClientError { message: format!("{file}: {}", error.message), ..error }
}

fn report(what: &str, written: &WriteResult, spent: Duration) -> String {
    let per_second = (written.rows as f64 / spent.as_secs_f64().max(1e-3)) as u64;
    let version = if written.version > 0 { format!(" · version {}", written.version) } else { String::new() };
    format!(
        "{what}: {} → {} · {} · {} · {} rows/s{version}",
        units::counted(written.rows, "row"),
        units::counted(written.cells, "cell"),
        units::bytes(written.bytes),
        units::duration(spent),
        units::count(per_second)
    )
}

#[cfg(test)]
mod tests;
