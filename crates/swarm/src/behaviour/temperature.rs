//! Colony temperature: how hard a node, and the colony, are working, and what follows from it.
//!
//! ```text
//! T = max(0.4·busy bees + 0.4·chamber memory + 0.2·min(1, queue / (2·bees)),   all together
//!         min(1, queue / (4·bees)),                                            the queue alone
//!         chamber memory)                                                      the memory alone
//! ```
//! so that any one of CPU with its queue, queue, or memory can make a colony hot. The colony's is the mean over
//! live nodes, weighted by bees.

use crate::{
    heartbeat::Strain,
    world_view::{NodeState, NodeView},
};

/// How far T must fall below a limit before the regime cools: without it a colony would flap at every limit.
pub const HYSTERESIS: f64 = 0.05;

/// The temperature of a node with `bees` bees, 0 to 1.
#[must_use]
pub fn node(strain: &Strain, bees: u32) -> f64 {
    let bees = f64::from(bees.max(1));
    let share = |part: f64| if part.is_finite() { part.clamp(0.0, 1.0) } else { 0.0 };
    let (busy, memory, queue) = (share(strain.bees), share(strain.memory), f64::from(strain.queue));
    let mixed = 0.4 * busy + 0.4 * memory + 0.2 * share(queue / (2.0 * bees));
    mixed.max(share(queue / (4.0 * bees))).max(memory)
}

/// The temperature of the colony: live nodes, weighted by bees; 0 for an empty one.
#[must_use]
pub fn colony(nodes: &[NodeView]) -> f64 {
    let live = nodes.iter().filter(|node| matches!(node.state, NodeState::Alive | NodeState::Leaving));
    let (sum, bees) = live.fold((0.0, 0.0), |(sum, bees), node| {
        let weight = f64::from(node.heartbeat.bees.total);
        (sum + weight * node.heartbeat.measured(), bees + weight)
    });
    if bees > 0.0 { sum / bees } else { 0.0 }
}

/// What a temperature means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Regime {
    /// Below 0.3.
    Cold,
    /// Up to 0.7.
    Ideal,
    /// Up to 0.85.
    Warm,
    /// Up to 0.95.
    Hot,
    /// Above.
    Critical,
}

/// What becomes of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writes {
    /// It goes on.
    Flow,
    /// It waits up to 30 s, or is refused with the time to come back, as its writer chose.
    Slow,
    /// It is refused with the time to come back.
    Refuse,
}

/// How much care the bucket gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compaction {
    /// Look for work.
    Eager,
    /// Take what offers itself.
    Opportunistic,
    /// Only what was asked for.
    Deferred,
    /// Nothing.
    Paused,
}

/// What becomes of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queries {
    /// It runs.
    Flow,
    /// It waits for a place.
    Queue,
    /// It waits for a place while there is room to wait, else it is refused.
    QueueThenRefuse,
}

impl Regime {
    const ALL: [Self; 5] = [Self::Cold, Self::Ideal, Self::Warm, Self::Hot, Self::Critical];

    /// The word for people and protocols.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cold => "cold",
            Self::Ideal => "ideal",
            Self::Warm => "warm",
            Self::Hot => "hot",
            Self::Critical => "critical",
        }
    }

    /// The regime of a temperature, without history.
    #[must_use]
    pub fn of(temperature: f64) -> Self {
        match temperature {
            t if t < 0.3 => Self::Cold,
            t if t <= 0.7 => Self::Ideal,
            t if t <= 0.85 => Self::Warm,
            t if t <= 0.95 => Self::Hot,
            _ => Self::Critical,
        }
    }

    /// The regime that follows this one at a temperature: hotter at once, cooler only [`HYSTERESIS`] below the limit.
    #[must_use]
    pub fn next(self, temperature: f64) -> Self {
        let plain = Self::of(temperature);
        if plain >= self {
            return plain;
        }
        // Cooler: where it would be if it were that much hotter, but never hotter than it was.
        Self::of(temperature + HYSTERESIS).min(self)
    }

    /// What becomes of writes.
    #[must_use]
    pub fn writes(self) -> Writes {
        match self {
            Self::Cold | Self::Ideal | Self::Warm => Writes::Flow,
            Self::Hot => Writes::Slow,
            Self::Critical => Writes::Refuse,
        }
    }

    /// How much care the bucket gets.
    #[must_use]
    pub fn compaction(self) -> Compaction {
        match self {
            Self::Cold => Compaction::Eager,
            Self::Ideal => Compaction::Opportunistic,
            Self::Warm => Compaction::Deferred,
            Self::Hot | Self::Critical => Compaction::Paused,
        }
    }

    /// What becomes of queries.
    #[must_use]
    pub fn queries(self) -> Queries {
        match self {
            Self::Cold | Self::Ideal | Self::Warm => Queries::Flow,
            Self::Hot => Queries::Queue,
            Self::Critical => Queries::QueueThenRefuse,
        }
    }
}

