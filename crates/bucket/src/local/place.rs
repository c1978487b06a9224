//! Where things are: the root, the staging folder, the way from a key to a file and no further.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind},
    os::unix::fs::OpenOptionsExt,
    path::{Path as FilePath, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use object_store::{Error, Result, path::Path};

use super::{faults, steps::step};

/// The folder below the root that holds files being written; keys below it are refused and never listed.
pub(super) const STAGING: &str = ".apiary-staging";

/// Staged files older than this, by the file system's own clock, are left over from a crash: no upload takes a day.
const STAGED_AGE_MAX: Duration = Duration::from_secs(24 * 3600);

/// Names tried for one staged file: the folder may be missing once, and a name taken by what a crash left.
const STAGING_TRIES_MAX: usize = 16;

/// Folders remembered as being there. Past this the memory starts afresh, which costs some fsyncs.
const SETTLED_FOLDERS_MAX: usize = 10_000;

/// The folder that is a bucket.
#[derive(Debug)]
pub(crate) struct Place {
    root: PathBuf,
    /// Tells this process's staged files from another's, which may have the same process id in a container.
    nonce: u64,
    staged: AtomicU64,
    /// Folders that this process found to be there, and whether it has brought their names to the disk.
    settled: Mutex<HashMap<PathBuf, bool>>,
}

impl Place {
    /// The folder at `root`, made if it is not there.
    pub(crate) fn open(root: &FilePath, nonce: u64) -> io::Result<Self> {
        fs::create_dir_all(root)?;
        let root = fs::canonicalize(root)?;
        // Its own name must survive as well; a root that we may not look above was there before us.
        if let Some(parent) = root.parent() {
            let _ = sync_folder(parent);
        }
        let place = Self { root, nonce, staged: AtomicU64::new(0), settled: Mutex::default() };
        let _ = place.sweep();
        Ok(place)
    }

    pub(crate) fn root(&self) -> &FilePath {
        &self.root
    }

    /// The file of an object; it may not be there.
    pub(super) fn file(&self, location: &Path) -> Result<PathBuf> {
        let key = location.as_ref();
        let refuse = |why: &str| Error::NotSupported { source: format!("'{key}' cannot be an object: {why}").into() };
        if key.is_empty() {
            return Err(refuse("it is empty"));
        }
        if key.split('/').next() == Some(STAGING) {
            return Err(refuse("the store keeps that folder for itself"));
        }
        if key.split('/').any(|part| matches!(part, "" | "." | "..") || part.contains('\0')) {
            return Err(refuse("it would leave its folder"));
        }
        Ok(self.root.join(key))
    }

    /// Opens an object to read it. What lies behind a symbolic link is not in the bucket.
    pub(super) fn open_object(&self, location: &Path) -> Result<File> {
        let path = self.file(location)?;
        let real = fs::canonicalize(&path).map_err(|error| faults::of(location, error))?;
        if real != path {
            let source = "a symbolic link, or another spelling of the name, stands in the way".into();
            return Err(Error::PermissionDenied { path: location.to_string(), source });
        }
        // Not blocking: a named pipe in the folder must not hold us.
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let opened = OpenOptions::new().read(true).custom_flags(flags).open(&path);
        opened.map_err(|error| faults::of(location, error))
    }

    /// A new, empty staged file.
    pub(super) fn stage(&self) -> io::Result<(File, PathBuf)> {
        let folder = self.root.join(STAGING);
        let mut tries = 0;
        loop {
            tries += 1;
            let n = self.staged.fetch_add(1, Ordering::Relaxed);
            let path = folder.join(format!("{:016x}-{n}", self.nonce));
            step("stage")?;
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => return Ok((file, path)),
                Err(error) if tries > STAGING_TRIES_MAX => return Err(error),
                Err(error) if error.kind() == ErrorKind::NotFound => make_folder(&folder)?,
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Makes the folder of `file` and, for what must last, brings the names on the way to the disk. Refuses to go
    /// through anything that is not a folder, such as a symbolic link; a folder that was found once is not looked at again.
    pub(super) fn make_parents(&self, file: &FilePath, durable: bool) -> io::Result<()> {
        let parent = file.parent().unwrap_or(&self.root);
        if self.settled().get(parent).is_some_and(|synced| *synced || !durable) {
            return Ok(());
        }
        let below = parent.strip_prefix(&self.root).map_err(io::Error::other)?;
        let mut folder = self.root.clone();
        for part in below {
            let above = folder.clone();
            folder.push(part);
            make_folder(&folder)?;
            // Also what another process made: it may not have brought it to the disk yet.
            if durable {
                sync_folder(&above)?;
            }
        }
        let mut settled = self.settled();
        if settled.len() >= SETTLED_FOLDERS_MAX {
            settled.clear();
        }
        *settled.entry(parent.to_owned()).or_default() |= durable;
        Ok(())
    }

    /// The folder of `file` is gone after all: someone removed it by hand, or swept what was empty.
    pub(super) fn unsettle(&self, file: &FilePath) {
        if let Some(parent) = file.parent() {
            self.settled().remove(parent);
        }
    }

    fn settled(&self) -> std::sync::MutexGuard<'_, HashMap<PathBuf, bool>> {
        self.settled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes what crashes left in the staging folder. Ages are measured against a file made now, so that only
    /// the file system's clock counts.
    fn sweep(&self) -> io::Result<()> {
        let folder = self.root.join(STAGING);
        let Ok(entries) = fs::read_dir(&folder) else { return Ok(()) };
        let (file, path) = self.stage()?;
        let now = file.metadata()?.modified()?;
        for entry in entries.flatten() {
            let modified = entry.metadata().and_then(|meta| meta.modified());
            if modified.is_ok_and(|at| now.duration_since(at).is_ok_and(|age| age > STAGED_AGE_MAX)) {
                let _ = fs::remove_file(entry.path());
            }
        }
        fs::remove_file(path)
    }
}

/// Makes one folder unless it is there; anything else of that name is an error.
fn make_folder(folder: &FilePath) -> io::Result<()> {
    step("make folder")?;
    match fs::create_dir(folder) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            if fs::symlink_metadata(folder)?.is_dir() {
                return Ok(());
            }
            let what = format!("{} is a file or a symbolic link, not a folder", folder.display());
            Err(io::Error::new(ErrorKind::PermissionDenied, what))
        }
        made => made,
    }
}

/// Brings the names in a folder to the disk.
pub(super) fn sync_folder(folder: &FilePath) -> io::Result<()> {
    step("sync folder")?;
    match File::open(folder)?.sync_all() {
        // Some network file systems cannot, and keep names safe by themselves.
        Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => Ok(()),
        synced => synced,
    }
}
