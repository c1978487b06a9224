//! Which cells a node holds, in a few bytes: what its heartbeat tells the others.
//!
//! A Bloom filter (Bloom, 1970) of ten bits a cell: one in a hundred answers is a wrong yes, which costs a placement
//! hint and nothing else. Never a wrong no. At most [`DIGEST_BYTES_MAX`], so the fullest cells go in first.

use super::CellHash;

/// Largest filter: 3 276 cells. Every node's heartbeat is read by all the others every few seconds.
pub const DIGEST_BYTES_MAX: usize = 4096;

/// Bits for each cell, and how many of them a cell sets: 1 % of wrong yeses.
const BITS_PER_CELL: usize = 10;
const BITS_SET: u64 = 7;

/// Which cells a node holds much of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CellDigest(Vec<u8>);

impl CellDigest {
    /// Most cells that a digest tells of.
    pub(super) const CELLS_MAX: usize = DIGEST_BYTES_MAX * 8 / BITS_PER_CELL;

    /// Of these cells; of more than it can tell of, the first.
    pub(super) fn of(cells: &[CellHash]) -> Self {
        let cells = &cells[..cells.len().min(Self::CELLS_MAX)];
        if cells.is_empty() {
            return Self::default();
        }
        // A power of two: a few more cells do not change all of it.
        let bytes = (cells.len() * BITS_PER_CELL).div_ceil(8).next_power_of_two().min(DIGEST_BYTES_MAX);
        let mut digest = Self(vec![0; bytes]);
        for cell in cells {
            for bit in digest.bits(*cell) {
                digest.0[bit / 8] |= 1 << (bit % 8);
            }
        }
        digest
    }

    /// Of the cells at these keys.
    #[must_use]
    pub fn of_keys(keys: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        Self::of(&keys.into_iter().map(|key| CellHash::of(key.as_ref())).collect::<Vec<_>>())
    }

    /// Whether the node probably holds the cell at `key`.
    #[must_use]
    pub fn holds(&self, key: &str) -> bool {
        !self.0.is_empty() && self.bits(CellHash::of(key)).all(|bit| self.0[bit / 8] & (1 << (bit % 8)) != 0)
    }

    /// Kirsch and Mitzenmacher, 2006: two hashes make as many as one likes.
    fn bits(&self, cell: CellHash) -> impl Iterator<Item = usize> + use<> {
        let (low, high) = (cell.0 as u64, (cell.0 >> 64) as u64 | 1);
        let count = (self.0.len() * 8) as u64;
        (0..BITS_SET).map(move |n| (low.wrapping_add(n.wrapping_mul(high)) % count) as usize)
    }

    /// As a heartbeat carries it: two letters a byte, nothing for nothing.
    #[must_use]
    pub fn to_text(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Reads that; what is none holds nothing.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        if !text.is_ascii() || !text.len().is_multiple_of(2) || text.len() / 2 > DIGEST_BYTES_MAX {
            return Self::default();
        }
        let bytes = (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16));
        Self(bytes.collect::<Result<_, _>>().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: usize) -> String {
        format!("a/b/c-1/cells/0192-{n}.parquet")
    }

    fn digest(count: usize) -> CellDigest {
        let cells: Vec<_> = (0..count).map(|n| CellHash::of(&key(n))).collect();
        CellDigest::of(&cells)
    }

    #[test]
    fn a_digest_holds_what_went_in_and_little_else() {
        for count in [1, 10, 500, CellDigest::CELLS_MAX] {
            let told = CellDigest::from_text(&digest(count).to_text());
            assert!((0..count).all(|n| told.holds(&key(n))));
            let wrong = (count..count + 10_000).filter(|n| told.holds(&key(*n))).count();
            assert!(wrong < 250, "{wrong} of 10000 wrong yeses with {count} cells");
        }
    }

    #[test]
    fn a_digest_is_small_however_much_there_is() {
        assert_eq!(digest(0).to_text(), "");
        assert!(digest(5).to_text().len() <= 32);
        assert_eq!(digest(50_000).to_text().len(), 2 * DIGEST_BYTES_MAX);
    }

    #[test]
    fn what_is_no_digest_holds_nothing() {
        for bad in ["", "x", "zz", "0", "äöü!", &"00".repeat(DIGEST_BYTES_MAX + 1)] {
            assert!(!CellDigest::from_text(bad).holds(&key(1)), "{bad}");
        }
    }
}
