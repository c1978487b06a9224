//! Reading settings from flags, environment and file.

use std::{collections::BTreeMap, path::PathBuf};

use apiary_core::{suggest, units};
use figment::{
    Figment,
    providers::{Format, Serialized, Toml},
};
use serde::{Deserialize, Serialize};

use super::{Hardware, LISTEN_DEFAULT, NodeSettings};
use crate::{NodeError, Result, Role};

/// What the command line says; `None` where it says nothing. Field names are the settings' names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct NodeFlags {
    /// The file to read instead of `apiary.toml` here.
    #[serde(skip)]
    pub config: Option<PathBuf>,
    /// The bucket's uri.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage: Option<String>,
    /// The node's own folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<PathBuf>,
    /// `coordinator,worker`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roles: Option<String>,
    /// Bees.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cores: Option<usize>,
    /// `1GiB`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    /// `HOST` or `HOST:PORT`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<String>,
    /// `HOST` or `HOST:PORT`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advertise: Option<String>,
    /// Given or not.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub insecure: bool,
    /// First part of the node's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `4GiB`, or `0`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_size: Option<String>,
}

/// Every setting's name.
const NAMES: [&str; 10] =
    ["storage", "data_dir", "roles", "cores", "memory", "listen", "advertise", "insecure", "name", "cache_size"];

/// What else the environment may hold: other parts of the program read these, or an orchestrator sets them.
const OTHER_VARIABLES: [&str; 7] = ["log", "config", "connect", "token", "home", "python", "failpoint"];
const OTHER_PREFIXES: [&str; 5] = ["test_", "sim_", "port_", "service_", "failpoint_"];

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum TextOrNumber {
    Number(u64),
    Text(String),
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    Many(Vec<String>),
    One(String),
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Raw {
    storage: Option<String>,
    data_dir: Option<PathBuf>,
    roles: Option<OneOrMany>,
    cores: Option<usize>,
    memory: Option<TextOrNumber>,
    listen: Option<String>,
    advertise: Option<String>,
    insecure: Option<bool>,
    name: Option<String>,
    cache_size: Option<TextOrNumber>,
}

/// Bytes, as a number or with a unit.
fn size(name: &'static str, told: Option<TextOrNumber>, example: &str) -> Result<Option<u64>> {
    match told {
        None => Ok(None),
        Some(TextOrNumber::Number(bytes)) => Ok(Some(bytes)),
        Some(TextOrNumber::Text(text)) => match units::parse_bytes(&text) {
            Some(bytes) => Ok(Some(bytes)),
            None => Err(NodeError::setting(name, format!("'{text}' is not a size; write {example}"))),
        },
    }
}

pub(super) fn load(
    flags: &NodeFlags,
    variables: impl Iterator<Item = (String, String)>,
    hardware: impl FnOnce() -> Hardware,
) -> Result<NodeSettings> {
    let mut variables: BTreeMap<String, String> = variables
        .filter_map(|(name, value)| Some((name.strip_prefix("APIARY_")?.to_ascii_lowercase(), value)))
        .filter(|(_, value)| !value.is_empty())
        .collect();
    let config = flags.config.clone().or(variables.remove("config").map(PathBuf::from));
    let file = read_file(config)?;
    check_variables(&variables)?;
    variables.retain(|name, _| NAMES.contains(&name.as_str()));
    let home = std::env::home_dir().unwrap_or_default();
    let figment = Figment::new().merge(file).merge(Serialized::defaults(&variables)).merge(Serialized::defaults(flags));
    let raw: Raw = figment.extract_lossy().map_err(|error| NodeError::Settings(error.to_string()))?;
    raw.settle(hardware, home)?.check()
}

/// The settings file, its keys checked; without one named, `apiary.toml` in the working folder if there is one.
fn read_file(named: Option<PathBuf>) -> Result<Figment> {
    let path = named.clone().unwrap_or_else(|| PathBuf::from("apiary.toml"));
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => return Ok(Figment::new()),
        Err(error) => return Err(NodeError::file("read the settings file", &path)(error)),
    };
    let file = Figment::from(Toml::string(&text));
    let place = path.display().to_string();
    let data: BTreeMap<String, figment::value::Value> =
        file.extract().map_err(|error| NodeError::Settings(format!("{place}: {error}")))?;
    match data.keys().find(|key| !NAMES.contains(&key.as_str())) {
        None => Ok(file),
        Some(name) => {
            let suggestion = suggest::nearest(name, NAMES).map(str::to_owned);
            Err(NodeError::UnknownSetting { name: name.clone(), place, suggestion })
        }
    }
}

/// Refuses what looks like a slip. Anything else under our prefix may belong to an orchestrator, which sets
/// variables of its own for a service of our name.
fn check_variables(variables: &BTreeMap<String, String>) -> Result<()> {
    let other = |name: &str| OTHER_VARIABLES.contains(&name) || OTHER_PREFIXES.iter().any(|p| name.starts_with(p));
    for name in variables.keys().filter(|name| !NAMES.contains(&name.as_str()) && !other(name)) {
        let shown = format!("APIARY_{}", name.to_ascii_uppercase());
        if let Some(near) = suggest::nearest(name, NAMES) {
            let suggestion = Some(format!("APIARY_{}", near.to_ascii_uppercase()));
            return Err(NodeError::UnknownSetting { name: shown, place: "the environment".into(), suggestion });
        }
        tracing::debug!(variable = shown, "passing over a variable that is no setting");
    }
    Ok(())
}

