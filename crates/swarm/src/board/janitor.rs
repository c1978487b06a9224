//! Sweeping what dead coordinators left: the decision is pure, the act is thin.
//!
//! Three kinds of leftovers, each with an age of its own. A *pointer* to a query whose owner is gone keeps the whole
//! colony awake and workers at what nobody waits for: it goes within minutes, the query itself stays for a client that
//! asks again. A *query* without a live owner goes after a day. What a late worker wrote *behind* a query that was
//! deleted is of use to nobody, and goes after an hour.
//!
//! Ages are differences between two timestamps of the *store*: an object's, and that of the newest heartbeat, which
//! stands for now. No machine's clock is asked; without a heartbeat nothing is swept. A wrong guess about an owner costs
//! time alone: a live one points at its query again.

use std::{collections::BTreeSet, time::Duration};

use apiary_bucket::layout;
use apiary_core::QueryId;

use super::{Board, ops::OPEN_QUERIES_MAX};
use crate::{
    Result,
    world_view::{NodeState, NodeView},
};

/// What must be older than what to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SweepAges {
    /// A query without a live owner.
    pub query: Duration,
    /// What lies behind a query that was deleted.
    pub rest: Duration,
    /// The pointer to a query without a live owner.
    pub pointer: Duration,
}

impl Default for SweepAges {
    fn default() -> Self {
        let minutes = |n: u64| Duration::from_secs(60 * n);
        Self { query: minutes(24 * 60), rest: minutes(60), pointer: minutes(2) }
    }
}

/// Most queries that one sweep looks at; the rest waits for the next.
pub const SWEEP_QUERIES_MAX: usize = 1_000;

/// What is known of a query that may be left over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SweepCandidate {
    /// The query.
    pub query: QueryId,
    /// Its newest object, by the store's clock in milliseconds since 1970.
    pub newest_ms: i64,
    /// Whether it is still told what was asked.
    pub is_asked: bool,
    /// Whether its owner is alive in the same incarnation.
    pub owner_alive: bool,
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leftover {
    /// Nothing: somebody works on it, or it is young.
    Stays,
    /// Its pointer goes, if it has one.
    Pointer,
    /// All of it goes.
    All,
}

/// What a sweep did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SweepReport {
    /// Queries looked at.
    pub queries_seen: u64,
    /// Queries that went.
    pub queries_swept: u64,
    /// Pointers that went while their queries stayed.
    pub pointers_swept: u64,
    /// Objects that went with queries.
    pub objects_deleted: u64,
}

/// What becomes of a query's objects.
#[must_use]
pub fn judge(candidate: &SweepCandidate, store_now_ms: i64, ages: &SweepAges) -> Leftover {
    let age_ms = store_now_ms.saturating_sub(candidate.newest_ms);
    let is_older = |age: Duration| age_ms > i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
    match candidate {
        SweepCandidate { owner_alive: true, .. } => Leftover::Stays,
        SweepCandidate { is_asked, .. } if is_older(if *is_asked { ages.query } else { ages.rest }) => Leftover::All,
        _ if is_older(ages.pointer) => Leftover::Pointer,
        _ => Leftover::Stays,
    }
}

impl Board {
    /// Deletes what is older than `ages` say and has no live owner in `world`. Two janitors at once are harmless. 1 LIST,
    /// 1 more per query, 2 LISTs and 1 GET for each that is old or pointed at.
    pub async fn sweep(&self, world: &[NodeView], ages: &SweepAges) -> Result<SweepReport> {
        match self.store_now_ms().await? {
            Some(store_now_ms) => self.sweep_at(store_now_ms, world, ages).await,
            None => Ok(SweepReport::default()),
        }
    }

