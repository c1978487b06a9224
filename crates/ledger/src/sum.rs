//! An entry's checksum of itself.
//!
//! The hash chain vouches for every entry but the newest, which nobody follows yet; and one flipped bit in JSON can
//! give other JSON, a path or a number that is as good as the right one. So each entry carries the CRC-32 of its own
//! bytes, those eight digits taken as zeros:
//!
//! ```text
//! {"commitInfo":{…,"apiary":{"sum":"89ab4c01","format":1,…}}}
//! ```
//!
//! Entries of the first programs have none, and begin with their format there; anything else in that place is a sum
//! whose own name was damaged. Nothing in here knows what an entry says.

use std::ops::Range;

use bytes::Bytes;

use crate::{LedgerError, Result};

/// What the sum stands in; a string in JSON cannot hold it, because its quotes would be escaped.
const PLACE: &[u8] = b"\"apiary\":{";

/// The sum itself, before it is known.
const EMPTY: &[u8] = b"\"sum\":\"00000000\",";

/// What stands in the place of an entry that never had a sum.
const UNSUMMED: &[u8] = b"\"format\":";

/// Digits of a sum.
const DIGITS: Range<usize> = 7..15;

/// An entry's bytes with their sum, anew if it has one. An entry that has no place for one stays as it is.
pub(crate) fn summed(mut entry: Vec<u8>) -> Bytes {
    if let Some(at) = place(&entry) {
        let old = if has_sum(&entry, at) { EMPTY.len() } else { 0 };
        entry.splice(at..at + old, EMPTY.iter().copied());
        let sum = format!("{:08x}", crc32fast::hash(&entry));
        entry[at + DIGITS.start..at + DIGITS.end].copy_from_slice(sum.as_bytes());
    }
    entry.into()
}

/// Whether an entry's bytes are those that were written, as far as it can be told.
pub(crate) fn is_whole(entry: &[u8]) -> bool {
    let Some(at) = place(entry) else { return true };
    if !has_sum(entry, at) {
        return entry[at..].starts_with(UNSUMMED);
    }
    let mut sum = crc32fast::Hasher::new();
    sum.update(&entry[..at + DIGITS.start]);
    sum.update(&EMPTY[DIGITS]);
    sum.update(&entry[at + DIGITS.end..]);
    entry[at + DIGITS.start..at + DIGITS.end] == *format!("{:08x}", sum.finalize()).as_bytes()
}

/// Refuses an entry whose bytes are not those that were written, before anything of it is believed: one flipped bit can
/// look like what a newer program writes.
pub(crate) fn check(object: &str, entry: &[u8]) -> Result<()> {
    let damaged = || LedgerError::corrupt(object, "its bytes do not match their checksum");
    if is_whole(entry) { Ok(()) } else { Err(damaged()) }
}

/// Whether a sum stands in its place.
fn has_sum(entry: &[u8], at: usize) -> bool {
    entry.get(at..at + EMPTY.len()).is_some_and(|field| {
        field[..DIGITS.start] == EMPTY[..DIGITS.start] && field[DIGITS.end..] == EMPTY[DIGITS.end..]
    })
}

/// Where the sum stands, or would: behind the place in the first line.
fn place(entry: &[u8]) -> Option<usize> {
    let line = entry.split(|byte| *byte == b'\n').next()?;
    line.windows(PLACE.len()).position(|bytes| bytes == PLACE).map(|at| at + PLACE.len())
}

/// An entry's text without its sum, for tests that spell entries.
#[cfg(test)]
pub(crate) fn unsummed(text: &str) -> String {
    let at = place(text.as_bytes()).unwrap();
    assert!(has_sum(text.as_bytes(), at) && is_whole(text.as_bytes()));
    format!("{}{}", &text[..at], &text[at + EMPTY.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: &[u8] =
        b"{\"commitInfo\":{\"x\":\"\\\"apiary\\\":{\",\"apiary\":{\"format\":1,\"v\":0}}}\n{\"add\":{}}\n";

    #[test]
    fn a_sum_finds_every_flipped_bit_but_those_of_its_place() {
        let entry = summed(ENTRY.to_vec());
        assert!(is_whole(&entry) && entry.len() == ENTRY.len() + EMPTY.len());
        serde_json::from_slice::<serde_json::Value>(entry.split(|byte| *byte == b'\n').next().unwrap()).unwrap();
        let at = place(&entry).unwrap();
        for bit in 0..entry.len() * 8 {
            let mut broken = entry.to_vec();
            broken[bit / 8] ^= 1 << (bit % 8);
            // Then it names nothing that an entry must name.
            let in_place = (at - PLACE.len()..at).contains(&(bit / 8));
            assert!(!is_whole(&broken) || in_place, "bit {bit}");
        }
    }

    #[test]
    fn entries_without_a_sum_are_taken_as_they_are() {
        for entry in [ENTRY, b"", b"\n"] {
            assert!(is_whole(entry));
        }
        for entry in [&b"{\"apiary\":{"[..], b"{\"apiary\":{}}", b"{\"apiary\":{\"rum\":\"00000000\",\"format\":1}}"] {
            assert!(!is_whole(entry));
        }
    }
}
