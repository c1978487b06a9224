//! Puts that arrive late: long after their caller gave up, under their own condition as it is then.
//!
//! A late put is applied before the first call that could see it. So nobody who goes through the fault store can tell
//! it from one that was applied in time.

use std::time::Duration;

use object_store::{ObjectStore, PutMode, PutOptions, PutPayload, path::Path};

/// One put under way.
#[derive(Debug, Clone)]
pub(crate) struct LatePut {
    pub(crate) due: Duration,
    pub(crate) path: Path,
    pub(crate) body: PutPayload,
    pub(crate) create: bool,
}

/// All puts under way, in the order of their arrival.
#[derive(Debug, Default)]
pub(crate) struct LatePuts(Vec<LatePut>);

impl LatePuts {
    pub(crate) fn add(&mut self, put: LatePut) {
        let at = self.0.partition_point(|other| other.due <= put.due);
        self.0.insert(at, put);
    }

    /// Those that arrive up to `now`.
    pub(crate) fn due(&mut self, now: Duration) -> Vec<LatePut> {
        let rest = self.0.split_off(self.0.partition_point(|put| put.due <= now));
        std::mem::replace(&mut self.0, rest)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

impl LatePut {
    /// Arrives. What comes of it nobody is told, but for whether something was written.
    pub(crate) async fn arrive(self, store: &dyn ObjectStore) -> bool {
        let mode = if self.create { PutMode::Create } else { PutMode::Overwrite };
        store.put_opts(&self.path, self.body, PutOptions::from(mode)).await.is_ok()
    }
}
