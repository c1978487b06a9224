//! Sums find every change, and are found wherever the file is cut for reading.

use apiary_core::{ManualClock, SeededRng};

use super::*;

fn txn() -> TxnId {
    TxnId::new(&ManualClock::new(), &SeededRng::new(1))
}

/// Something that ends like a Parquet file.
fn file(data: usize, footer: usize) -> Vec<u8> {
    let mut file: Vec<u8> = (0..data + footer).map(|i| (i * 7 / 3) as u8).collect();
    file.extend(u32::try_from(footer).unwrap().to_le_bytes());
    file.extend(PARQUET);
    file
}

fn sums(file: &[u8]) -> Sums {
    match Sums::find(file.len() as u64, file) {
        Found::Sums(sums) => sums,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_range_can_be_vouched_for() {
    for data in [0, 1, 65_536, 65_537, 300_000] {
        let file = with_sums(file(data, 500), &txn(), 3).unwrap();
        let (sums, size) = (sums(&file), file.len() as u64);
        for range in [
            0..1,
            0..size,
            65_530..65_540,
            131_072..131_073,
            size - 8..size,
            size.saturating_sub(700)..size,
            0..u64::MAX,
        ] {
            let range = range.start.min(size)..range.end;
            let span = sums.span(&range);
            assert!(span.start <= range.start && span.end >= range.end.min(size) && span.end <= size, "{range:?}");
            let bytes = &file[span.start as usize..span.end as usize];
            assert_eq!(sums.check(&span, bytes), Ok(()), "{data} {range:?}");
        }
    }
}

#[test]
fn every_flipped_bit_is_found_or_changes_nothing_that_is_read() {
    let whole = with_sums(file(70_000, 300), &txn(), 3).unwrap();
    let size = whole.len() as u64;
    for at in (0..whole.len()).step_by(97).chain(whole.len() - 400..whole.len()) {
        let mut broken = whole.clone();
        broken[at] ^= 1 << (at % 8);
        match Sums::find(size, &broken) {
            Found::Damaged => assert!(at >= 70_000, "{at}"),
            Found::Sums(sums) => assert!(sums.check(&(0..size), &broken).is_err(), "{at}"),
            // The magic, or Parquet's own name, is what is broken: sums cannot say so, and data and footer are whole.
            Found::None => {
                let magic = whole.windows(8).position(|bytes| bytes == MAGIC).unwrap();
                assert!((magic..magic + 8).contains(&at), "{at}");
            }
            Found::More(_) => panic!("{at}"),
        }
    }
}

#[test]
fn a_short_end_says_how_much_more_is_needed() {
    let file = with_sums(file(700_000, 5_000), &txn(), 3).unwrap();
    let size = file.len() as u64;
    for given in [8, 100, 5_000, 5_020, 5_040] {
        let mut suffix = given;
        for round in 0.. {
            match Sums::find(size, &file[file.len() - suffix..]) {
                Found::More(more) => suffix = usize::try_from(more).unwrap(),
                Found::Sums(_) => break,
                other => panic!("{given}: {other:?}"),
            }
            assert!(round < 2, "{given}");
        }
    }
}

#[test]
fn files_without_sums_have_none_and_no_file_is_too_odd() {
    let plain = file(1_000, 100);
    assert!(matches!(Sums::find(plain.len() as u64, &plain), Found::None));
    assert!(matches!(Sums::find(0, b""), Found::None));
    assert!(matches!(Sums::find(8, b"\xff\xff\xff\xffPAR1"), Found::None));
    assert!(matches!(Sums::find(12, b"\x04\0\0\0PAR1"), Found::None));
    let cut = |bytes: Vec<u8>| with_sums(bytes, &txn(), 0).is_none();
    assert!(cut(b"PAR1".to_vec()) && cut(vec![0xff; 100]));
}

#[test]
fn a_file_knows_its_name_and_one_of_the_first_programs_knows_none() {
    for data in [0, 70_000, 400_000] {
        for n in [0, 7, 1_000] {
            let named = with_sums(file(data, 300), &txn(), n).unwrap();
            assert_eq!(sums(&named).name, Some(Name { txn: txn(), n: n as u32 }), "{data}");
        }
        let unnamed = with_sums_unnamed(file(data, 300)).unwrap();
        assert_eq!((sums(&unnamed).name, sums(&unnamed).check(&(0..unnamed.len() as u64), &unnamed)), (None, Ok(())));
    }
}

#[test]
fn a_name_that_is_changed_or_taken_away_is_damage() {
    let whole = with_sums(file(70_000, 300), &txn(), 3).unwrap();
    let size = whole.len() as u64;
    let magic = whole.windows(8).position(|bytes| bytes == MAGIC).unwrap();
    for at in magic - NAME_BYTES..magic {
        for bit in 0..8 {
            let mut broken = whole.clone();
            broken[at] ^= 1 << bit;
            assert!(matches!(Sums::find(size, &broken), Found::Damaged), "{at}");
        }
    }
    let mut older = whole.clone();
    older[magic..magic + 8].copy_from_slice(&MAGIC_UNNAMED);
    assert!(matches!(Sums::find(size, &older), Found::Damaged));
    let mut cut = whole;
    cut.drain(magic - NAME_BYTES..magic);
    assert!(matches!(Sums::find(cut.len() as u64, &cut), Found::Damaged));
}

#[test]
fn any_bytes_as_a_cell_are_one_that_was_written_or_are_not_vouched_for() {
    let named = |data: usize, footer: usize| with_sums(file(data, footer), &txn(), 3).unwrap();
    let samples = [named(0, 20), named(500, 90), named(70_000, 300), with_sums_unnamed(file(500, 90)).unwrap()];
    apiary_faults::mutate::drive("cell", &samples, |bytes| {
        let size = bytes.len() as u64;
        // As a reader does: some of the end, and as much more as it takes.
        let mut found = Sums::find(size, &bytes[bytes.len().saturating_sub(64)..]);
        if let Found::More(more) = found {
            let from = size.checked_sub(more).expect("no more than there is");
            found = Sums::find(size, &bytes[usize::try_from(from).unwrap()..]);
        }
        if let Found::More(_) = found {
            found = Sums::find(size, bytes);
        }
        assert!(!matches!(found, Found::More(_)), "all of it was there");
        let Found::Sums(sums) = found else { return };
        for range in [0..1, 0..size, size / 2..size / 2 + 1, size.saturating_sub(9)..u64::MAX] {
            let span = sums.span(&range);
            assert!(span.start <= span.end && span.end <= size, "{range:?}");
        }
        let is_vouched_for = sums.check(&(0..size), bytes).is_ok();
        assert!(!is_vouched_for || samples.iter().any(|sample| sample == bytes), "another cell is vouched for");
    });
}
