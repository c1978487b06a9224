//! Which commands make a bucket, which leave one as it is, and what they say where there is none.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};

use apiary_core::ErrorKind;

use super::{block_on, run, run_at};

/// Every file below a folder, with its bytes and when it was written.
fn tree(folder: &Path) -> BTreeMap<PathBuf, (Vec<u8>, SystemTime)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let written = std::fs::metadata(&path).unwrap().modified().unwrap();
                found.insert(path.clone(), (std::fs::read(&path).unwrap(), written));
            }
        }
    }
    found
}

/// A bucket with a frame `a.b.c` of three rows.
async fn with_frame(home: &Path) {
    let csv = home.join("readings.csv");
    std::fs::write(&csv, "region,temp\nnorth,1.5\nsouth,20.25\nnorth,2.5\n").unwrap();
    let line = ["import", csv.to_str().unwrap(), "--into", "a.b.c", "--create"];
    run(home, &line).await.result.unwrap();
}

/// Everything that does not found a colony.
const LEAVE_ALONE: &[&[&str]] = &[
    &["history", "a.b.c"],
    &["cells", "a.b.c"],
    &["verify"],
    &["verify", "a.b.c", "--deep"],
    &["status"],
    &["doctor"],
    &["vacuum"],
    &["vacuum", "--run"],
    &["compact", "a.b.c"],
    &["checkpoint", "a.b.c"],
    &["sql", "SELECT * FROM a.b.c"],
    &["sql", "USE a; SHOW HIVES"],
    &["sql", "DROP FRAME a.b.c"],
    &["import", "readings.csv", "--into", "a.b.c"],
];

#[test]
fn a_mistyped_place_is_an_error_that_names_the_right_one_and_makes_nothing() {
    let home = tempfile::tempdir().unwrap();
    block_on(async {
        with_frame(home.path()).await;
        let csv = home.path().join("readings.csv");
        for line in LEAVE_ALONE {
            let csv = |word: &&'static str| if *word == "readings.csv" { csv.to_str().unwrap() } else { *word };
            let line: Vec<&str> = line.iter().map(csv).collect();
            for (typed, meant) in [("buckte", "/bucket"), ("else/where", "")] {
                let place = home.path().join(typed);
                let said = run_at(home.path(), &place, &line).await;
                let Err(error) = said.result else { panic!("{line:?} at {typed}: {}{}", said.out, said.err) };
                assert_eq!(error.kind(), ErrorKind::NotFound, "{line:?}: {}", said.err);
                assert!(said.err.contains("there is no Apiary bucket at "), "{line:?}: {}", said.err);
                assert!(said.err.contains("apiary start") && said.err.contains("--create"), "{line:?}: {}", said.err);
                let hint = format!("did you mean {}{meant}?", home.path().display());
                assert_eq!(said.err.contains(&hint), !meant.is_empty(), "{line:?}: {}", said.err);
                assert!(!place.exists(), "{line:?} made {typed}");
            }
        }
    });
}

#[test]
fn a_place_within_or_around_a_bucket_leads_to_it() {
    let home = tempfile::tempdir().unwrap();
    block_on(async {
        with_frame(home.path()).await;
        for near in [home.path().to_owned(), home.path().join("bucket/a")] {
            let said = run_at(home.path(), &near, &["history", "a.b.c"]).await;
            assert!(said.err.contains(&format!("did you mean {}/bucket?", home.path().display())), "{}", said.err);
            assert!(!near.join("_apiary").exists());
        }
    });
}

#[test]
fn a_script_that_creates_something_and_an_import_that_may_make_a_bucket() {
    let home = tempfile::tempdir().unwrap();
    block_on(async {
        run(home.path(), &["sql", "SELECT 1; CREATE HIVE h"]).await.result.unwrap();
        assert!(home.path().join("bucket/_apiary/format.json").exists());
        let other = tempfile::tempdir().unwrap();
        with_frame(other.path()).await;
        assert!(other.path().join("bucket/_apiary/format.json").exists());
    });
}

#[test]
fn an_empty_folder_is_no_bucket_but_a_doctor_may_look_at_it() {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join("bucket")).unwrap();
    block_on(async {
        let said = run(home.path(), &["history", "a.b.c"]).await;
        assert!(said.err.contains("there is no Apiary bucket at "), "{}", said.err);
        let said = run(home.path(), &["doctor"]).await;
        said.result.unwrap();
        assert!(said.out.contains("no colony yet"), "{}", said.out);
    });
    assert!(tree(&home.path().join("bucket")).is_empty());
}

#[test]
fn commands_that_only_look_leave_every_byte_as_it_was() {
    let home = tempfile::tempdir().unwrap();
    let bucket = home.path().join("bucket");
    block_on(async {
        with_frame(home.path()).await;
        let before = tree(&bucket);
        for line in [&["history", "a.b.c"][..], &["cells", "a.b.c"], &["verify"], &["verify", "--deep"]] {
            run(home.path(), line).await.result.unwrap();
            assert!(tree(&bucket) == before, "{line:?} changed the bucket");
        }
    });
}

/// A second door to a folder through which nothing can be written.
struct ReadOnly(PathBuf);

impl ReadOnly {
    /// `None` if this machine allows no mounts.
    fn door(folder: &Path, to: &Path) -> Option<Self> {
        let mount = |arguments: &[&str]| {
            let done = Command::new("mount").args(arguments).arg(to).status();
            done.is_ok_and(|status| status.success())
        };
        std::fs::create_dir(to).unwrap();
        let bound = mount(&["--bind", folder.to_str().unwrap()]);
        let door = bound.then(|| Self(to.to_owned()))?;
        mount(&["-o", "remount,bind,ro"]).then_some(door)
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_bucket_that_cannot_be_written_can_be_read() {
    let home = tempfile::tempdir().unwrap();
    block_on(async {
        with_frame(home.path()).await;
        let place = home.path().join("door");
        let Some(_door) = ReadOnly::door(&home.path().join("bucket"), &place) else {
            println!("not tried: no mounts here; a_visitor_reads_what_it_may_not_write in apiary-node stands for it");
            return;
        };
        let at = async |line: &[&str]| run_at(home.path(), &place, line).await;
        let rows = at(&["sql", "SELECT region, sum(temp) AS t FROM a.b.c GROUP BY region ORDER BY 1"]).await;
        rows.result.unwrap();
        assert_eq!(rows.out, "region,t\nnorth,4.0\nsouth,20.25\n");
        for line in [&["history", "a.b.c"][..], &["cells", "a.b.c"], &["verify", "--deep"], &["status"]] {
            let said = at(line).await;
            said.result.unwrap_or_else(|error| panic!("{line:?}: {error}"));
        }
        let write = at(&["sql", "CREATE HIVE other"]).await;
        assert_eq!(write.result.unwrap_err().kind(), ErrorKind::PermissionDenied, "{}", write.err);
        assert!(write.err.contains("Read-only file system"), "{}", write.err);
    });
}
