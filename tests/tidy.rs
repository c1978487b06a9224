//! The house keeps itself tidy: arrows between crates, walls of files, heads, keys in one place, linked paths.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Who may depend on whom, `docs/adr/0001-house.md` in a table. A crate that is not named here fails the test.
const ARROWS: &[(&str, &[&str])] = &[
    ("apiary-core", &[]),
    ("apiary-features", &[]),
    ("apiary-proto", &["core"]),
    ("apiary-bucket", &["core"]),
    // For tests alone: others may name it only among their dev-dependencies.
    ("apiary-faults", &["core"]),
    ("apiary-ledger", &["bucket", "core"]),
    ("apiary-cell", &["bucket", "core"]),
    ("apiary-swarm", &["bucket", "core"]),
    ("apiary-ingest", &["ledger", "cell", "swarm", "bucket", "core"]),
    ("apiary-query", &["ledger", "cell", "bucket", "core"]),
    ("apiary-engine", &["query", "swarm", "ledger", "bucket", "core"]),
    ("apiary-node", &["swarm", "proto", "bucket", "core"]),
    ("apiary-coordinator", &["bucket", "core", "engine", "ingest", "ledger", "node", "proto", "query", "swarm"]),
    ("apiary-worker", &["bucket", "core", "engine", "node", "proto", "query", "swarm"]),
    ("apiary-compactor", &["bucket", "core", "ingest", "ledger", "node", "proto", "swarm"]),
    (
        "apiary",
        &[
            "bucket",
            "cell",
            "compactor",
            "coordinator",
            "core",
            "ingest",
            "ledger",
            "node",
            "proto",
            "query",
            "swarm",
            "worker",
        ],
    ),
    ("apiary-python", &["apiary", "core", "node", "proto"]),
];

/// Libraries that only one room may know, by the start of their names.
const ONLY_IN: &[(&str, &[&str])] = &[
    ("ballista", &["apiary-engine"]),
    ("datafusion-proto", &["apiary-engine"]),
    ("pyo3", &["apiary-python"]),
    // The ledger for its checkpoints alone: docs/adr/0006-checkpoints-in-the-ledger.md.
    ("parquet", &["apiary-cell", "apiary-ingest", "apiary-ledger", "apiary-tests"]),
    ("object_store", &["apiary-bucket", "apiary-faults", "apiary-query", "apiary-engine", "apiary-tests"]),
];

/// Lines of production code in one file; 250 is the aim.
const FILE_LINES_MAX: usize = 400;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn files_below(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            files_below(&path, ending, found);
        } else if name.ends_with(ending) {
            found.push(path);
        }
    }
}

fn sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    files_below(&root(), ".rs", &mut found);
    let relative = |path: &Path| path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
    found.iter().map(|path| (relative(path), fs::read_to_string(path).unwrap())).collect()
}

/// What stands before the first test module.
fn production(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap_or(text)
}

fn is_test_code(path: &str) -> bool {
    path.starts_with("tests/")
        || path.starts_with("crates/faults/")
        || path.contains("/tests/")
        || path.ends_with("/tests.rs")
        || path.ends_with("/tests_crash.rs")
        || path.starts_with("benches/")
}

fn packages() -> Vec<(String, BTreeSet<String>)> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let normal = |package: &serde_json::Value| {
        let dependencies = package["dependencies"].as_array().unwrap();
        dependencies.iter().filter(|d| d["kind"].is_null()).map(|d| text(&d["name"])).collect()
    };
    metadata["packages"].as_array().unwrap().iter().map(|p| (text(&p["name"]), normal(p))).collect()
}