    pub(super) async fn sweep_at(
        &self,
        store_now_ms: i64,
        world: &[NodeView],
        ages: &SweepAges,
    ) -> Result<SweepReport> {
        let mut report = SweepReport::default();
        let (queries, pointed) = self.queries().await?;
        for (query, first_ms) in queries {
            report.queries_seen += 1;
            let is_pointed = pointed.contains(&query);
            let at_worst = SweepCandidate { query, newest_ms: first_ms, is_asked: false, owner_alive: false };
            match judge(&at_worst, store_now_ms, ages) {
                Leftover::All => {}
                Leftover::Pointer if is_pointed => {}
                Leftover::Pointer | Leftover::Stays => continue,
            }
            match judge(&self.candidate(query, first_ms, world).await?, store_now_ms, ages) {
                Leftover::All => {
                    report.objects_deleted += self.close(&query).await?;
                    report.queries_swept += 1;
                    tracing::info!(%query, "swept a query that nobody owns");
                }
                Leftover::Pointer if is_pointed => {
                    self.bucket().delete(&layout::open_query(&query)).await?;
                    report.pointers_swept += 1;
                    tracing::info!(%query, "took the pointer to a query that nobody owns; asking again goes on with it");
                }
                Leftover::Pointer | Leftover::Stays => {}
            }
        }
        Ok(report)
    }

    async fn store_now_ms(&self) -> Result<Option<i64>> {
        let nodes = self.bucket().list(layout::nodes_prefix(), None, crate::heartbeat::NODES_MAX).await?;
        Ok(nodes.iter().map(|object| object.modified_ms).max())
    }

    /// Every query with any object, and the time of one of them: hops from one query's first key to the next's. And
    /// which of them have a pointer.
    async fn queries(&self) -> Result<(Vec<(QueryId, i64)>, BTreeSet<QueryId>)> {
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
        let mut pointed = BTreeSet::new();
        for object in self.bucket().list(layout::open_prefix(), None, OPEN_QUERIES_MAX).await? {
            let Some(query) = layout::parse_open(&object.key) else { continue };
            pointed.insert(query);
            found.push((query, object.modified_ms));
        }
        found.sort_unstable_by_key(|(query, modified_ms)| (*query, -*modified_ms));
        found.dedup_by_key(|(query, _)| *query);
        Ok((found, pointed))
    }

    async fn candidate(&self, query: QueryId, first_ms: i64, world: &[NodeView]) -> Result<SweepCandidate> {
        let prefix = layout::query_prefix(&query);
        let objects = self.bucket().list(&prefix, None, super::ops::BOARD_KEYS_MAX).await?;
        let newest_ms = objects.iter().map(|object| object.modified_ms).max().unwrap_or(first_ms);
        let view = super::BoardView::of(query, objects.iter().map(|object| object.key.as_str()));
        let owner = match view.epoch {
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
        Ok(SweepCandidate { query, newest_ms, is_asked: view.asked, owner_alive })
    }
}

#[cfg(test)]
mod tests {
    use apiary_core::{SystemClock, SystemRng};

    use super::*;

    const MINUTE_MS: i64 = 60 * 1000;
    const DAY_MS: i64 = 24 * 60 * MINUTE_MS;

    fn judged(is_asked: bool, owner_alive: bool, now_ms: i64) -> Leftover {
        let query = QueryId::new(&SystemClock, &SystemRng);
        let candidate = SweepCandidate { query, newest_ms: 1_000, is_asked, owner_alive };
        judge(&candidate, now_ms, &SweepAges::default())
    }

    #[test]
    fn a_query_without_an_owner_loses_its_pointer_soon_and_goes_after_a_day() {
        assert_eq!(judged(true, false, 1_000 + 2 * MINUTE_MS), Leftover::Stays);
        assert_eq!(judged(true, false, 1_001 + 2 * MINUTE_MS), Leftover::Pointer);
        assert_eq!(judged(true, false, 1_000 + DAY_MS), Leftover::Pointer);
        assert_eq!(judged(true, false, 1_001 + DAY_MS), Leftover::All);
    }

    #[test]
    fn what_lies_behind_a_query_that_was_deleted_goes_after_an_hour() {
        assert_eq!(judged(false, false, 1_000 + 60 * MINUTE_MS), Leftover::Pointer);
        assert_eq!(judged(false, false, 1_001 + 60 * MINUTE_MS), Leftover::All);
    }

    #[test]
    fn a_query_with_a_live_owner_stays_at_any_age() {
        assert_eq!((judged(true, true, i64::MAX), judged(false, true, i64::MAX)), (Leftover::Stays, Leftover::Stays));
    }

    #[test]
    fn a_store_whose_clock_went_back_sweeps_nothing() {
        assert_eq!(judged(true, false, i64::MIN), Leftover::Stays);
    }
}
