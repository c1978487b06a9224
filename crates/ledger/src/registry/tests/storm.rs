//! Random changes of names by several nodes at once, on a calm store and in a storm. The registry's log says in which
//! order they happened; what each of them was told must be true at some moment while it ran.

use std::{collections::HashSet, time::Duration};

use apiary_core::{ManualClock, Rng, SeededRng};
use apiary_faults::{FaultStore, MemoryStore, Rates};

use super::*;
use crate::registry_entry::Renamed;

const NODES: u64 = 4;
const OPERATIONS: usize = 25;

#[derive(Debug, Clone)]
enum Operation {
    Create(String),
    Drop(String, bool),
    Rename(String, String),
}

/// What an operation was told, and how long the registry's log was before and after it.
#[derive(Debug)]
struct Told {
    operation: Operation,
    from: usize,
    to: usize,
    answer: Result<bool>,
}

/// A name of one to three parts, out of few.
fn path(rng: &dyn Rng, parts: usize) -> String {
    let names = [["h", "K"], ["b", "C"], ["f", "G"]];
    let part = |i: usize| {
        let name = names[i][usize::try_from(rng.below(2)).unwrap()];
        if rng.below(4) == 0 { name.to_uppercase() } else { name.to_owned() }
    };
    (0..parts).map(part).collect::<Vec<_>>().join(".")
}

fn operation(rng: &dyn Rng) -> Operation {
    // Mostly frames: hives come and go more rarely.
    let parts = match rng.below(10) {
        0 => 1,
        1..=3 => 2,
        _ => 3,
    };
    match rng.below(10) {
        0..=4 => Operation::Create(path(rng, parts)),
        5..=6 => Operation::Drop(path(rng, parts), rng.below(3) == 0),
        _ => {
            let from = path(rng, parts);
            let last = path(rng, parts).rsplit('.').next().unwrap().to_owned();
            let to = match from.rsplit_once('.') {
                _ if parts == 3 && rng.below(3) == 0 => path(rng, 3),
                Some((home, _)) => format!("{home}.{last}"),
                None => last,
            };
            Operation::Rename(from, to)
        }
    }
}

async fn perform(registry: &Registry, operation: &Operation) -> Result<bool> {
    let parts = |path: &str| path.split('.').map(str::to_owned).collect::<Vec<_>>();
    match operation {
        Operation::Create(path) => match &parts(path)[..] {
            [a] => registry.create_hive(&hive(a)).await,
            [a, b] => registry.create_box(&hive(a), &in_box(b)).await,
            _ => registry.create_frame(&at(path), &plain()).await,
        },
        Operation::Drop(path, cascade) => match &parts(path)[..] {
            [a] => registry.drop_hive(&hive(a), *cascade).await,
            [a, b] => registry.drop_box(&hive(a), &in_box(b), *cascade).await,
            _ => registry.drop_frame(&at(path), None).await,
        }
        .map(|_| true),
        Operation::Rename(from, to) => match (&parts(from)[..], &parts(to)[..]) {
            ([a], [b]) => registry.rename_hive(&hive(a), &hive(b)).await,
            ([a, b], [_, c]) => registry.rename_box(&hive(a), &in_box(b), &in_box(c)).await,
            _ => registry.rename_frame(&at(from), &at(to)).await,
        }
        .map(|()| true),
    }
}

/// The names after each entry, nothing first, and the entries.
async fn history(bucket: &Bucket) -> (Vec<Namespace>, Vec<Vec<Change>>) {
    let registry = Registry::new(bucket.clone());
    let (mut states, mut entries) = (vec![Namespace::default()], Vec::new());
    let mut reader = registry.log.read_after(None);
    while let Some(read) = reader.next().await.unwrap() {
        let mut next = states.last().unwrap().clone();
        take(&mut next, &read).unwrap();
        states.push(next);
        entries.push(read.entry.changes);
    }
    (states, entries)
}

fn is_there(names: &Namespace, path: &str) -> bool {
    match path.split('.').collect::<Vec<_>>()[..] {
        [a] => names.hive(a).is_ok(),
        [a, b] => names.box_name(a, b).is_ok(),
        [a, b, c] => names.frame(a, b, c).is_ok(),
        _ => false,
    }
}

fn parent(path: &str) -> Option<&str> {
    path.rsplit_once('.').map(|(home, _)| home)
}

