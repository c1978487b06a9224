//! From the command line to an exit code: parse, run one command on a runtime, tell what went wrong.

use std::process::ExitCode;

use clap::Parser;

use crate::{
    args::{Cli, Command},
    commands, demo,
    failure::CliError,
    interrupt::Interrupt,
    terminal::Terminal,
};

/// Stack of a runtime thread: planning recurses deeply, and a debug build needs more than the usual 2 MiB.
const STACK_BYTES: usize = 16 * 1024 * 1024;

/// Runs the process's command line. Exit codes: 0, 1 for an error, 2 for a command that cannot be, 130 for Ctrl-C.
#[must_use]
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let terminal = Terminal::standard();
    let result = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("apiary")
        .thread_stack_size(STACK_BYTES)
        .build()
        .map_err(CliError::io("start the runtime"))
        .and_then(|runtime| {
            // On a thread of the runtime, whose stack is deep enough for a plan.
            let done = runtime.block_on(run_owned(cli, terminal.clone()));
            runtime.shutdown_background();
            done
        });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.tell(&terminal),
    }
}

async fn run_owned(cli: Cli, terminal: Terminal) -> Result<(), CliError> {
    let task = tokio::spawn(async move { dispatch(cli.command, &terminal).await });
    task.await.unwrap_or_else(|error| Err(CliError::defect(format!("the command broke off: {error}"))))
}

async fn dispatch(command: Command, terminal: &Terminal) -> Result<(), CliError> {
    // A node drains when it is asked to stop; every other command is dropped, which cancels what it does.
    if let Command::Start(args) = command {
        return commands::start::run(args, terminal).await;
    }
    let interrupt = Interrupt::listen(terminal);
    if let Command::Sql(args) = command {
        return commands::sql::run(args, terminal, &interrupt).await;
    }
    if let Command::Import(args) = command {
        return commands::import::run(args, terminal, &interrupt).await;
    }
    let work = async {
        match command {
            Command::Demo(args) => demo::run(args, terminal).await,
            Command::Status(args) => commands::status::run(&args, terminal).await,
            Command::History(args) => commands::history::run(&args, terminal).await,
            Command::Cells(args) => commands::cells::run(&args, terminal).await,
            Command::Compact(args) => commands::compact::run(&args, terminal).await,
            Command::Checkpoint(args) => commands::checkpoint::run(&args, terminal).await,
            Command::Vacuum(args) => commands::vacuum::run(&args, terminal).await,
            Command::Verify(args) => commands::verify::run(&args, terminal).await,
            Command::Doctor(args) => commands::doctor::run(&args, terminal).await,
            Command::Health(args) => commands::health::run(&args, terminal).await,
            Command::Start(_) | Command::Sql(_) | Command::Import(_) => Ok(()),
        }
    };
    tokio::select! {
        biased;
        () = interrupt.asked() => Err(CliError::Interrupted),
        done = work => done,
    }
}
