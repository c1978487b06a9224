//! Reads of cells are right or an error, in as few requests as without checks.

use apiary_core::SeededRng;
use apiary_core::{Clock, ManualClock, Rng};
use apiary_faults::{Fault, FaultStore, MemoryStore, Op, Rule};
use object_store::ObjectStoreExt;

use super::*;
use crate::sums::{with_sums, with_sums_unnamed};

const CELL: &str = "h/b/f/cells/01a1fdb8-70a5-7c94-86c8-9e5fcd275262-00.parquet";

struct Kit {
    memory: MemoryStore,
    faults: FaultStore,
    store: Verified,
}

fn kit() -> Kit {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new());
    let memory = MemoryStore::new(Arc::clone(&clock));
    let faults = FaultStore::new(Arc::new(memory.clone()), 1, clock);
    let store = Verified::new(Arc::new(faults.clone()), Arc::default(), None);
    Kit { memory, faults, store }
}

fn file(data: usize, footer: usize) -> Bytes {
    let (txn, n) = layout::parse_cell(CELL).unwrap();
    with_sums(plain(data, footer), &txn, n).unwrap().into()
}

fn plain(data: usize, footer: usize) -> Vec<u8> {
    let mut file: Vec<u8> = (0..data + footer).map(|i| (i * 7 / 3) as u8).collect();
    file.extend(u32::try_from(footer).unwrap().to_le_bytes());
    file.extend(b"PAR1");
    file
}

#[tokio::test]
async fn every_range_is_what_it_is_without_checks() {
    let rng = SeededRng::new(3);
    for (data, footer) in [(0, 10), (1_000, 10), (400_000, 3_000), (400_000, 200_000)] {
        let kit = kit();
        let whole = file(data, footer);
        kit.memory.set(CELL, Some(whole.clone()));
        let (path, size) = (Path::from(CELL), whole.len() as u64);
        for _ in 0..200 {
            let mut ranges = Vec::new();
            for _ in 0..=rng.below(3) {
                let start = rng.below(size);
                ranges.push(start..(start + 1 + rng.below(100_000)).min(size));
            }
            let expected: Vec<Bytes> =
                ranges.iter().map(|r| whole.slice(r.start as usize..r.end.min(size) as usize)).collect();
            if rng.below(5) == 0 {
                kit.store.known().files.clear();
            }
            assert_eq!(kit.store.get_ranges(&path, &ranges).await.unwrap(), expected, "{ranges:?} of {size}");
            assert_eq!(kit.store.get_range(&path, ranges[0].clone()).await.unwrap(), expected[0]);
        }
        assert_eq!(kit.store.get(&path).await.unwrap().bytes().await.unwrap(), whole);
        let suffix = GetOptions { range: Some(GetRange::Suffix(9)), ..GetOptions::default() };
        let end = kit.store.get_opts(&path, suffix).await.unwrap();
        assert_eq!((end.range.end, end.bytes().await.unwrap()), (size, whole.slice(whole.len() - 9..)));
        assert!(kit.store.get_range(&path, size..size + 1).await.is_err());
    }
}

#[tokio::test]
async fn a_reader_that_begins_with_the_footer_pays_no_request_for_the_sums() {
    let kit = kit();
    let whole = file(400_000, 3_000);
    let (path, size) = (Path::from(CELL), whole.len() as u64);
    kit.memory.set(CELL, Some(whole));
    kit.store.get_range(&path, size - 131_072..size).await.unwrap();
    kit.store.get_ranges(&path, &[4..1_000, 200_000..210_000]).await.unwrap();
    assert_eq!(kit.faults.count(Op::Get, ""), 2, "one for the footer, one for two runs of blocks that are near");
}

#[tokio::test]
async fn a_flipped_bit_is_an_error_that_names_the_cell() {
    let whole = file(200_000, 700);
    let size = whole.len() as u64;
    let rng = SeededRng::new(5);
    for _ in 0..300 {
        let at = rng.below(size) as usize;
        let mut broken = whole.to_vec();
        broken[at] ^= 1 << rng.below(8);
        for footer_first in [false, true] {
            let kit = kit();
            kit.memory.set(CELL, Some(broken.clone().into()));
            let path = Path::from(CELL);
            let footer = if footer_first { kit.store.get_range(&path, size - 8..size).await.map(drop) } else { Ok(()) };
            let read = kit.store.get_range(&path, at as u64..at as u64 + 1).await;
            // Only the mark that says that there are sums may be read broken: nothing else is then.
            let is_mark =
                whole.windows(6).position(|bytes| bytes == b"APSUMS").is_some_and(|p| (p..p + 8).contains(&at));
            match footer.and(read) {
                Ok(_) => assert!(is_mark, "{at}"),
                Err(error) => assert!(error.to_string().contains(CELL) && error.to_string().contains(DAMAGED)),
            }
        }
    }
}