fn same(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

fn name_of(thing: &Thing) -> String {
    match thing {
        Thing::Hive { hive } => hive.to_string(),
        Thing::Box { hive, box_name } => format!("{hive}.{box_name}"),
        Thing::Frame(record) => record.path.to_string(),
    }
}

struct Judge {
    states: Vec<Namespace>,
    entries: Vec<Vec<Change>>,
    /// Folders whose ledger has ended.
    ended: HashSet<String>,
}

impl Judge {
    /// Whether what was told was so at some moment of the operation.
    fn is_right(&self, told: &Told) -> bool {
        let when = &self.states[told.from..=told.to.min(self.states.len() - 1)];
        let done = &self.entries[told.from..told.to.min(self.entries.len())];
        let some_state = |of: &dyn Fn(&Namespace) -> bool| when.iter().any(of);
        let some_change = |of: &dyn Fn(&Change) -> bool| done.iter().flatten().any(of);
        let half_dropped = |path: &str| self.has_ended(when, path);
        match (&told.operation, &told.answer) {
            (Operation::Create(path), Ok(true)) => {
                some_change(&|change| matches!(change, Change::Create(thing) if same(&name_of(thing), path)))
            }
            (Operation::Create(path), Ok(false)) => some_state(&|names| is_there(names, path)),
            // What it was called when the drop began, whatever it was called when it went.
            (Operation::Drop(path, _), Ok(_)) if path.matches('.').count() == 2 => some_change(&|change| {
                let Change::Drop(Thing::Frame(record)) = change else { return false };
                some_state(&|names| {
                    names.in_folder(&record.folder).is_some_and(|now| same(&now.path.to_string(), path))
                })
            }),
            (Operation::Drop(path, _), Ok(_)) => some_change(&|change| match change {
                Change::Drop(thing) => same(&name_of(thing), path) || some_state(&|names| !is_there(names, path)),
                _ => false,
            }),
            (Operation::Rename(from, to), Ok(_)) => {
                some_change(&|change| match change {
                    Change::Rename(Renamed::Hive { hive, to: now }) => same(hive.as_str(), from) && now.as_str() == to,
                    Change::Rename(Renamed::Box { hive, box_name, to: now }) => {
                        same(&format!("{hive}.{box_name}"), from) && to.ends_with(now.as_str())
                    }
                    Change::Rename(Renamed::Frame { frame, to: now }) => {
                        same(&frame.path.to_string(), from) && same(&now.to_string(), to)
                    }
                    _ => false,
                }) || (same(from, to) && some_state(&|names| is_there(names, from)))
            }
            (operation, Err(error)) => match (operation, error.kind()) {
                (Operation::Create(path), ErrorKind::NotFound) => {
                    some_state(&|names| parent(path).is_some_and(|home| !is_there(names, home)))
                }
                (Operation::Drop(path, _), ErrorKind::NotFound) => {
                    some_state(&|names| !is_there(names, path)) || half_dropped(path)
                }
                (Operation::Rename(from, to), ErrorKind::NotFound) => {
                    let homeless = |names: &Namespace| parent(to).is_some_and(|home| !is_there(names, home));
                    some_state(&|names| !is_there(names, from) || homeless(names)) || half_dropped(from)
                }
                // Or it is there in another spelling.
                (Operation::Create(path), ErrorKind::AlreadyExists) => some_state(&|names| is_there(names, path)),
                (Operation::Rename(_, to), ErrorKind::AlreadyExists) => some_state(&|names| is_there(names, to)),
                (Operation::Drop(path, false), ErrorKind::InvalidInput) => some_state(&|names| is_there(names, path)),
                // A storm.
                (_, ErrorKind::OutcomeUnknown | ErrorKind::Storage | ErrorKind::Timeout | ErrorKind::Conflict) => true,
                _ => false,
            },
        }
    }

    fn has_ended(&self, when: &[Namespace], path: &str) -> bool {
        let path = match path.split('.').collect::<Vec<_>>()[..] {
            [a, b, c] => (a.to_owned(), b.to_owned(), c.to_owned()),
            _ => return false,
        };
        let record = |names: &Namespace| names.frame(&path.0, &path.1, &path.2).ok();
        when.iter().filter_map(record).any(|record| self.ended.contains(&record.folder))
    }

    fn count(&self, of: impl Fn(&Change) -> bool) -> usize {
        self.entries.iter().flatten().filter(|change| of(change)).count()
    }
}

/// One run; how many operations were told that they are done, and how many were told nothing certain.
async fn run(seed: u64, per_mille: Option<u64>) -> (usize, usize) {
    let clock = ManualClock::new();
    let memory = MemoryStore::new(Arc::new(clock.clone()));
    let mut stores = Vec::new();
    let work = (0..NODES).map(|node| {
        let store = FaultStore::new(Arc::new(memory.clone()), seed * 10 + node, Arc::new(clock.clone()));
        store.latency(Duration::from_millis(5 + 2 * node));
        store.deal(per_mille.map(Rates::storm));
        stores.push(store.clone());
        let rng = Arc::new(SeededRng::new(seed * 100 + node));
        let chance = Arc::clone(&rng);
        let registry = Registry::new(Bucket::over(Arc::new(store), Arc::new(clock.clone()), chance));
        let length = || memory.keys("_apiary/registry/").len();
        async move {
            let mut all = Vec::new();
            for _ in 0..OPERATIONS {
                let (operation, from) = (operation(rng.as_ref()), length());
                let answer = perform(&registry, &operation).await;
                all.push(Told { operation, from, to: length(), answer });
            }
            all
        }
    });
    let work: Vec<_> = work.collect();
    let told: Vec<Told> = clock.run(futures::future::join_all(work)).await.into_iter().flatten().collect();
    for store in stores {
        store.calm();
        store.land_late().await;
    }
    let bucket = Bucket::over(Arc::new(memory.clone()), Arc::new(clock.clone()), Arc::new(SeededRng::new(seed)));
    judge(seed, &memory, &bucket, &told).await;
    let done = told.iter().filter(|told| told.answer.is_ok()).count();
    let uncertain = told.iter().filter(|told| {
        told.answer.as_ref().is_err_and(|error| {
            matches!(
                error.kind(),
                ErrorKind::OutcomeUnknown | ErrorKind::Storage | ErrorKind::Timeout | ErrorKind::Conflict
            )
        })
    });
    (done, uncertain.count())
}

async fn judge(seed: u64, memory: &MemoryStore, bucket: &Bucket, told: &[Told]) {
    let (states, entries) = history(bucket).await;
    let is_end =
        |key: &String| memory.body(key).is_some_and(|body| String::from_utf8_lossy(&body).contains("DROP TABLE"));
    let ledgers = memory.keys("").into_iter().filter(|key| key.contains("/_delta_log/"));
    let ended =
        ledgers.filter(is_end).filter_map(|key| key.split_once("/_delta_log/").map(|(folder, _)| folder.to_owned()));
    let judge = Judge { states, entries, ended: ended.collect() };
    for told in told {
        assert!(judge.is_right(told), "seed {seed}: {told:?}");
    }
    // Nobody was told of more than there was.
    for path in ["h", "k", "h.b", "h.b.f", "k.c.g"] {
        let created = told.iter().filter(
            |told| matches!((&told.operation, &told.answer), (Operation::Create(name), Ok(true)) if same(name, path)),
        );
        let entries = judge.count(|change| matches!(change, Change::Create(thing) if same(&name_of(thing), path)));
        assert!(created.count() <= entries, "seed {seed}: {path}");
    }
    // A frame that is gone has ended, so nothing is acknowledged in it; and no name leads nowhere.
    let gone = judge.entries.iter().flatten().filter_map(|change| match change {
        Change::Drop(Thing::Frame(record)) => Some(record),
        _ => None,
    });
    for record in gone {
        assert!(judge.ended.contains(&record.folder), "seed {seed}: {record:?}");
    }
    crash::every_name_leads_somewhere(bucket, &format!("seed {seed}")).await;
    for record in Registry::new(bucket.clone()).namespace().await.unwrap().all_frames() {
        Frames::new(bucket.clone()).snapshot(&record).await.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    }
}

#[tokio::test]
async fn what_each_is_told_was_so_while_he_asked() {
    let (mut done, mut uncertain) = (0, 0);
    for seed in 1..=30 {
        let (more, unsure) = run(seed, None).await;
        (done, uncertain) = (done + more, uncertain + unsure);
    }
    // On a calm store nobody starves.
    assert!(done > 500 && uncertain == 0, "{done} done, {uncertain} uncertain");
}

#[tokio::test]
async fn what_each_is_told_in_a_storm_was_so_while_he_asked() {
    let mut done = 0;
    for seed in 1..=30 {
        done += run(seed, Some(30)).await.0;
    }
    assert!(done > 500, "{done}");
}
