//! The binary `apiary`: see the library for what it does.

use std::process::ExitCode;

/// Rows come and go in many small buffers on many threads, which the system's allocator is slow at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    apiary::run()
}
