//! One writer: the program's decisions, and the thin driver around them, mirrored from `crates/ledger/src/commit`.
//! One move is one request; what another does between two requests is the checker's to choose.
//!
//! **Fences.** The program believes no end before the fence of the slot that decides it was looked for: the slot that
//! was sent to, or the one whose entry was read. That one look is enough, since an entry outside every fenced epoch
//! certifies, by the hash chain, all those before it. With a fence there, only the newest checkpoint can tell.

use crate::{
    Config, Mutant, TxnId, Version,
    decide::{Ending, Event, Protocol, Sight, Step, Then, recognise},
    transaction::key_of,
    world::{Body, Entry, SLOTS, World},
};

/// One request, or what befalls a writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Move {
    /// It takes a fresh look at the log and begins.
    Begin,
    /// Its deadline passes.
    Late,
    /// From now on the store does not answer it.
    Silence,
    /// The next request, answered truly.
    Go,
    /// A read that fails.
    Fail,
    /// A create that is done, and its answer lost.
    AnswerLost,
    /// A create that is held up, and fails.
    HeldUp,
    /// A create that is refused.
    Refused,
    /// A create that is held up, sent again by the client, and then refused.
    HeldUpThenRefused,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Outcome {
    Committed {
        version: u8,
        edition: u8,
    },
    AlreadyApplied {
        version: u8,
    },
    /// Not in the log, and never will be.
    Nothing,
    Unknown,
}

/// The next request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Next {
    NotBegun,
    Read,
    Put,
    /// The slot is read after a create was not a plain yes.
    ReadBack {
        refused: bool,
    },
    /// The fences of these slots, one bit each.
    Fence {
        slots: u8,
    },
    /// The newest checkpoint, which decides where a fence was found.
    Cold,
    /// Over.
    Done(Outcome),
    /// It needs a slot beyond the model's.
    Beyond,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Writer {
    n: u8,
    protocol: Protocol,
    /// The last entry read, and its hash.
    at: (u8, u64),
    /// What was sent last.
    sent: Option<Entry>,
    /// The entry that decided for the transaction, and what it says.
    left: Option<(u8, Outcome)>,
    /// It was told of a commit that may be its own: it deletes nothing.
    keeps_cells: bool,
    edition: u8,
    late: bool,
    silent: bool,
    pub(crate) next: Next,
}

impl Writer {
    pub(crate) fn new(config: &Config, n: u8, base: u64) -> Self {
        let late = usize::from(n) + config.late >= config.writers;
        // The last writer takes the slot after its base to be free, as one does that has just won the one before.
        let straight = !late && n == 2;
        let (protocol, next, sent) = if straight {
            let sent = Entry { slot: 1, body: Body::Txn { id: n, edition: 0 }, prev: base };
            (Protocol::straight(), Next::Put, Some(sent))
        } else {
            (Protocol::new(), if late { Next::NotBegun } else { Next::Read }, None)
        };
        let at = (0, base);
        Self { n, protocol, at, sent, left: None, keeps_cells: false, edition: 0, late: false, silent: false, next }
    }

    pub(crate) fn outcome(&self) -> Option<Outcome> {
        if let Next::Done(outcome) = self.next { Some(outcome) } else { None }
    }

    fn is_over(&self) -> bool {
        matches!(self.next, Next::Done(_) | Next::Beyond)
    }
}

/// Whose cells a writer's are.
pub(crate) fn cells_of(config: &Config, writer: u8) -> u8 {
    if config.has(Mutant::CellsNamedByKey) && writer < 2 { 1 } else { 1 << writer }
}

pub(crate) fn moves(config: &Config, world: &World, n: u8, mut may: impl FnMut(Move)) {
    let writer = &world.writers[usize::from(n)];
    if writer.is_over() {
        return;
    }
    if writer.next == Next::NotBegun {
        return may(Move::Begin);
    }
    may(Move::Go);
    if writer.silent {
        return;
    }
    if writer.sent.is_some() && !writer.late {
        may(Move::Late);
    }
    if config.silence && writer.sent.is_some() && world.writers.iter().all(|writer| !writer.silent) {
        may(Move::Silence);
    }
    if world.faults_left > 0 {
        match writer.next {
            Next::Put => {
                [Move::AnswerLost, Move::HeldUp, Move::Refused].into_iter().for_each(&mut may);
                if config.resends {
                    may(Move::HeldUpThenRefused);
                }
            }
            Next::Read | Next::ReadBack { .. } | Next::Fence { .. } => may(Move::Fail),
            _ => (),
        }
    }
}

