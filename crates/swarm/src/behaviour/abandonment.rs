//! Abandonment: what follows from the failures of a task, and when to give it up.
//!
//! | failure | answer |
//! |---|---|
//! | node lost, timeout | another node, longer deadline |
//! | memory | a roomier chamber or a spilling join, once |
//! | store error | back-off, same node allowed |
//! | panic | another node, once |
//! | corrupt cell, an error of the query | no retry |
//! | three different nodes crashed | poisoned |
//!
//! After four attempts that count the query fails with the list of them. Never a partial result.

use std::{collections::BTreeSet, fmt::Write, time::Duration};

use apiary_core::{NodeId, limits, units};

use crate::board::{FailedRecord, FailureCause};

/// Attempts that count, before a task is given up.
pub const ATTEMPTS_MAX: usize = 4;

/// Attempts of every kind: nodes that leave or that have another version hand tasks back, but not for ever.
pub const ATTEMPTS_IN_ALL_MAX: usize = 16;

/// Different nodes that may crash over one task before the task itself is suspected.
pub const CRASHED_NODES_MAX: usize = 3;

/// The wait before the first attempt after a store error; it doubles with each.
const STORE_BACK_OFF: Duration = Duration::from_millis(500);

/// What the next attempt has that the last had not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Nothing: the same again.
    Same,
    /// A deadline this many times the first one.
    LongerDeadline(u32),
    /// A node with a larger chamber, or joins that spill.
    RoomierOrSpilling,
}

/// Why a task is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// All attempts are used up.
    AttemptsUsedUp,
    /// Three different nodes crashed over it.
    Poisoned,
    /// Trying again cannot help.
    NoUse,
    /// The query was cancelled.
    Cancelled,
}

/// What follows from the failures so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Publish another attempt.
    Retry {
        /// Nodes that should leave it to others, while there are others.
        avoid: Vec<NodeId>,
        /// What it has that the last had not.
        remedy: Remedy,
        /// How long to wait first.
        wait: Duration,
    },
    /// Fail the query.
    Abandon(Reason),
}

/// Decides after a failure. `failures` are all of one task's, oldest first, the one that just happened last. Whether
/// there is another attempt does not depend on their order: who learns of them later decides the same.
#[must_use]
pub fn decide(failures: &[FailedRecord]) -> Answer {
    let Some(last) = failures.last() else {
        return Answer::Retry { avoid: Vec::new(), remedy: Remedy::Same, wait: Duration::ZERO };
    };
    if let Some(reason) = hopeless(failures) {
        return Answer::Abandon(reason);
    }
    let of = move |cause| failures.iter().filter(move |failure| failure.cause == cause).count();
    let (remedy, wait) = match last.cause {
        FailureCause::NodeLost | FailureCause::Timeout => {
            let late = of(FailureCause::NodeLost) + of(FailureCause::Timeout);
            (Remedy::LongerDeadline(1 << late.min(ATTEMPTS_MAX)), Duration::ZERO)
        }
        FailureCause::Memory => (Remedy::RoomierOrSpilling, Duration::ZERO),
        FailureCause::Store => (Remedy::Same, STORE_BACK_OFF * (1 << (of(FailureCause::Store) - 1).min(ATTEMPTS_MAX))),
        _ => (Remedy::Same, Duration::ZERO),
    };
    // What once needed more room needs it again, whatever failed since.
    let remedy = match remedy {
        Remedy::Same if of(FailureCause::Memory) > 0 => Remedy::RoomierOrSpilling,
        other => other,
    };
    Answer::Retry { avoid: to_avoid(failures), remedy, wait }
}

