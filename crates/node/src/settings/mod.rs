//! What a node is told: flags over environment (`APIARY_*`) over `apiary.toml` over what the hardware is.
//!
//! Settings are plain values. A key that does not exist is refused with a suggestion: a setting that is silently
//! ignored is worse than none.

mod hardware;
mod load;

use std::{fmt, path::PathBuf};

pub use hardware::Hardware;
pub(crate) use hardware::host_name;
pub use load::NodeFlags;

use apiary_core::units;

use crate::{NodeError, Result, Role, chamber::chamber_bytes};

/// Everything that a node is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeSettings {
    /// The bucket's uri; may hold credentials, so it is never shown as it is.
    pub storage: String,
    /// The node's own folder: its identity, its lock, its scratch files.
    pub data_dir: PathBuf,
    /// What it does.
    pub roles: Vec<Role>,
    /// Bees, at least 1.
    pub cores: usize,
    /// Memory it may use, in bytes.
    pub memory_bytes: u64,
    /// `HOST` or `HOST:PORT` to listen on; a port is the first role's, worker and compactor lie 10 and 20 above a
    /// coordinator's.
    pub listen: String,
    /// `HOST` or `HOST:PORT` under which others reach it, if that is not where it listens.
    pub advertise: Option<String>,
    /// Whether clients from other machines need nothing to prove.
    pub insecure: bool,
    /// First part of the node's id, for people; the host's name unless given. Counts only for a new data folder.
    pub name: Option<String>,
    /// Bytes of disk for cells that were read or written; 0 is no cache at all. Unless told a share of the free space,
    /// and none for a bucket that is a folder.
    pub cache_bytes: Option<u64>,
}

impl NodeSettings {
    /// Settings for a node inside another program: this machine's hardware, every role, the loopback.
    #[must_use]
    pub fn new(storage: impl Into<String>, data_dir: impl Into<PathBuf>) -> Self {
        let hardware = Hardware::detect();
        Self {
            storage: storage.into(),
            data_dir: data_dir.into(),
            roles: Role::ALL.to_vec(),
            cores: hardware.cores,
            memory_bytes: hardware.memory_bytes,
            listen: LISTEN_DEFAULT.to_owned(),
            advertise: None,
            insecure: false,
            name: None,
            cache_bytes: None,
        }
    }

    /// Reads flags, environment and file, and asks the hardware for the rest. Reads at most one small file.
    pub fn load(flags: &NodeFlags) -> Result<Self> {
        load::load(flags, std::env::vars(), Hardware::detect)
    }

    /// What one bee's chamber may hold, in bytes.
    #[must_use]
    pub fn chamber_bytes(&self) -> u64 {
        chamber_bytes(self.memory_bytes, self.cores)
    }

    /// Where a role's gRPC server should listen, as `host:port`. A given port is the first role's, the others keep
    /// their distance from it, so that two nodes of many roles fit on one host. Port 0 is any free port.
    pub fn listen_on(&self, role: Role) -> Result<String> {
        let (host, port) = split_address(&self.listen)?;
        let first = self.roles.first().copied().unwrap_or(role);
        let port = match port {
            None => role.default_port(),
            Some(0) => 0,
            Some(port) => {
                port.checked_add(role.default_port().saturating_sub(first.default_port())).ok_or_else(|| {
                    NodeError::setting("listen", format!("port {port} leaves no room for the other roles"))
                })?
            }
        };
        Ok(format!("{host}:{port}"))
    }

    /// How others reach a server that is bound to `local`: as told, else as bound, with this host's name for an
    /// address that means every interface.
    pub fn reached_at(&self, local: std::net::SocketAddr) -> Result<String> {
        let Some(told) = &self.advertise else {
            let host = if local.ip().is_unspecified() { host_name() } else { None };
            return Ok(host.map_or(local.to_string(), |host| format!("{host}:{}", local.port())));
        };
        let (host, port) = split_address(told)?;
        Ok(format!("{host}:{}", port.unwrap_or(local.port())))
    }

    fn check(self) -> Result<Self> {
        if self.roles.is_empty() {
            return Err(NodeError::setting("roles", "a node needs at least one: coordinator, worker, compactor"));
        }
        if !(1..=CORES_MAX).contains(&self.cores) {
            return Err(NodeError::setting("cores", format!("{} is not between 1 and {CORES_MAX}", self.cores)));
        }
        if self.memory_bytes < MEMORY_BYTES_MIN {
            let least = units::bytes(MEMORY_BYTES_MIN);
            return Err(NodeError::setting("memory", format!("a node needs at least {least}")));
        }
        split_address(&self.listen)?;
        self.advertise.as_deref().map(split_address).transpose()?;
        Ok(self)
    }
}