impl std::fmt::Display for Regime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::str::FromStr for Regime {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|regime| regime.as_str() == text).ok_or_else(|| format!("'{text}' is not a regime"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strain(bees: f64, memory: f64, queue: u32) -> Strain {
        Strain { bees, memory, queue }
    }

    #[track_caller]
    fn is(strain: Strain, expected: f64) {
        let t = node(&strain, 2);
        assert!((t - expected).abs() < 1e-9, "{strain:?} gives {t}, not {expected}");
    }

    #[test]
    fn the_formula_gives_its_table() {
        is(strain(0.0, 0.0, 0), 0.0);
        is(strain(1.0, 0.0, 0), 0.4);
        is(strain(1.0, 0.5, 0), 0.6);
        is(strain(1.0, 0.5, 2), 0.7);
        is(strain(1.0, 1.0, 0), 1.0);
    }

    #[test]
    fn the_queue_alone_makes_a_node_critical() {
        is(strain(0.0, 0.0, 8), 1.0);
        is(strain(0.0, 0.0, 80), 1.0);
    }

    #[test]
    fn memory_alone_makes_a_node_hot() {
        is(strain(0.0, 0.9, 0), 0.9);
    }

    #[test]
    fn nonsense_in_a_heartbeat_stays_between_0_and_1() {
        for bad in [f64::NAN, f64::INFINITY, -3.0, 7.0] {
            assert!((0.0..=1.0).contains(&node(&strain(bad, bad, u32::MAX), 0)));
        }
    }

    #[test]
    fn regimes_begin_where_the_table_says() {
        let at = |t: f64| Regime::of(t).as_str();
        assert_eq!(
            [at(0.0), at(0.3), at(0.7), at(0.71), at(0.86), at(0.96)],
            ["cold", "ideal", "ideal", "warm", "hot", "critical"]
        );
    }

    #[test]
    fn a_regime_cools_only_below_its_limit() {
        assert_eq!(Regime::Hot.next(0.84), Regime::Hot);
        assert_eq!(Regime::Hot.next(0.79), Regime::Warm);
        assert_eq!(Regime::Warm.next(0.86), Regime::Hot);
        assert_eq!(Regime::Critical.next(0.1), Regime::Cold);
        assert_eq!(Regime::Ideal.next(0.28), Regime::Ideal);
    }

    #[test]
    fn a_colony_is_weighted_by_bees_and_counts_the_living() {
        use apiary_core::{Incarnation, SystemClock, SystemRng};
        let node = |name, bees, memory, state| {
            let mut heartbeat = crate::heartbeat::tests::sample(name, Incarnation::new(&SystemClock, &SystemRng), 1);
            heartbeat.bees.total = bees;
            heartbeat.strain.memory = memory;
            NodeView { heartbeat, state, seen_ago: std::time::Duration::ZERO }
        };
        let nodes = [
            node("a", 1, 1.0, NodeState::Alive),
            node("b", 3, 0.0, NodeState::Alive),
            node("c", 9, 1.0, NodeState::Dead),
        ];
        assert!((colony(&nodes) - 0.25).abs() < 1e-9);
        assert_eq!(colony(&[]), 0.0);
    }

    #[test]
    fn what_follows_from_heat_is_in_the_table() {
        assert_eq!((Regime::Warm.writes(), Regime::Warm.compaction()), (Writes::Flow, Compaction::Deferred));
        assert_eq!((Regime::Hot.writes(), Regime::Hot.queries()), (Writes::Slow, Queries::Queue));
        assert_eq!((Regime::Critical.writes(), Regime::Cold.compaction()), (Writes::Refuse, Compaction::Eager));
    }

    #[test]
    fn every_regime_reads_its_own_word() {
        assert!(Regime::ALL.iter().all(|regime| regime.as_str().parse() == Ok(*regime)));
    }
}
