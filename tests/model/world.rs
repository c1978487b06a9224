//! The store: slots that belong to whoever creates them, requests on their way, cells; and, beside it, what nobody in
//! the program can see: the first entry that each slot ever held. That is the log.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::{
    Config, TxnId,
    header::{Header, Idem, TxnRecord},
    reader::Reader,
    transaction::key_of,
    writer::Writer,
};

/// Slots: version 0 and four more.
pub(crate) const SLOTS: usize = 5;

/// Versions in an epoch; the program's are longer.
pub(crate) const EPOCH: u8 = 2;

pub(crate) const WRITERS: usize = 3;

/// What an entry says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Body {
    /// The frame's first entry.
    Create,
    /// A transaction; `edition` tells other bytes of it apart.
    Txn { id: u8, edition: u8 },
    /// That a transaction will never be committed.
    Seal { id: u8 },
    /// Whose cells a vacuum deletes: one bit a writer.
    Doom { ids: u8 },
}

/// An entry. Equal entries are equal bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Entry {
    pub(crate) slot: u8,
    pub(crate) body: Body,
    /// The hash of the entry before it.
    pub(crate) prev: u64,
}

impl Entry {
    pub(crate) fn hash_of(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }

    pub(crate) fn header(&self) -> Header {
        match self.body {
            Body::Create => Header::default(),
            Body::Txn { id, .. } => {
                let key = key_of(id);
                let (idem, digest) = (key.as_ref().map(Idem::of), key.map(|key| key.digest));
                Header { txns: vec![TxnRecord { id: TxnId(id), idem, digest }], ..Header::default() }
            }
            Body::Seal { id } => Header { sealed: vec![TxnId(id)], ..Header::default() },
            Body::Doom { ids } => Header { doomed: bits(ids).map(TxnId).collect(), ..Header::default() },
        }
    }

    pub(crate) fn holds(&self, writer: u8) -> bool {
        matches!(self.body, Body::Txn { id, .. } if id == writer)
    }
}

pub(crate) fn bits(mask: u8) -> impl Iterator<Item = u8> {
    (0..WRITERS as u8).filter(move |bit| mask & (1 << bit) != 0)
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct World {
    /// What the store holds.
    pub(crate) slots: [Option<Entry>; SLOTS],
    /// The log: the first entry that each slot ever held.
    pub(crate) first: [Option<Entry>; SLOTS],
    /// Slots that held a second entry, after theirs was cleaned away: one bit each.
    pub(crate) held_again: u8,
    /// Epochs with a fence: one bit each.
    pub(crate) fences: u8,
    /// The newest checkpoint's version.
    pub(crate) checkpoint: Option<u8>,
    /// Creates that may land at any time; sorted, each once: a second copy of equal bytes can do no more than one.
    pub(crate) flights: Vec<Entry>,
    /// Cells that were deleted: one bit a writer.
    pub(crate) cells_gone: u8,
    /// Transactions whose cells the vacuum has announced to delete.
    pub(crate) doomed: u8,
    pub(crate) vacuumed: bool,
    pub(crate) writers: [Writer; WRITERS],
    pub(crate) reader: Reader,
    /// How many requests may still go wrong.
    pub(crate) faults_left: u8,
}

impl World {
    pub(crate) fn new(config: &Config) -> Self {
        let create = Entry { slot: 0, body: Body::Create, prev: 0 };
        let mut slots = [None; SLOTS];
        slots[0] = Some(create);
        let writer = |n: usize| Writer::new(config, n as u8, create.hash_of());
        Self {
            slots,
            first: slots,
            held_again: 0,
            fences: 0,
            checkpoint: None,
            flights: Vec::new(),
            cells_gone: 0,
            doomed: 0,
            vacuumed: false,
            writers: std::array::from_fn(writer),
            reader: Reader::new(create.hash_of(), config.reads),
            faults_left: config.faults,
        }
    }

    /// A create arrives.
    pub(crate) fn create(&mut self, entry: Entry) {
        let slot = usize::from(entry.slot);
        if self.slots[slot].is_some() {
            return;
        }
        self.slots[slot] = Some(entry);
        if self.first[slot].is_none() {
            self.first[slot] = Some(entry);
        } else {
            self.held_again |= 1 << slot;
        }
    }

    /// A create is held up on its way.
    pub(crate) fn hold_up(&mut self, entry: Entry) {
        if let Err(at) = self.flights.binary_search(&entry) {
            self.flights.insert(at, entry);
        }
    }

    pub(crate) fn is_fenced(&self, slot: u8) -> bool {
        self.fences & (1 << (slot / EPOCH)) != 0
    }

    /// The last version of the log.
    pub(crate) fn head(&self) -> u8 {
        let last = self.first.iter().rposition(Option::is_some);
        last.unwrap_or(0) as u8
    }

    /// The versions that hold a writer's transaction.
    pub(crate) fn versions_of(&self, writer: u8) -> impl Iterator<Item = u8> {
        let of = move |entry: &&Entry| entry.holds(writer);
        self.first.iter().flatten().filter(of).map(|entry| entry.slot)
    }
}
