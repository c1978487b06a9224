//! Whether anybody is there to do a query's tasks.
//!
//! A task waits on the board for whoever comes, and a worker may well come: a colony that starts, or one whose only
//! machine starts again. But a query for which nobody comes must not hold its client until its timeout, an hour away. So
//! while tasks wait and no worker that could do them is alive, time is counted; at [`ALONE_MAX`] the query ends and says
//! what is missing. Deaths are seen by then: a silent worker is suspect after three beats. A view of the colony that
//! cannot be renewed stands still, and kills nobody.

use std::time::Duration;

use apiary_swarm::{NodeState, NodeView};

use crate::{EngineError, drive::Drive, query_run::Event};

/// How long tasks may wait without a worker alive: longer than a worker takes to start again.
pub(crate) const ALONE_MAX: Duration = Duration::from_secs(30);

impl Drive {
    /// Counts the time in which tasks wait for nobody.
    pub(crate) fn look_for_workers(&mut self, events: &mut Vec<Event>) {
        let waiting = self.run.in_flight().len() + self.delayed.len();
        if waiting == 0 || (self.env.world)().iter().any(can_work) {
            self.deserted_since = None;
            return;
        }
        let now = self.now();
        let since = *self.deserted_since.get_or_insert(now);
        if now.saturating_sub(since) >= ALONE_MAX {
            events.push(Event::NoWorkers);
        }
    }

    /// The end of a query that nobody works on.
    pub(crate) fn deserted(&self) -> EngineError {
        let since = self.deserted_since.unwrap_or_else(|| self.now());
        EngineError::NoWorkers {
            query: self.query,
            tasks: self.run.in_flight().len() + self.delayed.len(),
            seconds: self.now().saturating_sub(since).as_secs(),
            seen: seen(&(self.env.world)()),
        }
    }
}

fn is_worker(node: &NodeView) -> bool {
    node.has_role("worker")
}

/// Workers that are named at most: the dead of a week may stand in the bucket.
const NAMED_MAX: usize = 4;

/// Whether a node can do tasks that this program planned.
pub(crate) fn can_work(node: &NodeView) -> bool {
    is_worker(node) && node.is_alive() && node.heartbeat.version == env!("CARGO_PKG_VERSION")
}

/// Which workers there are, though none can work. Pure.
fn seen(world: &[NodeView]) -> String {
    let ours = env!("CARGO_PKG_VERSION");
    let (mut others, mut silent) = (Vec::new(), Vec::new());
    for node in world.iter().filter(|node| is_worker(node)) {
        let beat = &node.heartbeat;
        match node.state {
            NodeState::Alive => others.push(format!("{} has version {}, not {ours}", beat.node, beat.version)),
            state => silent.push(format!("{} is {state}", beat.node)),
        }
    }
    others.append(&mut silent);
    let more = others.len().saturating_sub(NAMED_MAX);
    others.truncate(NAMED_MAX);
    if more > 0 {
        others.push(format!("{more} more"));
    }
    if others.is_empty() { "no worker was alive".to_owned() } else { format!("no worker could: {}", others.join(", ")) }
}

#[cfg(test)]
mod tests {
    use apiary_core::{Incarnation, SeededRng, SystemClock};
    use apiary_swarm::Heartbeat;

    use super::*;

    fn node(name: &str, role: &str, version: &str, state: NodeState) -> NodeView {
        let life = Incarnation::new(&SystemClock, &SeededRng::new(1));
        let beat = serde_json::json!({
            "format": 1, "node": name, "incarnation": life, "counter": 1, "interval_s": 1.0, "roles": [role],
            "version": version, "cores": 1, "memory_bytes": 1, "bees": {"total": 1, "busy": 0}, "chamber_bytes": 1,
            "strain": {"bees": 0.0, "memory": 0.0, "queue": 0}, "temperature": 0.0
        });
        let heartbeat: Heartbeat = serde_json::from_value(beat).unwrap();
        NodeView { heartbeat, state, seen_ago: Duration::ZERO }
    }

    #[test]
    fn whoever_is_alive_and_of_the_same_version_can_work() {
        let ours = env!("CARGO_PKG_VERSION");
        assert!(can_work(&node("pi-1", "worker", ours, NodeState::Alive)));
        for state in [NodeState::Suspect, NodeState::Dead, NodeState::Leaving] {
            assert!(!can_work(&node("pi-1", "worker", ours, state)), "{state}");
        }
        assert!(!can_work(&node("pi-1", "worker", "0.0.9", NodeState::Alive)));
        assert!(!can_work(&node("pi-1", "coordinator", ours, NodeState::Alive)));
    }

    #[test]
    fn what_is_missing_is_said() {
        assert_eq!(seen(&[node("queen", "coordinator", "1", NodeState::Alive)]), "no worker was alive");
        let world = [node("pi-1", "worker", "1", NodeState::Dead), node("pi-2", "worker", "0.0.9", NodeState::Alive)];
        let ours = env!("CARGO_PKG_VERSION");
        assert_eq!(seen(&world), format!("no worker could: pi-2 has version 0.0.9, not {ours}, pi-1 is dead"));
        let many: Vec<_> = (0..9).map(|n| node(&format!("pi-{n}"), "worker", ours, NodeState::Dead)).collect();
        assert!(seen(&many).ends_with("pi-3 is dead, 5 more"), "{}", seen(&many));
    }
}
