//! Leafcutter: loads sized to the carrier.
//!
//! A cell should fill a good part of the chamber that will read it and never overfill it, so its target is a quarter
//! of a chamber, within bounds that keep both the number of cells and the cost of reading one sane. Pure numbers.

/// The least a full cell aims at: below this the requests cost more than the bytes.
pub const TARGET_BYTES_MIN: u64 = 16 << 20;

/// The most a cell aims at: above this a task of one cell is too long to lose.
pub const TARGET_BYTES_MAX: u64 = 256 << 20;

/// A cell below this share of the target is small: worth merging with another small one.
pub const SMALL_SHARE: u64 = 4;

/// How many bytes of Parquet a cell aims at where a bee's chamber holds `chamber_bytes`.
#[must_use]
pub fn target_bytes(chamber_bytes: u64) -> u64 {
    (chamber_bytes / 4).clamp(TARGET_BYTES_MIN, TARGET_BYTES_MAX)
}

/// Whether a cell of `size_bytes` is small where full ones have `target` bytes.
#[must_use]
pub fn is_small(size_bytes: u64, target: u64) -> bool {
    size_bytes < target / SMALL_SHARE
}

/// The most decoded rows, in bytes, that a writer gathers for one row group before it encodes them: small enough that
/// several wait in one chamber, one per partition and bee.
#[must_use]
pub fn group_bytes(chamber_bytes: u64) -> u64 {
    (chamber_bytes / 8).clamp(4 << 20, 64 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_a_quarter_of_a_chamber_within_bounds() {
        assert_eq!(target_bytes(0), TARGET_BYTES_MIN);
        assert_eq!(target_bytes(128 << 20), 32 << 20);
        assert_eq!(target_bytes(1 << 40), TARGET_BYTES_MAX);
    }

    #[test]
    fn a_merged_cell_is_not_small_again() {
        for chamber in [0, 128 << 20, 512 << 20, 1 << 40] {
            let target = target_bytes(chamber);
            assert!(is_small(target / 4 - 1, target) && !is_small(target / 4, target));
        }
    }
}