#[test]
fn every_arrow_between_crates_is_allowed() {
    let allowed: BTreeMap<_, _> = ARROWS.iter().copied().collect();
    let mut wrong = Vec::new();
    for (name, dependencies) in packages() {
        if name == "apiary-tests" || name == "apiary-benches" {
            continue;
        }
        let allowed = allowed.get(name.as_str()).unwrap_or_else(|| panic!("{name} has no row in ARROWS"));
        for dependency in dependencies.iter().filter(|d| *d == "apiary" || d.starts_with("apiary-")) {
            let short = dependency.strip_prefix("apiary-").unwrap_or(dependency);
            if short != "features" && !allowed.contains(&short) {
                wrong.push(format!("{name} -> {dependency}"));
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that must not be: {wrong:?}");
}

/// Each third-party package and the features it is built with, when a command selects `selection`.
fn features(selection: &[&str]) -> BTreeMap<String, BTreeSet<String>> {
    let mut command = Command::new(env!("CARGO"));
    command.args(["tree", "--offline", "--prefix", "none", "-e", "normal,build,dev", "-f", "{p}|{f}"]).args(selection);
    let output = command.current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in String::from_utf8(output.stdout).unwrap().replace(" (*)", "").lines() {
        if let Some((package, features)) = line.split_once('|').filter(|(package, _)| !package.contains("(/")) {
            found.entry(package.to_owned()).or_default().insert(features.to_owned());
        }
    }
    found
}

#[test]
fn every_member_resolves_the_same_features() {
    let whole = features(&["--workspace"]);
    let mut wrong = Vec::new();
    for (name, _) in packages() {
        for (package, built) in features(&["-p", &name]) {
            if !built.is_subset(&whole[&package]) {
                wrong.push(format!("{name}: {package} {built:?}, in the workspace {:?}", whole[&package]));
            }
        }
    }
    assert!(wrong.is_empty(), "add to crates/features what these lack: {wrong:#?}");
}

#[test]
fn libraries_stay_in_their_rooms() {
    let mut wrong = Vec::new();
    // The crate that only names features has no code that could use them.
    for (name, dependencies) in packages().into_iter().filter(|(name, _)| name != "apiary-features") {
        for (library, rooms) in ONLY_IN {
            if dependencies.iter().any(|d| d.starts_with(library)) && !rooms.contains(&name.as_str()) {
                wrong.push(format!("{name} uses {library}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn no_file_is_behind_the_wall() {
    let long = |(path, text): &(String, String)| {
        let lines = production(text).lines().count();
        (lines > FILE_LINES_MAX && !is_test_code(path)).then(|| format!("{path}: {lines} lines"))
    };
    let wrong: Vec<_> = sources().iter().filter_map(long).collect();
    assert!(wrong.is_empty(), "files over {FILE_LINES_MAX} lines: {wrong:#?}");
}

#[test]
fn every_file_says_what_it_is() {
    let headless = |(path, text): &(String, String)| (!text.starts_with("//!")).then(|| path.clone());
    let wrong: Vec<_> = sources().iter().filter_map(headless).collect();
    assert!(wrong.is_empty(), "files without a //! head: {wrong:#?}");
}

#[test]
fn keys_are_spelled_in_one_file() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        if path.starts_with("crates/bucket/src/layout") || is_test_code(&path) {
            continue;
        }
        for word in ["\"_queries", "\"_delta_log", "\"_apiary/", "\"_last_checkpoint"] {
            if production(&text).contains(word) {
                wrong.push(format!("{path}: {word}"));
            }
        }
    }
    assert!(wrong.is_empty(), "keys spelled outside layout.rs: {wrong:?}");
}

#[test]
fn only_the_bucket_creates_objects() {
    let raw = |(path, text): &(String, String)| {
        let outside = !path.starts_with("crates/bucket/") && !is_test_code(path);
        (outside && production(text).contains("PutMode::Create")).then(|| path.clone())
    };
    let wrong: Vec<_> = sources().iter().filter_map(raw).collect();
    assert!(wrong.is_empty(), "raw conditional puts outside the bucket: {wrong:?}");
}

/// Doors beside the decided create, and who may name them, test code as well: a folder, or a file by itself.
const DOORS: &[(&str, &[&str])] = &[
    // One try, whose outcome may be unknown: only who settles that by itself may ask for it.
    ("put_if_absent_once", &["crates/bucket/", "crates/ledger/src/commit/flight.rs"]),
    // Creates by another name. The local store's own tests ask for one.
    ("copy_if_not_exists", &["crates/bucket/src/local/tests.rs"]),
    ("rename_if_not_exists", &[]),
    (
        "CopyMode::Create",
        &["crates/bucket/src/local.rs", "crates/faults/src/memory.rs", "crates/faults/src/store/calls.rs"],
    ),
    ("RenameTargetMode::Create", &[]),
    // Nothing is replaced on a condition: the colony stands on creates alone. Both stores refuse it.
    ("PutMode::Update", &["crates/bucket/src/local.rs", "crates/faults/src/memory.rs"]),
];

#[test]
fn nothing_is_created_or_replaced_through_another_door() {
    let mut wrong = Vec::new();
    for (path, text) in sources().into_iter().filter(|(path, _)| path != "tests/tidy.rs") {
        for (door, who) in DOORS {
            let may = who.iter().any(|may| path == *may || (may.ends_with('/') && path.starts_with(may)));
            if text.contains(door) && !may {
                wrong.push(format!("{path}: {door}"));
            }
        }
    }
    assert!(wrong.is_empty(), "use Bucket::put_if_absent_decided: {wrong:#?}");
    for (door, path) in DOORS.iter().flat_map(|(door, who)| who.iter().map(move |path| (door, path))) {
        let is_used =
            path.ends_with('/') || fs::read_to_string(root().join(path)).is_ok_and(|text| text.contains(door));
        assert!(is_used, "{path} no longer names {door}: take it off DOORS");
    }
}

#[test]
fn paths_named_in_the_documents_exist() {
    let mut documents = vec![root().join("README.md"), root().join("ARCHITECTURE.md"), root().join("CONTRIBUTING.md")];
    files_below(&root().join("docs"), ".md", &mut documents);
    let mut wrong = Vec::new();
    for document in documents {
        let text = fs::read_to_string(&document).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = target.split('#').next().unwrap_or_default();
            let outside = target.is_empty() || target.contains("://") || target.contains(' ');
            if !outside && !document.parent().unwrap().join(target).exists() {
                wrong.push(format!("{}: {target}", document.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "links to paths that are gone: {wrong:#?}");
}

#[test]
fn one_copy_of_each_crate_that_names_our_types() {
    let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap();
    for name in ["datafusion", "arrow", "parquet", "object_store", "tonic"] {
        let copies = lock.lines().filter(|line| *line == format!("name = \"{name}\"")).count();
        assert_eq!(copies, 1, "{name} stands {copies} times in Cargo.lock");
    }
}
