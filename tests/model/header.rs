//! The words of the ledger that its decisions use: of an entry's header, no more than `recognise` looks at.

use crate::transaction::IdempotencyKey;

/// A transaction's id: the number of its writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct TxnId(pub(crate) u8);

/// A slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Version(pub(crate) u64);

#[derive(Debug, Default)]
pub(crate) struct Header {
    pub(crate) txns: Vec<TxnRecord>,
    pub(crate) sealed: Vec<TxnId>,
    pub(crate) doomed: Vec<TxnId>,
}

#[derive(Debug)]
pub(crate) struct TxnRecord {
    pub(crate) id: TxnId,
    pub(crate) idem: Option<Idem>,
    pub(crate) digest: Option<&'static str>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Idem(&'static str);

impl Idem {
    pub(crate) fn of(key: &IdempotencyKey) -> Self {
        Self(key.key)
    }
}
