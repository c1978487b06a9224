//! `apiary-compactor`: a node that keeps the bucket healthy.

use std::process::ExitCode;

use apiary_node::{Role, process};

fn main() -> ExitCode {
    process::run_role(Role::Compactor, apiary_compactor::run)
}
