//! Checksums of what lies between two stages.
//!
//! A shuffle file is read in chunks of at most [`CHUNK_BYTES`], so each chunk has a sum of its own: what is damaged is
//! known before the decoder sees a byte of it, and no row of it reaches a client. The worker sums what it finds in
//! its file when the writers are done; the sums travel in the task's `done`, which has a checksum itself, and in the
//! plan of whoever reads the piece.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

/// What one request fetches at most, and what one sum covers. Writers and readers of one engine version agree on it.
pub(crate) const CHUNK_BYTES: u64 = 4 << 20;

/// What is read from a file at a time.
const STEP_BYTES: usize = 256 << 10;

/// The sums of the `bytes` bytes at `offset` of a file, one for each chunk. Reads the range once, and blocks.
pub(crate) fn of_range(path: &Path, offset: u64, bytes: u64) -> io::Result<Vec<u32>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut step = vec![0; STEP_BYTES.min(usize::try_from(bytes).unwrap_or(STEP_BYTES))];
    let chunks = bytes.div_ceil(CHUNK_BYTES);
    (0..chunks).map(|chunk| of_chunk(&mut file, CHUNK_BYTES.min(bytes - chunk * CHUNK_BYTES), &mut step)).collect()
}

fn of_chunk(file: &mut File, mut left: u64, step: &mut [u8]) -> io::Result<u32> {
    let mut sum = crc32fast::Hasher::new();
    while left > 0 {
        let part = step.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        file.read_exact(&mut step[..part])?;
        sum.update(&step[..part]);
        left -= part as u64;
    }
    Ok(sum.finalize())
}

/// Whether a chunk is what its writer summed.
pub(crate) fn is_whole(chunk: &[u8], sum: u32) -> bool {
    crc32fast::hash(chunk) == sum
}

/// Eight digits for each sum.
pub(crate) fn to_text(sums: &[u32]) -> String {
    sums.iter().map(|sum| format!("{sum:08x}")).collect()
}

/// What [`to_text`] wrote.
pub(crate) fn from_text(text: &str) -> Option<Vec<u32>> {
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
    fn a_range_has_one_sum_for_each_chunk() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        let body: Vec<u8> = (0..CHUNK_BYTES as usize * 2 + 1000).map(|n| (n * 7 % 251) as u8).collect();
        std::fs::write(&path, &body).unwrap();
        for (offset, bytes) in [(0, 0), (3, 10), (100, CHUNK_BYTES), (999, 2 * CHUNK_BYTES + 1)] {
            let sums = of_range(&path, offset as u64, bytes).unwrap();
            let range = &body[offset..offset + bytes as usize];
            let chunks: Vec<&[u8]> = range.chunks(CHUNK_BYTES as usize).collect();
            assert_eq!(sums.len(), chunks.len());
            assert!(chunks.iter().zip(&sums).all(|(chunk, sum)| is_whole(chunk, *sum)));
        }
        assert!(of_range(&path, 1000, 2 * CHUNK_BYTES + 1).is_err(), "a file that is shorter than it should be");
    }
}
