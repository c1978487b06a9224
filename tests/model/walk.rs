//! The walk: what may happen next, and what comes of it.

use stateright::{Model, Property};

use crate::{
    keeper::{self, Chore},
    properties,
    reader::{self, Glance},
    world::{WRITERS, World},
    writer::{self, Move},
};

/// A fault that is planted, so that the checker has something to find.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Mutant {
    /// An entry that holds one's own transaction is taken for another's.
    NoOwnCommitCheck,
    /// Nobody looks for fences.
    NoFenceCheck,
    /// The fence is looked for after a slot was won, and not after an entry was read that decides.
    NoFenceCheckOfReads,
    /// At the deadline a writer gives up without sealing its undecided slot.
    NoSeal,
    /// A slot that holds what one sent last is taken for one's commit, a seal too.
    SealTakenForCommit,
    /// Two executions of one request give their cells the same names.
    CellsNamedByKey,
    /// Replay begins with the checkpoint's own version.
    ReplayFromCheckpointItself,
    /// After an ambiguous answer other bytes are sent.
    OtherBytes,
    /// A refusal of the first put is believed, though the client sent it more than once.
    RefusalTakenAsDefinite,
    /// Entries are deleted before their epoch has its fence.
    DeleteBeforeFence,
    /// A vacuum deletes without saying first whose cells.
    NoDoom,
    /// An unknown outcome is taken for none, and the cells are deleted.
    UnknownTakenForNone,
    /// A reader looks for the fence first, and for the entry then.
    FenceReadFirst,
}

/// The bounds of a walk.
#[derive(Debug, Clone, Default)]
pub(crate) struct Config {
    /// Writers that take part, from the first on.
    pub(crate) writers: usize,
    /// Of these, how many begin only later, with a fresh look at the log; from the last on.
    pub(crate) late: usize,
    /// How many requests may go wrong.
    pub(crate) faults: u8,
    /// Whether the store's client sends a create again by itself, so that a refusal may follow a copy that lands.
    pub(crate) resends: bool,
    /// Whether the store may stop to answer a writer for good.
    pub(crate) silence: bool,
    /// Whether old entries are cleaned away.
    pub(crate) cleanup: bool,
    /// Whether orphaned cells are.
    pub(crate) vacuum: bool,
    /// How often someone reads.
    pub(crate) reads: u8,
    /// The planted fault.
    pub(crate) mutant: Option<Mutant>,
}

impl Config {
    pub(crate) fn has(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }
}

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    /// A writer takes its next step.
    Write(u8, Move),
    /// A create that was held up arrives: the n-th of them.
    Land(u8),
    /// Housekeeping.
    Keep(Chore),
    /// The reader takes its next step.
    Read(Glance),
}

impl Model for Config {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(self)]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        for n in 0..self.writers.min(WRITERS) as u8 {
            writer::moves(self, world, n, |m| actions.push(Action::Write(n, m)));
        }
        actions.extend((0..world.flights.len()).map(|n| Action::Land(n as u8)));
        keeper::chores(self, world, |chore| actions.push(Action::Keep(chore)));
        if self.reads > 0 {
            reader::glances(self, world, |glance| actions.push(Action::Read(glance)));
        }
    }

    fn next_state(&self, last: &World, action: Action) -> Option<World> {
        let mut world = last.clone();
        match action {
            Action::Write(n, m) => writer::take(self, &mut world, n, m),
            Action::Land(n) => {
                let entry = world.flights.remove(usize::from(n));
                world.create(entry);
            }
            Action::Keep(chore) => keeper::keep(self, &mut world, chore),
            Action::Read(glance) => reader::look(self, &mut world, glance),
        }
        (world != *last).then_some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all(self)
    }
}
