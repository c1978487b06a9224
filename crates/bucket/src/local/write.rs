//! Writing, copying and deleting: a file gets its name in one step, when it is whole and on the disk.

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Write},
    path::{Path as FilePath, PathBuf},
};

use object_store::{Error, PutPayload, PutResult, Result, path::Path};

use super::{
    faults,
    place::{Place, STAGING, sync_folder},
    read,
    steps::{is_dead, step},
};
use crate::layout;

/// How often a name is tried again when its folder goes away in between: others sweep empty folders of the board.
const FOLDER_RACES_MAX: usize = 64;

/// A file that has no name yet; dropped, it is gone.
#[derive(Debug)]
pub(super) struct Staged {
    pub(super) file: File,
    path: PathBuf,
}

impl Staged {
    pub(super) fn new(place: &Place) -> io::Result<Self> {
        let (file, path) = place.stage()?;
        Ok(Self { file, path })
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if is_dead() {
            return;
        }
        // After a rename there is nothing to remove.
        let _ = fs::remove_file(&self.path);
    }
}

pub(super) fn put(place: &Place, location: &Path, payload: &PutPayload, create: bool) -> Result<PutResult> {
    let fault = |error| faults::of(location, error);
    let mut staged = Staged::new(place).map_err(unstaged)?;
    for chunk in payload {
        step("write").and_then(|()| staged.file.write_all(chunk)).map_err(fault)?;
    }
    publish(place, location, staged, create)
}

/// Gives a whole staged file its name.
pub(super) fn publish(place: &Place, location: &Path, staged: Staged, create: bool) -> Result<PutResult> {
    let fault = |error| faults::of(location, error);
    let durable = !layout::is_ephemeral(location.as_ref());
    if durable {
        step("sync file").and_then(|()| staged.file.sync_all()).map_err(fault)?;
    }
    name(place, location, &staged.path, create, durable)?;
    let e_tag = read::e_tag(&staged.file.metadata().map_err(fault)?);
    Ok(PutResult { e_tag: Some(e_tag), version: None })
}

/// Links or renames `from` to the object's name and brings the name to the disk.
fn name(place: &Place, location: &Path, from: &FilePath, create: bool, durable: bool) -> Result<()> {
    let to = place.file(location)?;
    let fault = |error| faults::of(location, error);
    let mut races = 0;
    let named = loop {
        let give = || {
            step("name")?;
            if create { fs::hard_link(from, &to) } else { fs::rename(from, &to) }
        };
        match place.make_parents(&to, durable).and_then(|()| give()) {
            Err(error) if error.kind() == ErrorKind::NotFound && races < FOLDER_RACES_MAX => {
                races += 1;
                place.unsettle(&to);
            }
            named => break named,
        }
    };
    match named {
        Ok(()) => {}
        // The other's name must last as well before we tell anybody of it.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            settle(&to, durable).map_err(fault)?;
            return Err(fault(error));
        }
        // EISDIR or ENOTEMPTY: there are objects below this key, and a folder cannot be a file.
        Err(error) if matches!(error.kind(), ErrorKind::IsADirectory | ErrorKind::DirectoryNotEmpty) => {
            return Err(faults::generic(format!("'{location}' is a folder of other objects: {error}")));
        }
        Err(error) if create && matches!(error.raw_os_error(), Some(libc::EPERM | libc::EOPNOTSUPP)) => {
            let what = format!("the file system has no hard links, which creating '{location}' needs: {error}");
            return Err(Error::NotSupported { source: what.into() });
        }
        Err(error) => return Err(fault(error)),
    }
    settle(&to, durable).map_err(fault)
}

fn settle(file: &FilePath, durable: bool) -> io::Result<()> {
    match file.parent() {
        Some(parent) if durable => sync_folder(parent),
        _ => Ok(()),
    }
}

/// A second name for the same bytes: bodies never change in place, so sharing them is safe.
pub(super) fn copy(place: &Place, from: &Path, to: &Path, create: bool) -> Result<()> {
    drop(place.open_object(from)?);
    let source = place.file(from)?;
    let durable = !layout::is_ephemeral(to.as_ref());
    if create {
        return name(place, to, &source, true, durable);
    }
    // A rename replaces, a link does not: link to a staged name first.
    let staged = Staged::new(place).map_err(unstaged)?;
    fs::remove_file(&staged.path).map_err(unstaged)?;
    fs::hard_link(&source, &staged.path).map_err(|error| faults::of(from, error))?;
    name(place, to, &staged.path, false, durable)
}

/// Removes an object's name. It may come back if the power fails within seconds: who must not see it again, such as
/// the ledger's clean-up, leaves a mark first.
pub(super) fn delete(place: &Place, location: &Path) -> Result<()> {
    let path = place.file(location)?;
    // Removing through a linked folder would leave the root.
    let folder = path.parent().unwrap_or(place.root());
    let real = fs::canonicalize(folder).map_err(|error| faults::of(location, error))?;
    if real != folder {
        let source = "a symbolic link stands in the way".into();
        return Err(Error::PermissionDenied { path: location.to_string(), source });
    }
    fs::remove_file(&path).map_err(|error| faults::of(location, error))?;
    if layout::is_ephemeral(location.as_ref()) {
        remove_empty_folders(place, folder);
    }
    Ok(())
}

/// Queries come and go; their folders go with them. Stops at the first folder that is in use, and below the root.
fn remove_empty_folders(place: &Place, mut folder: &FilePath) {
    while folder.parent().is_some_and(|parent| parent != place.root()) && fs::remove_dir(folder).is_ok() {
        let Some(parent) = folder.parent() else { return };
        folder = parent;
    }
}

/// No staged file could be made: the folder is read-only, full, or gone.
pub(super) fn unstaged(error: io::Error) -> Error {
    if matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) {
        return faults::full("", &error);
    }
    let words = format!("cannot write in the bucket's folder: {error}");
    if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem) {
        return Error::PermissionDenied { path: STAGING.to_owned(), source: words.into() };
    }
    faults::generic(words)
}
