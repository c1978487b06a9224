//! What an observer concludes from heartbeats: pure, on the observer's own monotonic clock.
//!
//! The observer remembers each node's incarnation and counter and how long ago it *saw them change*: after three of
//! the intervals that the heartbeat itself names without a change the node is suspect, after six it is dead. Time
//! counts only while the observer looks: between two looks at most twice the observer's own pace passes, so that
//! its own store errors and its own suspension pause the detector instead of killing the colony. A death is a guess
//! that changes who gets work, never what is true.
//!
//! One rule needs the store's clock: a heartbeat seen for the first time has no history, so its age is how far it
//! stands behind the newest heartbeat in the same listing, both stamped by the store.

use std::{collections::BTreeMap, time::Duration};

use apiary_core::NodeId;

use crate::heartbeat::{Heartbeat, Sighting};

/// Intervals without a change after which a node is suspect.
pub const SUSPECT_INTERVALS: u32 = 3;

/// Intervals without a change after which a node is dead.
pub const DEAD_INTERVALS: u32 = 6;

/// Shortest and longest interval that is believed: a forged one must neither kill at once nor live for ever.
const INTERVAL_S: (f64, f64) = (0.01, 600.0);

/// What an observer thinks of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NodeState {
    /// Its counter advances.
    Alive,
    /// Three of its intervals passed without a change.
    Suspect,
    /// Six of its intervals passed without a change.
    Dead,
    /// It said that it will be gone, and takes no new work.
    Leaving,
}

impl NodeState {
    /// The word for people and protocols.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Suspect => "suspect",
            Self::Dead => "dead",
            Self::Leaving => "leaving",
        }
    }
}

impl std::fmt::Display for NodeState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// One node as an observer sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeView {
    /// What it said last.
    pub heartbeat: Heartbeat,
    /// What the observer thinks.
    pub state: NodeState,
    /// How long ago the observer saw its counter move.
    pub seen_ago: Duration,
}

impl NodeView {
    /// Whether it may be given work.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.state == NodeState::Alive
    }

    /// Whether it has a role, by name.
    #[must_use]
    pub fn has_role(&self, role: &str) -> bool {
        self.heartbeat.roles.iter().any(|name| name == role)
    }
}

#[derive(Debug)]
struct Seen {
    heartbeat: Heartbeat,
    unchanged_for: Duration,
}

/// The memory of one observer.
#[derive(Debug)]
pub struct WorldView {
    nodes: BTreeMap<NodeId, Seen>,
    looked_at: Option<Duration>,
}

impl Default for WorldView {
    fn default() -> Self {
        Self::new()
    }
}

impl WorldView {
    /// An observer that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self { nodes: BTreeMap::new(), looked_at: None }
    }

    /// Takes in one look at the bucket. `now` is the observer's monotonic clock, `pace` how often it means to look.
    /// A look that failed is simply not reported: time without looks does not count against anybody.
    pub fn observe(&mut self, now: Duration, pace: Duration, sightings: Vec<Sighting>) -> Vec<NodeView> {
        let passed = self.looked_at.map_or(Duration::ZERO, |before| now.saturating_sub(before)).min(pace * 2);
        self.looked_at = Some(now);
        for seen in self.nodes.values_mut() {
            seen.unchanged_for += passed;
        }
        let present: Vec<NodeId> = sightings.iter().map(|sighting| sighting.heartbeat.node.clone()).collect();
        for sighting in sightings {
            self.take_in(sighting);
        }
        // A heartbeat that is gone was withdrawn by its owner, or cleaned away: either way the node left.
        self.nodes.retain(|node, _| present.contains(node));
        self.nodes()
    }

    fn take_in(&mut self, sighting: Sighting) {
        let Sighting { heartbeat, behind_ms } = sighting;
        match self.nodes.get_mut(&heartbeat.node) {
            None => {
                let unchanged_for = Duration::from_millis(behind_ms);
                self.nodes.insert(heartbeat.node.clone(), Seen { heartbeat, unchanged_for });
            }
            Some(seen) => {
                let before = (seen.heartbeat.incarnation, seen.heartbeat.counter);
                if before != (heartbeat.incarnation, heartbeat.counter) {
                    seen.unchanged_for = Duration::ZERO;
                }
                seen.heartbeat = heartbeat;
            }
        }
    }

    /// When the last look was, on the observer's clock.
    #[must_use]
    pub fn looked_at(&self) -> Option<Duration> {
        self.looked_at
    }

    /// The colony as last seen, by node id.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeView> {
        self.nodes.values().map(Seen::view).collect()
    }
}

