//! Listing in the order of whole keys, which is not the order of folders: `a.x` comes before `a/x`, because `.` comes
//! before `/`. So the entries of each folder are sorted with a slash at the end of a folder's name; then a walk
//! that goes down as it meets a folder meets all keys in their order, and can skip whole folders before `after`.

use std::{fs, io::ErrorKind, sync::Arc, vec};

use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use object_store::{ListResult, ObjectMeta, Result, path::Path};

use super::{
    faults,
    place::{Place, STAGING},
    read,
};

/// Entries looked up in the first blocking call of a listing, for callers that want but a few.
const CHUNK_FIRST: usize = 16;

/// Entries looked up in one blocking call at most.
const CHUNK_MAX: usize = 1024;

/// One name in a folder: its whole key, with a slash at the end if it is a folder.
#[derive(Debug)]
struct Entry(String);

impl Entry {
    fn is_folder(&self) -> bool {
        self.0.ends_with('/')
    }
}

/// A listing under way.
#[derive(Debug)]
struct Walk {
    place: Arc<Place>,
    after: Option<String>,
    /// What is still to be visited, the innermost folder last.
    folders: Vec<vec::IntoIter<Entry>>,
}

impl Walk {
    fn next(&mut self) -> Result<Option<ObjectMeta>> {
        while let Some(folder) = self.folders.last_mut() {
            let Some(entry) = folder.next() else {
                self.folders.pop();
                continue;
            };
            if entry.is_folder() {
                let entries = entries(&self.place, &entry.0, self.after.as_deref())?;
                self.folders.push(entries.into_iter());
            } else if let Some(meta) = look_up(&self.place, &entry.0)? {
                return Ok(Some(meta));
            }
        }
        Ok(None)
    }

    fn chunk(&mut self, entries: usize) -> Result<Vec<ObjectMeta>> {
        let mut chunk = Vec::new();
        while chunk.len() < entries {
            match self.next()? {
                Some(meta) => chunk.push(meta),
                None => break,
            }
        }
        Ok(chunk)
    }
}

/// The objects below `prefix` whose keys come after `after`.
pub(super) fn stream(place: Arc<Place>, prefix: Path, after: Option<String>) -> BoxStream<'static, Result<ObjectMeta>> {
    let start = Walk { place, after, folders: Vec::new() };
    let next = move |(walk, size): (Option<Walk>, usize)| {
        let prefix = prefix.clone();
        async move {
            let Some(mut walk) = walk else { return Ok(None) };
            let work = move || {
                if size == CHUNK_FIRST {
                    let root = entries(&walk.place, &folder_key(&prefix), walk.after.as_deref())?;
                    walk.folders.push(root.into_iter());
                }
                let chunk = walk.chunk(size)?;
                let rest = (chunk.len() == size).then_some(walk);
                Ok::<_, object_store::Error>((chunk, rest))
            };
            let (chunk, rest) = tokio::task::spawn_blocking(work).await??;
            let items = stream::iter(chunk.into_iter().map(Ok::<_, object_store::Error>));
            Ok::<_, object_store::Error>(Some((items, (rest, (size * 4).min(CHUNK_MAX)))))
        }
    };
    stream::try_unfold((Some(start), CHUNK_FIRST), next).try_flatten().boxed()
}

/// The objects and folders directly in `prefix`.
pub(super) fn one_level(place: &Place, prefix: &Path) -> Result<ListResult> {
    let (mut common_prefixes, mut objects) = (Vec::new(), Vec::new());
    for entry in entries(place, &folder_key(prefix), None)? {
        if entry.is_folder() {
            common_prefixes.push(Path::parse(&entry.0)?);
        } else if let Some(meta) = look_up(place, &entry.0)? {
            objects.push(meta);
        }
    }
    Ok(ListResult { common_prefixes, objects })
}

/// A prefix as a folder's key: empty for the root, else with a slash at its end.
fn folder_key(prefix: &Path) -> String {
    if prefix.as_ref().is_empty() { String::new() } else { format!("{prefix}/") }
}

/// The entries of one folder that may hold keys after `after`, in order. A folder that is not there, or is reached
/// through a symbolic link, has none.
fn entries(place: &Place, folder: &str, after: Option<&str>) -> Result<Vec<Entry>> {
    let path = place.root().join(folder);
    let fault = |error| faults::generic(format!("cannot list '{folder}': {error}"));
    let listing = match fs::canonicalize(&path).and_then(|real| Ok((real == path, fs::read_dir(&path)?))) {
        Ok((true, listing)) => listing,
        Ok((false, _)) => return Ok(Vec::new()),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(Vec::new()),
        Err(error) => return Err(fault(error)),
    };
    let after_here = after.and_then(|after| after.strip_prefix(folder));
    let mut entries = Vec::new();
    for entry in listing {
        let entry = entry.map_err(fault)?;
        let name = entry.file_name();
        // A name that is no text cannot be a key: someone else put it there.
        let Some(name) = name.to_str() else { continue };
        // Most names of a large folder go here: nothing is made for them. A folder may still hold what comes after.
        if after_here.is_some_and(|after| name <= after && !after.starts_with(name)) {
            continue;
        }
        let kind = entry.file_type().map_err(fault)?;
        let slash = if kind.is_dir() { "/" } else { "" };
        let ours = kind.is_dir() || kind.is_file();
        if !ours || (folder.is_empty() && name == STAGING) || name.contains(char::is_control) {
            continue;
        }
        let key = format!("{folder}{name}{slash}");
        if after.is_none_or(|after| comes_after(&key, after)) {
            entries.push(Entry(key));
        }
    }
    entries.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    Ok(entries)
}

/// Whether a key, or some key in a folder, can come after `after`.
fn comes_after(key: &str, after: &str) -> bool {
    key > after || (key.ends_with('/') && after.starts_with(key))
}

/// What is known of an object; `None` if it went since its folder was read.
fn look_up(place: &Place, key: &str) -> Result<Option<ObjectMeta>> {
    match fs::symlink_metadata(place.root().join(key)) {
        Ok(metadata) if metadata.is_file() => Ok(Some(read::meta(Path::parse(key)?, &metadata))),
        Ok(_) => Ok(None),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(faults::generic(format!("cannot look up '{key}': {error}"))),
    }
}
