//! What must hold in every state of every history, and what must happen in some, lest the walk be a stroll.

use stateright::Property;

use crate::{
    Config,
    world::{Body, SLOTS, WRITERS, World, bits},
    writer::{Outcome, cells_of},
};

pub(crate) const ONE_ENTRY: &str = "a slot outside fenced epochs holds one entry for good";
pub(crate) const ONCE: &str = "a transaction is in the log at most once";
pub(crate) const ONE_SET: &str = "a request under one key is in the log at most once";
pub(crate) const ACKNOWLEDGED: &str = "what was acknowledged is in the log, as it was acknowledged";
pub(crate) const NEVER: &str = "what was said not to be in the log never is";
pub(crate) const APPLIED: &str = "what was said to be applied before is in the log";
pub(crate) const CELLS: &str = "no cell of a committed transaction is deleted";
pub(crate) const ROWS: &str = "a snapshot holds each row as often as the log does";
pub(crate) const FRESH: &str = "a snapshot is as new as the log was when the read began";
pub(crate) const READS_ON: &str = "a reader never meets a broken chain";

pub(crate) fn all(config: &Config) -> Vec<Property<Config>> {
    let mut all = vec![
        always(ONE_ENTRY, |_, world| {
            let held = |slot: usize| world.slots[slot].is_some() && world.slots[slot] != world.first[slot];
            (0..SLOTS).all(|slot| !held(slot) || world.is_fenced(slot as u8))
        }),
        always(ONCE, |_, world| writers().all(|n| world.versions_of(n).count() <= 1)),
        always(ONE_SET, |_, world| (0..2).map(|n| world.versions_of(n).count()).sum::<usize>() <= 1),
        always(ACKNOWLEDGED, |_, world| {
            ended(world).all(|(id, outcome)| match outcome {
                Outcome::Committed { version, edition } => {
                    world.first[usize::from(version)].is_some_and(|entry| entry.body == Body::Txn { id, edition })
                }
                _ => true,
            })
        }),
        always(NEVER, |_, world| {
            ended(world).all(|(n, outcome)| outcome != Outcome::Nothing || world.versions_of(n).next().is_none())
        }),
        always(APPLIED, |_, world| {
            ended(world).all(|(_, outcome)| match outcome {
                Outcome::AlreadyApplied { version } => (0..2).any(|n| world.versions_of(n).any(|v| v == version)),
                _ => true,
            })
        }),
        always(CELLS, |config, world| {
            writers().all(|n| world.versions_of(n).next().is_none() || world.cells_gone & cells_of(config, n) == 0)
        }),
        sometimes("a transaction is committed", |_, world| {
            ended(world).any(|(_, outcome)| matches!(outcome, Outcome::Committed { .. }))
        }),
    ];
    if config.reads > 0 {
        all.extend([
            always(ROWS, |_, world| {
                let log = |n: u8| world.versions_of(n).filter(|version| *version <= world.reader.at).count();
                writers().all(|n| usize::from(world.reader.rows[usize::from(n)]) == log(n))
            }),
            always(FRESH, |_, world| world.reader.is_busy() || world.reader.at >= world.reader.newest),
            always(READS_ON, |_, world| !world.reader.is_broken()),
        ]);
    }
    all.extend(reached(config));
    all
}

/// What the bounds must be wide enough for.
fn reached(config: &Config) -> Vec<Property<Config>> {
    let mut all = Vec::new();
    if config.faults > 0 {
        all.push(sometimes("a slot is sealed", |_, world| {
            world.first.iter().flatten().any(|entry| matches!(entry.body, Body::Seal { .. }))
        }));
    }
    if config.writers > 1 {
        all.push(sometimes("the other execution of a request did the work", |_, world| {
            ended(world).any(|(_, outcome)| matches!(outcome, Outcome::AlreadyApplied { .. }))
        }));
    }
    if config.silence {
        all.push(sometimes("an outcome is unknown", |_, world| {
            ended(world).any(|(_, outcome)| outcome == Outcome::Unknown)
        }));
    }
    if config.cleanup {
        all.push(sometimes("a slot that was cleaned away is won again", |_, world| world.held_again != 0));
    }
    if config.vacuum {
        all.push(sometimes("a writer finds itself doomed", |_, world| {
            bits(world.doomed).any(|n| world.writers[usize::from(n)].outcome() == Some(Outcome::Nothing))
        }));
    }
    all
}

fn writers() -> impl Iterator<Item = u8> {
    0..WRITERS as u8
}

fn ended(world: &World) -> impl Iterator<Item = (u8, Outcome)> {
    writers().filter_map(|n| Some((n, world.writers[usize::from(n)].outcome()?)))
}

fn always(name: &'static str, condition: fn(&Config, &World) -> bool) -> Property<Config> {
    Property::always(name, condition)
}

fn sometimes(name: &'static str, condition: fn(&Config, &World) -> bool) -> Property<Config> {
    Property::sometimes(name, condition)
}
