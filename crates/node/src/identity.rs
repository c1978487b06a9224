//! Who a node is: an id in its data folder that survives restarts, and a lock that keeps a second process out.

use std::{
    fs::{File, TryLockError},
    io::Write,
    path::{Path, PathBuf},
};

use apiary_core::{NodeId, Rng};
use serde::{Deserialize, Serialize};

use crate::{NodeError, Result, settings::NodeSettings};

const FORMAT: u32 = 1;

/// Most letters of a host's name in an id.
const NAME_CHARS_MAX: usize = 40;

#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    format: u32,
    node: NodeId,
}

/// A node's id and its hold on the data folder; the hold ends when this is dropped, or with the process.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) node: NodeId,
    /// Whether the id was made now.
    pub(crate) is_new: bool,
    /// Where tasks leave files that end with them.
    pub(crate) scratch: PathBuf,
    _lock: File,
}

impl Identity {
    /// Takes the data folder, reading or making the id, and clears what a crash left in its scratch folder.
    pub(crate) fn take(settings: &NodeSettings, rng: &dyn Rng) -> Result<Self> {
        let folder = &settings.data_dir;
        std::fs::create_dir_all(folder).map_err(NodeError::file("create the data folder", folder))?;
        let lock = lock(folder)?;
        let path = folder.join("node.json");
        let (node, is_new) = match std::fs::read(&path) {
            Ok(body) => (read(&path, &body)?, false),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => (make(&path, settings, rng)?, true),
            Err(error) => return Err(NodeError::file("read the identity", &path)(error)),
        };
        let scratch = folder.join("scratch");
        match std::fs::remove_dir_all(&scratch) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(NodeError::file("clear the scratch folder", &scratch)(error));
            }
            _ => {}
        }
        std::fs::create_dir_all(&scratch).map_err(NodeError::file("create the scratch folder", &scratch))?;
        Ok(Self { node, is_new, scratch, _lock: lock })
    }
}

fn lock(folder: &Path) -> Result<File> {
    let path = folder.join("lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(NodeError::file("open the lock", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(NodeError::DataDirTaken { path: folder.to_owned() }),
        Err(TryLockError::Error(error)) => Err(NodeError::file("lock", path)(error)),
    }
}

fn read(path: &Path, body: &[u8]) -> Result<NodeId> {
    let stored: Stored = serde_json::from_slice(body)
        .map_err(|why| NodeError::setting("data_dir", format!("'{}' is damaged: {why}", path.display())))?;
    if stored.format != FORMAT {
        let why = format!("'{}' has format {}, known is {FORMAT}", path.display(), stored.format);
        return Err(NodeError::setting("data_dir", why));
    }
    Ok(stored.node)
}

fn make(path: &Path, settings: &NodeSettings, rng: &dyn Rng) -> Result<NodeId> {
    let node = new_id(settings, rng)?;
    let body = serde_json::to_vec(&Stored { format: FORMAT, node: node.clone() });
    let body = body.map_err(|why| NodeError::setting("data_dir", why.to_string()))?;
    // A half-written identity would be refused for ever: write aside, then rename.
    let aside = path.with_extension("new");
    let write = || {
        let mut file = File::create(&aside)?;
        file.write_all(&body)?;
        file.sync_all()?;
        std::fs::rename(&aside, path)
    };
    write().map_err(NodeError::file("write the identity", path))?;
    Ok(node)
}

/// The given name or the host's, and six random digits: two containers of one image differ.
fn new_id(settings: &NodeSettings, rng: &dyn Rng) -> Result<NodeId> {
    let host = || crate::settings::host_name().unwrap_or_default();
    let name = settings.name.clone().unwrap_or_else(host).to_ascii_lowercase();
    let kept = |c: char| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' };
    let name: String = name.chars().map(kept).take(NAME_CHARS_MAX).collect();
    let name = name.trim_matches('-');
    let digits = format!("{:06x}", rng.next_u64() >> 40);
    let text = if name.is_empty() { format!("node-{digits}") } else { format!("{name}-{digits}") };
    NodeId::new(text).map_err(|why| NodeError::setting("name", why.to_string()))
}

#[cfg(test)]
mod tests {
    use apiary_core::SeededRng;

    use super::*;

    fn settings(folder: &Path, name: &str) -> NodeSettings {
        NodeSettings { name: Some(name.to_owned()), ..NodeSettings::new("memory://", folder) }
    }

    #[test]
    fn an_id_survives_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let first = Identity::take(&settings(folder.path(), "Pi 3"), &SeededRng::new(1)).unwrap();
        let id = first.node.clone();
        assert!(first.is_new && id.as_str().starts_with("pi-3-"), "{id}");
        drop(first);
        let again = Identity::take(&settings(folder.path(), "other"), &SeededRng::new(2)).unwrap();
        assert_eq!((again.node.clone(), again.is_new), (id, false));
    }

    #[test]
    fn one_folder_holds_one_node() {
        let folder = tempfile::tempdir().unwrap();
        let _first = Identity::take(&settings(folder.path(), "a"), &SeededRng::new(1)).unwrap();
        let second = Identity::take(&settings(folder.path(), "a"), &SeededRng::new(2)).unwrap_err();
        assert!(matches!(second, NodeError::DataDirTaken { .. }));
        assert!(second.hint().unwrap().contains("--data-dir"));
    }

    #[test]
    fn a_name_of_strange_letters_still_makes_an_id() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["", "---", "日本", &"x".repeat(200)] {
            assert!(
                new_id(&settings(folder.path(), name), &SeededRng::new(3)).unwrap().as_str().len() <= NodeId::BYTES_MAX
            );
        }
    }

    #[test]
    fn a_crash_leaves_no_scratch_files_behind() {
        let folder = tempfile::tempdir().unwrap();
        let left = folder.path().join("scratch/chamber-1/spill");
        std::fs::create_dir_all(left.parent().unwrap()).unwrap();
        std::fs::write(&left, b"x").unwrap();
        let identity = Identity::take(&settings(folder.path(), "a"), &SeededRng::new(1)).unwrap();
        assert!(!left.exists() && identity.scratch.exists());
    }
}
