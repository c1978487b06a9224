//! Housekeeping: checkpoints, fences, log cleanup, and a vacuum that says first whose cells it will delete.

use crate::{
    Config, Mutant,
    world::{Body, EPOCH, Entry, SLOTS, WRITERS, World},
    writer::Next,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Chore {
    /// A checkpoint of the newest version.
    Checkpoint,
    /// The mark that an epoch may be cleaned away.
    Fence(u8),
    /// One entry of a fenced epoch is deleted.
    Delete(u8),
    /// The vacuum's first entry: whose cells it will delete.
    Doom,
    /// Those cells are deleted.
    Vacuum,
}

pub(crate) fn chores(config: &Config, world: &World, mut may: impl FnMut(Chore)) {
    if config.cleanup {
        let head = world.head();
        if head >= EPOCH && world.checkpoint < Some(head) {
            may(Chore::Checkpoint);
        }
        for epoch in 0..SLOTS as u8 / EPOCH {
            // Whole epochs below a checkpoint.
            let below = world.checkpoint.is_some_and(|version| (epoch + 1) * EPOCH <= version);
            if !below {
                continue;
            }
            let fenced = world.is_fenced(epoch * EPOCH);
            if !fenced {
                may(Chore::Fence(epoch));
            }
            for slot in epoch * EPOCH..(epoch + 1) * EPOCH {
                let early = config.has(Mutant::DeleteBeforeFence);
                if world.slots[usize::from(slot)].is_some() && (fenced || early) {
                    may(Chore::Delete(slot));
                }
            }
        }
    }
    if config.vacuum && !world.vacuumed {
        let room = usize::from(world.head()) + 1 < SLOTS;
        if world.doomed == 0 && orphans(config, world) != 0 && (room || config.has(Mutant::NoDoom)) {
            may(if config.has(Mutant::NoDoom) { Chore::Vacuum } else { Chore::Doom });
        }
        if world.doomed != 0 {
            may(Chore::Vacuum);
        }
    }
}

/// Transactions whose cells lie in the bucket and that no entry holds.
fn orphans(config: &Config, world: &World) -> u8 {
    let begun = |n: &u8| !matches!(world.writers[usize::from(*n)].next, Next::NotBegun);
    let orphan = |n: &u8| begun(n) && world.cells_gone & (1 << n) == 0 && world.versions_of(*n).next().is_none();
    (0..config.writers.min(WRITERS) as u8).filter(orphan).fold(0, |mask, n| mask | 1 << n)
}

pub(crate) fn keep(config: &Config, world: &mut World, chore: Chore) {
    match chore {
        Chore::Checkpoint => world.checkpoint = Some(world.head()),
        Chore::Fence(epoch) => world.fences |= 1 << epoch,
        Chore::Delete(slot) => world.slots[usize::from(slot)] = None,
        Chore::Doom => {
            // Read to the end and put there: whoever came between made the put lose, and it is done over.
            let head = world.head();
            let prev = world.first[usize::from(head)].map_or(0, |entry| entry.hash_of());
            world.doomed = orphans(config, world);
            world.create(Entry { slot: head + 1, body: Body::Doom { ids: world.doomed }, prev });
        }
        Chore::Vacuum => {
            let doomed = if config.has(Mutant::NoDoom) { orphans(config, world) } else { world.doomed };
            world.cells_gone |= doomed;
            world.vacuumed = true;
        }
    }
}
