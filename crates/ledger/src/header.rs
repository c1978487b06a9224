//! What every entry of both logs carries: its version, its place in the hash chain, and the transactions that it
//! decides. The protocol in `commit` works on this alone; what an entry does to a frame or a namespace stands
//! beside it.

use apiary_core::{TxnId, Version};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{LedgerError, Result, transaction::IdempotencyKey};

/// The format that this program writes and the newest it reads.
pub(crate) const FORMAT: u32 = 1;

/// The common part of an entry. Unknown fields are ignored; unknown features refuse.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Header {
    /// The format of the entry.
    pub(crate) format: u32,
    /// The version that the entry's key says, too.
    pub(crate) v: Version,
    /// What its writer had read when it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) base: Option<Version>,
    /// SHA-256 of the entry before this one, in hexadecimal; none for version 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) prev: Option<String>,
    /// Who wrote it; for people.
    pub(crate) node: String,
    /// The transactions that it commits.
    #[serde(default)]
    pub(crate) txns: Vec<TxnRecord>,
    /// Transactions that will never be committed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) sealed: Vec<TxnId>,
    /// Transactions whose cells a vacuum deletes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) doomed: Vec<TxnId>,
    /// What a reader must know to read on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) features: Vec<String>,
}

/// One transaction in an entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct TxnRecord {
    /// Its id.
    pub(crate) id: TxnId,
    /// What it did: the words of `Kind`, and `create`. A newer program may write others.
    pub(crate) kind: String,
    /// How many cells it added.
    #[serde(default)]
    pub(crate) add: u64,
    /// How many cells it removed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) remove: u64,
    /// Its idempotency key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) idem: Option<Idem>,
    /// The digest that goes with the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) digest: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// An idempotency key in an entry.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Idem {
    pub(crate) scope: String,
    pub(crate) key: String,
}

impl Idem {
    pub(crate) fn of(key: &IdempotencyKey) -> Self {
        Self { scope: key.scope.clone(), key: key.key.clone() }
    }
}

/// Where the next entry goes: everything of a header that its place decides.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Place {
    pub(crate) slot: Version,
    pub(crate) base: Option<Version>,
    pub(crate) prev: Option<String>,
    pub(crate) timestamp_ms: i64,
}

impl Place {
    /// The place after `head`, at `now_ms` by the writer's clock, which may be wrong: time in a log never stands.
    pub(crate) fn after(head: Option<&Head>, base: Option<Version>, now_ms: i64) -> Self {
        match head {
            None => Self { slot: Version(0), base, prev: None, timestamp_ms: now_ms.max(1) },
            Some(head) => Self {
                slot: head.version.next(),
                base,
                prev: Some(head.sha256.clone()),
                timestamp_ms: now_ms.max(head.timestamp_ms + 1),
            },
        }
    }

    /// The header of an entry here.
    pub(crate) fn header(&self, node: &str, txns: Vec<TxnRecord>) -> Header {
        Header {
            format: FORMAT,
            v: self.slot,
            base: self.base,
            prev: self.prev.clone(),
            node: node.to_owned(),
            txns,
            sealed: Vec::new(),
            doomed: Vec::new(),
            features: Vec::new(),
        }
    }
}

/// The last entry that was read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Head {
    pub(crate) version: Version,
    /// SHA-256 of its bytes, in hexadecimal.
    pub(crate) sha256: String,
    pub(crate) timestamp_ms: i64,
}

impl Head {
    /// Checks that an entry belongs after `before`, and makes it the head.
    pub(crate) fn follow(
        before: Option<&Self>,
        object: &str,
        slot: Version,
        header: &Header,
        timestamp_ms: i64,
        body: &[u8],
    ) -> Result<Self> {
        let corrupt = |why: String| Err(LedgerError::corrupt(object, why));
        if header.format > FORMAT {
            let needs = format!("format {}", header.format);
            return Err(LedgerError::Newer { object: object.to_owned(), needs });
        }
        if let Some(feature) = header.features.first() {
            return Err(LedgerError::Newer { object: object.to_owned(), needs: format!("the feature '{feature}'") });
        }
        if header.v != slot {
            return corrupt(format!("it says version {} inside", header.v));
        }
        if header.prev.as_deref() != before.map(|head| head.sha256.as_str()) {
            return corrupt("it does not follow the entry before it: one of the two was changed".to_owned());
        }
        if before.is_some_and(|head| head.timestamp_ms >= timestamp_ms) {
            return corrupt("its timestamp is not after that of the entry before it".to_owned());
        }
        Ok(Self { version: slot, sha256: hex::encode(Sha256::digest(body)), timestamp_ms })
    }
}