fn hopeless(failures: &[FailedRecord]) -> Option<Reason> {
    let of = move |cause| failures.iter().filter(move |failure| failure.cause == cause);
    if of(FailureCause::Cancelled).next().is_some() {
        return Some(Reason::Cancelled);
    }
    let (once, twice) = ([FailureCause::CorruptCell, FailureCause::Query], [FailureCause::Memory, FailureCause::Panic]);
    if once.iter().any(|cause| of(*cause).count() > 0) || twice.iter().any(|cause| of(*cause).count() > 1) {
        return Some(Reason::NoUse);
    }
    let crashed: BTreeSet<_> = of(FailureCause::NodeLost).filter_map(|failure| failure.worker.as_ref()).collect();
    if crashed.len() >= CRASHED_NODES_MAX {
        return Some(Reason::Poisoned);
    }
    let counted = failures.iter().filter(|failure| counts(failure.cause)).count();
    let used_up = counted >= ATTEMPTS_MAX || failures.len() >= ATTEMPTS_IN_ALL_MAX;
    used_up.then_some(Reason::AttemptsUsedUp)
}

/// Whether an attempt was really made.
#[must_use]
pub fn counts(cause: FailureCause) -> bool {
    !matches!(cause, FailureCause::HandedBack | FailureCause::VersionMismatch)
}

fn to_avoid(failures: &[FailedRecord]) -> Vec<NodeId> {
    // A store error is no fault of the node's.
    let at_fault = failures.iter().filter(|failure| failure.cause != FailureCause::Store);
    let nodes: BTreeSet<_> = at_fault.filter_map(|failure| failure.worker.clone()).collect();
    nodes.into_iter().collect()
}

impl FailureCause {
    fn words(self) -> &'static str {
        match self {
            Self::NodeLost => "the node was lost",
            Self::Timeout => "it took too long",
            Self::Memory => "its memory was not enough",
            Self::Store => "the object store failed",
            Self::CorruptCell => "stored data is damaged",
            Self::Panic => "it crashed",
            Self::Query => "the query fails on this data",
            Self::VersionMismatch => "the node has another version",
            Self::HandedBack => "the node is leaving",
            Self::Cancelled => "the query was cancelled",
            Self::Other => "it failed",
        }
    }
}

/// The error that the user of the query reads: every attempt, its node, its cause, and what to try.
#[must_use]
pub fn report(task: &str, reason: Reason, failures: &[FailedRecord]) -> String {
    let attempts = units::counted(failures.len() as u64, "attempt");
    let mut text = match reason {
        Reason::Poisoned => format!("{task} is given up: {CRASHED_NODES_MAX} different nodes crashed over it"),
        Reason::Cancelled => format!("{task} was cancelled"),
        Reason::NoUse | Reason::AttemptsUsedUp => format!("{task} is given up after {attempts}"),
    };
    for (i, failure) in failures.iter().enumerate() {
        let node = failure.worker.as_ref().map_or("nobody", NodeId::as_str);
        let _ = write!(text, "\n  attempt {} on {node}: {}: {}", i + 1, failure.cause.words(), failure.message);
        if let Some(memory) = &failure.memory {
            let (peak, budget) = (units::bytes(memory.peak_bytes), units::bytes(memory.budget_bytes));
            let _ = write!(text, " ({peak} of {budget})");
        }
    }
    text
}

