//! Who slept while a vacuum ran: nobody ever names a cell that is gone, and nobody reads wrong rows.

use std::sync::Arc;

use apiary_core::Version;
use apiary_faults::{Fault, Op, Rule};
use futures::poll;

use super::world::{DAY, HOUR, World, txn};
use crate::{
    CommitOutcome, LedgerError, VacuumOptions,
    vacuum::{Fate, Pin, PinnedVersion, Pins, Reason},
};

#[tokio::test]
async fn a_writer_whose_cells_were_vacuumed_before_it_sent_anything_is_aborted() {
    let world = World::new().await;
    let base = world.snapshot().await;
    let sleeper = world.upload(1).await;
    world.clock.advance(8 * DAY);
    let cleaner = world.elsewhere(0);
    assert_eq!(cleaner.vacuum(true).await.unwrap().goes.files, 1);
    let outcome = world.frames.commit(&world.frame, base, sleeper).await.unwrap();
    assert!(matches!(outcome, CommitOutcome::Aborted { .. }), "{outcome:?}");
    assert!(outcome.cells_are_garbage());
    assert_eq!(world.rows().await, 0);
}

#[tokio::test]
async fn a_put_that_arrives_after_the_vacuum_loses_its_slot() {
    let world = World::new().await;
    let base = world.snapshot().await;
    let sleeper = world.upload(1).await;
    // It is sent, hangs in some network for nine days, and its writer sleeps.
    world.faults.script(Rule::on(Op::Create, Fault::LateAndHang(9 * DAY)).keys("_delta_log"));
    let asleep = world.elsewhere(0);
    let mut commit = Box::pin(asleep.frames.commit(&world.frame, Arc::clone(&base), sleeper.clone()));
    while world.faults.late() == 0 {
        assert!(poll!(&mut commit).is_pending());
        tokio::task::yield_now().await;
    }
    world.clock.advance(8 * DAY);
    let cleaner = world.elsewhere(0);
    let report = cleaner.vacuum(true).await.unwrap();
    assert_eq!((report.goes.files, report.doomed), (1, 1));
    world.clock.advance(2 * DAY);
    world.faults.settle().await;
    assert_eq!(world.faults.late(), 0);
    assert_eq!(world.rows().await, 0);
    // Awake, it comes back with what it knows.
    let outcome = world.frames.commit(&world.frame, base, sleeper).await.unwrap();
    assert!(matches!(outcome, CommitOutcome::Aborted { .. }), "{outcome:?}");
    assert_eq!(world.rows().await, 0);
}

#[tokio::test]
async fn a_put_that_arrives_before_the_doom_is_spared() {
    let world = World::new().await;
    let base = world.snapshot().await;
    let sleeper = world.upload(1).await;
    let lost = world.upload(2).await;
    world.clock.advance(8 * DAY);
    // The vacuum has judged both undecided; its first entry is on its way when the sleeper's commit lands.
    world.faults.script(Rule::on(Op::Create, Fault::Slow(HOUR / 12)).keys("_delta_log"));
    let cleaner = world.elsewhere(0);
    let mut vacuum = Box::pin(cleaner.vacuum(true));
    assert!(poll!(&mut vacuum).is_pending());
    let outcome = world.frames.commit(&world.frame, base, sleeper.clone()).await.unwrap();
    assert!(matches!(outcome, CommitOutcome::Committed { version: Version(1), .. }), "{outcome:?}");
    let report = world.clock.run(vacuum).await.unwrap();
    assert_eq!((report.goes.files, report.doomed, report.opened), (1, 1, Some(Version(2))));
    assert_eq!(report.files[0].fate, Fate::Goes(Reason::Undecided { txn: lost.id }));
    assert!(!world.entry(2).contains(&sleeper.id.to_string()), "who is committed is not doomed");
    assert_eq!(world.rows().await, 1);
}

#[tokio::test]
async fn a_writer_may_come_back_any_number_of_times() {
    let world = World::new().await;
    let base = world.snapshot().await;
    let sleeper = world.upload(1).await;
    world.clock.advance(8 * DAY);
    world.elsewhere(0).vacuum(true).await.unwrap();
    for n in 10..13 {
        world.append(n).await;
        let outcome = world.frames.commit(&world.frame, Arc::clone(&base), sleeper.clone()).await.unwrap();
        assert!(matches!(outcome, CommitOutcome::Aborted { .. }), "{outcome:?}");
    }
    assert_eq!(world.rows().await, 3);
}

#[tokio::test]
async fn a_vacuum_that_slept_between_its_judgement_and_its_deletes_takes_nothing_that_is_needed() {
    for slow in ["_delta_log", "cells/"] {
        let world = World::new().await;
        for n in 1..=3 {
            world.append(n).await;
        }
        world.merge(4, &[1, 2]).await;
        world.upload(5).await;
        world.clock.advance(8 * DAY);
        let rule = if slow == "cells/" {
            Rule::on(Op::Delete, Fault::Slow(HOUR / 60)).keys(slow)
        } else {
            Rule::on(Op::Create, Fault::Slow(HOUR / 60)).keys(slow)
        };
        world.faults.script(rule);
        let cleaner = world.elsewhere(0);
        let mut vacuum = Box::pin(cleaner.vacuum(true));
        assert!(poll!(&mut vacuum).is_pending());
        // Life goes on, other vacuums too.
        world.append(6).await;
        world.merge(7, &[3, 6]).await;
        world.clock.suspend(8 * DAY);
        world.elsewhere(0).vacuum(true).await.unwrap();
        world.append(8).await;
        let slept = world.clock.run(vacuum).await.unwrap();
        assert!(slept.goes.files > 0);
        world.whole(DAY).await;
        assert_eq!(world.rows().await, 5, "{slow}");
    }
}

