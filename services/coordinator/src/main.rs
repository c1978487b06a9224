//! `apiary-coordinator`: a node that plans SQL and answers clients.

use std::process::ExitCode;

use apiary_node::{Role, process};

fn main() -> ExitCode {
    process::run_role(Role::Coordinator, apiary_coordinator::run)
}
