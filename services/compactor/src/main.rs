//! `apiary-compactor`: a node that keeps the bucket healthy.

use std::process::ExitCode;

use apiary_node::{Role, process};

/// Rows come and go in many small buffers on many threads, which the system's allocator is slow at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    process::run_role(Role::Compactor, apiary_compactor::run)
}