pub(crate) fn take(config: &Config, world: &mut World, n: u8, what: Move) {
    let mut writer = world.writers[usize::from(n)].clone();
    match what {
        Move::Begin => begin(world, &mut writer),
        Move::Late => writer.late = true,
        Move::Silence => writer.silent = true,
        _ => {
            if what != Move::Go {
                world.faults_left -= 1;
            }
            request(config, world, &mut writer, what);
        }
    }
    if let Some(outcome) = writer.outcome() {
        let unknown = outcome == Outcome::Unknown && !config.has(Mutant::UnknownTakenForNone);
        if !unknown && !writer.keeps_cells && !matches!(outcome, Outcome::Committed { .. }) {
            world.cells_gone |= cells_of(config, n);
        }
    }
    world.writers[usize::from(n)] = writer;
}

fn begin(world: &World, writer: &mut Writer) {
    let head = world.head();
    writer.at = (head, world.first[usize::from(head)].map_or(0, |entry| entry.hash_of()));
    // The base holds the key already.
    let applied = key_of(writer.n).and_then(|_| (0..2).find_map(|other| world.versions_of(other).next()));
    writer.next = applied.map_or(Next::Read, |version| Next::Done(Outcome::AlreadyApplied { version }));
}

fn request(config: &Config, world: &mut World, writer: &mut Writer, what: Move) {
    let answered = !writer.silent && what != Move::Fail;
    match writer.next {
        Next::Read => {
            let slot = usize::from(writer.at.0) + 1;
            if !answered {
                return on(config, writer, &Event::ReadFailed);
            }
            match world.slots.get(slot).copied() {
                None => writer.next = Next::Beyond,
                Some(None) => on(config, writer, &Event::End),
                Some(Some(entry)) => match look(config, writer, entry) {
                    Some(sight) => on(config, writer, &Event::Entry(Version(u64::from(entry.slot)), sight)),
                    // It does not follow the one before it.
                    None => on(config, writer, &Event::ReadBroken),
                },
            }
        }
        Next::Put => put(config, world, writer, what),
        Next::ReadBack { refused } => {
            let Some(sent) = writer.sent else { return };
            if !answered {
                return on(config, writer, &Event::Undecided);
            }
            match world.slots[usize::from(sent.slot)] {
                None if refused => on(config, writer, &Event::Refused),
                None => on(config, writer, &Event::Undecided),
                Some(entry) if entry == sent && !config.has(Mutant::NoOwnCommitCheck) => {
                    on(config, writer, &Event::Ours);
                }
                Some(entry) => match look(config, writer, entry) {
                    Some(sight) => on(config, writer, &Event::Theirs(Version(u64::from(entry.slot)), sight)),
                    None => writer.next = Next::Done(Outcome::Unknown),
                },
            }
        }
        Next::Fence { slots } => {
            let fenced = (0..SLOTS as u8).any(|slot| slots & (1 << slot) != 0 && world.is_fenced(slot));
            let event = match (answered, fenced) {
                (true, true) => Event::Fenced,
                (true, false) => Event::Unfenced,
                (false, _) => Event::FenceUnread,
            };
            on(config, writer, &event);
        }
        Next::Cold => cold(world, writer),
        Next::NotBegun | Next::Done(_) | Next::Beyond => {}
    }
}

fn put(config: &Config, world: &mut World, writer: &mut Writer, what: Move) {
    let Some(sent) = writer.sent else { return };
    if writer.silent {
        return on(config, writer, &Event::Undecided);
    }
    let free = world.slots[usize::from(sent.slot)].is_none();
    match what {
        Move::Go | Move::AnswerLost => world.create(sent),
        Move::HeldUp | Move::HeldUpThenRefused => world.hold_up(sent),
        _ => {}
    }
    if what == Move::Go && free {
        return on(config, writer, &Event::Ours);
    }
    // Of a refusal of what the client had sent before, the program knows that it is none.
    let taken = what == Move::HeldUpThenRefused && config.has(Mutant::RefusalTakenAsDefinite);
    writer.next = Next::ReadBack { refused: what == Move::Refused || taken };
}

/// What an entry says about the writer's transaction; none if it does not follow the one before it.
fn look(config: &Config, writer: &mut Writer, entry: Entry) -> Option<Sight> {
    if entry.prev != writer.at.1 {
        return None;
    }
    writer.at = (entry.slot, entry.hash_of());
    let sight = recognise(&entry.header(), TxnId(writer.n), key_of(writer.n).as_ref());
    let own_unseen = sight == Sight::Mine && config.has(Mutant::NoOwnCommitCheck);
    let sight = if own_unseen { Sight::Passed } else { sight };
    let (version, edition) = (entry.slot, writer.edition);
    let told = match sight {
        Sight::Mine => Some(Outcome::Committed { version, edition }),
        Sight::Applied => Some(Outcome::AlreadyApplied { version }),
        Sight::KeyReused | Sight::Dead | Sight::Excluded => Some(Outcome::Nothing),
        Sight::Passed => None,
    };
    writer.left = told.map(|told| (version, told));
    Some(sight)
}

