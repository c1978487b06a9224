//! Uploads in parts: parts are written where they belong in one staged file, which then gets its name.

use std::{os::unix::fs::FileExt, sync::Arc};

use async_trait::async_trait;
use futures::FutureExt;
use object_store::{MultipartUpload, PutPayload, PutResult, Result, UploadPart, path::Path};

use super::{
    faults,
    place::Place,
    write::{Staged, publish, unstaged},
};

/// One upload; dropped unfinished, its file is gone.
#[derive(Debug)]
pub(super) struct LocalUpload {
    place: Arc<Place>,
    location: Path,
    staged: Option<Arc<Staged>>,
    offset: u64,
}

impl LocalUpload {
    pub(super) fn begin(place: Arc<Place>, location: Path) -> Result<Self> {
        place.file(&location)?;
        let staged = Staged::new(&place).map_err(unstaged)?;
        Ok(Self { place, location, staged: Some(Arc::new(staged)), offset: 0 })
    }
}

fn ended() -> object_store::Error {
    faults::generic("the upload has ended already")
}

#[async_trait]
impl MultipartUpload for LocalUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let Some(staged) = self.staged.clone() else { return futures::future::ready(Err(ended())).boxed() };
        let (location, mut at) = (self.location.clone(), self.offset);
        self.offset += data.content_length() as u64;
        let write = move || {
            for chunk in &data {
                staged.file.write_all_at(chunk, at).map_err(|error| faults::of(&location, error))?;
                at += chunk.len() as u64;
            }
            Ok(())
        };
        async move { tokio::task::spawn_blocking(write).await? }.boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let staged = self.staged.take().ok_or_else(ended)?;
        // Parts hold the file while they write: what is not alone is not whole.
        let staged = Arc::into_inner(staged).ok_or_else(|| faults::generic("a part of the upload is unfinished"))?;
        let (place, location) = (Arc::clone(&self.place), self.location.clone());
        tokio::task::spawn_blocking(move || publish(&place, &location, staged, false)).await?
    }

    async fn abort(&mut self) -> Result<()> {
        self.staged.take().map(drop).ok_or_else(ended)
    }
}
