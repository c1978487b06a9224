//! The walks: none finds a broken property, and each planted fault is found.

use stateright::{Checker, Expectation, HasDiscoveries, Model};

use super::*;
use crate::properties::{ACKNOWLEDGED, APPLIED, CELLS, FRESH, NEVER, ONCE, ONE_ENTRY, ONE_SET, READS_ON, ROWS};

/// A wider walk than the usual one: `APIARY_MODEL_FAULTS=1 cargo test` lets one more request go wrong in each.
fn more_faults() -> u8 {
    std::env::var("APIARY_MODEL_FAULTS").map_or(0, |text| text.parse().unwrap())
}

/// Walks through everything within the bounds; a broken property is printed with the shortest way to it.
fn holds(what: &str, config: Config) {
    let faults = config.faults + more_faults();
    let checker = Config { faults, ..config }.checker().threads(2).spawn_bfs().join();
    let (states, depth) = (checker.unique_state_count(), checker.max_depth());
    println!("{what}: {states} states, {depth} deep, {faults} faults");
    for (name, path) in checker.discoveries() {
        if checker.model().property(name).expectation != Expectation::Sometimes {
            println!("broken: {name}, by {:?}", path.into_actions());
        }
    }
    checker.assert_properties();
}

const CORE: Config = Config {
    writers: 3,
    late: 0,
    faults: 2,
    resends: false,
    silence: false,
    cleanup: false,
    vacuum: false,
    reads: 0,
    mutant: None,
};

const CLEANED: Config = Config { faults: 1, cleanup: true, ..CORE };

const READ: Config = Config { faults: 0, cleanup: true, reads: 1, ..CORE };

#[test]
fn three_writers_lose_nothing_whatever_the_store_answers() {
    holds("three writers", CORE);
}

#[test]
fn a_store_that_falls_silent_leaves_outcomes_unknown_and_nothing_wrong() {
    holds("a silent store", Config { faults: 1, silence: true, ..CORE });
}

#[test]
fn a_retry_by_another_coordinator_with_a_fresh_look_writes_nothing_twice() {
    holds("a late retry", Config { writers: 2, late: 1, faults: 3, silence: true, ..CORE });
}

#[test]
fn writers_that_slept_over_a_cleanup_are_told_the_truth() {
    holds("sleeping writers", CLEANED);
}

#[test]
fn a_vacuum_takes_no_cell_of_a_transaction_that_is_committed_later() {
    holds("a vacuum", Config { faults: 1, vacuum: true, ..CORE });
}

#[test]
fn a_vacuum_and_a_cleanup_together_take_nothing_that_is_needed() {
    holds("a vacuum and a cleanup", Config { faults: 0, vacuum: true, ..CLEANED });
}

#[test]
fn readers_that_slept_over_a_cleanup_see_each_row_once_and_none_too_few() {
    holds("a reader", READ);
    holds("two reads", Config { writers: 2, late: 1, faults: 1, reads: 2, ..READ });
}

/// Plants a fault and walks until the property is broken that it must break.
fn finds(mutant: Mutant, broken: &'static str, config: Config) {
    let config = Config { mutant: Some(mutant), ..config };
    let found = HasDiscoveries::AnyOf([broken].into());
    let checker = config.checker().threads(2).finish_when(found).spawn_bfs().join();
    let states = checker.unique_state_count();
    let Some(path) = checker.discovery(broken) else {
        panic!("{mutant:?} was not found in {states} states; broken were {:?}", checker.discoveries().keys());
    };
    let steps = path.into_actions();
    println!("{mutant:?} breaks '{broken}' in {} steps ({states} states): {steps:?}", steps.len());
}

#[test]
fn without_the_own_commit_check_rows_are_doubled() {
    finds(Mutant::NoOwnCommitCheck, ONCE, CORE);
}

#[test]
fn without_the_fence_check_a_sleeper_is_acknowledged_for_nothing() {
    finds(Mutant::NoFenceCheck, ACKNOWLEDGED, CLEANED);
}

#[test]
fn without_the_fence_check_a_sleeping_reader_trusts_what_is_no_part_of_the_log() {
    finds(Mutant::NoFenceCheck, ROWS, READ);
}

#[test]
fn without_the_fence_check_of_what_is_read_a_retry_is_told_of_a_commit_that_never_was() {
    finds(Mutant::NoFenceCheckOfReads, APPLIED, CLEANED);
}

#[test]
fn without_a_seal_a_late_put_commits_what_was_given_up() {
    finds(Mutant::NoSeal, NEVER, CORE);
}

#[test]
fn without_a_seal_cells_are_deleted_that_a_late_put_names() {
    finds(Mutant::NoSeal, CELLS, CORE);
}

#[test]
fn a_seal_that_is_taken_for_a_commit_acknowledges_what_is_not_there() {
    finds(Mutant::SealTakenForCommit, ACKNOWLEDGED, CORE);
}

#[test]
fn cells_named_by_the_clients_key_are_deleted_by_the_retry() {
    finds(Mutant::CellsNamedByKey, CELLS, CORE);
}

#[test]
fn a_replay_from_the_checkpoint_itself_doubles_rows() {
    finds(Mutant::ReplayFromCheckpointItself, ROWS, READ);
}

#[test]
fn other_bytes_after_an_ambiguous_answer_acknowledge_what_did_not_land() {
    finds(Mutant::OtherBytes, ACKNOWLEDGED, CORE);
}

#[test]
fn a_refusal_that_is_believed_at_once_denies_what_lands_later() {
    finds(Mutant::RefusalTakenAsDefinite, NEVER, Config { resends: true, ..CORE });
}

#[test]
fn a_deletion_before_the_fence_lets_a_slot_be_won_again() {
    finds(Mutant::DeleteBeforeFence, ONE_ENTRY, CLEANED);
}

#[test]
fn a_vacuum_that_dooms_nobody_deletes_cells_of_a_writer_that_slept() {
    finds(Mutant::NoDoom, CELLS, Config { faults: 0, vacuum: true, ..CORE });
}

#[test]
fn an_unknown_outcome_that_is_taken_for_none_loses_cells() {
    finds(Mutant::UnknownTakenForNone, CELLS, Config { silence: true, ..CORE });
}

#[test]
fn a_reader_that_asks_for_the_fence_first_misses_what_was_there() {
    finds(Mutant::FenceReadFirst, FRESH, READ);
}

#[test]
fn a_reader_that_asks_for_the_fence_first_trusts_what_is_no_part_of_the_log() {
    finds(Mutant::FenceReadFirst, ROWS, READ);
}

#[test]
fn properties_that_no_planted_fault_breaks_alone_are_named_here() {
    // One set of rows under a key, and an unbroken chain, fall with the others above; here each falls by itself.
    finds(Mutant::NoFenceCheck, READS_ON, READ);
    finds(Mutant::NoOwnCommitCheck, ONE_SET, CORE);
}
