//! How DataFusion plans and runs what will be cut into stages.
//!
//! Only settings live here, and each says what would go wrong without it: most of them turn off something that is
//! right within one process and wrong, or a deadlock, once a plan's halves run on different machines. Nothing here
//! may depend on the machine that plans, because a worker rebuilds the same settings from what differs.

use std::{collections::BTreeMap, sync::LazyLock};

use apiary_bucket::Bucket;
use ballista_core::{
    config::{
        BALLISTA_ADAPTIVE_PLANNER_ENABLED, BALLISTA_BROADCAST_JOIN_THRESHOLD_BYTES, BALLISTA_SHUFFLE_COMPRESSION_CODEC,
        BallistaConfig,
    },
    extension::SessionConfigExt,
};
use datafusion::{config::ConfigOptions, error::Result as DataFusionResult, prelude::SessionConfig};

/// A join side smaller than this is sent whole to every task instead of shuffling both sides, whatever the other side.
const BROADCAST_BYTES: usize = 8 << 20;

/// So is a larger one, up to this, where whoever planned says so.
const BROADCAST_BYTES_MAX: usize = 64 << 20;

/// The settings under which a plan for the board is made, `partitions` tasks wide, with hash joins.
#[must_use]
pub fn board_config(partitions: usize) -> SessionConfig {
    SessionConfig::new()
        .upgrade_for_ballista()
        .with_target_partitions(partitions.max(1))
        .with_information_schema(true)
        .set_bool(BALLISTA_ADAPTIVE_PLANNER_ENABLED, false)
        .set_usize(BALLISTA_BROADCAST_JOIN_THRESHOLD_BYTES, BROADCAST_BYTES_MAX)
        .set_u64("datafusion.optimizer.hash_join_single_partition_threshold", BROADCAST_BYTES as u64)
        // Sibling partitions of one scan share a queue otherwise: one task would read the whole frame.
        .set_bool("datafusion.execution.enable_file_stream_work_stealing", false)
        // A filter filled at run time cannot cross a stage: its reader would wait for ever.
        .set_bool("datafusion.optimizer.enable_dynamic_filter_pushdown", false)
        // Joins that spill are put in afterwards, by `merge_joins`: as DataFusion plans them, rows can be wrong.
        .set_bool("datafusion.optimizer.prefer_hash_join", true)
}

/// The size under which a join side is sent whole, as `options` have it.
pub(crate) fn broadcast_bytes_max(options: &ConfigOptions) -> usize {
    options.extensions.get::<BallistaConfig>().map_or(0, BallistaConfig::broadcast_join_threshold_bytes)
}

/// `options` under which sides of less than `bytes` are sent whole.
pub(crate) fn broadcasting(options: &ConfigOptions, bytes: usize) -> DataFusionResult<ConfigOptions> {
    let mut options = options.clone();
    options.set(BALLISTA_BROADCAST_JOIN_THRESHOLD_BYTES, &bytes.to_string())?;
    Ok(options)
}

/// What a task's writers do with the bytes: a folder takes them as they are, over a network less is faster.
pub(crate) fn for_bucket(config: SessionConfig, bucket: &Bucket) -> SessionConfig {
    let codec = if bucket.is_folder() { "none" } else { "lz4" };
    config.set_str(BALLISTA_SHUFFLE_COMPRESSION_CODEC, codec)
}

/// Every option of a fresh board configuration, against which [`differences`] compares.
static BASE: LazyLock<BTreeMap<String, Option<String>>> = LazyLock::new(|| entries(board_config(1).options()));

/// What of `options` a worker must set to run as the coordinator planned: name and value, sorted by name.
#[must_use]
pub(crate) fn differences(options: &ConfigOptions) -> Vec<(String, String)> {
    let changed = |(key, value): (String, Option<String>)| match value {
        Some(value) if BASE.get(&key) != Some(&Some(value.clone())) => Some((key, value)),
        _ => None,
    };
    entries(options).into_iter().filter_map(changed).collect()
}

/// A board configuration with the `differences` of the coordinator's applied.
pub(crate) fn rebuild(differences: &[(String, String)]) -> DataFusionResult<SessionConfig> {
    let mut config = board_config(1);
    for (key, value) in differences {
        config.options_mut().set(key, value)?;
    }
    Ok(config)
}

fn entries(options: &ConfigOptions) -> BTreeMap<String, Option<String>> {
    options.entries().into_iter().map(|entry| (entry.key, entry.value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_travels_and_comes_back() {
        let config = board_config(7).set_str("datafusion.execution.time_zone", "+02:00").with_batch_size(4096);
        let sent = differences(config.options());
        let rebuilt = rebuild(&sent).unwrap();
        assert_eq!(differences(rebuilt.options()), sent);
        assert_eq!(rebuilt.target_partitions(), 7);
        assert!(sent.len() < 8, "{sent:?}");
    }

    #[test]
    fn what_is_wrong_across_machines_is_off() {
        let config = board_config(4);
        assert!(!config.options().execution.enable_file_stream_work_stealing);
        assert!(!config.options().optimizer.enable_dynamic_filter_pushdown);
        assert!(!config.ballista_adaptive_query_planner_enabled());
        assert!(config.options().optimizer.prefer_hash_join);
    }
}
