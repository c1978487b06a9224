//! `apiary sql`: runs statements one after the other in one session and prints their rows.
//!
//! USE and SET last for the script; the first error ends it. Rows are printed as they come (a table at its end).
//! Ctrl-C cancels the running statement on the node that runs it.

use std::{
    io::{IsTerminal, Read, Write},
    path::Path,
    time::Duration,
};

use apiary_core::{ErrorKind, QueryId, SystemClock, SystemRng, units};
use apiary_proto::{Client, ClientError, QueryStream, v1};
use arrow::{
    array::AsArray,
    datatypes::{DataType, Schema},
};

use crate::{
    args::SqlArgs,
    connection::{self, Connection},
    embedded::Leave,
    failure::CliError,
    footer::footer,
    format::{Format, ResultWriter, TableLayout, promises_another_format},
    interrupt::Interrupt,
    progress::Progress,
    statements,
    terminal::{Ink, Output, Terminal},
};

/// Rows that a table shows on a screen.
const SCREEN_ROWS: usize = 40;
/// How long the cancellation of a query may hold up a person who wants to leave.
const CANCEL_MAX: Duration = Duration::from_secs(1);

/// How rows leave, decided once.
#[derive(Debug)]
struct Style {
    format: Format,
    /// Nobody named a format, so a plan may be printed as the lines it is.
    is_ours: bool,
    layout: TableLayout,
    quiet: bool,
}

/// Runs the command.
pub(crate) async fn run(args: SqlArgs, terminal: &Terminal, interrupt: &Interrupt) -> Result<(), CliError> {
    let script = script(&args)?;
    let statements = statements::split(&script);
    if statements.is_empty() {
        return Err(CliError::usage("there is no statement to run", "apiary sql \"SELECT 1\""));
    }
    let style = style(&args, terminal);
    check_ending(&args)?;
    let output = args.output.as_deref().map(open_output).transpose()?;
    let session = session(&args)?;
    let connection = tokio::select! {
        biased;
        () = interrupt.asked() => return Err(CliError::Interrupted),
        connection = Connection::open(&args.target, leave(&args, &statements)) => connection?,
    };
    let runner = Runner { client: connection.client(), terminal, interrupt, style: &style, output: output.as_ref() };
    let result = runner.all(&statements, session).await;
    connection.close().await;
    result
}

/// The text to run: from the command line, a file, or standard input.
fn script(args: &SqlArgs) -> Result<String, CliError> {
    if let Some(sql) = &args.sql {
        return Ok(sql.clone());
    }
    match args.file.as_deref() {
        Some(path) if path != Path::new("-") => {
            std::fs::read_to_string(path).map_err(CliError::io(format!("read {}", path.display())))
        }
        None if std::io::stdin().is_terminal() => {
            Err(CliError::usage("there is no statement to run", "apiary sql \"SELECT 1\", or -f file.sql"))
        }
        _ => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).map_err(CliError::io("read standard input"))?;
            Ok(text)
        }
    }
}

/// A script that creates something may begin with the bucket. So may any at the default place, where there is no name to
/// mistype.
fn leave(args: &SqlArgs, statements: &[&str]) -> Leave {
    let creates = |sql: &&str| matches!(apiary_query::parse(sql), Ok(apiary_query::Statement::Create(_)));
    let may_found = connection::is_default(&args.target) || statements.iter().any(creates);
    if may_found { Leave::Colony } else { Leave::WorkIfPossible }
}

fn style(args: &SqlArgs, terminal: &Terminal) -> Style {
    let on_screen = args.output.is_none() && terminal.out_is_terminal();
    let format = args.format.or_else(|| args.output.as_deref().and_then(Format::of_file)).unwrap_or(if on_screen {
        Format::Table
    } else {
        Format::Csv
    });
    let is_ours = args.format.is_none() && args.output.is_none();
    let rows = args.max_rows.or(on_screen.then_some(SCREEN_ROWS)).filter(|rows| *rows > 0);
    let width = if on_screen { terminal.width() } else { None };
    Style { format, is_ours, layout: TableLayout { width, rows }, quiet: args.quiet }
}