impl Raw {
    fn settle(self, hardware: impl FnOnce() -> Hardware, home: PathBuf) -> Result<NodeSettings> {
        let roles = match self.roles {
            None => Role::ALL.to_vec(),
            Some(OneOrMany::One(text)) => Role::parse_list(&text)?,
            Some(OneOrMany::Many(words)) => Role::parse_list(&words.join(","))?,
        };
        let memory = size("memory", self.memory, "1GiB or 512MB")?;
        let cache_bytes = size("cache_size", self.cache_size, "4GiB, or 0 for none")?;
        let found = hardware();
        let home = home.join(".apiary");
        let words: Vec<_> = roles.iter().map(|role| role.as_str()).collect();
        Ok(NodeSettings {
            storage: self.storage.unwrap_or_else(|| home.join("default").display().to_string()),
            data_dir: self.data_dir.unwrap_or_else(|| home.join("nodes").join(words.join("-"))),
            roles,
            cores: self.cores.unwrap_or(found.cores),
            memory_bytes: memory.unwrap_or(found.memory_bytes),
            listen: self.listen.unwrap_or_else(|| LISTEN_DEFAULT.to_owned()),
            advertise: self.advertise,
            insecure: self.insecure.unwrap_or(false),
            name: self.name,
            cache_bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(toml: &str, variables: &[(&str, &str)], flags: NodeFlags) -> Result<NodeSettings> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("apiary.toml");
        std::fs::write(&path, toml).unwrap();
        let flags = NodeFlags { config: Some(path), ..flags };
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        load(&flags, variables, || Hardware { cores: 4, memory_bytes: 8 << 30 })
    }

    #[test]
    fn flags_go_over_variables_over_the_file_over_the_hardware() {
        let toml = "storage = 's3://file'\ncores = 3\nmemory = '1GiB'\n";
        let variables = [("APIARY_CORES", "2"), ("APIARY_LISTEN", "0.0.0.0"), ("APIARY_INSECURE", "true")];
        let flags = NodeFlags { storage: Some("/tmp/flag".into()), ..NodeFlags::default() };
        let got = read(toml, &variables, flags).unwrap();
        assert_eq!((got.storage.as_str(), got.cores, got.memory_bytes), ("/tmp/flag", 2, 1 << 30));
        assert_eq!((got.listen.as_str(), got.insecure), ("0.0.0.0", true));
        let bare = read("", &[], NodeFlags::default()).unwrap();
        assert_eq!((bare.cores, bare.memory_bytes, bare.insecure), (4, 8 << 30, false));
    }

    #[test]
    fn roles_are_a_list_or_a_line() {
        for toml in ["roles = ['worker', 'coordinator']", "roles = 'coordinator,worker'"] {
            assert_eq!(read(toml, &[], NodeFlags::default()).unwrap().roles, [Role::Coordinator, Role::Worker]);
        }
        let one = read("", &[("APIARY_ROLES", "worker")], NodeFlags::default()).unwrap();
        assert_eq!(one.roles, [Role::Worker]);
        assert!(one.data_dir.ends_with(".apiary/nodes/worker"));
    }

    #[test]
    fn a_cache_has_the_size_that_was_told_or_none_or_its_own() {
        let cache = |toml: &str| read(toml, &[], NodeFlags::default()).unwrap().cache_bytes;
        assert_eq!(cache(""), None);
        assert_eq!((cache("cache_size = 0"), cache("cache_size = '0'")), (Some(0), Some(0)));
        assert_eq!(cache("cache_size = '4GiB'"), Some(4 << 30));
        let flags = NodeFlags { cache_size: Some("1GiB".into()), ..NodeFlags::default() };
        assert_eq!(read("", &[("APIARY_CACHE_SIZE", "2GiB")], flags).unwrap().cache_bytes, Some(1 << 30));
    }

    #[test]
    fn an_unknown_key_in_the_file_is_refused_with_a_suggestion() {
        let error = read("memroy = '1GiB'", &[], NodeFlags::default()).unwrap_err().to_string();
        assert!(error.contains("'memroy'") && error.contains("did you mean 'memory'?"), "{error}");
        assert!(read("colour = 1", &[], NodeFlags::default()).is_err());
    }

    #[test]
    fn a_slip_in_the_environment_is_refused_and_an_orchestrators_variables_are_not() {
        let error = read("", &[("APIARY_STORGE", "x")], NodeFlags::default()).unwrap_err().to_string();
        assert!(error.contains("APIARY_STORGE") && error.contains("APIARY_STORAGE"), "{error}");
        let strange = [("APIARY_SERVICE_HOST", "10.0.0.1"), ("APIARY_COORDINATOR_PORT", "x"), ("APIARY_LOG", "debug")];
        assert!(read("", &strange, NodeFlags::default()).is_ok());
    }

    #[test]
    fn values_that_cannot_be_are_refused_by_name() {
        for (toml, name) in [("memory = 'lots'", "memory"), ("cores = 0", "cores"), ("roles = ''", "roles")] {
            let error = read(toml, &[], NodeFlags::default()).unwrap_err().to_string();
            assert!(error.contains(&format!("'{name}'")), "{error}");
        }
        let slip = read("cache_size = 'some'", &[], NodeFlags::default()).unwrap_err().to_string();
        assert!(slip.contains("'cache_size'") && slip.contains("0 for none"), "{slip}");
        assert!(read("memory = 1000", &[], NodeFlags::default()).is_err());
        assert!(read("cores = 'many'", &[], NodeFlags::default()).is_err());
    }

    #[test]
    fn a_missing_file_that_was_named_is_an_error() {
        let flags = NodeFlags { config: Some("/nowhere/apiary.toml".into()), ..NodeFlags::default() };
        assert!(load(&flags, std::iter::empty(), Hardware::detect).is_err());
    }
}
