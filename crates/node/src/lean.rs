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

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

/// The allocator's options: huge pages; the milliseconds for which freed pages are kept as they are; whether they are
/// given back then, or marked.
const HUGE_PAGES: &str = "MIMALLOC_ALLOW_THP";
const PURGE_DELAY: &str = "MIMALLOC_PURGE_DELAY";
const PURGE_GIVES_BACK: &str = "MIMALLOC_PURGE_DECOMMITS";

/// Nodes with less memory are small.
const SMALL_BYTES: u64 = 2 << 30;

/// Begins this process once more with the options for its node. Nothing may be open yet. Returns where somebody has set one
/// of them (this process before it began anew, too), where the settings came through a pipe, which is empty now, and where
/// it cannot be done: then nothing else changes. Other systems than Linux were measured for small nodes alone.
pub fn begin(memory_bytes: u64, config: Option<&Path>) {
    if !(cfg!(target_os = "linux") || memory_bytes < SMALL_BYTES) || !can_be_read_again(config) {
        return;
    }
    if [HUGE_PAGES, PURGE_DELAY, PURGE_GIVES_BACK].into_iter().any(|option| std::env::var_os(option).is_some()) {
        return;
    }
    let mut words = std::env::args_os();
    let (Some(name), Ok(program)) = (words.next(), std::env::current_exe()) else { return };
    replace(Command::new(program).args(words).envs(options(memory_bytes)), name);
}

/// Whether the settings file, if there is one, says the same once more.
fn can_be_read_again(config: Option<&Path>) -> bool {
    let named = config.map(Path::to_owned).or_else(|| std::env::var_os("APIARY_CONFIG").map(PathBuf::from));
    named.is_none_or(|path| path.as_os_str().is_empty() || path.is_file())
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
    fn settings_that_came_through_a_pipe_are_not_asked_for_again() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(can_be_read_again(Some(file.path())));
        assert!(!can_be_read_again(Some(Path::new("/dev/null"))));
    }

    #[test]
    fn only_a_small_node_gives_back_what_it_has_freed_at_once() {
        assert_eq!(options(SMALL_BYTES - 1), [("MIMALLOC_ALLOW_THP", "0"), ("MIMALLOC_PURGE_DELAY", "0")]);
        assert_eq!(options(SMALL_BYTES), [("MIMALLOC_ALLOW_THP", "0"), ("MIMALLOC_PURGE_DECOMMITS", "0")]);
    }
}
