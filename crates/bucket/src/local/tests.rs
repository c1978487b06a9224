//! The store over a folder with everything in it that a crash or a stranger could leave.
#![expect(clippy::single_range_in_vec_init, reason = "one range is what is meant")]

use std::{os::unix::fs::symlink, sync::Arc};

use futures::TryStreamExt;
use object_store::ObjectStoreExt;

use super::*;

struct Fixture {
    folder: tempfile::TempDir,
    store: LocalStore,
}

fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::new(Place::open(&folder.path().join("root"), 7).unwrap());
    Fixture { folder, store }
}

impl Fixture {
    fn root(&self) -> std::path::PathBuf {
        self.folder.path().join("root")
    }

    async fn create(&self, key: &str, body: &'static str) -> Result<PutResult> {
        self.store.put_opts(&Path::parse(key)?, body.into(), PutMode::Create.into()).await
    }

    async fn read(&self, key: &str) -> Result<Bytes> {
        self.store.get(&Path::parse(key)?).await?.bytes().await
    }

    async fn keys(&self, prefix: &str, after: Option<&str>) -> Vec<String> {
        let prefix = Path::parse(prefix).unwrap();
        let listing = match after {
            Some(after) => self.store.list_with_offset(Some(&prefix), &Path::parse(after).unwrap()),
            None => self.store.list(Some(&prefix)),
        };
        listing.map_ok(|meta| meta.location.to_string()).try_collect().await.unwrap()
    }
}

#[tokio::test]
async fn what_a_crash_left_half_written_is_invisible_and_in_nobodys_way() {
    let fixture = fixture();
    fixture.create("a/1", "whole").await.unwrap();
    let staging = fixture.root().join(place::STAGING);
    // The names that the next writes would choose, and one of another process.
    for leftover in ["0000000000000009-0", "0000000000000009-2", "ffffffffffffffff-9"] {
        std::fs::write(staging.join(leftover), "ha").unwrap();
    }
    let again = LocalStore::new(Place::open(&fixture.root(), 9).unwrap());
    let fixture = Fixture { store: again, ..fixture };
    fixture.create("a/2", "next").await.unwrap();
    assert!(fixture.create("a/1", "other").await.is_err());
    assert_eq!(fixture.keys("", None).await, ["a/1", "a/2"]);
    assert_eq!(fixture.read("a/1").await.unwrap(), "whole");
    assert!(fixture.read(".apiary-staging/ffffffffffffffff-9").await.is_err());
    let staged = std::fs::read_dir(&staging).unwrap().count();
    assert_eq!(staged, 3, "ours are gone, young ones of others stay");
}

#[tokio::test]
async fn old_leftovers_are_swept() {
    let fixture = fixture();
    fixture.create("a", "x").await.unwrap();
    let old = fixture.root().join(place::STAGING).join("ffffffffffffffff-9");
    let file = std::fs::File::create(&old).unwrap();
    let then = file.metadata().unwrap().modified().unwrap() - std::time::Duration::from_secs(48 * 3600);
    file.set_modified(then).unwrap();
    Place::open(&fixture.root(), 9).unwrap();
    assert!(!old.exists());
}

#[tokio::test]
async fn an_unfinished_upload_leaves_nothing() {
    let fixture = fixture();
    let mut upload = fixture.store.put_multipart(&"big".into()).await.unwrap();
    upload.put_part("abc".into()).await.unwrap();
    assert!(fixture.read("big").await.is_err());
    drop(upload);
    let staging = fixture.root().join(place::STAGING);
    assert_eq!(std::fs::read_dir(staging).unwrap().count(), 0);
    assert!(fixture.keys("", None).await.is_empty());
}

#[tokio::test]
async fn links_do_not_lead_out_of_the_root() {
    let fixture = fixture();
    let outside = fixture.folder.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("secret"), "s").unwrap();
    symlink(&outside, fixture.root().join("folder")).unwrap();
    symlink(outside.join("secret"), fixture.root().join("file")).unwrap();
    for key in ["folder/secret", "file"] {
        assert!(matches!(fixture.read(key).await, Err(Error::PermissionDenied { .. })), "{key}");
    }
    assert!(fixture.create("folder/new", "x").await.is_err());
    assert!(fixture.create("folder/deep/new", "x").await.is_err());
    assert!(fixture.create("file", "x").await.is_err());
    assert!(fixture.store.delete(&"folder/secret".into()).await.is_err());
    assert!(fixture.store.get_ranges(&"file".into(), &[0..1]).await.is_err());
    assert!(fixture.keys("", None).await.is_empty() && fixture.keys("folder", None).await.is_empty());
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 1, "nothing was written or deleted outside");
    assert_eq!(std::fs::read(outside.join("secret")).unwrap(), b"s");
}

