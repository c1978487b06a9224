//! How DataFusion is set up: its options, and the environment through which it sees cells.
//!
//! Every plan names cells under one URL; which store stands behind it is the environment's secret, so a plan
//! carries no credentials and a worker decodes it against its own bucket.

use std::sync::Arc;

use apiary_bucket::{Bucket, CELL_SCHEME_URL};
use datafusion::{
    execution::{
        disk_manager::DiskManager,
        memory_pool::MemoryPool,
        object_store::{DefaultObjectStoreRegistry, ObjectStoreUrl},
        runtime_env::{RuntimeEnv, RuntimeEnvBuilder},
    },
    prelude::SessionConfig,
};

use crate::Result;

/// Memory for Parquet footers that have been read once: about 10 000 cells of 20 columns.
const FOOTER_CACHE_BYTES: usize = 64 * 1024 * 1024;

/// Least and most that a sort keeps back for merging. What a chamber lets everybody hold covers the least.
const SORT_KEPT_BYTES: (usize, usize) = (256 << 10, 10 << 20);

/// Chambers from which on texts are views.
const VIEWS_CHAMBER_BYTES_MIN: u64 = 512 << 20;

/// The URL under which plans name cells.
pub(crate) fn cells_url() -> Result<ObjectStoreUrl> {
    Ok(ObjectStoreUrl::parse(CELL_SCHEME_URL)?)
}

/// Marks options whose plan runs on this machine: it may have operators that no other machine can decode.
#[derive(Debug)]
struct Local;

/// Marks options whose plan may have texts as views, and in what chambers it runs (see `views`).
#[derive(Debug)]
struct TextViews {
    chamber_bytes: u64,
}

/// The same options for a plan that runs in chambers of `bytes`, if they have room for texts as views.
#[must_use]
pub fn with_text_views(config: SessionConfig, bytes: u64) -> SessionConfig {
    if bytes < VIEWS_CHAMBER_BYTES_MIN {
        config
    } else {
        config.with_extension(Arc::new(TextViews { chamber_bytes: bytes }))
    }
}

/// The chambers of a plan with these options, if it may have texts as views.
pub(crate) fn text_views(config: &SessionConfig) -> Option<u64> {
    Some(config.get_extension::<TextViews>()?.chamber_bytes)
}

/// Whether a plan with these options runs on this machine.
pub(crate) fn is_local(config: &SessionConfig) -> bool {
    config.get_extension::<Local>().is_some()
}

/// DataFusion's options for a plan that runs on this machine with `cores` bees.
#[must_use]
pub fn local_config(cores: usize) -> SessionConfig {
    plain_config(cores).with_extension(Arc::new(Local))
}

/// The same for a plan that is made again because memory was not enough in a chamber of `bytes`: whatever holds one side
/// of a join for all cores is left out, and no scan waits for a filter of a join, since the join may be exchanged.
#[must_use]
pub fn spilling_config(cores: usize, bytes: u64) -> SessionConfig {
    within_chamber(plain_config(cores), bytes)
        .set_bool("datafusion.optimizer.enable_join_dynamic_filter_pushdown", false)
}

fn plain_config(cores: usize) -> SessionConfig {
    let mut config = SessionConfig::new()
        .with_target_partitions(cores.max(1))
        .with_information_schema(true)
        .with_create_default_catalog_and_schema(false)
        .with_collect_statistics(true)
        .with_parquet_pruning(true);
    // Cells' footers are small: one GET of the last 128 kB holds nearly all of them, and wastes little of the rest.
    config.options_mut().execution.parquet.metadata_size_hint = Some(128 * 1024);
    config
}

/// `config` for a plan that runs in a chamber of `bytes`, which may be far smaller than DataFusion expects: batches, and
/// what a sort keeps back for merging what it spilled, are parts of the chamber.
#[must_use]
pub fn within_chamber(config: SessionConfig, bytes: u64) -> SessionConfig {
    let rows = match bytes >> 20 {
        0..24 => 1024,
        24..96 => 2048,
        96..256 => 4096,
        _ => config.batch_size(),
    };
    let part = usize::try_from(bytes / 64).unwrap_or(usize::MAX);
    let rows = rows.min(config.batch_size());
    config
        .with_batch_size(rows)
        .with_sort_spill_reservation_bytes(part.clamp(SORT_KEPT_BYTES.0, SORT_KEPT_BYTES.1))
        .with_sort_in_place_threshold_bytes(part.min(1 << 20))
        // Two open files of one exchange can wait for each other for ever (datafusion#24883); a file that is closed
        // after each batch waits for nobody.
        .set_usize("datafusion.execution.max_spill_file_size_bytes", 1)
}

