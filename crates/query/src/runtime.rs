//! How DataFusion is set up: its options, and the environment through which it sees cells.
//!
//! Every plan names cells under one URL; which store stands behind it is the environment's secret, so a plan
//! carries no credentials and a worker decodes it against its own bucket.

use std::{path::Path, sync::Arc};

use apiary_bucket::{Bucket, CELL_SCHEME_URL};
use datafusion::{
    execution::{
        disk_manager::{DiskManagerBuilder, DiskManagerMode},
        memory_pool::MemoryPool,
        object_store::{DefaultObjectStoreRegistry, ObjectStoreUrl},
        runtime_env::{RuntimeEnv, RuntimeEnvBuilder},
    },
    prelude::SessionConfig,
};

use crate::Result;

/// Memory for Parquet footers that have been read once: about 10 000 cells of 20 columns.
const FOOTER_CACHE_BYTES: usize = 64 * 1024 * 1024;

/// The URL under which plans name cells.
pub(crate) fn cells_url() -> Result<ObjectStoreUrl> {
    Ok(ObjectStoreUrl::parse(CELL_SCHEME_URL)?)
}

/// DataFusion's options for a plan that runs on this machine with `cores` bees.
#[must_use]
pub fn local_config(cores: usize) -> SessionConfig {
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

/// An environment of its own over `bucket`, with an unbounded memory pool and a new footer cache.
pub fn runtime_for(bucket: &Bucket) -> Result<Arc<RuntimeEnv>> {
    let runtime = RuntimeEnvBuilder::new().with_metadata_cache_limit(FOOTER_CACHE_BYTES).build_arc()?;
    register(&runtime, bucket)?;
    Ok(runtime)
}

/// An environment that shares `base`'s footer cache, but reads through `bucket` (whose counters may be a query's
/// own) and, where given, allots memory from `pool` and spills to `scratch`: what a chamber runs in.
pub fn runtime_like(
    base: &RuntimeEnv,
    bucket: &Bucket,
    pool: Option<Arc<dyn MemoryPool>>,
    scratch: Option<&Path>,
) -> Result<Arc<RuntimeEnv>> {
    let mut builder = RuntimeEnvBuilder::from_runtime_env(base)
        .with_object_store_registry(Arc::new(DefaultObjectStoreRegistry::new()));
    if let Some(pool) = pool {
        builder = builder.with_memory_pool(pool);
    }
    if let Some(scratch) = scratch {
        let folders = DiskManagerMode::Directories(vec![scratch.to_path_buf()]);
        builder = builder.with_disk_manager_builder(DiskManagerBuilder::default().with_mode(folders));
    }
    let runtime = builder.build_arc()?;
    register(&runtime, bucket)?;
    Ok(runtime)
}

fn register(runtime: &RuntimeEnv, bucket: &Bucket) -> Result<()> {
    runtime.register_object_store(cells_url()?.as_ref(), bucket.object_store());
    Ok(())
}
