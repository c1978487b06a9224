//! Garbage outside of frames that have names: what goes, what stays, and that nobody who slept is fooled.

use std::sync::Arc;

use apiary_bucket::layout;
use apiary_core::Version;
use apiary_faults::{Fault, Op, Rule};
use arrow::datatypes::{DataType, Field, Schema};
use futures::poll;

use super::world::{DAY, HOUR, World};
use crate::{
    CommitOutcome, FrameSpec, Frames, LedgerError, Registry, Result,
    vacuum::{FolderFate, Pin, PinnedVersion, Pins, SweepReport, VacuumOptions, sweep},
};

async fn swept(world: &World, run: bool) -> Result<SweepReport> {
    let options = VacuumOptions { run, ..VacuumOptions::default() };
    sweep(&world.bucket, &Registry::new(world.bucket.clone()), &options).await
}

fn fates(report: &SweepReport) -> Vec<&FolderFate> {
    report.unnamed.iter().map(|folder| &folder.fate).collect()
}

fn left(world: &World) -> usize {
    world.memory.keys(&format!("{}/", world.frame.folder)).len()
}

async fn dropped() -> World {
    let world = World::new().await;
    for n in 1..=3 {
        world.append(n).await;
    }
    Registry::new(world.bucket.clone()).drop_frame(&world.frame.path, None).await.unwrap();
    world
}

#[tokio::test]
async fn a_dropped_frame_goes_when_retention_is_over_and_its_fences_stay() {
    let world = dropped().await;
    world.clock.advance(7 * DAY - HOUR);
    let early = swept(&world, true).await.unwrap();
    assert_eq!(fates(&early), [&FolderFate::DroppedLately { version: Version(4) }]);
    world.clock.advance(2 * HOUR);
    let told = swept(&world, false).await.unwrap();
    assert!(matches!(told.unnamed[0].fate, FolderFate::Dropped { version: Version(4), .. }));
    assert_eq!((told.unnamed[0].total.files, left(&world), told.run), (8, 8, false));
    assert!(swept(&world, true).await.unwrap().unnamed[0].fate.goes());
    assert_eq!(left(&world), 0);
    assert_eq!(world.memory.keys("_apiary/fence/").len(), 1);
    let again = swept(&world, true).await.unwrap();
    assert_eq!((again.folders_seen, again.unnamed.len(), again.more), (0, 0, false));
}

#[tokio::test]
async fn what_a_frame_without_a_ledger_left_goes_when_retention_is_over() {
    let world = World::new().await;
    world.append(1).await;
    world.memory.keys(&layout::ledger_prefix(&world.frame.folder)).iter().for_each(|key| world.memory.set(key, None));
    let registry = Registry::new(world.bucket.clone());
    // An epoch that was cleaned once says nothing about a drop.
    world.bucket.put(&layout::fence(&world.frame.id, 0), "{}".into()).await.unwrap();
    world.clock.advance(30 * DAY);
    let report = registry.drop_frame(&world.frame.path, None).await.unwrap();
    assert_eq!(report.without_ledger.len(), 1);
    world.clock.advance(7 * DAY - HOUR);
    assert_eq!(fates(&swept(&world, true).await.unwrap()), [&FolderFate::DroppedLatelyWithoutLedger]);
    world.clock.advance(2 * HOUR);
    let done = swept(&world, true).await.unwrap();
    assert!(done.unnamed[0].fate.describe(world.now()).starts_with("dropped 7 days ago, without a ledger"));
    assert_eq!((left(&world), world.memory.keys("_apiary/fence/").len()), (0, 1));
}

#[tokio::test]
async fn frames_with_a_name_are_nobodys_garbage() {
    let world = World::new().await;
    world.append(1).await;
    world.clock.advance(400 * DAY);
    let report = swept(&world, true).await.unwrap();
    assert_eq!((report.folders_seen, report.unnamed.len(), left(&world)), (1, 0, 3));
}

