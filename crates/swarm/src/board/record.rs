//! Claims and failures: small JSON objects that people may want to read with `cat`.

use apiary_core::{Incarnation, NodeId};
use serde::{Deserialize, Serialize};

use super::{
    codec::BoardObject,
    task::{first_broken, is_nonce},
};

/// Says that a worker works on an attempt: an optimisation, never the truth.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimRecord {
    /// [`ClaimRecord::FORMAT_NOW`].
    pub format: u32,
    /// The worker.
    pub worker: NodeId,
    /// Its life: a claim of an earlier life is a dead claim.
    pub incarnation: Incarnation,
    /// Names the attempt's output prefix.
    pub nonce: String,
}

impl ClaimRecord {
    /// The format that this version writes.
    pub const FORMAT_NOW: u32 = 1;

    /// A claim.
    #[must_use]
    pub fn new(worker: NodeId, incarnation: Incarnation, nonce: impl Into<String>) -> Self {
        Self { format: Self::FORMAT_NOW, worker, incarnation, nonce: nonce.into() }
    }
}

impl BoardObject for ClaimRecord {
    const FORMAT: u32 = Self::FORMAT_NOW;

    fn format(&self) -> u32 {
        self.format
    }

    fn check(&self) -> Result<(), String> {
        first_broken(&[(is_nonce(&self.nonce), "its nonce is not one")])
    }
}

/// Why an attempt ended without a result. [`crate::behaviour::abandonment`] says what follows from each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureCause {
    /// The worker's heartbeat stopped, or its incarnation is over.
    NodeLost,
    /// The attempt ran past its deadline, or far behind its siblings.
    Timeout,
    /// The chamber's memory or its scratch space was not enough.
    Memory,
    /// The object store failed.
    Store,
    /// A cell, or another stored object, is not what was written.
    CorruptCell,
    /// The code panicked: the bee is fine, the fragment may not be.
    Panic,
    /// The query itself is wrong on this data: a cast, a division by zero, an overflow.
    Query,
    /// The worker has another engine version and left the task untouched.
    VersionMismatch,
    /// The worker is leaving and handed the task back.
    HandedBack,
    /// The query was cancelled.
    Cancelled,
    /// None of the above.
    Other,
}

/// What a chamber held when its memory was not enough.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryReport {
    /// Bytes the attempt could have.
    pub budget_bytes: u64,
    /// Bytes it held at most.
    pub peak_bytes: u64,
    /// Bytes of scratch files.
    pub spilled_bytes: u64,
}

/// The end of an attempt without a result, written by its worker, or by the coordinator for a lost attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedRecord {
    /// [`FailedRecord::FORMAT_NOW`].
    pub format: u32,
    /// Who worked on it; `None` if nobody had claimed it.
    pub worker: Option<NodeId>,
    /// That worker's life.
    pub incarnation: Option<Incarnation>,
    /// Who says so: the worker itself, or a coordinator.
    pub reported_by: NodeId,
    /// Why.
    pub cause: FailureCause,
    /// Why, in words for the user of the query.
    pub message: String,
    /// For [`FailureCause::Memory`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemoryReport>,
    /// How long it had run, in milliseconds of the reporter's clock.
    pub elapsed_ms: u64,
}

impl FailedRecord {
    /// The format that this version writes.
    pub const FORMAT_NOW: u32 = 1;
    /// Longest message in bytes: enough for a memory report, short of a dump.
    pub const MESSAGE_BYTES_MAX: usize = 16 * 1024;

    /// A failure that `worker` reports about its own attempt.
    #[must_use]
    pub fn by_worker(worker: NodeId, incarnation: Incarnation, cause: FailureCause, message: &str) -> Self {
        let incarnation = Some(incarnation);
        Self { worker: Some(worker.clone()), incarnation, ..Self::reported(worker, cause, message) }
    }

    /// A failure that a coordinator reports about an attempt that it gives up.
    #[must_use]
    pub fn by_coordinator(me: NodeId, claim: Option<&ClaimRecord>, cause: FailureCause, message: &str) -> Self {
        let (worker, incarnation) = claim.map(|claim| (claim.worker.clone(), claim.incarnation)).unzip();
        Self { worker, incarnation, ..Self::reported(me, cause, message) }
    }

    fn reported(reported_by: NodeId, cause: FailureCause, message: &str) -> Self {
        let end = message.floor_char_boundary(Self::MESSAGE_BYTES_MAX);
        Self {
            format: Self::FORMAT_NOW,
            worker: None,
            incarnation: None,
            reported_by,
            cause,
            message: message[..end].to_owned(),
            memory: None,
            elapsed_ms: 0,
        }
    }
}

impl BoardObject for FailedRecord {
    const FORMAT: u32 = Self::FORMAT_NOW;

    fn format(&self) -> u32 {
        self.format
    }

    fn check(&self) -> Result<(), String> {
        first_broken(&[
            (self.message.len() <= Self::MESSAGE_BYTES_MAX, "its message is longer than may be"),
            (self.worker.is_some() == self.incarnation.is_some(), "it names a worker without its incarnation"),
        ])
    }
}

#[cfg(test)]
mod tests {
    use apiary_core::{SystemClock, SystemRng};

    use super::*;
    use crate::board::codec::{decode_json, encode_json};

    #[test]
    fn a_claim_is_json_that_people_can_read() {
        let claim = ClaimRecord::new(
            NodeId::new("pi-1").unwrap(),
            "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap(),
            "0123456789abcdef",
        );
        let body = encode_json("k", &claim).unwrap();
        let text = r#"{"format":1,"worker":"pi-1","incarnation":"01890a5d-ac96-774b-bcce-b302099a8057","nonce":"0123456789abcdef"}"#;
        assert_eq!(std::str::from_utf8(&body).unwrap().trim_end(), text);
        assert_eq!(decode_json::<ClaimRecord>("k", &body).unwrap(), claim);
    }

    #[test]
    fn a_nonce_that_could_leave_its_folder_is_refused() {
        let incarnation = Incarnation::new(&SystemClock, &SystemRng);
        for bad in ["", "../../../../x", "short", "a/b/c/d/e/f"] {
            let claim = ClaimRecord::new(NodeId::new("a").unwrap(), incarnation, bad);
            assert!(encode_json("k", &claim).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_failure_of_a_lost_worker_names_it_from_its_claim() {
        let incarnation = Incarnation::new(&SystemClock, &SystemRng);
        let claim = ClaimRecord::new(NodeId::new("pi-1").unwrap(), incarnation, "0123456789abcdef");
        let me = NodeId::new("queen").unwrap();
        let failed = FailedRecord::by_coordinator(me, Some(&claim), FailureCause::NodeLost, "no heartbeat");
        assert_eq!(failed.worker, Some(claim.worker));
        let body = encode_json("k", &failed).unwrap();
        assert_eq!(decode_json::<FailedRecord>("k", &body).unwrap(), failed);
    }

    #[test]
    fn a_long_message_is_cut_at_a_letter() {
        let long = "ä".repeat(FailedRecord::MESSAGE_BYTES_MAX);
        let failed = FailedRecord::by_coordinator(NodeId::new("q").unwrap(), None, FailureCause::Other, &long);
        assert!(failed.message.len() <= FailedRecord::MESSAGE_BYTES_MAX && !failed.message.is_empty());
    }
}
