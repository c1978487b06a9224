//! The store fails, or the process dies, at every single step of a vacuum: afterwards every version within retention is
//! whole, and the next vacuum finishes the work.

use apiary_faults::{Fault, Op, Rule};
use futures::poll;

use super::world::{DAY, World, txn};
use crate::{CommitOutcome, vacuum::RETENTION};

/// A frame with some of everything: current cells, cells removed long ago and lately, orphans old and young.
async fn before() -> World {
    let world = World::new().await;
    for n in 1..=6 {
        world.append(n).await;
    }
    world.merge(7, &[1, 2]).await;
    world.upload(20).await;
    world.upload(21).await;
    world.put_cell(txn(21), 1).await;
    world.clock.advance(8 * DAY);
    world.merge(8, &[3, 4]).await;
    world.upload(22).await;
    world
}

/// What goes of [`before`]: two cells that were merged away, three files of two orphans.
const GOES: u64 = 5;

async fn finish(world: &World, step: &str) {
    world.faults.calm();
    world.whole(RETENTION).await;
    assert_eq!(world.rows().await, 6, "{step}");
    let left = world.cells().len();
    let next = world.elsewhere(0).vacuum(true).await.unwrap();
    assert!(next.goes.files <= GOES && next.stays.files == 3, "{step}: {next:?}");
    assert_eq!(world.cells().len() as u64, left as u64 - next.goes.files, "{step}");
    assert_eq!(world.cells().len(), 4 + 3, "{step}: four current, two removed lately, one that may be committed");
    assert_eq!(world.rows().await, 6, "{step}");
    // Whoever slept through all this is told so, and whoever is young goes on.
    let late = world.commit(world.made(txn(20), 1, crate::Kind::Append, vec![])).await;
    assert!(matches!(late, CommitOutcome::Aborted { .. }), "{step}: {late:?}");
    let young = world.commit(world.made(txn(22), 1, crate::Kind::Append, vec![])).await;
    assert!(matches!(young, CommitOutcome::Committed { .. }), "{step}: {young:?}");
    assert_eq!(world.rows().await, 7, "{step}");
    world.whole(RETENTION).await;
}

/// Calls of a vacuum of [`before`] that nothing disturbs.
async fn calls(before: &World) -> usize {
    let world = before.fork();
    let report = world.vacuum(true).await.unwrap();
    assert_eq!((report.goes.files, report.doomed, report.stays.files), (GOES, 2, 3));
    let calls = world.faults.calls().len();
    finish(&world, "undisturbed").await;
    calls
}

#[tokio::test]
async fn whatever_fails_from_any_step_on_the_next_vacuum_finishes() {
    let before = before().await;
    let steps = calls(&before).await;
    assert!(steps > 20, "{steps}");
    for n in 1..=steps {
        for fault in [Fault::Error, Fault::AppliedThenTimeout, Fault::Denied] {
            let world = before.fork();
            // A change that is made though nobody hears of it, and nothing works any more.
            world.faults.script(Rule::any(fault).nth(n));
            world.faults.script(Rule::any(Fault::Error).nth(n).forever());
            let ended = world.clock.run(world.vacuum(true)).await;
            let step = format!("{fault:?} from call {n} of {steps}: {ended:?}");
            finish(&world, &step).await;
        }
    }
}

#[tokio::test]
async fn one_failure_at_any_step_costs_at_most_the_run() {
    let before = before().await;
    let steps = calls(&before).await;
    for n in 1..=steps {
        for fault in [Fault::Error, Fault::AppliedThenError, Fault::BareConflict, Fault::AppliedThenExists] {
            let world = before.fork();
            world.faults.script(Rule::any(fault).nth(n));
            let ended = world.clock.run(world.vacuum(true)).await;
            finish(&world, &format!("{fault:?} at call {n} of {steps}: {ended:?}")).await;
        }
    }
}

#[tokio::test]
async fn a_process_that_dies_at_any_step_leaves_what_the_next_one_finishes() {
    let before = before().await;
    let steps = calls(&before).await;
    for n in 1..=steps {
        for fault in [Fault::Hang, Fault::AppliedThenHang] {
            let world = before.fork();
            world.faults.script(Rule::any(fault).nth(n));
            {
                let mut vacuum = Box::pin(world.vacuum(true));
                // It hangs there, and that is where it dies.
                let _ = poll!(&mut vacuum);
            }
            finish(&world, &format!("{fault:?} at call {n} of {steps}")).await;
        }
    }
}

#[tokio::test]
async fn deletes_are_counted_by_the_store_as_by_the_report() {
    let before = before().await;
    let world = before.fork();
    let report = world.vacuum(true).await.unwrap();
    assert_eq!(world.faults.count(Op::Delete, "/cells/") as u64, report.goes.files);
}