/// An environment of its own over `bucket`, with an unbounded memory pool and a new footer cache.
pub fn runtime_for(bucket: &Bucket) -> Result<Arc<RuntimeEnv>> {
    let runtime = RuntimeEnvBuilder::new().with_metadata_cache_limit(FOOTER_CACHE_BYTES).build_arc()?;
    register(&runtime, bucket)?;
    Ok(runtime)
}

/// An environment that shares `base`'s footer cache, but reads through `bucket` (whose counters may be a query's
/// own) and, where given, allots memory from `pool` and spills to `disk`: what a chamber runs in.
pub fn runtime_like(
    base: &RuntimeEnv,
    bucket: &Bucket,
    pool: Option<Arc<dyn MemoryPool>>,
    disk: Option<Arc<DiskManager>>,
) -> Result<Arc<RuntimeEnv>> {
    let mut builder = RuntimeEnvBuilder::from_runtime_env(base)
        .with_object_store_registry(Arc::new(DefaultObjectStoreRegistry::new()));
    if let Some(pool) = pool {
        builder = builder.with_memory_pool(pool);
    }
    // Not the base's: what one task spills must not count against another.
    builder.disk_manager = disk;
    let runtime = builder.build_arc()?;
    register(&runtime, bucket)?;
    Ok(runtime)
}

fn register(runtime: &RuntimeEnv, bucket: &Bucket) -> Result<()> {
    runtime.register_object_store(cells_url()?.as_ref(), bucket.object_store());
    Ok(())
}

#[cfg(test)]
mod tests {
    use apiary_core::ErrorKind;
    use datafusion::{
        execution::{
            disk_manager::{DiskManagerBuilder, DiskManagerMode},
            memory_pool::FairSpillPool,
        },
        prelude::SessionContext,
    };

    use super::*;
    use crate::QueryError;

    const CHAMBER_BYTES: u64 = 8 << 20;

    async fn sorted(scratch_bytes_max: u64) -> Result<()> {
        let (folder, bucket) = (tempfile::tempdir().unwrap(), Bucket::in_memory());
        let pool = Arc::new(FairSpillPool::new(CHAMBER_BYTES as usize));
        let below = DiskManagerMode::Directories(vec![folder.path().to_owned()]);
        let disk = DiskManagerBuilder::default().with_mode(below).with_max_temp_directory_size(scratch_bytes_max);
        let disk = Some(Arc::new(disk.build()?));
        let runtime = runtime_like(runtime_for(&bucket)?.as_ref(), &bucket, Some(pool), disk)?;
        let config = within_chamber(SessionConfig::new().with_target_partitions(2), CHAMBER_BYTES);
        let context = SessionContext::new_with_config_rt(config, runtime);
        let sql = "SELECT value, md5(concat('x', value)) AS h FROM generate_series(1, 400000) ORDER BY h";
        context.sql(sql).await?.collect().await?;
        Ok(())
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_sort_that_fills_its_scratch_folder_says_so() {
        let error: QueryError = sorted(2 << 20).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::MemoryBudget, "{error}");
        assert!(error.to_string().starts_with("its scratch files came to 2.0 MB"), "{error}");
    }

    #[test]
    fn a_small_chamber_has_small_batches_and_keeps_little_back() {
        let of = |bytes: u64| {
            let config = within_chamber(SessionConfig::new(), bytes);
            (config.batch_size(), config.options().execution.sort_spill_reservation_bytes >> 10)
        };
        assert_eq!(of(16 << 20), (1024, 256));
        assert_eq!(of(268 << 20), (8192, 4288));
        assert_eq!(of(8 << 30), (8192, 10240));
    }
}