#[tokio::test]
async fn a_pinned_frame_that_was_dropped_stays_until_the_query_ends() {
    let world = dropped().await;
    world.clock.advance(8 * DAY);
    let (pins, query) = (Pins::new(world.bucket.clone()), world.query());
    let frames = vec![PinnedVersion { folder: world.frame.folder.clone(), version: Version(3) }];
    pins.hold(&Pin::new(query, "n".to_owned(), frames)).await.unwrap();
    assert_eq!(fates(&swept(&world, true).await.unwrap()), [&FolderFate::Pinned { query }]);
    pins.release(&query).await.unwrap();
    assert!(swept(&world, true).await.unwrap().unnamed[0].fate.goes());
}

#[tokio::test]
async fn a_registry_that_was_lost_costs_no_frame() {
    let world = World::new().await;
    world.append(1).await;
    world.clock.advance(30 * DAY);
    // The newest entries first, then all of them.
    let entries = world.memory.keys(layout::registry_prefix());
    world.memory.set(entries.last().unwrap(), None);
    assert_eq!(fates(&swept(&world, true).await.unwrap()), [&FolderFate::HoldsFrame]);
    for entry in &entries {
        world.memory.set(entry, None);
    }
    let report = swept(&world, true).await.unwrap();
    assert!(report.refused.is_some() && report.unnamed.is_empty() && left(&world) == 3);
}

#[tokio::test]
async fn what_apiary_did_not_write_stays() {
    let world = dropped().await;
    world.put_raw("notes.txt").await;
    world.clock.advance(30 * DAY);
    let report = swept(&world, true).await.unwrap();
    assert!(matches!(&report.unnamed[0].fate, FolderFate::Foreign { object } if object.ends_with("notes.txt")));
    assert_eq!(left(&world), 9);
}

/// Creates the frame h.b.g and stops when the registry's entry is on its way, which arrives much later or never.
async fn creator_dies(world: &World, late: std::time::Duration) {
    world.faults.script(Rule::on(Op::Create, Fault::LateAndHang(late)).keys("_apiary/registry/"));
    let registry = Registry::new(world.bucket.clone());
    let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]));
    let spec = FrameSpec { schema, partition_by: vec![] };
    let path = "h.b.g".parse().unwrap();
    let mut create = Box::pin(registry.create_frame(&path, &spec));
    assert!(poll!(&mut create).is_pending());
}

#[tokio::test]
async fn a_frame_that_was_never_named_goes_after_a_day() {
    let world = World::new().await;
    creator_dies(&world, 900 * DAY).await;
    assert_eq!(world.memory.keys("h/b/g-").len(), 1);
    world.clock.advance(DAY - HOUR);
    assert_eq!(fates(&swept(&world, true).await.unwrap()), [&FolderFate::Young]);
    world.clock.advance(2 * HOUR);
    assert_eq!(fates(&swept(&world, true).await.unwrap()), [&FolderFate::NeverNamed]);
    assert!(world.memory.keys("h/b/g-").is_empty());
    assert_eq!((world.memory.keys("_apiary/fence/").len(), left(&world)), (1, 1));
}

#[tokio::test]
async fn a_name_that_comes_after_the_sweep_leads_nowhere_and_goes() {
    let world = World::new().await;
    creator_dies(&world, 3 * DAY).await;
    world.clock.advance(2 * DAY);
    assert_eq!(fates(&swept(&world, true).await.unwrap()), [&FolderFate::NeverNamed]);
    world.clock.advance(2 * DAY);
    world.faults.settle().await;
    let registry = Registry::new(world.bucket.clone());
    let record = registry.namespace().await.unwrap().frame("h", "b", "g").unwrap();
    let error = Frames::new(world.bucket.clone()).snapshot(&record).await.unwrap_err();
    assert!(matches!(error, LedgerError::Dropped { .. }), "{error}");
    assert!(registry.namespace().await.unwrap().frame("h", "b", "g").is_err(), "the name is free");
}