#[tokio::test]
async fn a_reader_with_a_pinned_snapshot_keeps_its_cells_and_one_without_is_told_which_is_gone() {
    let world = World::new().await;
    world.append(1).await;
    world.append(2).await;
    let old = world.snapshot().await;
    world.merge(3, &[1, 2]).await;
    let pins = Pins::new(world.bucket.clone());
    let query = world.query();
    let frames = vec![PinnedVersion { folder: world.frame.folder.clone(), version: old.version }];
    for _ in 0..4 {
        pins.hold(&Pin::new(query, "n".to_owned(), frames.clone())).await.unwrap();
        world.clock.advance(3 * DAY);
        world.elsewhere(0).vacuum(true).await.unwrap();
    }
    for cell in &old.cells {
        assert!(world.bucket.get(&cell.key()).await.unwrap().is_some(), "it is pinned");
    }
    pins.release(&query).await.unwrap();
    let report = world.elsewhere(0).vacuum(true).await.unwrap();
    assert_eq!(report.goes.files, 2);
    for cell in &old.cells {
        assert!(world.bucket.get(&cell.key()).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn a_writer_whose_doom_was_cleaned_away_commits_nothing() {
    let world = World::new().await;
    let sleeper = world.elsewhere(0);
    let base = sleeper.snapshot().await;
    let asleep = sleeper.upload(1).await;
    world.append(2).await;
    world.append(3).await;
    world.merge(4, &[2, 3]).await;
    world.clock.suspend(8 * DAY);
    assert_eq!(world.vacuum(true).await.unwrap().goes.files, 3);
    for n in 0..1_030 {
        world.seal(txn(10_000 + n)).await;
    }
    world.append(5).await;
    let forgotten = world.upload(6).await;
    world.clock.run(world.frames.checkpoint(&world.frame)).await.unwrap();
    world.clock.suspend(8 * DAY);
    let cleaned = world.clock.run(world.frames.clean_log(&world.frame, 7 * DAY)).await.unwrap();
    assert_eq!(cleaned.entries, 1_024);
    let commit = sleeper.frames.commit(&sleeper.frame, Arc::clone(&base), asleep.clone());
    let outcome = world.clock.run(commit).await;
    assert!(outcome.as_ref().is_err_and(LedgerError::sent_nothing), "{outcome:?}");
    // Nor does it when it comes back, as a new process, with the same base; and a vacuum goes on over what is left.
    let other = world.elsewhere(0);
    let again = world.clock.run(other.frames.commit(&world.frame, base, asleep)).await;
    assert!(!matches!(again, Ok(CommitOutcome::Committed { .. })), "{again:?}");
    assert_eq!(world.rows().await, 3);
    let report = world.elsewhere(0).vacuum(true).await.unwrap();
    assert_eq!(report.files[0].fate, Fate::Goes(Reason::Forgotten { txn: forgotten.id }));
    assert_eq!((report.goes.files, world.rows().await), (1, 3));
}

#[tokio::test]
async fn a_commit_with_a_base_younger_than_the_doom_is_what_the_law_forbids() {
    // A writer reads its base before it uploads. This is what the rule is for: without it the ledger would name a cell
    // that is gone, and this test would not find it missing.
    let world = World::new().await;
    let sleeper = world.upload(1).await;
    world.clock.advance(8 * DAY);
    world.elsewhere(0).vacuum(true).await.unwrap();
    let too_late = world.snapshot().await;
    let outcome = world.frames.commit(&world.frame, too_late, sleeper).await.unwrap();
    assert!(matches!(outcome, CommitOutcome::Committed { .. }), "{outcome:?}");
    assert!(!world.cells().contains(&apiary_bucket::layout::cell_path(&txn(1), 0)));
}

#[tokio::test]
async fn retention_of_nothing_takes_all_but_the_head_and_the_undecided() {
    let world = World::new().await;
    world.append(1).await;
    world.append(2).await;
    world.merge(3, &[1, 2]).await;
    let busy = world.upload(4).await;
    world.clock.advance(HOUR);
    let options = VacuumOptions { retention: std::time::Duration::ZERO, run: true, ..VacuumOptions::default() };
    let report = world.vacuum_with(&options).await.unwrap();
    assert_eq!((report.goes.files, report.stays.files), (2, 1));
    let outcome = world.commit(busy).await;
    assert!(matches!(outcome, CommitOutcome::Committed { .. }), "{outcome:?}");
    assert_eq!(world.rows().await, 3);
}
