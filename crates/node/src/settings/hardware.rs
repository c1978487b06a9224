//! What the machine has, and what of it a container may use: cgroup limits of both versions count.

use std::path::{Path, PathBuf};

/// What a node may use if nobody says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hardware {
    /// Cores, quotas and affinity considered.
    pub cores: usize,
    /// Memory in bytes, limits considered.
    pub memory_bytes: u64,
}

/// What is assumed where the system does not say.
const MEMORY_BYTES_ASSUMED: u64 = 2 << 30;

impl Hardware {
    /// Asks the system.
    #[must_use]
    pub fn detect() -> Self {
        // The standard library considers affinity and the quotas of both cgroup versions.
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let memory_bytes = memory_bytes(Path::new("/")).or_else(mac_memory_bytes).unwrap_or(MEMORY_BYTES_ASSUMED);
        Self { cores, memory_bytes }
    }
}

/// The machine's memory or the tightest limit on this process, below a root folder that tests make up.
fn memory_bytes(root: &Path) -> Option<u64> {
    let total = physical_bytes(&std::fs::read_to_string(root.join("proc/meminfo")).ok()?);
    let limits =
        limit_files(root).into_iter().filter_map(|path| std::fs::read_to_string(path).ok()?.trim().parse().ok());
    limits.chain(total).min()
}

fn physical_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Every file that may hold a limit: for each of this process's groups the group itself and all above it. Version 1
/// says "no limit" with a number beyond all memory, version 2 with `max`, which is no number.
fn limit_files(root: &Path) -> Vec<PathBuf> {
    let groups = std::fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (parts.next(), parts.next()) else { continue };
        let (mount, file) = if controllers.is_empty() {
            (root.join("sys/fs/cgroup"), "memory.max")
        } else if controllers.split(',').any(|name| name == "memory") {
            (root.join("sys/fs/cgroup/memory"), "memory.limit_in_bytes")
        } else {
            continue;
        };
        let inner = Path::new(group.trim_start_matches('/'));
        files.extend(inner.ancestors().map(|above| mount.join(above).join(file)));
    }
    files
}

#[cfg(target_os = "macos")]
fn mac_memory_bytes() -> Option<u64> {
    let asked = std::process::Command::new("sysctl").args(["-n", "hw.memsize"]).output().ok()?;
    String::from_utf8(asked.stdout).ok()?.trim().parse().ok()
}

#[cfg(not(target_os = "macos"))]
fn mac_memory_bytes() -> Option<u64> {
    None
}

/// This host's name, as other hosts of its network know it.
pub(crate) fn host_name() -> Option<String> {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = kernel.or_else(|| std::env::var("HOSTNAME").ok())?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(files: &[(&str, &str)]) -> Option<u64> {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        memory_bytes(root.path())
    }

    const MEMINFO: (&str, &str) = ("proc/meminfo", "MemTotal:        8000000 kB\nMemFree: 1 kB\n");

    #[test]
    fn without_limits_the_machine_counts() {
        assert_eq!(machine(&[MEMINFO]), Some(8_192_000_000));
        let none = [MEMINFO, ("proc/self/cgroup", "0::/a\n"), ("sys/fs/cgroup/a/memory.max", "max\n")];
        assert_eq!(machine(&none), Some(8_192_000_000));
    }

    #[test]
    fn a_limit_of_version_2_counts_also_on_a_group_above() {
        let files = [MEMINFO, ("proc/self/cgroup", "0::/a/b\n"), ("sys/fs/cgroup/a/memory.max", "1073741824\n")];
        assert_eq!(machine(&files), Some(1 << 30));
        let inside = [MEMINFO, ("proc/self/cgroup", "0::/\n"), ("sys/fs/cgroup/memory.max", "1000\n")];
        assert_eq!(machine(&inside), Some(1000));
    }

    #[test]
    fn a_limit_of_version_1_counts() {
        let group = ("proc/self/cgroup", "3:cpu,cpuacct:/x\n2:memory:/docker/abc\n");
        let files = [MEMINFO, group, ("sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes", "536870912\n")];
        assert_eq!(machine(&files), Some(512 << 20));
        let none = [MEMINFO, group, ("sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes", "9223372036854771712")];
        assert_eq!(machine(&none), Some(8_192_000_000));
    }

    #[test]
    fn a_machine_always_has_something() {
        let found = Hardware::detect();
        assert!(found.cores >= 1 && found.memory_bytes > 0);
    }
}
