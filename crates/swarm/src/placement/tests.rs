//! Colonies of several shapes, and who gets what.

use std::collections::BTreeMap;

use super::*;

const MIB: u64 = 1 << 20;

fn node(name: &str, bees: u32, chamber_mib: u64) -> Place {
    Place {
        node: NodeId::new(name).unwrap(),
        bees,
        busy: 0,
        chamber_bytes: chamber_mib * MIB,
        holds: CellDigest::default(),
        assigned: 0,
    }
}

fn places(bees: &[u32]) -> Vec<Place> {
    bees.iter().enumerate().map(|(i, bees)| node(&format!("pi-{i}"), *bees, 268)).collect()
}

fn task(cell: usize, mib: u64) -> TaskLoad {
    TaskLoad {
        name: format!("t{cell}"),
        cells: vec![(format!("cells/{cell}.parquet"), mib * MIB)],
        ..TaskLoad::default()
    }
}

fn tasks(n: usize) -> Vec<TaskLoad> {
    (0..n).map(|cell| task(cell, 10)).collect()
}

fn shares(hints: &[Option<Placed>]) -> BTreeMap<String, usize> {
    let mut shares = BTreeMap::new();
    for placed in hints.iter().flatten() {
        *shares.entry(placed.node.to_string()).or_default() += 1;
    }
    shares
}

/// A line for each node and reason: how many tasks of which size.
fn told(tasks: &[TaskLoad], hints: &[Option<Placed>]) -> String {
    let mut lines: BTreeMap<(String, Why, u64), usize> = BTreeMap::new();
    for (task, placed) in tasks.iter().zip(hints) {
        let placed = placed.as_ref().unwrap();
        *lines.entry((placed.node.to_string(), placed.why, task.weight() / MIB)).or_default() += 1;
    }
    let line =
        |((node, why, mib), n): (&(String, Why, u64), &usize)| format!("{node}: {n} of {mib} MiB, {}", why.as_str());
    lines.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn nobody_gets_more_than_a_quarter_above_its_share() {
    let shares = shares(&place(&tasks(120), &places(&[2, 2, 2])));
    assert_eq!(shares.values().sum::<usize>(), 120);
    assert!(shares.values().all(|&n| n <= 50), "{shares:?}");
}

#[test]
fn shares_follow_bees_and_a_busy_bee_is_half_a_bee() {
    let even = shares(&place(&tasks(1000), &places(&[1, 9])));
    assert!((60..=125).contains(&even["pi-0"]), "{even:?}");
    let mut busy = places(&[4, 4]);
    busy[0].busy = 4;
    let uneven = shares(&place(&tasks(1000), &busy));
    assert!((300..=418).contains(&uneven["pi-0"]), "{uneven:?}");
}

#[test]
fn as_many_tasks_as_nodes_are_one_each() {
    for n in 1..6 {
        let shares = shares(&place(&tasks(n), &places(&vec![2; n])));
        assert_eq!(shares.len(), n, "{shares:?}");
    }
}

#[test]
fn a_task_alone_goes_where_it_hashes() {
    for cell in 0..20 {
        let hint = place(&[task(cell, 10)], &places(&[1, 1, 1])).remove(0).unwrap();
        assert_eq!(hint.why, Why::Affinity);
    }
}

#[test]
fn a_node_that_goes_moves_few_tasks_of_others() {
    let before = place(&tasks(300), &places(&[2, 2, 2, 2]));
    let after = place(&tasks(300), &places(&[2, 2, 2, 2])[..3]);
    let gone = NodeId::new("pi-3").unwrap();
    let moved = before.iter().flatten().zip(after.iter().flatten());
    assert!(moved.filter(|(a, b)| a.node != gone && a.node != b.node).count() < 60);
}

#[test]
fn one_hot_cell_does_not_pile_up_on_one_node() {
    let shares = shares(&place(&vec![task(7, 10); 9], &places(&[1, 1, 1])));
    assert_eq!(shares.len(), 3, "{shares:?}");
}

#[test]
fn what_was_given_before_is_subtracted() {
    let mut places = places(&[1, 1]);
    places[0].assigned = 200 * MIB;
    let shares = shares(&place(&tasks(10), &places));
    assert_eq!(shares.get("pi-0"), None, "{shares:?}");
}

#[test]
fn cells_that_a_node_holds_are_read_there() {
    let tasks = tasks(12);
    let mut places = places(&[2, 2, 2]);
    let cached = |from: usize| CellDigest::of_keys((from..from + 4).map(|cell| format!("cells/{cell}.parquet")));
    for (at, place) in places.iter_mut().enumerate() {
        place.holds = cached(at * 4);
    }
    let hints = place(&tasks, &places);
    assert_eq!(told(&tasks, &hints), "pi-0: 4 of 10 MiB, cache\npi-1: 4 of 10 MiB, cache\npi-2: 4 of 10 MiB, cache");
    assert!(hints.iter().flatten().all(|placed| placed.cached == 1));
}

/// One node that holds everything is not to do everything.
#[test]
fn a_full_cache_does_not_make_one_node_do_it_all() {
    let tasks = tasks(12);
    let mut places = places(&[2, 2, 2]);
    places[1].holds = CellDigest::of_keys(tasks.iter().map(|task| &task.cells[0].0));
    let hints = place(&tasks, &places);
    assert_eq!(told(&tasks, &hints), "pi-0: 3 of 10 MiB, load\npi-1: 5 of 10 MiB, cache\npi-2: 4 of 10 MiB, load");
}

/// 8 GB with four bees beside two of 1 GB with two.
#[test]
fn an_uneven_colony() {
    let places = [node("nas", 4, 1344), node("pi-1", 2, 268), node("pi-2", 2, 268)];
    let mut tasks: Vec<_> = (0..8).map(|cell| task(cell, 100)).collect();
    tasks.extend((8..10).map(|cell| task(cell, 300)));
    let expected = "\
nas: 2 of 100 MiB, affinity
nas: 1 of 300 MiB, affinity
nas: 1 of 300 MiB, memory
pi-1: 2 of 100 MiB, affinity
pi-1: 1 of 100 MiB, load
pi-2: 3 of 100 MiB, affinity";
    assert_eq!(told(&tasks, &place(&tasks, &places)), expected);
}

#[test]
fn who_ran_out_of_memory_goes_to_the_largest_chamber_and_not_back() {
    let places = [node("nas", 4, 1344), node("pc", 4, 2000), node("pi", 2, 268)];
    let roomier = |avoid: &[&str]| TaskLoad {
        memory_bytes: u64::MAX,
        avoid: avoid.iter().map(|name| NodeId::new(*name).unwrap()).collect(),
        ..task(3, 10)
    };
    let node = |task| place(&[task], &places).remove(0).map(|placed| placed.node.to_string());
    assert_eq!(node(roomier(&["pi"])).as_deref(), Some("pc"));
    assert_eq!(node(roomier(&["pi", "pc"])).as_deref(), Some("nas"));
    assert_eq!(node(roomier(&["pi", "pc", "nas"])), None);
}

#[test]
fn without_nodes_there_are_no_hints() {
    assert_eq!(place(&tasks(2), &[]), [None, None]);
}

#[test]
fn the_same_question_has_the_same_answer() {
    assert_eq!(place(&tasks(50), &places(&[1, 2, 3])), place(&tasks(50), &places(&[1, 2, 3])));
}