#[tokio::test]
async fn a_cell_that_is_cut_says_how_much_of_it_is_left_whatever_is_read_first() {
    let whole = file(200_000, 700);
    let size = whole.len() as u64;
    for left in [0, 8, 500, 100_000, size - 1] {
        for range in [size - 8..size, size - 131_072..size, 0..size] {
            let kit = kit();
            kit.memory.set(CELL, Some(whole.slice(..left as usize)));
            let error = kit.store.get_range(&Path::from(CELL), range.clone()).await.unwrap_err().to_string();
            let expected = format!("'{CELL}'{DAMAGED}it is cut short: it has {left} of at least {size} bytes");
            assert!(error.contains(&expected), "{left} {range:?}: {error}");
        }
    }
}

#[tokio::test]
async fn a_body_that_ends_early_is_noticed() {
    let kit = kit();
    kit.memory.set(CELL, Some(file(200_000, 700)));
    kit.faults.script(Rule::on(Op::Get, Fault::Truncated));
    let error = kit.store.get_range(&Path::from(CELL), 0..100_000).await.unwrap_err();
    assert!(error.to_string().contains(DAMAGED), "{error}");
    kit.store.get_range(&Path::from(CELL), 0..100_000).await.unwrap();
}

#[tokio::test]
async fn a_cell_in_anothers_place_is_an_error_that_names_both_and_costs_no_request() {
    let size = file(200_000, 700).len() as u64;
    let (txn, n) = layout::parse_cell(CELL).unwrap();
    let next = layout::cell("h/b/f", &txn, n + 1);
    for other in [next.as_str(), "h/b/f/cells/by-hand.parquet"] {
        for range in [size - 8..size, 0..10, 0..size] {
            let kit = kit();
            kit.memory.set(other, Some(file(200_000, 700)));
            let path = Path::from(other);
            let alone = kit.store.get_range(&path, range.clone()).await.unwrap_err().to_string();
            let many = kit.store.get_ranges(&path, &[0..10, range.clone()]).await.unwrap_err().to_string();
            for error in [alone, many] {
                assert!(error.contains(other) && error.contains(DAMAGED) && error.contains("another cell"), "{error}");
                assert!(error.contains("5262-00.parquet"), "{error}");
            }
        }
        let kit = kit();
        kit.memory.set(other, Some(file(200_000, 700)));
        kit.store.get_range(&Path::from(other), size - 131_072..size).await.unwrap_err();
        assert_eq!(kit.faults.count(Op::Get, ""), 1);
        // A cell of the first programs says nothing about its place.
        let old: Bytes = with_sums_unnamed(plain(200_000, 700)).unwrap().into();
        kit.memory.set(other, Some(old.clone()));
        assert_eq!(kit.store.get_range(&Path::from(other), 0..10).await.unwrap(), old.slice(..10));
    }
}

#[tokio::test]
async fn what_is_no_cell_and_cells_without_sums_pass() {
    let kit = kit();
    for (key, body) in [("h/b/f/x.parquet", &b"0123"[..]), (CELL, b"0123456789")] {
        kit.memory.set(key, Some(Bytes::copy_from_slice(body)));
        let path = Path::from(key);
        assert_eq!(kit.store.get_range(&path, 1..3).await.unwrap(), "12");
        assert_eq!(kit.store.get_ranges(&path, &[0..1, 2..4]).await.unwrap(), ["0", "23"]);
    }
}

#[test]
fn knowledge_does_not_grow_without_end() {
    let mut known = Known::default();
    let path = |i: usize| Path::from(format!("{i}"));
    known.sums = SUMS_MAX;
    known.add(&path(1), None);
    assert_eq!((known.files.len(), known.sums), (1, 1));
}
