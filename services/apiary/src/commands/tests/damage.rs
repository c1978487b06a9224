//! What verify and doctor say of a bucket whose own objects are missing or broken: its name, and what to do.

use std::path::Path;

use super::{Said, block_on, run};

/// What is done to one object of a bucket with two hives and a frame.
#[derive(Clone, Copy, Debug)]
enum Harm {
    Gone,
    Cut,
    Garbled,
}

async fn bucket(home: &Path) {
    let csv = home.join("readings.csv");
    std::fs::write(&csv, "region,temp\nnorth,1.5\n").unwrap();
    let line = ["import", csv.to_str().unwrap(), "--into", "a.b.c", "--create"];
    run(home, &line).await.result.unwrap();
}

fn harm(home: &Path, key: &str, harm: Harm) {
    let file = home.join("bucket").join(key);
    let body = std::fs::read(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    match harm {
        Harm::Gone => {}
        Harm::Cut => std::fs::write(&file, &body[..body.len() / 2]).unwrap(),
        Harm::Garbled => std::fs::write(&file, body.iter().map(|byte| byte ^ 0x15).collect::<Vec<u8>>()).unwrap(),
    }
}

fn names(said: &Said, key: &str, what: &str) {
    let all = format!("{}\n{}", said.out, said.err);
    assert!(said.result.as_ref().is_err_and(|error| error.kind().exit_code() == 1), "{what} finds nothing: {all}");
    assert!(all.contains(key), "{what} does not name '{key}': {all}");
    assert!(all.contains("restore"), "{what} does not say what to do: {all}");
}

#[test]
fn every_object_of_the_colony_that_is_missing_or_broken_is_named_with_what_to_do() {
    let entry = |n: u32| format!("_apiary/registry/{n:020}.json");
    let keys = ["_apiary/format.json".to_owned(), entry(0), entry(1), entry(2)];
    block_on(async {
        for key in &keys {
            for kind in [Harm::Gone, Harm::Cut, Harm::Garbled] {
                let home = tempfile::tempdir().unwrap();
                bucket(home.path()).await;
                harm(home.path(), key, kind);
                for line in [&["verify"][..], &["doctor"]] {
                    names(&run(home.path(), line).await, key, &format!("{line:?} of {key} {kind:?}"));
                }
            }
        }
    });
}

#[test]
fn a_registry_that_is_gone_as_a_whole_is_no_empty_one() {
    block_on(async {
        let home = tempfile::tempdir().unwrap();
        bucket(home.path()).await;
        std::fs::remove_dir_all(home.path().join("bucket/_apiary/registry")).unwrap();
        for line in [&["verify"][..], &["doctor"]] {
            names(&run(home.path(), line).await, "_apiary/registry/", &format!("{line:?}"));
        }
        std::fs::remove_dir_all(home.path().join("bucket/_apiary")).unwrap();
        for line in [&["verify"][..], &["doctor"]] {
            names(&run(home.path(), line).await, "_apiary/format.json", &format!("{line:?}"));
        }
        let founding = run(home.path(), &["sql", "CREATE HIVE x"]).await;
        names(&founding, "_apiary/format.json", "a node that would found a colony over the old one");
    });
}

#[test]
fn a_secret_that_is_missing_or_broken_is_named_and_not_made_anew_by_a_look() {
    block_on(async {
        for kind in [Harm::Gone, Harm::Cut, Harm::Garbled] {
            let home = tempfile::tempdir().unwrap();
            bucket(home.path()).await;
            harm(home.path(), "_apiary/secret.json", kind);
            let verified = run(home.path(), &["verify"]).await;
            assert!(verified.out.contains("_apiary/secret.json"), "{kind:?}: {}{}", verified.out, verified.err);
            assert_eq!(verified.result.unwrap_err().kind().exit_code(), 1);
            assert!(verified.out.contains("a.b.c: ok"), "the frames are whole: {}", verified.out);
            let doctor = run(home.path(), &["doctor"]).await;
            assert!(doctor.out.contains("_apiary/secret.json") && doctor.out.contains("do: "), "{}", doctor.out);
        }
    });
}
