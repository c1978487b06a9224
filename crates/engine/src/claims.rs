//! Claims, held against the world: whose worker is gone, who is far behind, and whose query this still is.
//!
//! A claim is read when it has stood for a while. A worker that is dead, or in another life than the claim's, has lost
//! its attempt, and another follows. An attempt that is merely slow, or whose worker is out of touch or silent, gets
//! company and keeps its chance. Liveness only decides when to try again, never what is true.

use std::time::Duration;

use apiary_core::NodeId;
use apiary_swarm::{
    BoardView, NodeState, NodeView,
    behaviour::stragglers::{self, Signs},
    board::{ClaimRecord, FailedRecord, FailureCause},
};

use crate::{
    Result,
    drive::Drive,
    publish,
    query_run::{Attempt, Event},
};

/// A claim younger than this is believed without reading it, unless some worker is out of touch.
const CLAIM_TRUST: Duration = Duration::from_secs(2);

/// A worker that this coordinator has never seen is given this long to show itself.
const STRANGER_TRUST: Duration = Duration::from_secs(30);

/// What a worker may take beyond its task's own deadline to report that it missed it.
const TIMEOUT_GRACE: Duration = Duration::from_secs(30);

/// How often the query is pointed at again: a janitor that thought its owner dead may have taken the pointer.
const POINT_INTERVAL: Duration = Duration::from_secs(30);

/// What is known of a claim.
#[derive(Debug)]
pub(crate) struct Claim {
    since: Duration,
    record: Option<ClaimRecord>,
}

impl Drive {
    /// What a look with care adds: attempts that are lost or late, and whether the query is still this coordinator's. A
    /// GET for each claim that has stood for a while; every half minute 1 PUT.
    pub(crate) async fn care(&mut self, view: &BoardView, events: &mut Vec<Event>) -> Result<()> {
        // A higher epoch is a successor's; none at all means that a successor has come and gone.
        self.superseded |= view.epoch != Some(self.epoch);
        if self.superseded {
            return Ok(());
        }
        let now = self.now();
        if now.saturating_sub(self.pointed) >= POINT_INTERVAL {
            self.pointed = now;
            self.board.point(&self.query).await?;
        }
        self.look_for_workers(events);
        self.judge_claims(view, events).await
    }

    async fn judge_claims(&mut self, view: &BoardView, events: &mut Vec<Event>) -> Result<()> {
        let (now, world, out_of_touch) = (self.now(), (self.env.world)(), self.env.nudger.out_of_touch());
        let trust = if out_of_touch.is_empty() { CLAIM_TRUST } else { Duration::ZERO };
        for attempt in self.run.in_flight() {
            let claimed = view.task(attempt.stage, attempt.task).is_some_and(|t| t.claimed.contains(&attempt.attempt));
            if !claimed {
                continue;
            }
            let id = self.id(attempt);
            let claim = self.claims.entry(attempt).or_insert(Claim { since: now, record: None });
            let age = now.saturating_sub(claim.since);
            if age < trust {
                continue;
            }
            if claim.record.is_none() {
                claim.record = self.board.read_claim(&id).await?;
                let node = claim.record.as_ref().map(|record| record.worker.clone());
                events.extend(node.map(|node| Event::Claimed { attempt, node }));
            }
            let Some(record) = claim.record.clone() else { continue };
            let limit = publish::attempt_timeout_max(attempt.attempt).min(self.timeout);
            if let Some((cause, why)) = given_up(&record, &world, age, limit) {
                let failed = FailedRecord::by_coordinator(self.env.node.clone(), Some(&record), cause, &why);
                events.push(Event::AttemptLost { attempt, failed });
            } else if stragglers::wants_company(
                age,
                &self.finished_in(attempt, age),
                signs(&record, &world, &out_of_touch),
            ) {
                events.push(Event::Straggles { attempt });
            }
        }
        Ok(())
    }

    /// How long the finished siblings of an attempt took, if it is old enough for that to matter.
    fn finished_in(&self, attempt: Attempt, age: Duration) -> Vec<Duration> {
        if age <= stragglers::AGE_MIN {
            return Vec::new();
        }
        let siblings = self.metrics.tasks().into_iter().filter(|task| task.stage == attempt.stage);
        siblings.map(|task| Duration::from_micros(task.metrics.elapsed_us)).collect()
    }
}

/// What is known of the claim's worker.
fn signs(claim: &ClaimRecord, world: &[NodeView], out_of_touch: &[(NodeId, Duration)]) -> Signs {
    let seen = world.iter().find(|view| view.heartbeat.node == claim.worker);
    Signs {
        out_of_touch: out_of_touch.iter().find(|(node, _)| *node == claim.worker).map(|(_, since)| *since),
        silent: seen.map_or(Duration::ZERO, |view| view.seen_ago),
    }
}