/// Asks the program what to do next.
fn on(config: &Config, writer: &mut Writer, event: &Event) {
    let id = writer.n;
    let sealed = writer.sent.is_some_and(|sent| matches!(sent.body, Body::Seal { .. }));
    let step = match event {
        Event::Ours if config.has(Mutant::SealTakenForCommit) && sealed => Step::End(Ending::CommittedHere),
        event => writer.protocol.on(event, writer.late),
    };
    let (slot, prev) = (writer.at.0 + 1, writer.at.1);
    match step {
        Step::Read | Step::BackOff(_, Then::Read) => writer.next = Next::Read,
        Step::Put if usize::from(slot) >= SLOTS => writer.next = Next::Beyond,
        Step::Put => {
            writer.sent = Some(Entry { slot, body: Body::Txn { id, edition: writer.edition }, prev });
            writer.next = Next::Put;
        }
        Step::Seal if config.has(Mutant::NoSeal) => writer.next = Next::Done(Outcome::Nothing),
        Step::Seal => {
            writer.sent = Some(Entry { slot, body: Body::Seal { id }, prev });
            writer.next = Next::Put;
        }
        Step::BackOff(_, Then::PutAgain) if config.has(Mutant::OtherBytes) && writer.edition == 0 => {
            writer.edition = 1;
            writer.sent = Some(Entry { slot, body: Body::Txn { id, edition: 1 }, prev });
            writer.next = Next::Put;
        }
        Step::BackOff(_, Then::PutAgain | Then::SealAgain) => writer.next = Next::Put,
        Step::Fence | Step::BackOff(_, Then::Fence) => look_for_fence(config, writer),
        Step::End(ending) => end(writer, &ending),
    }
}

/// The fences that are looked for: of the slot that was sent to, and at the end of the entry that decided.
fn look_for_fence(config: &Config, writer: &mut Writer) {
    let believing = writer.protocol.believing();
    let won = believing == Some(Ending::CommittedHere) || writer.left.is_none();
    if config.has(Mutant::NoFenceCheck) || config.has(Mutant::NoFenceCheckOfReads) && !won {
        return on(config, writer, &Event::Unfenced);
    }
    let sent = writer.sent.map(|sent| sent.slot);
    let left = writer.left.map(|(version, _)| version).filter(|_| believing.is_some());
    writer.next = Next::Fence { slots: sent.into_iter().chain(left).fold(0, |slots, slot| slots | 1 << slot) };
}

fn end(writer: &mut Writer, ending: &Ending) {
    let (version, edition) = (writer.sent.map_or(0, |sent| sent.slot), writer.edition);
    writer.next = match (*ending, writer.left) {
        (Ending::Cleaned, _) => Next::Cold,
        (Ending::Unknown, Some((_, Outcome::Nothing))) if writer.sent.is_none() => Next::Done(Outcome::Nothing),
        (Ending::Unknown, _) => Next::Done(Outcome::Unknown),
        (_, Some((_, told))) => Next::Done(told),
        (Ending::CommittedHere, None) => Next::Done(Outcome::Committed { version, edition }),
        (_, None) => Next::Done(Outcome::Nothing),
    };
}

/// The writer's base was ancient. What it wrote below the fence is garbage; the newest version tells what became of its
/// transaction, and where it does not, nobody does.
fn cold(world: &mut World, writer: &mut Writer) {
    if writer.silent {
        writer.next = Next::Done(Outcome::Unknown);
        return;
    }
    if let Some(sent) = writer.sent
        && world.is_fenced(sent.slot)
        && world.slots[usize::from(sent.slot)] == Some(sent)
    {
        world.slots[usize::from(sent.slot)] = None;
    }
    let held = |writer: u8| world.versions_of(writer).next();
    let edition = writer.edition;
    writer.keeps_cells = true;
    writer.next = Next::Done(if let Some(version) = held(writer.n) {
        Outcome::Committed { version, edition }
    } else if let (Some(_), Some(version)) = (key_of(writer.n), (0..2).find_map(held)) {
        Outcome::AlreadyApplied { version }
    } else {
        Outcome::Unknown
    });
}
