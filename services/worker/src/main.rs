//! `apiary-worker`: a node that pulls tasks from the board and executes them.

use std::process::ExitCode;

use apiary_node::{Role, process};

fn main() -> ExitCode {
    process::run_role(Role::Worker, apiary_worker::run)
}
