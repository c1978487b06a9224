//! Vacuum from its callers' side: what goes, what stays, what is written. Time passes only when a test says so, for
//! the store as for everybody.

mod cuts;
mod races;
mod sleepers;
mod sweeps;
mod world;

use std::time::Duration;

use apiary_bucket::layout;
use apiary_core::{ErrorKind, Version};

use self::world::{DAY, HOUR, World};
use super::{Fate, Hold, Pin, PinnedVersion, Pins, Reason, VacuumOptions};
use crate::CommitOutcome;

/// One row for each file that the head does not have: what becomes of it.
fn fates(report: &super::VacuumReport) -> Vec<&Fate> {
    report.files.iter().map(|file| &file.fate).collect()
}

#[tokio::test]
async fn what_a_merge_removed_goes_when_retention_is_over() {
    let world = World::new().await;
    world.append(1).await;
    world.append(2).await;
    world.clock.advance(DAY);
    world.merge(3, &[1, 2]).await;
    world.clock.advance(7 * DAY - HOUR);
    let early = world.vacuum(true).await.unwrap();
    assert_eq!(fates(&early), [&Fate::Stays(Hold::Retained { by: Version(3) }); 2]);
    assert_eq!((early.opened, early.goes.files, early.stays.files), (None, 0, 2));
    world.clock.advance(2 * HOUR);
    let keys = world.memory.keys("");
    let told = world.vacuum(false).await.unwrap();
    assert!(told.files.iter().all(|file| matches!(file.fate, Fate::Goes(Reason::Removed { by: Version(3), .. }))));
    assert_eq!((told.goes.files, told.goes.bytes, told.run, told.opened), (2, 20, false, None));
    assert!(told.files[0].fate.describe(world.now()).starts_with("removed by version 3, 7 days ago"));
    assert_eq!(world.memory.keys(""), keys, "a dry run changes nothing");
    let done = world.vacuum(true).await.unwrap();
    assert_eq!((done.goes.files, done.opened, done.closed), (2, Some(Version(4)), Some(Version(5))));
    assert_eq!((done.doomed, world.cells().len()), (0, 1), "what was committed need not be doomed");
    assert_eq!(world.rows().await, 2);
    let entry = world.entry(5);
    assert!(
        entry.contains(r#""operation":"VACUUM","operationParameters":{"bytes":"20","files":"2","step":"end"}"#),
        "{entry}"
    );
}

#[tokio::test]
async fn nothing_to_delete_makes_no_entry_and_asks_for_no_log() {
    let world = World::new().await;
    world.append(1).await;
    world.clock.advance(30 * DAY);
    world.faults.forget_calls();
    let report = world.vacuum(true).await.unwrap();
    assert_eq!((report.current.files, report.files.len(), report.opened), (1, 0, None));
    assert_eq!(world.snapshot().await.version, Version(1));
    let calls: Vec<_> = world.faults.calls().iter().map(|call| (call.op, call.key.clone())).collect();
    // The newest version, the store's time, the files.
    assert!(calls.len() <= 8, "{calls:?}");
}

#[tokio::test]
async fn an_orphan_is_doomed_when_it_is_a_week_old_and_not_before() {
    let world = World::new().await;
    let orphan = world.upload(7).await;
    world.clock.advance(7 * DAY - HOUR);
    let options = VacuumOptions { retention: HOUR, run: true, ..VacuumOptions::default() };
    let early = world.vacuum_with(&options).await.unwrap();
    assert_eq!(fates(&early), [&Fate::Stays(Hold::Undecided { txn: orphan.id })]);
    world.clock.advance(2 * HOUR);
    let done = world.vacuum_with(&options).await.unwrap();
    assert_eq!(fates(&done), [&Fate::Goes(Reason::Undecided { txn: orphan.id })]);
    assert_eq!((done.doomed, world.cells().len()), (1, 0));
    assert!(world.entry(1).contains(&format!(r#""doomed":["{}"]"#, orphan.id)));
}

#[tokio::test]
async fn leftovers_of_decided_transactions_go_undoomed() {
    let world = World::new().await;
    // Committed without one of its files; sealed; doomed by a vacuum that died before its deletes.
    let left_out = world.append(1).await;
    world.put_cell(left_out, 5).await;
    let sealed = world.upload(2).await;
    world.seal(sealed.id).await;
    let doomed = world.upload(3).await;
    world.doom(doomed.id).await;
    world.clock.advance(DAY);
    let options = VacuumOptions { retention: HOUR, run: true, ..VacuumOptions::default() };
    let report = world.vacuum_with(&options).await.unwrap();
    let mut seen: Vec<_> = fates(&report).into_iter().cloned().collect();
    seen.sort_by_key(|fate| format!("{fate:?}"));
    let given_up = |txn, version| Fate::Goes(Reason::GivenUp { txn, version: Version(version) });
    let mut expected = vec![
        given_up(sealed.id, 2),
        given_up(doomed.id, 3),
        Fate::Goes(Reason::LeftOut { txn: left_out, version: Version(1) }),
    ];
    expected.sort_by_key(|fate| format!("{fate:?}"));
    assert_eq!((seen, report.doomed), (expected, 0));
    assert_eq!((world.cells().len(), world.rows().await), (1, 1));
}

#[tokio::test]
async fn a_current_cell_that_is_missing_is_told_and_nothing_is_deleted_until_it_is_back() {
    let world = World::new().await;
    let ids = [world.append(1).await, world.append(2).await, world.append(3).await];
    world.merge(4, &[1, 2]).await;
    world.clock.advance(8 * DAY);
    let (path, key) = {
        let path = layout::cell_path(&ids[2], 0);
        (path.clone(), layout::in_folder(&world.frame.folder, &path).unwrap())
    };
    let body = world.memory.body(key.as_str()).unwrap();
    world.memory.set(key.as_str(), None);
    let refused = world.vacuum(true).await.unwrap();
    assert_eq!((&refused.missing[..], refused.opened, refused.run), (&[path.clone()][..], None, false));
    assert!(
        refused.refused().unwrap().starts_with(&format!("1 cell of version 4 is missing from the bucket, '{path}'"))
    );
    assert_eq!(world.cells().len(), 3, "what a merge removed is still there");
    world.memory.set(key.as_str(), Some(body));
    let done = world.vacuum(true).await.unwrap();
    assert_eq!((done.goes.files, done.refused(), world.rows().await), (2, None, 3));
}

#[tokio::test]
async fn names_that_apiary_does_not_give_stay() {
    let world = World::new().await;
    world.put_raw("cells/notes.txt").await;
    world.clock.advance(30 * DAY);
    let report = world.vacuum(true).await.unwrap();
    assert_eq!((fates(&report), report.opened), (vec![&Fate::Stays(Hold::Foreign)], None));
}

#[tokio::test]
async fn a_pin_keeps_what_its_version_had_and_everything_after_it() {
    let world = World::new().await;
    for n in 1..=4 {
        world.append(n).await;
    }
    let pinned = world.snapshot().await;
    world.merge(5, &[1, 2]).await;
    world.clock.advance(8 * DAY);
    let query = world.query();
    let frames = vec![PinnedVersion { folder: world.frame.folder.clone(), version: pinned.version }];
    let pins = Pins::new(world.bucket.clone());
    pins.hold(&Pin::new(query, "n".to_owned(), frames)).await.unwrap();
    let held = world.vacuum(true).await.unwrap();
    assert_eq!(fates(&held), [&Fate::Stays(Hold::Pinned { query }); 2]);
    // A pin on a later version does not hold what was gone before it.
    let later = vec![PinnedVersion { folder: world.frame.folder.clone(), version: Version(5) }];
    pins.hold(&Pin::new(query, "n".to_owned(), later)).await.unwrap();
    assert_eq!(world.vacuum(false).await.unwrap().goes.files, 2);
    // Nor does one that is a week old, or that was taken away.
    let frames = vec![PinnedVersion { folder: world.frame.folder.clone(), version: pinned.version }];
    pins.hold(&Pin::new(query, "n".to_owned(), frames)).await.unwrap();
    assert_eq!(world.vacuum(false).await.unwrap().goes.files, 0);
    world.clock.advance(8 * DAY);
    assert_eq!(world.vacuum(false).await.unwrap().goes.files, 2);
    assert_eq!(pins.sweep(world.now(), true).await.unwrap(), 1);
    assert!(world.memory.keys("_apiary/pins").is_empty());
}

#[tokio::test]
async fn a_pin_that_cannot_be_read_stops_the_vacuum() {
    let world = World::new().await;
    world.upload(1).await;
    world.clock.advance(8 * DAY);
    let key = apiary_bucket::layout::pin(&world.query());
    world.bucket.put(&key, "{".into()).await.unwrap();
    let error = world.vacuum(true).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains(key.as_str()) && world.cells().len() == 1, "{error}");
}

#[tokio::test]
async fn a_changed_entry_stops_the_vacuum() {
    let world = World::new().await;
    world.append(1).await;
    world.append(2).await;
    world.merge(3, &[1, 2]).await;
    world.append(4).await;
    world.snapshot().await;
    world.clock.advance(8 * DAY);
    // A digit of a path in the entry that removed: nobody would know that the cell was removed then.
    let key = world.entry_key(3);
    let text = world.entry(3);
    let path = &warm_path(&text);
    world.memory.set(&key, Some(text.replacen(path, &path.replace("-00.", "-01."), 1).into()));
    let error = world.vacuum(true).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert_eq!(world.cells().len(), 4);
}

/// The first path that an entry removes.
fn warm_path(entry: &str) -> String {
    let line = entry.lines().find(|line| line.starts_with(r#"{"remove""#)).unwrap();
    line.split('"').find(|part| part.starts_with("cells/")).unwrap().to_owned()
}

#[tokio::test]
async fn clocks_of_machines_that_are_off_by_years_change_nothing() {
    let world = World::new().await;
    world.append(1).await;
    world.append(2).await;
    world.merge(3, &[1, 2]).await;
    let orphan = world.upload(4).await;
    for off in [-20 * 365, 20 * 365] {
        let elsewhere = world.elsewhere(i64::from(off) * 86_400_000);
        let report = elsewhere.vacuum(true).await.unwrap();
        assert_eq!((report.goes.files, report.stays.files), (0, 3), "{off}");
    }
    world.clock.advance(8 * DAY);
    let elsewhere = world.elsewhere(-20 * 365 * 86_400_000);
    assert_eq!(elsewhere.vacuum(true).await.unwrap().goes.files, 3);
    let late = world.commit(orphan).await;
    assert!(matches!(late, CommitOutcome::Aborted { .. }), "{late:?}");
}

#[tokio::test]
async fn many_orphans_go_in_batches_and_none_is_forgotten() {
    let world = World::new().await;
    for n in 0..40 {
        world.upload(100 + n).await;
    }
    world.clock.advance(8 * DAY);
    let report = world.vacuum(true).await.unwrap();
    assert_eq!((report.goes.files, report.doomed, report.more, world.cells().len()), (40, 40, false, 0));
}

#[test]
fn ages_are_told_in_the_unit_that_fits() {
    let day = i64::try_from(DAY.as_millis()).unwrap();
    let told = [9 * day, day, day / 20, 3_000, -5].map(super::report::age);
    assert_eq!(told, ["9 days", "24 hours", "72 minutes", "3 seconds", "0 seconds"]);
    assert_eq!(Duration::from_millis(9 * 86_400_000), 9 * DAY);
}
