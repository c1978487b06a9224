//! The shared list against a plain one.

use apiary_core::{CellStats, TxnId};
use proptest::prelude::*;

use super::*;
use crate::CellFacts;

fn id(n: u32) -> CellId {
    // The order of time for most, and some from a clock that is far off.
    let ms = if n.is_multiple_of(7) { 5_000_000 - n } else { n };
    let txn: TxnId = format!("0192d3a4-{:04x}-7{:03x}-8000-000000000000", ms >> 12, ms & 0xfff).parse().unwrap();
    CellId { txn, n: n % 3 }
}

fn cell(n: u32) -> Arc<CellEntry> {
    let facts = CellFacts {
        folder: "h/b/f".into(),
        id: id(n),
        size_bytes: u64::from(n),
        partition_values: vec![],
        stats: CellStats { rows: 1, ..CellStats::default() },
        sha256: "00".repeat(32),
        modified_ms: 0,
    };
    Arc::new(facts.pack().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_shared_list_is_as_a_plain_one(steps in prop::collection::vec((0u32..1500, 0usize..4000, 0usize..700), 1..8)) {
        let (mut plain, mut shared, mut next): (Vec<Arc<CellEntry>>, _, _) = (Vec::new(), Cells::default(), 0);
        for (adds, from, removes) in steps {
            let before = (shared.clone(), plain.clone());
            let gone: HashSet<CellId> = plain.iter().skip(from).step_by(2).take(removes).map(|cell| cell.id).collect();
            plain.retain(|cell| !gone.contains(&cell.id));
            prop_assert_eq!(shared.find(&gone).len(), gone.len());
            shared.remove(&gone).unwrap();
            prop_assert_eq!(shared.any(&gone), None);
            let new: Vec<_> = (next..next + adds).map(cell).collect();
            next += adds;
            plain.extend(new.iter().map(Arc::clone));
            shared.extend(new);
            prop_assert!(shared.iter().eq(plain.iter()) && shared.len() == plain.len());
            prop_assert_eq!(shared.rows(), plain.len() as u64);
            for at in [0, 1, plain.len() / 2, plain.len().saturating_sub(1), plain.len()] {
                prop_assert_eq!(shared.get(at), plain.get(at));
            }
            prop_assert!(shared.chunks.len() <= 8 + 2 * shared.len().div_ceil(CHUNK_MAX) + 1);
            // The version before is as it was.
            prop_assert!(before.0.iter().eq(before.1.iter()));
            prop_assert_eq!(shared.remove(&HashSet::from([id(next), id(0)])).is_err(), true);
            prop_assert!(shared.iter().eq(plain.iter()), "a removal that fails takes nothing");
        }
    }
}

#[test]
fn an_append_shares_all_chunks_but_the_last() {
    let before: Cells = (0..100_000).map(cell).collect();
    let mut after = before.clone();
    after.extend(vec![cell(100_000)]);
    let shared = before.chunks.iter().zip(&after.chunks).filter(|(a, b)| Arc::ptr_eq(a, b)).count();
    assert_eq!((after.len(), shared), (100_001, before.chunks.len() - 1));
    let mut less = after.clone();
    less.remove(&HashSet::from([id(50_001)])).unwrap();
    let shared = after.chunks.iter().zip(&less.chunks).filter(|(a, b)| Arc::ptr_eq(a, b)).count();
    assert_eq!((less.len(), shared), (100_000, after.chunks.len() - 1));
}

#[test]
fn what_a_chunk_worked_out_is_worked_out_once() {
    let cells: Cells = (0..CHUNK_MAX as u32 * 2).map(cell).collect();
    let sizes = |cells: &Cells| -> u64 {
        let sum = |cells: &[Arc<CellEntry>]| cells.iter().map(|cell| cell.size_bytes).sum::<u64>();
        cells.chunks().iter().map(|chunk| *chunk.memo("bytes", sum)).sum()
    };
    assert_eq!(sizes(&cells), cells.bytes());
    let mut more = cells.clone();
    more.extend(vec![cell(9_999)]);
    let mut worked = 0;
    for chunk in more.chunks() {
        chunk.memo("bytes", |_| {
            worked += 1;
            0u64
        });
    }
    assert_eq!(worked, 1);
}
