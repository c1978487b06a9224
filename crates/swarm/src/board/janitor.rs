//! Sweeping what dead coordinators left: the decision is pure, the act is thin.
//!
//! Ages are differences between two timestamps of the *store*: an object's, and that of the newest heartbeat, which
//! stands for now. No machine's clock is asked; without a heartbeat nothing is swept.

use std::time::Duration;

use apiary_bucket::layout;
use apiary_core::QueryId;

use super::{Board, ops::OPEN_QUERIES_MAX};
use crate::{
    Result,
    world_view::{NodeState, NodeView},
};

/// Anything of a query older than this without a live owner goes.
pub const SWEEP_AGE: Duration = Duration::from_secs(24 * 3600);

/// Most queries that one sweep looks at; the rest waits for the next.
pub const SWEEP_QUERIES_MAX: usize = 1_000;

/// What is known of a query that may be left over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SweepCandidate {
    /// The query.
    pub query: QueryId,
    /// Its newest object, by the store's clock in milliseconds since 1970.
    pub newest_ms: i64,
    /// Whether its owner is alive in the same incarnation.
    pub owner_alive: bool,
}

/// What a sweep did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SweepReport {
    /// Queries looked at.
    pub queries_seen: u64,
    /// Queries that went.
    pub queries_swept: u64,
    /// Objects that went with them.
    pub objects_deleted: u64,
}

/// Whether a query's leftovers should go.
#[must_use]
pub fn is_due(candidate: &SweepCandidate, store_now_ms: i64) -> bool {
    let age_ms = store_now_ms.saturating_sub(candidate.newest_ms);
    !candidate.owner_alive && age_ms > i64::try_from(SWEEP_AGE.as_millis()).unwrap_or(i64::MAX)
}

impl Board {
    /// Deletes queries that are older than [`SWEEP_AGE`] and have no live owner in `world`. Two janitors at once are
    /// harmless. 1 LIST, 1 more per query, 2 LISTs and 1 GET per old query.
    pub async fn sweep(&self, world: &[NodeView]) -> Result<SweepReport> {
        match self.store_now_ms().await? {
            Some(store_now_ms) => self.sweep_at(store_now_ms, world).await,
            None => Ok(SweepReport::default()),
        }
    }

    pub(super) async fn sweep_at(&self, store_now_ms: i64, world: &[NodeView]) -> Result<SweepReport> {
        let mut report = SweepReport::default();
        for (query, first_ms) in self.queries().await? {
            report.queries_seen += 1;
            let young = SweepCandidate { query, newest_ms: first_ms, owner_alive: false };
            if !is_due(&young, store_now_ms) {
                continue;
            }
            if is_due(&self.candidate(query, world).await?, store_now_ms) {
                report.objects_deleted += self.close(&query).await?;
                report.queries_swept += 1;
                tracing::info!(%query, "swept a query that nobody owns");
            }
        }
        Ok(report)
    }

    async fn store_now_ms(&self) -> Result<Option<i64>> {
        let nodes = self.bucket().list(layout::nodes_prefix(), None, crate::heartbeat::NODES_MAX).await?;
        Ok(nodes.iter().map(|object| object.modified_ms).max())
    }

    /// Every query with any object, and the time of one of them: hops from one query's first key to the next's.
    async fn queries(&self) -> Result<Vec<(QueryId, i64)>> {
        let mut found = Vec::new();
        let root = layout::queries_prefix();
        let mut after: Option<String> = None;
        while found.len() < SWEEP_QUERIES_MAX {
            let listed = self.bucket().list(root, after.as_deref(), 1).await?;
            let Some(object) = listed.first() else { break };
            let id = object.key.strip_prefix(root).and_then(|rest| rest.split('/').next()).unwrap_or_default();
            if let Ok(query) = id.parse() {
                found.push((query, object.modified_ms));
            }
            // '0' follows '/': the next key behind everything under this one.
            after = Some(format!("{root}{id}0"));
        }
        // A pointer without a query behind it is a leftover too.
        for object in self.bucket().list(layout::open_prefix(), None, OPEN_QUERIES_MAX).await? {
            found.extend(layout::parse_open(&object.key).map(|query| (query, object.modified_ms)));
        }
        found.sort_unstable_by_key(|(query, modified_ms)| (*query, -*modified_ms));
        found.dedup_by_key(|(query, _)| *query);
        Ok(found)
    }

    async fn candidate(&self, query: QueryId, world: &[NodeView]) -> Result<SweepCandidate> {
        let prefix = layout::query_prefix(&query);
        let objects = self.bucket().list(&prefix, None, super::ops::BOARD_KEYS_MAX).await?;
        let newest_ms = objects.iter().map(|object| object.modified_ms).max().unwrap_or(0);
        let epoch = super::BoardView::of(query, objects.iter().map(|object| object.key.as_str())).epoch;
        let owner = match epoch {
            Some(epoch) => self.read_owner(&query, epoch).await?,
            None => None,
        };
        let owner_alive = owner.is_some_and(|owner| {
            world.iter().any(|node| {
                node.heartbeat.node == owner.coordinator
                    && node.heartbeat.incarnation == owner.incarnation
                    && node.state != NodeState::Dead
            })
        });
        Ok(SweepCandidate { query, newest_ms, owner_alive })
    }
}

#[cfg(test)]
mod tests {
    use apiary_core::{SystemClock, SystemRng};

    use super::*;

    const DAY_MS: i64 = 24 * 3600 * 1000;

    fn candidate(owner_alive: bool) -> SweepCandidate {
        SweepCandidate { query: QueryId::new(&SystemClock, &SystemRng), newest_ms: 1_000, owner_alive }
    }

    #[test]
    fn a_day_old_query_without_an_owner_goes() {
        assert!(is_due(&candidate(false), 1_001 + DAY_MS));
    }

    #[test]
    fn a_younger_query_stays() {
        assert!(!is_due(&candidate(false), 1_000 + DAY_MS));
    }

    #[test]
    fn a_query_with_a_live_owner_stays_at_any_age() {
        assert!(!is_due(&candidate(true), i64::MAX));
    }

    #[test]
    fn a_store_whose_clock_went_back_sweeps_nothing() {
        assert!(!is_due(&candidate(false), i64::MIN));
    }
}