/// Only this machine, unless told otherwise.
pub(crate) const LISTEN_DEFAULT: &str = "127.0.0.1";

/// More bees than any machine has: a slip of the keyboard, not a wish.
const CORES_MAX: usize = 4096;

/// Less memory than this holds no chamber.
const MEMORY_BYTES_MIN: u64 = 64 << 20;

/// `HOST`, `HOST:PORT` or `[V6]:PORT`; the host keeps its brackets.
fn split_address(text: &str) -> Result<(&str, Option<u16>)> {
    let bad = |why: &str| NodeError::setting("listen", format!("'{text}' is not HOST or HOST:PORT: {why}"));
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !text.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    if host.is_empty() {
        return Err(bad("the host is missing"));
    }
    if host.contains(':') && !host.starts_with('[') {
        return Err(bad("put an IPv6 address in brackets"));
    }
    let port = port.map(|port| port.parse().map_err(|_| bad("the port is not a number up to 65535"))).transpose()?;
    Ok((host, port))
}

impl fmt::Display for NodeSettings {
    /// The effective settings on one line, secrets left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let storage = self.storage.split('?').next().unwrap_or_default();
        let storage = if storage.contains('@') { "(with credentials)" } else { storage };
        let roles: Vec<_> = self.roles.iter().map(|role| role.as_str()).collect();
        let (memory, chamber) = (units::bytes(self.memory_bytes), units::bytes(self.chamber_bytes()));
        write!(f, "storage {storage} · roles {} · {}", roles.join(","), units::counted(self.cores as u64, "core"))?;
        write!(f, " · memory {memory} · chamber {chamber} · listen {}", self.listen)?;
        write!(f, " · data {}{}", self.data_dir.display(), if self.insecure { " · INSECURE" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(listen: &str, roles: &[Role]) -> NodeSettings {
        NodeSettings { listen: listen.into(), roles: roles.to_vec(), ..NodeSettings::new("memory://", "/tmp/x") }
    }

    #[test]
    fn every_role_has_its_port() {
        let all = settings("127.0.0.1", &Role::ALL);
        let ports = Role::ALL.map(|role| all.listen_on(role).unwrap());
        assert_eq!(ports, ["127.0.0.1:7410", "127.0.0.1:7420", "127.0.0.1:7430"]);
    }

    #[test]
    fn a_port_counts_for_the_first_role_and_zero_for_all() {
        let two = [Role::Coordinator, Role::Worker];
        assert_eq!(settings("0.0.0.0:9000", &two).listen_on(Role::Coordinator).unwrap(), "0.0.0.0:9000");
        assert_eq!(settings("0.0.0.0:9000", &two).listen_on(Role::Worker).unwrap(), "0.0.0.0:9010");
        assert_eq!(settings("localhost:0", &two).listen_on(Role::Worker).unwrap(), "localhost:0");
    }

    #[test]
    fn addresses_that_are_none_are_refused() {
        for bad in ["", ":7410", "host:port", "host:70000", "::1:7410"] {
            assert!(settings(bad, &Role::ALL).check().is_err(), "{bad}");
        }
        assert!(settings("[::1]:7410", &Role::ALL).check().is_ok());
        assert!(settings("[::1]", &Role::ALL).check().is_ok());
    }

    #[test]
    fn what_is_advertised_is_what_others_see() {
        let mut told = settings("0.0.0.0", &Role::ALL);
        told.advertise = Some("pi-3.lan".into());
        assert_eq!(told.reached_at("0.0.0.0:7410".parse().unwrap()).unwrap(), "pi-3.lan:7410");
        let plain = settings("127.0.0.1", &Role::ALL);
        assert_eq!(plain.reached_at("127.0.0.1:7410".parse().unwrap()).unwrap(), "127.0.0.1:7410");
    }

    #[test]
    fn credentials_do_not_show() {
        let mut secret = settings("127.0.0.1", &Role::ALL);
        secret.storage = "s3://bucket/prefix?access_key_id=AKIA&secret_access_key=hunter2".into();
        assert!(!secret.to_string().contains("hunter2") && secret.to_string().contains("s3://bucket/prefix"));
    }
}
