//! From a storage uri to a store. The only file that knows the object store builders.

use std::sync::Arc;

use apiary_core::Rng;
use object_store::ObjectStore;

use crate::error::Result;

/// A store, and what there is to say about it.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) store: Arc<dyn ObjectStore>,
    /// Without credentials.
    pub(crate) uri: String,
    pub(crate) is_shared: bool,
    pub(crate) is_local: bool,
}

impl Opened {
    /// A store from outside, for tests.
    pub(crate) fn given(store: Arc<dyn ObjectStore>) -> Self {
        Self { uri: "memory:".to_owned(), store, is_shared: false, is_local: true }
    }
}

pub(crate) fn open(uri: &str, _rng: &dyn Rng) -> Result<Opened> {
    let path = uri.strip_prefix("file://").unwrap_or(uri);
    let _ = std::fs::create_dir_all(path);
    let store = object_store::local::LocalFileSystem::new_with_prefix(path)
        .map_err(|e| crate::BucketError::store("open", uri, e))?;
    Ok(Opened { store: Arc::new(store), uri: uri.to_owned(), is_shared: true, is_local: true })
}