#[tokio::test]
async fn keys_come_in_the_order_of_whole_keys() {
    let fixture = fixture();
    let mut keys = ["a/b", "a.x", "a", "a-b/c", "b/1/z", "b/1.json", "b/10", "ä", "b/1/a"].map(String::from).to_vec();
    keys.retain(|key| key != "a");
    for key in &keys {
        fixture.create(key, "x").await.unwrap();
    }
    keys.sort();
    assert_eq!(fixture.keys("", None).await, keys);
    for (i, after) in keys.iter().enumerate() {
        assert_eq!(fixture.keys("", Some(after)).await, keys[i + 1..], "after {after}");
    }
    assert_eq!(fixture.keys("b", Some("b/1/m")).await, ["b/1/z", "b/10"]);
    assert_eq!(fixture.keys("b", Some("c")).await, [""; 0]);
    assert_eq!(fixture.keys("b/1", None).await, ["b/1/a", "b/1/z"]);
}

#[tokio::test]
async fn long_listings_come_whole() {
    let fixture = fixture();
    let names: Vec<String> = (0..100).map(|i| format!("l/{i:03}")).collect();
    for name in &names {
        fixture.create(name, "x").await.unwrap();
    }
    assert_eq!(fixture.keys("l", None).await, names);
}

#[tokio::test]
async fn ranges_are_cut_at_the_end_of_the_object() {
    let fixture = fixture();
    let body: Vec<u8> = (0..100_000u32).map(|i| i as u8).collect();
    fixture.store.put(&"r".into(), body.clone().into()).await.unwrap();
    let wanted = [90_000..200_000, 0..10, 5..20, 50_000..50_001, 30..30];
    let read = fixture.store.get_ranges(&"r".into(), &wanted).await.unwrap();
    for (range, bytes) in wanted.iter().zip(read) {
        assert_eq!(bytes, &body[range.start as usize..(range.end as usize).min(body.len())], "{range:?}");
    }
    assert!(fixture.store.get_ranges(&"r".into(), &[100_000..100_001]).await.is_err());
    assert!(fixture.store.get_ranges(&"r".into(), &[]).await.unwrap().is_empty());
}

#[tokio::test]
async fn large_bodies_come_in_pieces() {
    let fixture = fixture();
    let body: Vec<u8> = (0..9_000_001u32).map(|i| (i / 7) as u8).collect();
    fixture.store.put(&"big".into(), body.clone().into()).await.unwrap();
    let result = fixture.store.get(&"big".into()).await.unwrap();
    let pieces: Vec<Bytes> = result.into_stream().try_collect().await.unwrap();
    assert_eq!(pieces.len(), 3);
    assert!(pieces.concat() == body);
}

#[tokio::test]
async fn folders_of_the_board_go_with_their_last_object() {
    let fixture = fixture();
    fixture.create("_queries/q/s01/t1", "x").await.unwrap();
    fixture.create("_queries/q/done", "x").await.unwrap();
    fixture.store.delete(&"_queries/q/s01/t1".into()).await.unwrap();
    assert!(!fixture.root().join("_queries/q/s01").exists());
    fixture.store.delete(&"_queries/q/done".into()).await.unwrap();
    assert!(!fixture.root().join("_queries/q").exists() && fixture.root().join("_queries").exists());
    fixture.create("h/b/f/1", "x").await.unwrap();
    fixture.store.delete(&"h/b/f/1".into()).await.unwrap();
    assert!(fixture.root().join("h/b/f").exists(), "other folders stay");
}

#[tokio::test]
async fn writers_and_sweepers_of_one_folder_do_not_fail_each_other() {
    let fixture = Arc::new(fixture());
    let work = (0..8).map(|writer| {
        let fixture = Arc::clone(&fixture);
        tokio::spawn(async move {
            for i in 0..50 {
                let key = format!("_queries/q/{i}/{writer}");
                fixture.store.put_opts(&key.as_str().into(), "x".into(), PutMode::Create.into()).await.unwrap();
                fixture.store.delete(&key.as_str().into()).await.unwrap();
            }
        })
    });
    futures::future::try_join_all(work).await.unwrap();
}

#[tokio::test]
async fn a_folder_removed_by_hand_is_made_again() {
    let fixture = fixture();
    fixture.create("h/b/1", "x").await.unwrap();
    std::fs::remove_dir_all(fixture.root().join("h")).unwrap();
    fixture.create("h/b/2", "y").await.unwrap();
    assert_eq!(fixture.keys("", None).await, ["h/b/2"]);
}

#[tokio::test]
async fn copies_create_or_replace() {
    let fixture = fixture();
    fixture.create("a", "1").await.unwrap();
    fixture.create("b", "2").await.unwrap();
    assert!(fixture.store.copy_if_not_exists(&"a".into(), &"b".into()).await.is_err());
    fixture.store.copy(&"a".into(), &"b".into()).await.unwrap();
    fixture.store.copy(&"a".into(), &"a".into()).await.unwrap();
    fixture.store.put(&"a".into(), "3".into()).await.unwrap();
    assert_eq!((fixture.read("a").await.unwrap(), fixture.read("b").await.unwrap()), ("3".into(), "1".into()));
    assert_eq!(std::fs::read_dir(fixture.root().join(place::STAGING)).unwrap().count(), 0);
}
