//! Checksums of what lies between two stages.
//!
//! A shuffle file is read in chunks of at most [`CHUNK_BYTES`], so each chunk has a sum of its own: what is damaged is
//! known before the decoder sees a byte of it, and no row of it reaches a client. The worker sums what it sends while it
//! has it in memory; the sums travel in the task's `done`, which has a checksum itself, and in the plan of whoever reads
//! the piece.

use std::mem;

use crc32fast::Hasher;

/// What one request fetches at most, and what one sum covers. Writers and readers of one engine version agree on it.
pub(super) const CHUNK_BYTES: u64 = 4 << 20;

/// The sums of a piece that lies in these parts, one for each chunk.
pub(super) fn of<'a>(parts: impl Iterator<Item = &'a [u8]>) -> Vec<u32> {
    let chunk = CHUNK_BYTES as usize;
    let (mut sums, mut sum, mut left) = (Vec::new(), Hasher::new(), chunk);
    for mut part in parts {
        while !part.is_empty() {
            let (now, later) = part.split_at(left.min(part.len()));
            sum.update(now);
            (left, part) = (left - now.len(), later);
            if left == 0 {
                sums.push(mem::take(&mut sum).finalize());
                left = chunk;
            }
        }
    }
    if left < chunk {
        sums.push(sum.finalize());
    }
    sums
}

/// Whether a chunk is what its writer summed.
pub(super) fn is_whole(chunk: &[u8], sum: u32) -> bool {
    crc32fast::hash(chunk) == sum
}

/// Eight digits for each sum.
pub(super) fn to_text(sums: &[u32]) -> String {
    sums.iter().map(|sum| format!("{sum:08x}")).collect()
}

/// What [`to_text`] wrote.
pub(super) fn from_text(text: &str) -> Option<Vec<u32>> {
    let digits = text.as_bytes().chunks(8).map(|digits| std::str::from_utf8(digits).ok().filter(|d| d.len() == 8));
    digits.map(|digits| u32::from_str_radix(digits?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_travel_as_text() {
        for sums in [vec![], vec![0], vec![u32::MAX, 1, 0xabcd]] {
            assert_eq!(from_text(&to_text(&sums)), Some(sums));
        }
        assert_eq!([from_text("123"), from_text("zzzzzzzz"), from_text("äöüä")], [None, None, None]);
    }

    #[test]
    fn a_piece_has_one_sum_for_each_chunk_however_it_lies_in_memory() {
        let body: Vec<u8> = (0..CHUNK_BYTES as usize * 2 + 1000).map(|n| (n * 7 % 251) as u8).collect();
        for bytes in [0, 10, CHUNK_BYTES as usize, CHUNK_BYTES as usize + 1, body.len()] {
            for part in [1 << 20, 1_000_003, body.len()] {
                let sums = of(body[..bytes].chunks(part));
                let chunks: Vec<&[u8]> = body[..bytes].chunks(CHUNK_BYTES as usize).collect();
                assert_eq!(sums.len(), chunks.len());
                assert!(chunks.iter().zip(&sums).all(|(chunk, sum)| is_whole(chunk, *sum)));
            }
        }
    }
}
