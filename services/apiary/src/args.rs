//! What can be typed: the commands and their options, as clap reads them.
//!
//! Only shapes and words live here; what they do stands in `commands/`. The help texts put the plain word beside
//! each bee word, because this is where a newcomer meets them.

use std::{path::PathBuf, time::Duration};

use apiary_core::{DEFAULT_BOX, DEFAULT_HIVE, FramePath, NameError, units};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::format::Format;

/// `apiary …`
#[derive(Debug, Parser)]
#[command(
    name = "apiary",
    version,
    about = "A lakehouse that lives in a bucket",
    long_about = "A lakehouse that lives in a bucket: many small machines share one object store, write to it with \
                  ACID transactions and answer SQL over it together.\n\n\
                  In bee words: a hive is a database, a box a schema, a frame a table, a cell a Parquet file; a bee \
                  is one core, its chamber the memory that one task runs in; the colony is all nodes on one bucket.",
    after_help = "Start with: apiary demo",
    arg_required_else_help = true,
    propagate_version = true
)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// See it work: a small colony, sensor data, five queries and a lost worker, in about a minute
    Demo(DemoArgs),
    /// Run a node: coordinator, worker and compactor, or some of them
    Start(StartArgs),
    /// Run SQL and print the rows
    Sql(SqlArgs),
    /// Write Parquet, CSV or JSON-lines files into a frame (table)
    Import(ImportArgs),
    /// Show the nodes of the colony and how hard they work
    Status(StatusArgs),
    /// Show what happened to a frame (table), newest first
    History(HistoryArgs),
    /// Show the cells (files) that make up a frame (table)
    Cells(CellsArgs),
    /// List the files that nothing needs any more, and with --run delete them
    Vacuum(VacuumArgs),
    /// Merge the small cells (files) of a frame (table)
    Compact(CompactArgs),
    /// Write a checkpoint of a frame (table), so that it opens fast; clean its ledger below it
    Checkpoint(CheckpointArgs),
    /// Check that the bucket is what its ledgers say; exit code 1 if it is not
    Verify(VerifyArgs),
    /// Examine a bucket and the colony in it; exit code 1 if it is not safe to write
    Doctor(DoctorArgs),
    /// Ask one node whether it serves; exit code 0 if it does
    Health(HealthArgs),
}

/// Where the colony is.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Where the colony is")]
pub(crate) struct TargetArgs {
    /// Bucket to open in this process: a folder, file://, s3://, gs:// or az:// [env: APIARY_STORAGE]
    #[arg(long, value_name = "URI", conflicts_with = "connect")]
    pub(crate) storage: Option<String>,
    /// Coordinator to ask, such as grpc://pi-1:7410 [env: APIARY_CONNECT]
    ///
    /// Several may be named with commas between them: the first that answers is asked, and a query whose coordinator dies
    /// before its first row goes on at the next. With neither: a node on this machine if one runs, else
    /// ~/.apiary/default.
    #[arg(long, value_name = "URL")]
    pub(crate) connect: Option<String>,
    /// Token for --connect
    #[arg(long, value_name = "TOKEN", env = "APIARY_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
    /// Folder for node identities and scratch files of --storage [default: ~/.apiary/nodes]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
}

/// `apiary sql`
#[derive(Debug, Args)]
pub(crate) struct SqlArgs {
    /// Statements, separated by ';'; without it they are read from --file or standard input
    #[arg(value_name = "SQL", conflicts_with = "file")]
    pub(crate) sql: Option<String>,
    /// Read the statements from a file; '-' is standard input
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// How to print rows [default: table on a terminal, else csv]; json is one array a statement, each on lines of its own
    #[arg(long, value_enum)]
    pub(crate) format: Option<Format>,
    /// Write the rows to a file; its ending chooses the format if --format does not
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Rows that a table shows before it leaves out the middle; 0 shows all [default: 40 on a terminal, else all]
    #[arg(long, value_name = "N")]
    pub(crate) max_rows: Option<usize>,
    /// Names without a hive (database) are looked up here, as with USE
    #[arg(long = "use", value_name = "HIVE[.BOX]")]
    pub(crate) use_path: Option<String>,
    /// A session setting, as with SET
    #[arg(long, value_name = "NAME=VALUE", value_parser = name_value)]
    pub(crate) set: Vec<(String, String)>,
    /// Only rows and errors: no line of figures at the end
    #[arg(short, long)]
    pub(crate) quiet: bool,
    #[command(flatten)]
    pub(crate) target: TargetArgs,
}

/// `apiary import`
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// Files to read: .parquet, .csv, .json, .jsonl, .ndjson
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// The frame (table) to write to: hive.box.frame; a hive or box that is left out is 'main', as in SQL
    #[arg(long, value_name = "[[HIVE.]BOX.]FRAME", value_parser = frame)]
    pub(crate) into: FramePath,
    /// What parts the values of a CSV line, such as ';' or 'tab' [default: a tab for .tsv and .tab, else a comma]
    #[arg(long, value_name = "CHAR", value_parser = delimiter)]
    pub(crate) delimiter: Option<u8>,
    /// Column that parts a new frame; may be given several times
    #[arg(long, value_name = "COLUMN", requires = "create")]
    pub(crate) partition_by: Vec<String>,
    /// Create the hive, the box and the frame if they are not there
    #[arg(long)]
    pub(crate) create: bool,
    /// Put the rows of the file in the place of all rows of the frame
    #[arg(long)]
    pub(crate) overwrite: bool,
    #[command(flatten)]
    pub(crate) target: TargetArgs,
}

