//! A client's key, as the ledger's decisions see it.

#[derive(Debug, Clone)]
pub(crate) struct IdempotencyKey {
    pub(crate) key: &'static str,
    pub(crate) digest: &'static str,
}

/// Writers 0 and 1 execute one request.
pub(crate) fn key_of(writer: u8) -> Option<IdempotencyKey> {
    (writer < 2).then_some(IdempotencyKey { key: "k", digest: "d" })
}
