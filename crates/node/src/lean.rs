//! What the allocator does with memory that a node's queries have freed.
//!
//! ```text
//!   < 2 GiB    back to the kernel at once, so that a node is not killed for what nobody uses (ADR 0013)
//!   others     marked as free after a second: the kernel takes it where it needs it, and else it is there
//!              again without a page fault and without being zeroed
//!   all        no huge pages: one is zeroed whole for the few KiB that a small buffer asks for
//! ```
//!
//! It reads its options from the environment before `main` begins, and takes others in unsafe code alone: so a node begins
//! once more, as the same process, with the options in its environment.

use std::{ffi::OsString, process::Command};

/// The allocator's options: huge pages; the milliseconds for which freed pages are kept as they are; whether they are
/// given back then, or marked.
const HUGE_PAGES: &str = "MIMALLOC_ALLOW_THP";
const PURGE_DELAY: &str = "MIMALLOC_PURGE_DELAY";
const PURGE_GIVES_BACK: &str = "MIMALLOC_PURGE_DECOMMITS";

/// Nodes with less memory are small.
const SMALL_BYTES: u64 = 2 << 30;

/// Begins this process once more with the options for its node. Nothing may be open yet. Returns where somebody has set one
/// of them (this process before it began anew, too), and where it cannot be done: then nothing else changes.
pub fn begin(memory_bytes: u64) {
    let options = options(memory_bytes);
    if [HUGE_PAGES, PURGE_DELAY, PURGE_GIVES_BACK].into_iter().any(|option| std::env::var_os(option).is_some()) {
        return;
    }
    let mut words = std::env::args_os();
    let (Some(name), Ok(program)) = (words.next(), std::env::current_exe()) else { return };
    replace(Command::new(program).args(words).envs(options), name);
}

fn options(memory_bytes: u64) -> [(&'static str, &'static str); 2] {
    let freed = if memory_bytes < SMALL_BYTES { (PURGE_DELAY, "0") } else { (PURGE_GIVES_BACK, "0") };
    [(HUGE_PAGES, "0"), freed]
}

#[cfg(unix)]
fn replace(command: &mut Command, name: OsString) {
    use std::os::unix::process::CommandExt;
    // Comes back only if it failed.
    drop(command.arg0(name).exec());
}

#[cfg(not(unix))]
fn replace(_: &mut Command, _: OsString) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_small_node_gives_back_what_it_has_freed_at_once() {
        assert_eq!(options(SMALL_BYTES - 1), [("MIMALLOC_ALLOW_THP", "0"), ("MIMALLOC_PURGE_DELAY", "0")]);
        assert_eq!(options(SMALL_BYTES), [("MIMALLOC_ALLOW_THP", "0"), ("MIMALLOC_PURGE_DECOMMITS", "0")]);
    }
}
