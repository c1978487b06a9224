//! A reader that keeps a snapshot and reads on from it: warm by the next entry and its epoch's fence, cold by the
//! newest checkpoint. It may sleep between any two requests.

use crate::{
    Config, Mutant,
    world::{Body, Entry, SLOTS, WRITERS, World},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Glance {
    /// A read begins, with the snapshot of the one before.
    Begin,
    /// The next request.
    Go,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Phase {
    /// No read is under way; the snapshot is what the last one gave.
    Rest,
    /// The next entry is asked for.
    Entry,
    /// The fence of that entry's epoch is asked for; the entry, or its absence, is known.
    Fence(Option<Entry>),
    /// The wrong way round: the fence is asked for first.
    FenceFirst,
    /// And the entry then.
    EntryAfter,
    /// The newest checkpoint is asked for.
    Cold,
    /// An entry did not follow the one before it.
    Corrupt,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Reader {
    pub(crate) phase: Phase,
    /// The snapshot's version.
    pub(crate) at: u8,
    pub(crate) hash: u64,
    /// How often each transaction's rows are in the snapshot.
    pub(crate) rows: [u8; WRITERS],
    /// The last version of the log when the read began.
    pub(crate) newest: u8,
    /// Reads that may still be begun.
    left: u8,
}

impl Reader {
    pub(crate) fn new(hash: u64, reads: u8) -> Self {
        Self { phase: Phase::Rest, at: 0, hash, rows: [0; WRITERS], newest: 0, left: reads }
    }

    fn take(&mut self, entry: Entry) {
        if entry.prev != self.hash {
            self.phase = Phase::Corrupt;
            return;
        }
        (self.at, self.hash) = (entry.slot, entry.hash_of());
        self.add(entry);
    }

    fn add(&mut self, entry: Entry) {
        if let Body::Txn { id, .. } = entry.body {
            self.rows[usize::from(id)] += 1;
        }
    }
}

pub(crate) fn glances(_config: &Config, world: &World, mut may: impl FnMut(Glance)) {
    match world.reader.phase {
        Phase::Rest if world.reader.left > 0 => may(Glance::Begin),
        Phase::Rest | Phase::Corrupt => {}
        _ => may(Glance::Go),
    }
}

pub(crate) fn look(config: &Config, world: &mut World, glance: Glance) {
    let ask = if config.has(Mutant::FenceReadFirst) { Phase::FenceFirst } else { Phase::Entry };
    let next = usize::from(world.reader.at) + 1;
    let there = world.slots.get(next).copied().flatten();
    let fenced = next < SLOTS && world.is_fenced(next as u8) && !config.has(Mutant::NoFenceCheck);
    let newest = world.head();
    let (checkpoint, first) = (world.checkpoint, world.first);
    let reader = &mut world.reader;
    match (glance, reader.phase) {
        (Glance::Begin, _) => {
            (reader.phase, reader.newest) = (ask, newest);
            reader.left -= 1;
        }
        (Glance::Go, Phase::Entry) => reader.phase = Phase::Fence(there),
        (Glance::Go, Phase::FenceFirst) => reader.phase = if fenced { Phase::Cold } else { Phase::EntryAfter },
        (Glance::Go, Phase::Fence(_)) if fenced => reader.phase = Phase::Cold,
        (Glance::Go, Phase::Fence(Some(entry))) => {
            reader.phase = ask;
            reader.take(entry);
        }
        (Glance::Go, Phase::EntryAfter) => match there {
            Some(entry) => {
                reader.phase = ask;
                reader.take(entry);
            }
            None => reader.phase = Phase::Rest,
        },
        (Glance::Go, Phase::Cold) => {
            let version = checkpoint.unwrap_or(0);
            let held = first.iter().flatten().filter(|entry| entry.slot <= version);
            reader.rows = [0; WRITERS];
            held.for_each(|entry| reader.add(*entry));
            reader.at = version;
            reader.hash = first[usize::from(version)].map_or(0, |entry| entry.hash_of());
            if config.has(Mutant::ReplayFromCheckpointItself) {
                first[usize::from(version)].iter().for_each(|entry| reader.add(*entry));
            }
            reader.phase = ask;
        }
        (Glance::Go, _) => reader.phase = Phase::Rest,
    }
}

impl Reader {
    pub(crate) fn is_busy(&self) -> bool {
        self.phase != Phase::Rest
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.phase == Phase::Corrupt
    }
}
