//! A small node gives back at once what its queries have freed, so that it is not killed for what nobody uses.
//!
//! The allocator keeps freed pages for a second, and each thread its own. In a container of 1 GiB that killed nodes in the
//! midst of TPC-H at SF10 (ADR 0013). It reads its options from the environment before `main` begins, and takes others in
//! unsafe code alone: so a small node begins once more, as the same process, with the option in its environment.

use std::{ffi::OsString, process::Command};

/// The allocator's option: the milliseconds for which freed pages are kept.
const PURGE_DELAY: &str = "MIMALLOC_PURGE_DELAY";

/// Nodes with less memory are small. The others have room for what is kept, which saves them a page fault now and then.
const SMALL_BYTES: u64 = 2 << 30;

/// Begins this process once more if its node is small. Nothing may be open yet. Returns where it is not, where somebody
/// has set the option (this process before it began anew, too), and where it cannot be done: then nothing else changes.
pub fn begin(memory_bytes: u64) {
    if memory_bytes >= SMALL_BYTES || std::env::var_os(PURGE_DELAY).is_some() {
        return;
    }
    let mut words = std::env::args_os();
    let (Some(name), Ok(program)) = (words.next(), std::env::current_exe()) else { return };
    replace(Command::new(program).args(words).env(PURGE_DELAY, "0"), name);
}

#[cfg(unix)]
fn replace(command: &mut Command, name: OsString) {
    use std::os::unix::process::CommandExt;
    // Comes back only if it failed.
    drop(command.arg0(name).exec());
}

#[cfg(not(unix))]
fn replace(_: &mut Command, _: OsString) {}
