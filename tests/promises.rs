//! Every promise of `docs/guarantees.md` names the tests that try to break it, and they are there.

use std::{fs, path::Path};

/// Promises that name fewer tests than this are a sign that the page is not read right.
const TESTS_MIN: usize = 60;

/// Name and path of every test that the page links: "[`name`](../path)".
fn named(page: &str) -> Vec<(String, String)> {
    let link = |rest: &str| {
        let (name, rest) = rest.split_once("`](../")?;
        let (path, _) = rest.split_once(')')?;
        Some((name.to_owned(), path.to_owned()))
    };
    page.split("[`").skip(1).filter_map(link).collect()
}

/// Whether a file defines a function that is run as a test.
fn defines(text: &str, name: &str, path: &str) -> bool {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let at = lines.iter().position(|line| {
        let line = line.strip_prefix("async ").unwrap_or(line);
        let rest = line.strip_prefix("fn ").or_else(|| line.strip_prefix("def "));
        rest.and_then(|rest| rest.strip_prefix(name)).is_some_and(|rest| rest.starts_with('('))
    });
    let is_test = |at: usize| {
        let above = lines[..at].iter().rev().take_while(|line| line.starts_with('#') || line.starts_with("//"));
        above.into_iter().any(|line| line.contains("test"))
    };
    at.is_some_and(|at| if path.ends_with(".py") { name.starts_with("test_") } else { is_test(at) })
}

#[test]
fn every_promise_names_tests_that_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let page = fs::read_to_string(root.join("docs/guarantees.md")).unwrap();
    let tests = named(&page);
    assert!(tests.len() >= TESTS_MIN, "{} tests", tests.len());
    for (name, path) in tests {
        let text = fs::read_to_string(root.join(&path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert!(defines(&text, &name, &path), "docs/guarantees.md names '{name}', which is no test in {path}");
    }
    let promises = page.split("\n## ").skip(1).take_while(|part| !part.starts_with("What is not promised"));
    for promise in promises {
        assert!(!named(promise).is_empty(), "no test tries to break: {}", promise.lines().next().unwrap());
    }
}