/// Whether a claim is dead, and why. Pure.
fn given_up(claim: &ClaimRecord, world: &[NodeView], age: Duration, limit: Duration) -> Option<(FailureCause, String)> {
    let node = &claim.worker;
    if age > limit + TIMEOUT_GRACE {
        return Some((FailureCause::Timeout, format!("{node} held it for {} s", age.as_secs())));
    }
    let Some(seen) = world.iter().find(|view| view.heartbeat.node == *node) else {
        return (age > STRANGER_TRUST).then(|| (FailureCause::NodeLost, format!("{node} has no heartbeat")));
    };
    // Lives are numbered by their own clocks, and a small machine's may have gone back while it was off: a heartbeat
    // that still tells of another life after so long is not merely late.
    let differs = seen.heartbeat.incarnation != claim.incarnation;
    if seen.heartbeat.incarnation > claim.incarnation || (differs && age > STRANGER_TRUST) {
        return Some((FailureCause::NodeLost, format!("{node} was restarted")));
    }
    let silent = seen.seen_ago.as_secs();
    (seen.state == NodeState::Dead).then(|| (FailureCause::NodeLost, format!("{node} has been silent for {silent} s")))
}

#[cfg(test)]
mod tests {
    use apiary_core::{Incarnation, SeededRng, SystemClock};
    use apiary_swarm::Heartbeat;

    use super::*;

    fn lives() -> [Incarnation; 2] {
        let mut lives = [1, 2].map(|seed| Incarnation::new(&SystemClock, &SeededRng::new(seed)));
        lives.sort();
        lives
    }

    fn world(incarnation: Incarnation, state: NodeState) -> Vec<NodeView> {
        let beat = serde_json::json!({
            "format": 1, "node": "pi-1", "incarnation": incarnation, "counter": 1, "interval_s": 1.0, "roles": ["worker"],
            "version": "0", "cores": 1, "memory_bytes": 1, "bees": {"total": 1, "busy": 0}, "chamber_bytes": 1,
            "strain": {"bees": 0.0, "memory": 0.0, "queue": 0}, "temperature": 0.0
        });
        let heartbeat: Heartbeat = serde_json::from_value(beat).unwrap();
        vec![NodeView { heartbeat, state, seen_ago: Duration::from_secs(40) }]
    }

    fn verdict(claimed_by: Incarnation, world: &[NodeView], age_s: u64) -> Option<FailureCause> {
        let claim = ClaimRecord::new(NodeId::new("pi-1").unwrap(), claimed_by, "0123456789abcdef");
        given_up(&claim, world, Duration::from_secs(age_s), Duration::from_secs(600)).map(|(cause, _)| cause)
    }

    #[test]
    fn a_claim_lives_as_long_as_its_worker_does() {
        let [old, new] = lives();
        assert_eq!(verdict(old, &world(old, NodeState::Alive), 500), None);
        assert_eq!(verdict(old, &world(old, NodeState::Suspect), 500), None);
        assert_eq!(verdict(old, &world(old, NodeState::Dead), 5), Some(FailureCause::NodeLost));
        assert_eq!(verdict(old, &world(new, NodeState::Alive), 5), Some(FailureCause::NodeLost));
        assert_eq!(verdict(new, &world(old, NodeState::Alive), 5), None);
    }

    #[test]
    fn a_restart_is_seen_though_the_clock_went_back() {
        let [earlier, later] = lives();
        assert_eq!(verdict(later, &world(earlier, NodeState::Alive), 31), Some(FailureCause::NodeLost));
    }

    #[test]
    fn a_worker_is_silent_for_as_long_as_it_was_seen_to_be() {
        let [life, _] = lives();
        let claim = ClaimRecord::new(NodeId::new("pi-1").unwrap(), life, "0123456789abcdef");
        let silent = Signs { out_of_touch: None, silent: Duration::from_secs(40) };
        assert_eq!(signs(&claim, &world(life, NodeState::Alive), &[]), silent);
        let out_of_touch = [(claim.worker.clone(), Duration::from_secs(2))];
        let gone = Signs { out_of_touch: Some(Duration::from_secs(2)), silent: Duration::ZERO };
        assert_eq!(signs(&claim, &[], &out_of_touch), gone);
    }

    #[test]
    fn a_stranger_has_half_a_minute() {
        let [life, _] = lives();
        assert_eq!(verdict(life, &[], 29), None);
        assert_eq!(verdict(life, &[], 31), Some(FailureCause::NodeLost));
    }

    #[test]
    fn nobody_may_hold_a_task_for_ever() {
        let [life, _] = lives();
        assert_eq!(verdict(life, &world(life, NodeState::Alive), 631), Some(FailureCause::Timeout));
    }
}
