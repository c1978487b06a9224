//! Placement: which node would do each task best. Hints only: any free bee may take any task.
//!
//! Rendezvous hashing (Thaler and Ravishankar, 1998) over a task's cells keeps cells with the nodes that may hold
//! them when nodes come and go; bounded loads (Mirrokni, Thorup and Zadimoghaddam, 2016) keep one node from being
//! everybody's favourite: what was assigned is subtracted as it goes.

use apiary_core::NodeId;

/// How much more than its fair share of bytes a node may be given for the sake of its cells.
const SLACK: f64 = 1.25;

/// A task that wants a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskLoad {
    /// What decides affinity: the key of its largest cell, or the task's own name if it has none.
    pub affinity: String,
    /// Bytes it will read.
    pub bytes: u64,
}

/// A node that may take tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The node.
    pub node: NodeId,
    /// Its bees.
    pub bees: u32,
}

/// Why a task is best off there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Its cells hash there.
    Affinity,
    /// Where its cells hash had enough to do.
    Load,
}

impl Why {
    /// The word that EXPLAIN shows.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Affinity => "affinity",
            Self::Load => "load",
        }
    }
}

/// A hint for every task, in the order of `tasks`; none without nodes. Larger tasks choose first.
#[must_use]
pub fn place(tasks: &[TaskLoad], places: &[Place]) -> Vec<Option<(NodeId, Why)>> {
    let bees: f64 = places.iter().map(|place| f64::from(place.bees.max(1))).sum();
    let all: f64 = tasks.iter().map(weight).sum();
    let room = |place: &Place| all * f64::from(place.bees.max(1)) / bees * SLACK;
    let mut left: Vec<f64> = places.iter().map(room).collect();
    let mut order: Vec<usize> = (0..tasks.len()).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(tasks[i].bytes));
    let mut hints = vec![None; tasks.len()];
    for i in order {
        let wanted = weight(&tasks[i]);
        let mut ranked: Vec<usize> = (0..places.len()).collect();
        ranked.sort_by(|&a, &b| score(&tasks[i], &places[b]).total_cmp(&score(&tasks[i], &places[a])));
        let Some(&favourite) = ranked.first() else { break };
        let fits = ranked.iter().copied().find(|&p| left[p] >= wanted);
        let emptiest = || ranked.iter().copied().max_by(|&a, &b| left[a].total_cmp(&left[b])).unwrap_or(favourite);
        let chosen = fits.unwrap_or_else(emptiest);
        left[chosen] -= wanted;
        let why = if chosen == favourite { Why::Affinity } else { Why::Load };
        hints[i] = Some((places[chosen].node.clone(), why));
    }
    hints
}

/// A task without cells still takes a bee.
fn weight(task: &TaskLoad) -> f64 {
    task.bytes.max(1) as f64
}

/// Weighted rendezvous: the share of tasks that a node wins is its share of bees.
fn score(task: &TaskLoad, place: &Place) -> f64 {
    let hash = mixed(task.affinity.as_bytes(), place.node.as_str().as_bytes());
    let unit = ((hash >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    -f64::from(place.bees.max(1)) / unit.ln()
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
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn places(bees: &[u32]) -> Vec<Place> {
        let place = |(i, bees): (usize, &u32)| Place { node: NodeId::new(format!("pi-{i}")).unwrap(), bees: *bees };
        bees.iter().enumerate().map(place).collect()
    }

    fn tasks(n: usize) -> Vec<TaskLoad> {
        (0..n).map(|i| TaskLoad { affinity: format!("cells/{i}.parquet"), bytes: 1000 }).collect()
    }

    fn shares(hints: &[Option<(NodeId, Why)>]) -> BTreeMap<String, usize> {
        let mut shares = BTreeMap::new();
        for (node, _) in hints.iter().flatten() {
            *shares.entry(node.to_string()).or_default() += 1;
        }
        shares
    }

    #[test]
    fn nobody_gets_more_than_a_quarter_above_its_share() {
        let shares = shares(&place(&tasks(120), &places(&[2, 2, 2])));
        assert_eq!(shares.values().sum::<usize>(), 120);
        assert!(shares.values().all(|&n| n <= 50), "{shares:?}");
    }

    #[test]
    fn shares_follow_bees() {
        let shares = shares(&place(&tasks(1000), &places(&[1, 9])));
        assert!((60..=125).contains(&shares["pi-0"]), "{shares:?}");
    }

    #[test]
    fn a_node_that_goes_moves_few_tasks_of_others() {
        let before = place(&tasks(300), &places(&[2, 2, 2, 2]));
        let after = place(&tasks(300), &places(&[2, 2, 2, 2])[..3]);
        let gone = NodeId::new("pi-3").unwrap();
        let moved = before.iter().flatten().zip(after.iter().flatten()).filter(|(a, b)| a.0 != gone && a.0 != b.0);
        assert!(moved.count() < 60);
    }

    #[test]
    fn one_hot_cell_does_not_pile_up_on_one_node() {
        let same: Vec<_> = (0..9).map(|_| TaskLoad { affinity: "hot".into(), bytes: 100 }).collect();
        let shares = shares(&place(&same, &places(&[1, 1, 1])));
        assert_eq!(shares.len(), 3, "{shares:?}");
    }

    #[test]
    fn without_nodes_there_are_no_hints() {
        assert_eq!(place(&tasks(2), &[]), [None, None]);
    }

    #[test]
    fn the_same_question_has_the_same_answer() {
        assert_eq!(place(&tasks(50), &places(&[1, 2, 3])), place(&tasks(50), &places(&[1, 2, 3])));
    }
}
