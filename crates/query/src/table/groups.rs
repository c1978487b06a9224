//! Which cells a scan reads side by side.

use std::cmp::Reverse;

/// Spreads cells of these `bytes` over at most `groups_max` groups of nearly equal bytes: the largest first, each to the
/// group that has least (Graham's rule, 1969). Which cells each group has, by their places. DataFusion cuts large files
/// further by byte ranges.
pub(super) fn spread(bytes: &[u64], groups_max: usize) -> Vec<Vec<usize>> {
    let count = groups_max.clamp(1, bytes.len().max(1));
    let mut cells: Vec<usize> = (0..bytes.len()).collect();
    // Of equal ones those that came first.
    cells.sort_by_key(|cell| Reverse(bytes[*cell]));
    let mut groups: Vec<(u64, Vec<usize>)> = vec![(0, Vec::new()); count];
    for cell in cells {
        let least = (0..count).min_by_key(|group| (groups[*group].0, groups[*group].1.len())).unwrap_or(0);
        // A cell costs something even if it is empty.
        groups[least].0 += bytes[cell].max(1);
        groups[least].1.push(cell);
    }
    groups.into_iter().map(|(_, cells)| cells).filter(|cells| !cells.is_empty()).collect()
}

/// How many cells, from the first, hold `limit` rows.
pub(super) fn cells_within(limit: usize, rows: impl Iterator<Item = u64>) -> usize {
    let (mut seen, mut cells) = (0u64, 0);
    for more in rows {
        if seen >= limit as u64 {
            break;
        }
        seen = seen.saturating_add(more);
        cells += 1;
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_nearly_equal() {
        let bytes = [50, 40, 30, 20, 10, 10];
        let groups = spread(&bytes, 2);
        assert_eq!(groups, [vec![0, 3, 4], vec![1, 2, 5]]);
        let sums: Vec<u64> = groups.iter().map(|group| group.iter().map(|cell| bytes[*cell]).sum()).collect();
        assert_eq!(sums, [80, 80]);
    }

    #[test]
    fn there_are_no_more_groups_than_files() {
        assert_eq!((spread(&[0, 0], 8).len(), spread(&[], 8).len()), (2, 0));
    }

    #[test]
    fn a_limit_needs_only_the_first_cells() {
        let rows = [10, 10, 10];
        assert_eq!([0, 1, 10, 11, 99].map(|limit| cells_within(limit, rows.into_iter())), [0, 1, 1, 2, 3]);
    }
}