fn check_ending(args: &SqlArgs) -> Result<(), CliError> {
    match &args.output {
        Some(path) if args.format.is_none() && promises_another_format(path) => Err(CliError::usage(
            format!("cannot write the format that '{}' speaks of", path.display()),
            "name it .csv, .json, .jsonl or .txt, or choose one with --format",
        )),
        _ => Ok(()),
    }
}

fn open_output(path: &Path) -> Result<Output, CliError> {
    Terminal::file(path).map_err(CliError::io(format!("write {}", path.display())))
}

fn session(args: &SqlArgs) -> Result<v1::Session, CliError> {
    let mut session = v1::Session { settings: args.set.iter().cloned().collect(), ..v1::Session::default() };
    if let Some(path) = &args.use_path {
        let mut parts = path.split('.').map(str::to_owned);
        (session.hive, session.box_name) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        if parts.next().is_some() || session.hive.is_empty() {
            return Err(CliError::usage(
                format!("'{path}' is not a hive or a box"),
                "--use demo or --use demo.sensors",
            ));
        }
    }
    Ok(session)
}

struct Runner<'a> {
    client: &'a Client,
    terminal: &'a Terminal,
    interrupt: &'a Interrupt,
    style: &'a Style,
    output: Option<&'a Output>,
}

impl Runner<'_> {
    async fn all(&self, statements: &[&str], mut session: v1::Session) -> Result<(), CliError> {
        for statement in statements {
            let id = QueryId::new(&SystemClock, &SystemRng);
            let after = tokio::select! {
                biased;
                () = self.interrupt.asked() => {
                    let _ = tokio::time::timeout(CANCEL_MAX, self.client.cancel(id)).await;
                    return Err(CliError::Interrupted);
                }
                after = self.one(id, statement, &session) => after.map_err(of_statement)?,
            };
            session = after.unwrap_or(session);
            if self.terminal.reader_left() {
                break;
            }
        }
        Ok(())
    }

    /// Runs one statement; the session after it.
    async fn one(&self, id: QueryId, sql: &str, session: &v1::Session) -> Result<Option<v1::Session>, CliError> {
        let progress = self.terminal.err_is_terminal().then(|| Progress::waiting(self.terminal, "running"));
        let stream = self.client.execute_as(id, sql, session).await;
        let stream = stream.inspect_err(|_| done(progress.as_ref()))?;
        let shown = progress.clone();
        let mut stream = stream.on_progress(move |at| {
            if let Some(progress) = &shown {
                progress.set(u64::from(at.tasks_done), Some(u64::from(at.tasks_total)), tasks(at));
            }
        });
        let printed = self.print(&mut stream, progress.as_ref()).await;
        done(progress.as_ref());
        let has_columns = printed?;
        if let Some(stats) = stream.stats().filter(|_| !self.style.quiet) {
            let done = || format!("done · {}", units::duration(Duration::from_micros(stats.elapsed_us)));
            self.terminal.note(self.terminal.paint(Ink::Dim, if has_columns { footer(stats) } else { done() }));
        }
        Ok(stream.session_after().cloned())
    }

    /// Prints the rows; false if the statement has none by its nature, as USE.
    async fn print(&self, stream: &mut QueryStream, progress: Option<&Progress>) -> Result<bool, CliError> {
        let schema = stream.schema().await?;
        if schema.fields().is_empty() {
            while stream.next().await?.is_some() {}
            return Ok(false);
        }
        let out = self.output.map_or_else(|| self.terminal.rows(), Output::again);
        if self.style.is_ours && is_plan(&schema) {
            return plan_lines(stream, out).await;
        }
        let mut writer = ResultWriter::begin(self.style.format, out, &schema, self.style.layout)?;
        while let Some(batch) = stream.next().await? {
            // Rows and a moving bar on one screen would mix.
            if self.style.format != Format::Table {
                done(progress);
            }
            writer.write(&batch)?;
            if self.terminal.reader_left() {
                return Ok(true);
            }
        }
        done(progress);
        writer.finish()?;
        Ok(true)
    }
}

