//! Placement: which node would do each task best. Hints only: any free bee may take any task.
//!
//! ```text
//!   tasks, the largest first ──▶ every node, ranked                          ──▶ the first with room left
//!                                  1. its chamber holds what the task needs         room: its share of all bytes by
//!                                  2. it has the task's cells already               its bees, and a quarter more,
//!                                  3. its name and the cells' hash highest          less what it was given
//! ```
//!
//! The cells that a node says it holds are a digest in its heartbeat. Where nobody holds them, rendezvous hashing
//! (Thaler and Ravishankar, 1998) sends a cell to the same node each time, so that it is held there next time, and
//! moves only the cells of nodes that come and go. Bounded loads (Mirrokni, Thorup and Zadimoghaddam, 2016) keep one
//! node from being everybody's favourite: what was assigned is subtracted as it goes. A bee that was busy at the last
//! heartbeat counts half, since it may be free by now.

use apiary_bucket::CellDigest;
use apiary_core::NodeId;

/// How much more than its fair share of bytes a node may be given for the sake of its cells.
const SLACK: f64 = 1.25;

/// A task is packed toward this part of a chamber: one that reads more wants a larger one.
const CHAMBER_PER_INPUT: u64 = 2;

/// A task that wants a place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskLoad {
    /// What tells it from others: decides where it goes if it reads no cell.
    pub name: String,
    /// Key and bytes of each cell that it reads.
    pub cells: Vec<(String, u64)>,
    /// Memory that it asks for, in bytes; 0: what its input suggests.
    pub memory_bytes: u64,
    /// Nodes that failed it.
    pub avoid: Vec<NodeId>,
}

/// A node that may take tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The node.
    pub node: NodeId,
    /// Its bees.
    pub bees: u32,
    /// Those that were at work when it last said so.
    pub busy: u32,
    /// What one task may use there, in bytes.
    pub chamber_bytes: u64,
    /// The cells that it holds.
    pub holds: CellDigest,
    /// What it was given already and has not ended, as [`TaskLoad::weight`] counts.
    pub assigned: u64,
}

/// Why a task is best off there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// The node holds its cells.
    Cache,
    /// Its cells, or its name, hash there.
    Affinity,
    /// Elsewhere the chambers are too small for it.
    Memory,
    /// Where it would be better off there is enough to do.
    Load,
}

impl Why {
    /// The word that EXPLAIN shows.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cache => "cache",
            Self::Affinity => "affinity",
            Self::Memory => "memory",
            Self::Load => "load",
        }
    }
}

/// Where a task is best off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// The node.
    pub node: NodeId,
    /// Why there.
    pub why: Why,
    /// Cells of the task that the node holds already.
    pub cached: usize,
}

impl TaskLoad {
    /// Bytes of all its cells; a task without any still takes a bee.
    #[must_use]
    pub fn weight(&self) -> u64 {
        self.cells.iter().map(|(_, bytes)| bytes).sum::<u64>().max(1)
    }

    /// The memory that it is best off with.
    fn needs(&self) -> u64 {
        self.memory_bytes.max(self.weight().saturating_mul(CHAMBER_PER_INPUT))
    }

    /// What is hashed: all tasks over a cell go where it is.
    fn affinity(&self) -> &str {
        let largest = self.cells.iter().max_by_key(|(key, bytes)| (bytes, std::cmp::Reverse(key)));
        largest.map_or(&self.name, |(key, _)| key)
    }
}

impl Place {
    /// Bees that may be had.
    fn bees_at_hand(&self) -> f64 {
        let busy = f64::from(self.busy.min(self.bees));
        (f64::from(self.bees) - busy / 2.0).max(0.5)
    }

    fn held<'a>(&'a self, task: &'a TaskLoad) -> impl Iterator<Item = u64> + 'a {
        task.cells.iter().filter(|(key, _)| self.holds.holds(key)).map(|(_, bytes)| *bytes)
    }

    /// Weighted rendezvous: the share of tasks that a node wins is its share of bees.
    fn score(&self, task: &TaskLoad) -> f64 {
        let hash = mixed(task.affinity().as_bytes(), self.node.as_str().as_bytes());
        let unit = ((hash >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
        -f64::from(self.bees.max(1)) / unit.ln()
    }
}

/// A hint for every task, in the order of `tasks`; none without nodes that it does not avoid. Larger tasks choose first.
#[must_use]
pub fn place(tasks: &[TaskLoad], places: &[Place]) -> Vec<Option<Placed>> {
    let bees: f64 = places.iter().map(Place::bees_at_hand).sum();
    let all = tasks.iter().map(TaskLoad::weight).chain(places.iter().map(|place| place.assigned)).sum::<u64>() as f64;
    let room = |place: &Place| all * place.bees_at_hand() / bees * SLACK - place.assigned as f64;
    let mut left: Vec<f64> = places.iter().map(room).collect();
    let mut order: Vec<usize> = (0..tasks.len()).collect();
    order.sort_by_key(|&task| std::cmp::Reverse(tasks[task].weight()));
    let mut hints = vec![None; tasks.len()];
    for at in order {
        let (task, weight) = (&tasks[at], tasks[at].weight() as f64);
        let ranked = ranked(task, places);
        let fits = ranked.iter().copied().find(|&place| left[place] >= weight);
        let emptiest =
            || ranked.iter().copied().reduce(|best, place| if left[place] > left[best] { place } else { best });
        let Some(chosen) = fits.or_else(emptiest) else { continue };
        left[chosen] -= weight;
        let cached = places[chosen].held(task).count();
        let hashed = || places.iter().max_by(|a, b| a.score(task).total_cmp(&b.score(task)));
        let why = match cached {
            _ if ranked.first() != Some(&chosen) => Why::Load,
            0 if hashed().is_some_and(|place| place.node == places[chosen].node) => Why::Affinity,
            0 => Why::Memory,
            _ => Why::Cache,
        };
        hints[at] = Some(Placed { node: places[chosen].node.clone(), why, cached });
    }
    hints
}

/// The places that the task does not avoid, the best first.
fn ranked(task: &TaskLoad, places: &[Place]) -> Vec<usize> {
    let worth = |place: &Place| {
        let chamber = place.chamber_bytes.min(task.needs());
        (chamber, place.held(task).sum::<u64>(), place.score(task))
    };
    let open = (0..places.len()).filter(|&place| !task.avoid.contains(&places[place].node));
    let mut ranked: Vec<_> = open.map(|place| (worth(&places[place]), place)).collect();
    ranked.sort_by(|(a, _), (b, _)| (b.0, b.1).cmp(&(a.0, a.1)).then(b.2.total_cmp(&a.2)));
    ranked.into_iter().map(|(_, place)| place).collect()
}

/// FNV-1a over both texts, then the finisher of MurmurHash3: the same on every node and in every version.
fn mixed(a: &[u8], b: &[u8]) -> u64 {
    let bytes = a.iter().chain(&[0xff]).chain(b);
    let mut h = bytes.fold(0xcbf2_9ce4_8422_2325u64, |h, byte| (h ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    h = (h ^ (h >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    h = (h ^ (h >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    h ^ (h >> 33)
}

#[cfg(test)]
mod tests;
