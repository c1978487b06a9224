//! Which cells a scan reads side by side.

use datafusion::datasource::{listing::PartitionedFile, physical_plan::FileGroup};

/// Spreads `files` over at most `groups_max` groups of nearly equal bytes: the largest first, each to the group that
/// has least (Graham's rule, 1969). DataFusion cuts large files further by byte ranges.
pub(super) fn spread(mut files: Vec<PartitionedFile>, groups_max: usize) -> Vec<FileGroup> {
    let count = groups_max.clamp(1, files.len().max(1));
    files.sort_by(|a, b| b.object_meta.size.cmp(&a.object_meta.size).then_with(|| a.path().cmp(b.path())));
    let mut groups: Vec<(u64, Vec<PartitionedFile>)> = vec![(0, Vec::new()); count];
    for file in files {
        let least = (0..count).min_by_key(|group| (groups[*group].0, groups[*group].1.len())).unwrap_or(0);
        // A cell costs something even if it is empty.
        groups[least].0 += file.object_meta.size.max(1);
        groups[least].1.push(file);
    }
    groups.into_iter().map(|(_, files)| FileGroup::new(files)).filter(|group| !group.is_empty()).collect()
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
        let sizes = [50, 40, 30, 20, 10, 10];
        let files = sizes.iter().enumerate().map(|(i, size)| PartitionedFile::new(format!("{i}"), *size)).collect();
        let groups = spread(files, 2);
        let bytes: Vec<u64> = groups.iter().map(|group| group.iter().map(|file| file.object_meta.size).sum()).collect();
        assert_eq!(bytes, [80, 80]);
    }

    #[test]
    fn there_are_no_more_groups_than_files() {
        assert_eq!(spread(vec![PartitionedFile::new("a", 0), PartitionedFile::new("b", 0)], 8).len(), 2);
    }

    #[test]
    fn a_limit_needs_only_the_first_cells() {
        let rows = [10, 10, 10];
        assert_eq!([0, 1, 10, 11, 99].map(|limit| cells_within(limit, rows.into_iter())), [0, 1, 1, 2, 3]);
    }
}