#[tokio::test]
async fn a_creator_that_slept_while_its_frame_was_swept_makes_another() {
    let world = World::new().await;
    let registry = Registry::new(world.bucket.clone());
    let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]));
    let spec = FrameSpec { schema, partition_by: vec![] };
    let path = "h.b.g".parse().unwrap();
    world.faults.script(Rule::on(Op::Create, Fault::Slow(HOUR / 60)).keys("_apiary/registry/"));
    let mut create = Box::pin(registry.create_frame(&path, &spec));
    assert!(poll!(&mut create).is_pending());
    world.clock.suspend(2 * DAY);
    assert_eq!(fates(&swept(&world.elsewhere(0), true).await.unwrap()), [&FolderFate::NeverNamed]);
    assert!(world.clock.run(create).await.unwrap());
    let record = Registry::new(world.bucket.clone()).namespace().await.unwrap().frame("h", "b", "g").unwrap();
    assert_eq!(Frames::new(world.bucket.clone()).snapshot(&record).await.unwrap().version, Version(0));
}

#[tokio::test]
async fn a_writer_that_slept_while_its_frame_was_dropped_and_swept_commits_nothing() {
    let world = World::new().await;
    let sleeper = world.elsewhere(0);
    let base = sleeper.snapshot().await;
    let txn = sleeper.upload(1).await;
    world.append(2).await;
    Registry::new(world.bucket.clone()).drop_frame(&world.frame.path, None).await.unwrap();
    world.clock.suspend(8 * DAY);
    assert!(swept(&world, true).await.unwrap().unnamed[0].fate.goes());
    assert_eq!(left(&world), 0);
    let outcome = sleeper.clock.run(sleeper.frames.commit(&sleeper.frame, base, txn)).await;
    assert!(!matches!(outcome, Ok(CommitOutcome::Committed { .. })), "{outcome:?}");
}

#[tokio::test]
async fn leftovers_of_probes_go_after_a_day() {
    let world = World::new().await;
    for (n, age) in [(1, 2 * DAY), (2, HOUR)] {
        world.bucket.put(&layout::probe("dead", n), "x".into()).await.unwrap();
        world.clock.advance(age);
    }
    assert_eq!((swept(&world, false).await.unwrap().probes, world.memory.keys("_apiary/probe/").len()), (1, 2));
    assert_eq!((swept(&world, true).await.unwrap().probes, world.memory.keys("_apiary/probe/").len()), (1, 1));
}

#[tokio::test]
async fn a_sweep_that_stops_at_any_step_is_finished_by_the_next() {
    let before = dropped().await;
    before.clock.advance(6 * DAY);
    creator_dies(&before, 900 * DAY).await;
    before.clock.advance(2 * DAY);
    let calls = {
        let world = before.fork();
        swept(&world, true).await.unwrap();
        world.faults.calls().len()
    };
    assert!(calls > 20, "{calls}");
    for n in 1..=calls {
        for fault in [Fault::Error, Fault::AppliedThenHang, Fault::Hang, Fault::Denied] {
            let world = before.fork();
            world.faults.script(Rule::any(fault).nth(n));
            world.faults.script(Rule::any(Fault::Error).nth(n).forever());
            {
                let mut first = Box::pin(swept(&world, true));
                // It fails or hangs; waits take no time but what others need.
                for _ in 0..200 {
                    if poll!(&mut first).is_ready() {
                        break;
                    }
                    world.clock.advance(std::time::Duration::from_secs(10));
                }
            }
            world.faults.calm();
            // A folder that was ended and left is like any that was dropped.
            world.clock.advance(8 * DAY);
            let next = swept(&world, true).await.unwrap();
            let step = format!("{fault:?} at call {n} of {calls}: {next:?}");
            assert!(next.unnamed.iter().all(|folder| folder.fate.goes()), "{step}");
            assert_eq!((left(&world), world.memory.keys("h/b/g-").len()), (0, 0), "{step}");
            // Each frame's epoch stays fenced.
            assert_eq!(world.memory.keys("_apiary/fence/").len(), 2, "{step}");
        }
    }
    assert!(Frames::new(before.bucket.clone()).snapshot(&before.frame).await.is_err());
}
