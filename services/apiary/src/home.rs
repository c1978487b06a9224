//! `~/.apiary`, or the folder that `APIARY_HOME` names: the default bucket and the folders of nodes that live only as
//! long as a command or a Python session.

use std::{
    fs::{File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use apiary_core::ErrorKind;
use apiary_proto::ClientError;

/// Commands that may run at once with a colony of their own each.
const SLOTS_MAX: usize = 64;

/// `~/.apiary/default`, which need not be there.
pub(crate) fn default_bucket() -> Result<PathBuf, ClientError> {
    Ok(root()?.join("default"))
}

/// A node's data folder that no other command uses, held until dropped. The same few folders serve again and again,
/// so a machine's commands do not litter the colony with new node ids.
#[derive(Debug)]
pub(crate) struct Slot {
    /// The folder.
    pub(crate) folder: PathBuf,
    /// Unlocks when it closes.
    _lock: File,
}

/// Takes a free slot below `~/.apiary/nodes`.
pub(crate) fn free_slot() -> Result<Slot, ClientError> {
    let base = made(root()?.join("nodes"))?;
    take_slot(&base)
}

fn take_slot(base: &Path) -> Result<Slot, ClientError> {
    for n in 1..=SLOTS_MAX {
        let folder = made(base.join(format!("command-{n}")))?;
        let path = folder.join("in-use");
        let lock = File::options().create(true).append(true).open(&path).map_err(|error| refused(&path, &error))?;
        match lock.try_lock() {
            Ok(()) => return Ok(Slot { folder, _lock: lock }),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(refused(&path, &error)),
        }
    }
    let text = format!("{SLOTS_MAX} commands run a colony of their own already");
    Err(ClientError::new(ErrorKind::Overloaded, text)
        .with_hint("run `apiary start` once, and the commands use it".to_owned()))
}

fn root() -> Result<PathBuf, ClientError> {
    if let Some(named) = std::env::var_os("APIARY_HOME").filter(|named| !named.is_empty()) {
        return Ok(named.into());
    }
    std::env::home_dir().filter(|home| !home.as_os_str().is_empty()).map(|home| home.join(".apiary")).ok_or_else(|| {
        ClientError::new(ErrorKind::InvalidInput, "there is no home folder for ~/.apiary")
            .with_hint("name a bucket with --storage and a folder with --data-dir".to_owned())
    })
}

fn made(folder: PathBuf) -> Result<PathBuf, ClientError> {
    std::fs::create_dir_all(&folder).map_err(|error| refused(&folder, &error))?;
    Ok(folder)
}

fn refused(path: &Path, error: &io::Error) -> ClientError {
    ClientError::new(ErrorKind::Storage, format!("cannot use {}: {error}", path.display()))
        .with_hint("make it writable, or name another place with --storage and --data-dir".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_commands_take_two_slots_and_leave_them() {
        let base = tempfile::tempdir().unwrap();
        let first = take_slot(base.path()).unwrap();
        let second = take_slot(base.path()).unwrap();
        assert_ne!(first.folder, second.folder);
        let folder = first.folder.clone();
        drop(first);
        assert_eq!(take_slot(base.path()).unwrap().folder, folder);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let base = tempfile::tempdir().unwrap();
        let file = base.path().join("file");
        std::fs::write(&file, "x").unwrap();
        let error = take_slot(&file).unwrap_err();
        assert!(error.message.contains("command-1"), "{}", error.message);
        assert!(error.hint.is_some());
    }
}