/// `apiary start`. What is left out comes from APIARY_* variables, then apiary.toml, then the machine.
#[derive(Debug, Args)]
pub(crate) struct StartArgs {
    /// The bucket: a folder, file://, s3://, gs:// or az:// [env: APIARY_STORAGE] [default: ~/.apiary/default]
    #[arg(long, value_name = "URI")]
    pub(crate) storage: Option<String>,
    /// What this node does [env: APIARY_ROLES] [default: all three]
    #[arg(long, value_delimiter = ',', value_enum, value_name = "ROLE")]
    pub(crate) roles: Vec<RoleArg>,
    /// Where to listen; the port is the first role's, the next ones lie 10 and 20 above it [default: 127.0.0.1:7410]
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(crate) listen: Option<String>,
    /// Where other nodes reach this one, if that is not where it listens
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(crate) advertise: Option<String>,
    /// Bees (cores) to work with [default: all of the machine's]
    #[arg(long, value_name = "N")]
    pub(crate) cores: Option<usize>,
    /// Memory to live in, such as 1GiB [default: the machine's or the container's]
    #[arg(long, value_name = "BYTES", value_parser = size)]
    pub(crate) memory: Option<String>,
    /// Disk for cells that were read or written, such as 4GiB; 0 for none [default: a fifth of the free space up to
    /// 10 GiB; none for a folder]
    #[arg(long, value_name = "BYTES", value_parser = size)]
    pub(crate) cache_size: Option<String>,
    /// Folder for the node's identity and scratch files [default: ~/.apiary/nodes/ROLES]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// First part of the node's id, for people [default: this host's name]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Settings file [default: apiary.toml in this folder, if there is one]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Serve clients from other machines without asking who they are
    #[arg(long)]
    pub(crate) insecure: bool,
}

/// A role, as typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RoleArg {
    /// Plans SQL and answers clients
    Coordinator,
    /// Executes tasks
    Worker,
    /// Keeps the bucket healthy
    Compactor,
}

/// `apiary status`
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// A table for people, json for programs
    #[arg(long, value_enum, default_value_t = ShownAs::Table)]
    pub(crate) format: ShownAs,
    #[command(flatten)]
    pub(crate) target: TargetArgs,
}

/// How facts are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ShownAs {
    Table,
    Json,
}

/// `apiary history`
#[derive(Debug, Args)]
pub(crate) struct HistoryArgs {
    /// The frame (table): hive.box.frame; a hive or box that is left out is 'main'
    #[arg(value_name = "[[HIVE.]BOX.]FRAME", value_parser = frame)]
    pub(crate) frame: FramePath,
    /// Most versions to show
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) limit: u32,
    /// A table for people, json for programs
    #[arg(long, value_enum, default_value_t = ShownAs::Table)]
    pub(crate) format: ShownAs,
    #[command(flatten)]
    pub(crate) target: TargetArgs,
}

/// `apiary cells`
#[derive(Debug, Args)]
pub(crate) struct CellsArgs {
    /// The frame (table): hive.box.frame; a hive or box that is left out is 'main'
    #[arg(value_name = "[[HIVE.]BOX.]FRAME", value_parser = frame)]
    pub(crate) frame: FramePath,
    /// A table for people, json for programs
    #[arg(long, value_enum, default_value_t = ShownAs::Table)]
    pub(crate) format: ShownAs,
    #[command(flatten)]
    pub(crate) target: TargetArgs,
}

/// `apiary checkpoint`
#[derive(Debug, Args)]
pub(crate) struct CheckpointArgs {
    /// The frame (table): hive.box.frame; a hive or box that is left out is 'main'
    #[arg(value_name = "[[HIVE.]BOX.]FRAME", value_parser = frame)]
    pub(crate) frame: FramePath,
    /// Also delete ledger entries below a checkpoint, whole epochs of 1 024 versions, that are older than AGE; the
    /// versions before it can then no more be read
    #[arg(long, value_name = "AGE", value_parser = time_span, num_args = 0..=1, require_equals = true,
          default_missing_value = "7d")]
    pub(crate) clean_log: Option<Duration>,
    /// A table for people, json for programs
    #[arg(long, value_enum, default_value_t = ShownAs::Table)]
    pub(crate) format: ShownAs,
    #[command(flatten)]
    pub(crate) target: TargetArgs,
}

