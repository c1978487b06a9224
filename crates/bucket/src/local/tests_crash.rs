//! Writes that are killed at every step, or meet a full disk at any: the object is there whole or not at all.

use std::{fs, io::ErrorKind, os::unix::fs::MetadataExt, time::Duration};

use object_store::ObjectStoreExt;

use super::{
    steps::{Plan, run},
    *,
};

const KEY: &str = "hive/box/frame-1/_delta_log/00000000000000000001.json";

/// Steps of the longest write here, folders included: past this nothing is killed any more.
const STEPS_MAX: usize = 64;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn open(&self, nonce: u64) -> LocalStore {
        LocalStore::new(Place::open(self.0.path(), nonce).unwrap())
    }

    fn staged(&self) -> Vec<std::path::PathBuf> {
        let Ok(entries) = fs::read_dir(self.0.path().join(place::STAGING)) else { return Vec::new() };
        entries.map(|entry| entry.unwrap().path()).collect()
    }
}

fn put(store: &LocalStore, body: &'static str, create: bool) -> Result<PutResult> {
    write::put(&store.place, &KEY.into(), &PutPayload::from(body), create)
}

/// What a process that starts now sees: a read and a listing agree.
async fn seen(folder: &Folder) -> Option<Bytes> {
    let store = folder.open(99);
    let read = match store.get(&KEY.into()).await {
        Ok(found) => Some(found.bytes().await.unwrap()),
        Err(Error::NotFound { .. }) => None,
        Err(error) => panic!("{error}"),
    };
    let mut listing = store.list(None);
    let mut listed = Vec::new();
    while let Some(meta) = listing.next().await {
        listed.push(meta.unwrap());
    }
    assert_eq!(listed.len(), usize::from(read.is_some()));
    assert!(listed.iter().all(|meta| meta.size == read.as_ref().unwrap().len() as u64));
    read
}

#[test]
fn a_create_brings_bytes_then_name_then_folder_to_the_disk() {
    let folder = Folder::new();
    let store = folder.open(1);
    let (put_, steps) = run(Plan::Live, || put(&store, "whole", true));
    put_.unwrap();
    let at = |name| steps.iter().position(|step| *step == name).unwrap();
    assert!(at("write") < at("sync file") && at("sync file") < at("name"), "{steps:?}");
    assert_eq!(steps.last(), Some(&"sync folder"), "{steps:?}");
    let made = steps.iter().filter(|step| **step == "make folder").count();
    let synced = steps.iter().filter(|step| **step == "sync folder").count();
    assert_eq!((made, synced), (5, 5), "each folder made on the way, and the last: {steps:?}");
    assert!(folder.staged().is_empty());
}

#[tokio::test]
async fn a_create_killed_before_any_step_leaves_all_or_nothing() {
    let (mut wholes, mut nothings) = (0, 0);
    for n in 0..STEPS_MAX {
        let folder = Folder::new();
        let store = folder.open(1);
        let (result, steps) = run(Plan::DieBefore(n), || put(&store, "whole", true));
        drop(store);
        match seen(&folder).await {
            Some(body) => {
                assert_eq!(body, "whole", "killed after {steps:?}");
                assert!(steps.contains(&"sync file"), "named before it was on the disk: {steps:?}");
                wholes += 1;
            }
            None => nothings += 1,
        }
        if result.is_ok() {
            assert!(wholes >= 2 && nothings >= 8, "{wholes} whole, {nothings} nothing");
            return;
        }
        // The same request again, by a process that starts afresh, finds nothing in its way.
        let again = put(&folder.open(1), "whole", true);
        assert!(matches!(again, Ok(_) | Err(Error::AlreadyExists { .. })), "after {steps:?}: {again:?}");
        assert_eq!(seen(&folder).await.unwrap(), "whole");
    }
    panic!("a create takes more than {STEPS_MAX} steps");
}