impl Seen {
    fn view(&self) -> NodeView {
        let state = state_of(&self.heartbeat, self.unchanged_for);
        NodeView { heartbeat: self.heartbeat.clone(), state, seen_ago: self.unchanged_for }
    }
}

fn state_of(heartbeat: &Heartbeat, unchanged_for: Duration) -> NodeState {
    let interval = Duration::from_secs_f64(heartbeat.interval_s.clamp(INTERVAL_S.0, INTERVAL_S.1));
    if unchanged_for >= interval * DEAD_INTERVALS {
        NodeState::Dead
    } else if heartbeat.leaving {
        NodeState::Leaving
    } else if unchanged_for >= interval * SUSPECT_INTERVALS {
        NodeState::Suspect
    } else {
        NodeState::Alive
    }
}

#[cfg(test)]
mod tests {
    use apiary_core::{Incarnation, SystemClock, SystemRng};

    use super::*;
    use crate::heartbeat::tests::sample;

    const PACE: Duration = Duration::from_secs(10);

    fn life() -> Incarnation {
        Incarnation::new(&SystemClock, &SystemRng)
    }

    fn seen(heartbeat: Heartbeat) -> Vec<Sighting> {
        vec![Sighting { heartbeat, behind_ms: 0 }]
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// The states over looks at the given seconds, the counter as given.
    fn states(looks: &[(u64, u64)]) -> Vec<NodeState> {
        let (life, mut world) = (life(), WorldView::new());
        let look = |&(second, counter): &(u64, u64)| {
            world.observe(at(second), PACE, seen(sample("pi-1", life, counter)))[0].state
        };
        looks.iter().map(look).collect()
    }

    use NodeState::{Alive, Dead, Leaving, Suspect};

    #[test]
    fn a_counter_that_advances_is_alive() {
        assert_eq!(states(&[(0, 1), (10, 2), (20, 3), (30, 4), (40, 5)]), [Alive; 5]);
    }

    #[test]
    fn a_counter_that_stands_still_is_suspect_then_dead() {
        let looks: Vec<_> = (0..8).map(|i| (i * 10, 1)).collect();
        assert_eq!(states(&looks), [Alive, Alive, Alive, Suspect, Suspect, Suspect, Dead, Dead]);
    }

    #[test]
    fn the_dead_come_back_when_their_counter_moves() {
        let mut looks: Vec<_> = (0..8).map(|i| (i * 10, 1)).collect();
        looks.push((80, 2));
        assert_eq!(states(&looks).last(), Some(&Alive));
    }

    #[test]
    fn an_hour_without_a_look_kills_nobody() {
        assert_eq!(states(&[(0, 1), (3600, 1)]), [Alive, Alive]);
    }

    #[test]
    fn a_restart_is_a_change_though_the_counter_goes_back() {
        let mut world = WorldView::new();
        world.observe(at(0), PACE, seen(sample("pi-1", life(), 900)));
        for second in [20, 40] {
            world.observe(at(second), PACE, seen(sample("pi-1", life(), 1)));
        }
        assert_eq!(world.nodes()[0].seen_ago, Duration::ZERO);
    }

    #[test]
    fn a_leaving_node_is_leaving_until_it_is_gone() {
        let (life, mut world) = (life(), WorldView::new());
        let mut beat = sample("pi-1", life, 1);
        beat.leaving = true;
        assert_eq!(world.observe(at(0), PACE, seen(beat))[0].state, Leaving);
        assert_eq!(world.observe(at(10), PACE, vec![]), []);
    }

    #[test]
    fn a_heartbeat_from_last_week_is_dead_at_first_sight() {
        let old = Sighting { heartbeat: sample("pi-1", life(), 7), behind_ms: 7 * 24 * 3600 * 1000 };
        let new = Sighting { heartbeat: sample("pi-2", life(), 1), behind_ms: 0 };
        let states: Vec<_> = WorldView::new().observe(at(0), PACE, vec![old, new]).iter().map(|n| n.state).collect();
        assert_eq!(states, [Dead, Alive]);
    }

    #[test]
    fn a_node_that_starts_now_is_alive_at_first_sight() {
        assert_eq!(states(&[(0, 1)]), [Alive]);
    }

    #[test]
    fn an_interval_of_nonsense_is_bounded() {
        let mut beat = sample("pi-1", life(), 1);
        beat.interval_s = 1e300;
        let mut world = WorldView::new();
        world.observe(at(0), at(3600), seen(beat.clone()));
        assert_eq!(world.observe(at(7200), at(3600), seen(beat))[0].state, Dead);
    }
}
