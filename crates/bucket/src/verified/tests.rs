//! Reads of cells are right or an error, in as few requests as without checks.

use apiary_core::SeededRng;
use apiary_core::{Clock, ManualClock, Rng};
use apiary_faults::{Fault, FaultStore, MemoryStore, Op, Rule};
use object_store::ObjectStoreExt;

use super::*;
use crate::sums::with_sums;

const CELL: &str = "h/b/f/cells/x-00.parquet";

struct Kit {
    memory: MemoryStore,
    faults: FaultStore,
    store: Verified,
}

fn kit() -> Kit {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new());
    let memory = MemoryStore::new(Arc::clone(&clock));
    let faults = FaultStore::new(Arc::new(memory.clone()), 1, clock);
    let store = Verified::new(Arc::new(faults.clone()), Arc::default());
    Kit { memory, faults, store }
}

fn file(data: usize, footer: usize) -> Bytes {
    let mut file: Vec<u8> = (0..data + footer).map(|i| (i * 7 / 3) as u8).collect();
    file.extend(u32::try_from(footer).unwrap().to_le_bytes());
    file.extend(b"PAR1");
    with_sums(file).unwrap().into()
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
                ranges.push(start..start + 1 + rng.below(100_000));
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
async fn a_body_that_ends_early_is_noticed() {
    let kit = kit();
    kit.memory.set(CELL, Some(file(200_000, 700)));
    kit.faults.script(Rule::on(Op::Get, Fault::Truncated));
    let error = kit.store.get_range(&Path::from(CELL), 0..100_000).await.unwrap_err();
    assert!(error.to_string().contains(DAMAGED), "{error}");
    kit.store.get_range(&Path::from(CELL), 0..100_000).await.unwrap();
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
