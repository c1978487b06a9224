//! Which of several free tasks a worker tries first: pure.
//!
//! All workers hear of a task at the same moment. If all of them tried it at once, all but one would have sent a
//! request for nothing; so each task has one worker that goes at once, the one that the coordinator names or else the
//! one by the hash of its key, and the others look a little later whether it was taken. Within a list each worker starts
//! at a place of its own.

use apiary_core::NodeId;

/// Whether `me` goes at once for the task at `key`, which `preferred` would do best, among the `workers` that are alive.
pub(crate) fn goes_first(key: &str, preferred: &str, me: &NodeId, workers: &[NodeId]) -> bool {
    if me.as_str() == preferred {
        return true;
    }
    if workers.iter().any(|node| node.as_str() == preferred) {
        return false;
    }
    // Rendezvous hashing: when workers come and go, only their own tasks move.
    let weight = |node: &NodeId| hash(key.bytes().chain(node.as_str().bytes()));
    let best = workers.iter().max_by_key(|node| weight(node));
    best.is_none_or(|best| best == me || weight(best) < weight(me))
}

/// `tasks`, beginning at a place that `chance` picks.
pub(crate) fn rotated<T>(mut tasks: Vec<T>, chance: u64) -> Vec<T> {
    if !tasks.is_empty() {
        let start = (chance % tasks.len() as u64) as usize;
        tasks.rotate_left(start);
    }
    tasks
}

/// FNV-1a with a final mix, so that keys which differ in their last digit spread.
fn hash(bytes: impl Iterator<Item = u8>) -> u64 {
    let sum = bytes.fold(0xcbf2_9ce4_8422_2325u64, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    let mixed = (sum ^ (sum >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    mixed ^ (mixed >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(count: usize) -> Vec<NodeId> {
        (0..count).map(|n| NodeId::new(format!("pi-{n}")).unwrap()).collect()
    }

    #[test]
    fn every_task_has_one_worker_that_goes_first() {
        let workers = nodes(3);
        let mut shares = [0; 3];
        for task in 0..300 {
            let key = format!("_queries/q/s01/t{task:04}.a1.task");
            let first: Vec<usize> = (0..3).filter(|n| goes_first(&key, "", &workers[*n], &workers)).collect();
            assert_eq!(first.len(), 1, "{key}");
            shares[first[0]] += 1;
        }
        assert!(shares.iter().all(|share| *share > 60), "{shares:?}");
    }

    #[test]
    fn a_worker_that_sees_nobody_goes_first() {
        assert!(goes_first("k", "", &nodes(1)[0], &[]));
    }

    #[test]
    fn who_is_named_goes_first_as_long_as_it_is_seen() {
        let workers = nodes(3);
        let first = |seen: &[NodeId]| workers.iter().filter(|node| goes_first("k", "pi-1", node, seen)).count();
        assert!(goes_first("k", "pi-1", &workers[1], &workers));
        assert_eq!((first(&workers), first(&workers[..1])), (1, 2));
        assert!(goes_first("k", "pi-1", &workers[0], &workers[..1]), "nobody waits for a node that is gone");
    }

    #[test]
    fn a_list_is_only_turned() {
        assert_eq!(rotated(vec![1, 2, 3], 4), [2, 3, 1]);
        assert!(rotated(Vec::<u8>::new(), 4).is_empty());
    }
}