/// `apiary verify`
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// One frame (table): hive.box.frame; without it the registry and every frame
    #[arg(value_name = "[[HIVE.]BOX.]FRAME", value_parser = frame)]
    pub(crate) frame: Option<FramePath>,
    /// Also read every cell: its checksum and its rows
    #[arg(long)]
    pub(crate) deep: bool,
    /// A table for people, json for programs
    #[arg(long, value_enum, default_value_t = ShownAs::Table)]
    pub(crate) format: ShownAs,
    #[command(flatten)]
    pub(crate) target: TargetArgs,
}

/// `apiary vacuum`
#[derive(Debug, Args)]
pub(crate) struct VacuumArgs {
    /// One frame (table): hive.box.frame; without it every frame, and what is left of dropped ones
    #[arg(value_name = "[[HIVE.]BOX.]FRAME", value_parser = frame)]
    pub(crate) frame: Option<FramePath>,
    /// Delete; without it nothing is changed and the list says what would go and why
    #[arg(long)]
    pub(crate) run: bool,
    /// Keep every version that was current within this time: 7d, 36h, 90min; less than 1h needs --force
    ///
    /// By the store's clock, whatever machines' clocks say. What writers that never committed left goes after 7 days
    /// whatever stands here.
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = time_span)]
    pub(crate) retain: Duration,
    /// Allow --retain under an hour: queries that have just begun may fail, and say which cell is gone
    #[arg(long)]
    pub(crate) force: bool,
    /// A table for people, json for programs
    #[arg(long, value_enum, default_value_t = ShownAs::Table)]
    pub(crate) format: ShownAs,
    #[command(flatten)]
    pub(crate) target: TargetArgs,
}

/// `apiary doctor`
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// The bucket: a folder, file://, s3://, gs:// or az:// [env: APIARY_STORAGE] [default: ~/.apiary/default]
    #[arg(long, value_name = "URI")]
    pub(crate) storage: Option<String>,
    /// A table for people, json for programs
    #[arg(long, value_enum, default_value_t = ShownAs::Table)]
    pub(crate) format: ShownAs,
}

/// `apiary compact`
#[derive(Debug, Args)]
pub(crate) struct CompactArgs {
    /// The frame (table): hive.box.frame; a hive or box that is left out is 'main'
    #[arg(value_name = "[[HIVE.]BOX.]FRAME", value_parser = frame)]
    pub(crate) frame: FramePath,
    /// A table for people, json for programs
    #[arg(long, value_enum, default_value_t = ShownAs::Table)]
    pub(crate) format: ShownAs,
    #[command(flatten)]
    pub(crate) target: TargetArgs,
}

/// `apiary health`
#[derive(Debug, Args)]
pub(crate) struct HealthArgs {
    /// The node, of any role
    #[arg(value_name = "URL", default_value = "grpc://127.0.0.1:7410")]
    pub(crate) url: String,
}

/// `apiary demo`
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Sensor rows to make
    #[arg(long, value_name = "N", default_value_t = crate::demo::ROWS_DEFAULT, value_parser = demo_rows)]
    pub(crate) rows: u64,
    /// Keep the bucket when the demo ends, and say where it is
    #[arg(long)]
    pub(crate) keep: bool,
}

/// `NAME=VALUE`.
fn name_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => {
            Ok((name.trim().to_lowercase(), value.trim().trim_matches('\'').to_owned()))
        }
        _ => Err("write it as NAME=VALUE, such as execution=local".to_owned()),
    }
}

/// `1GiB`, kept as written once it can be read.
fn size(text: &str) -> Result<String, String> {
    let read = units::parse_bytes(text).ok_or_else(|| "write a size such as 512MB or 1GiB".to_owned());
    read.map(|_| text.to_owned())
}

/// `7d`. A number alone is none: what it counts decides what is deleted.
fn time_span(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    if text.parse::<f64>().is_ok() {
        return Err(format!("{text} of what? add a unit: {text}d, {text}h, {text}min or {text}s"));
    }
    units::parse_duration(text)
        .ok_or_else(|| "write it as a number and a unit, such as 7d, 36h, 90min or 30s".to_owned())
}

/// `hive.box.frame`; what is left out is `main`, as in SQL.
fn frame(text: &str) -> Result<FramePath, NameError> {
    match text.split('.').count() {
        1 => format!("{DEFAULT_HIVE}.{DEFAULT_BOX}.{text}").parse(),
        2 => format!("{DEFAULT_HIVE}.{text}").parse(),
        _ => text.parse(),
    }
}

/// One character that parts the values of a line.
fn delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        b"\\t" | b"tab" => Ok(b'\t'),
        [byte] if byte.is_ascii() && !b"\"\r\n".contains(byte) => Ok(*byte),
        _ => Err("write one character, such as ';' or '|', or 'tab'".to_owned()),
    }
}

/// A row count that the story can be told with.
fn demo_rows(text: &str) -> Result<u64, String> {
    let rows = text.replace(['_', ' '], "").parse::<u64>().map_err(|error| error.to_string())?;
    let range = crate::demo::ROWS_MIN..=crate::demo::ROWS_MAX;
    if range.contains(&rows) { Ok(rows) } else { Err(format!("between {} and {}", range.start(), range.end())) }
}

#[cfg(test)]
mod tests;