/// What is wrong with a statement is no mistake in the command line, whatever kind the setting or name in it has.
fn of_statement(error: CliError) -> CliError {
    match error {
        CliError::Client(error) if error.kind == ErrorKind::InvalidInput => {
            CliError::Client(ClientError { kind: ErrorKind::SqlSyntax, ..error })
        }
        error => error,
    }
}

/// Whether the rows are the lines of EXPLAIN.
fn is_plan(schema: &Schema) -> bool {
    matches!(&schema.fields()[..], [field] if field.name() == "plan" && field.data_type() == &DataType::Utf8)
}

async fn plan_lines(stream: &mut QueryStream, mut out: Output) -> Result<bool, CliError> {
    while let Some(batch) = stream.next().await? {
        for line in batch.column(0).as_string::<i32>().iter().flatten() {
            writeln!(out, "{line}").map_err(CliError::io("write the plan"))?;
        }
    }
    out.flush().map_err(CliError::io("write the plan"))?;
    Ok(true)
}

fn done(progress: Option<&Progress>) {
    if let Some(progress) = progress {
        progress.done();
    }
}

fn tasks(at: &v1::QueryProgress) -> String {
    let retries = if at.retries > 0 { format!(" · {} retried", at.retries) } else { String::new() };
    format!("{} of {} tasks · stage {} of {}{retries}", at.tasks_done, at.tasks_total, at.stages_done, at.stages_total)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command};

    fn args(line: &[&str]) -> SqlArgs {
        match Cli::parse_from(["apiary", "sql"].iter().chain(line)).command {
            Command::Sql(args) => args,
            _ => panic!("another command"),
        }
    }

    #[test]
    fn a_pipe_gets_csv_and_a_file_what_its_name_says() {
        let (terminal, _, _) = Terminal::captured();
        assert_eq!(style(&args(&["x"]), &terminal).format, Format::Csv);
        assert_eq!(style(&args(&["x", "-o", "a.json"]), &terminal).format, Format::Json);
        assert_eq!(style(&args(&["x", "-o", "a.json", "--format", "jsonl"]), &terminal).format, Format::Jsonl);
        assert_eq!(style(&args(&["x", "-o", "a.dat"]), &terminal).format, Format::Csv);
    }

    #[test]
    fn a_file_is_never_something_else_than_its_name_says() {
        assert!(check_ending(&args(&["x", "-o", "a.parquet"])).is_err());
        assert!(check_ending(&args(&["x", "-o", "a.parquet", "--format", "csv"])).is_ok());
        assert!(check_ending(&args(&["x", "-o", "a.csv"])).is_ok());
    }

    #[test]
    fn all_rows_are_shown_where_nobody_scrolls() {
        let (terminal, _, _) = Terminal::captured();
        assert_eq!(style(&args(&["x", "--format", "table"]), &terminal).layout.rows, None);
        assert_eq!(style(&args(&["x", "--format", "table", "--max-rows", "5"]), &terminal).layout.rows, Some(5));
        assert_eq!(style(&args(&["x", "--max-rows", "0"]), &terminal).layout.rows, None);
    }

    #[test]
    fn a_session_begins_where_it_is_told() {
        let session = session(&args(&["x", "--use", "demo.sensors", "--set", "execution=board"])).unwrap();
        assert_eq!((session.hive.as_str(), session.box_name.as_str()), ("demo", "sensors"));
        assert_eq!(session.settings["execution"], "board");
        assert!(super::session(&args(&["x", "--use", "a.b.c"])).is_err());
    }
}