#[tokio::test]
async fn an_overwrite_killed_before_any_step_leaves_the_old_or_the_new() {
    let (mut olds, mut news) = (0, 0);
    for n in 0..STEPS_MAX {
        let folder = Folder::new();
        let store = folder.open(1);
        put(&store, "the old one", false).unwrap();
        let (result, steps) = run(Plan::DieBefore(n), || put(&store, "new", false));
        let body = seen(&folder).await.unwrap();
        assert!(body == "the old one" || body == "new", "{body:?} after {steps:?}");
        *(if body == "new" { &mut news } else { &mut olds }) += 1;
        if result.is_ok() {
            assert!(olds >= 3 && news >= 2, "{olds} old, {news} new");
            return;
        }
    }
    panic!("an overwrite takes more than {STEPS_MAX} steps");
}

#[tokio::test]
async fn what_kills_leave_is_swept_when_it_is_a_day_old_and_not_before() {
    let folder = Folder::new();
    let store = folder.open(1);
    for n in 1..4 {
        let _ = run(Plan::DieBefore(n), || put(&store, "whole", true));
    }
    let left = folder.staged();
    assert!(!left.is_empty());
    assert!(seen(&folder).await.is_none());
    assert_eq!(folder.staged().len(), left.len(), "it may belong to a writer that lives");
    let now = fs::metadata(&left[0]).unwrap().modified().unwrap();
    for file in &left {
        let old = fs::File::options().write(true).open(file).unwrap();
        old.set_modified(now - Duration::from_secs(25 * 3600)).unwrap();
    }
    folder.open(2);
    assert!(folder.staged().is_empty(), "{:?}", folder.staged());
}

#[tokio::test]
async fn a_full_disk_at_any_step_is_a_clear_error_and_leaves_nothing() {
    for n in 0..STEPS_MAX {
        let folder = Folder::new();
        let store = folder.open(1);
        let (result, steps) = run(Plan::Fail(n, ErrorKind::StorageFull), || put(&store, "whole", true));
        let Err(error) = result else {
            assert!(n >= 8 && steps.len() <= n, "{n} steps could fail");
            return;
        };
        assert!(error.to_string().contains("no space is left"), "{error}");
        assert!(folder.staged().is_empty(), "after {steps:?}");
        // The name was given before the folder's fsync failed: then it is whole, and its owner reads it back.
        let body = seen(&folder).await;
        let named = steps.contains(&"name") && steps[n] != "name";
        assert_eq!(body.as_deref(), named.then_some(&b"whole"[..]), "after {steps:?}");
    }
    panic!("a create takes more than {STEPS_MAX} steps");
}

#[tokio::test]
async fn an_upload_killed_at_its_end_leaves_all_or_nothing() {
    for n in 0..STEPS_MAX {
        let folder = Folder::new();
        let store = folder.open(1);
        let staged = write::Staged::new(&store.place).unwrap();
        fs::write(folder.staged().remove(0), "all parts").unwrap();
        let (result, _) = run(Plan::DieBefore(n), || write::publish(&store.place, &KEY.into(), staged, false));
        let body = seen(&folder).await;
        assert!(body.as_deref().is_none_or(|body| body == b"all parts"), "{body:?}");
        if result.is_ok() {
            assert!(body.is_some());
            return;
        }
    }
    panic!("an upload's end takes more than {STEPS_MAX} steps");
}

#[tokio::test]
async fn a_copy_killed_at_any_step_harms_neither_side() {
    for create in [true, false] {
        for n in 0..STEPS_MAX {
            let folder = Folder::new();
            let store = folder.open(1);
            let (from, to): (Path, Path) = ("a/from".into(), "b/to".into());
            write::put(&store.place, &from, &"source".into(), true).unwrap();
            let (result, steps) = run(Plan::DieBefore(n), || write::copy(&store.place, &from, &to, create));
            let store = folder.open(2);
            assert_eq!(store.get(&from).await.unwrap().bytes().await.unwrap(), "source", "{steps:?}");
            match store.get(&to).await {
                Ok(found) => assert_eq!(found.bytes().await.unwrap(), "source"),
                Err(error) => assert!(matches!(error, Error::NotFound { .. }) && result.is_err(), "{error}"),
            }
            if result.is_ok() {
                break;
            }
            assert!(n + 1 < STEPS_MAX);
        }
    }
}

#[test]
fn a_staged_file_is_the_object_and_no_second_copy() {
    let folder = Folder::new();
    let store = folder.open(1);
    put(&store, "whole", true).unwrap();
    assert_eq!(fs::metadata(folder.0.path().join(KEY)).unwrap().nlink(), 1, "its staged name is gone");
}