/// What a user can try after a task was given up, if anything.
#[must_use]
pub fn advice(failures: &[FailedRecord]) -> Option<&'static str> {
    match failures.last()?.cause {
        FailureCause::Memory => Some(limits::MEMORY_REMEDIES_BOARD),
        FailureCause::Timeout => Some("raise the time limit: SET query_timeout = …"),
        FailureCause::NodeLost => Some("look into the logs of the nodes named above"),
        FailureCause::Store => Some("check that the bucket can be reached, then ask again"),
        FailureCause::VersionMismatch => Some("bring all nodes to one version"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use apiary_core::{Incarnation, SystemClock, SystemRng};

    use super::*;

    fn failed(cause: FailureCause, node: &str) -> FailedRecord {
        FailedRecord::by_worker(NodeId::new(node).unwrap(), Incarnation::new(&SystemClock, &SystemRng), cause, "so")
    }

    fn after(failures: &[(FailureCause, &str)]) -> Answer {
        decide(&failures.iter().map(|(cause, node)| failed(*cause, node)).collect::<Vec<_>>())
    }

    fn retry(avoid: &[&str], remedy: Remedy, wait_ms: u64) -> Answer {
        let avoid = avoid.iter().map(|node| NodeId::new(*node).unwrap()).collect();
        Answer::Retry { avoid, remedy, wait: Duration::from_millis(wait_ms) }
    }

    use FailureCause::{CorruptCell, HandedBack, Memory, NodeLost, Panic, Query, Store, Timeout};

    #[test]
    fn a_lost_node_means_another_node_and_a_longer_deadline() {
        assert_eq!(after(&[(NodeLost, "a")]), retry(&["a"], Remedy::LongerDeadline(2), 0));
        assert_eq!(after(&[(NodeLost, "a"), (Timeout, "b")]), retry(&["a", "b"], Remedy::LongerDeadline(4), 0));
    }

    #[test]
    fn memory_gets_one_roomier_attempt() {
        assert_eq!(after(&[(Memory, "a")]), retry(&["a"], Remedy::RoomierOrSpilling, 0));
        assert_eq!(after(&[(Memory, "a"), (Memory, "b")]), Answer::Abandon(Reason::NoUse));
    }

    #[test]
    fn the_room_that_memory_needed_stays() {
        assert_eq!(after(&[(Memory, "a"), (Store, "b")]), retry(&["a"], Remedy::RoomierOrSpilling, 500));
    }

    #[test]
    fn a_store_error_backs_off_and_blames_nobody() {
        assert_eq!(after(&[(Store, "a")]), retry(&[], Remedy::Same, 500));
        assert_eq!(after(&[(Store, "a"), (Store, "a")]), retry(&[], Remedy::Same, 1000));
    }

    #[test]
    fn a_corrupt_cell_is_not_tried_again() {
        assert_eq!(after(&[(CorruptCell, "a")]), Answer::Abandon(Reason::NoUse));
        assert_eq!(after(&[(Query, "a")]), Answer::Abandon(Reason::NoUse));
    }

    #[test]
    fn a_panic_is_tried_once_more() {
        assert_eq!(after(&[(Panic, "a")]), retry(&["a"], Remedy::Same, 0));
        assert_eq!(after(&[(Panic, "a"), (Panic, "b")]), Answer::Abandon(Reason::NoUse));
    }

    #[test]
    fn three_different_crashed_nodes_poison_a_task() {
        assert_eq!(after(&[(NodeLost, "a"), (NodeLost, "b"), (NodeLost, "c")]), Answer::Abandon(Reason::Poisoned));
        assert!(matches!(after(&[(NodeLost, "a"), (NodeLost, "a"), (NodeLost, "a")]), Answer::Retry { .. }));
    }

    #[test]
    fn four_attempts_are_enough() {
        let four = [(Store, "a"), (Timeout, "b"), (Store, "c"), (Timeout, "d")];
        assert_eq!(after(&four), Answer::Abandon(Reason::AttemptsUsedUp));
        assert!(matches!(after(&four[..3]), Answer::Retry { .. }));
    }

    #[test]
    fn a_task_handed_back_has_lost_no_attempt() {
        let six = [(HandedBack, "a"); 6];
        assert!(matches!(after(&six), Answer::Retry { .. }));
        assert_eq!(after(&[(HandedBack, "a"); 16]), Answer::Abandon(Reason::AttemptsUsedUp));
    }

    #[test]
    fn the_report_names_every_attempt() {
        let failures = [failed(Store, "pi-1"), failed(Timeout, "pi-2")];
        let text = report("task 7 of stage 3", Reason::AttemptsUsedUp, &failures);
        assert_eq!(
            text,
            "task 7 of stage 3 is given up after 2 attempts\n  attempt 1 on pi-1: the object store failed: so\n  \
             attempt 2 on pi-2: it took too long: so"
        );
        assert!(advice(&failures).unwrap().contains("query_timeout"));
    }
}
