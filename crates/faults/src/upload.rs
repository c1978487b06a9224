//! Uploads in parts through the faults: each part is a call, and so is the end.

use async_trait::async_trait;
use futures::FutureExt;
use object_store::{MultipartUpload, PutPayload, PutResult, Result, UploadPart, path::Path};

use crate::{fault::Op, store::FaultStore};

/// One upload.
#[derive(Debug)]
pub(crate) struct FaultyUpload {
    pub(crate) store: FaultStore,
    pub(crate) inner: Box<dyn MultipartUpload>,
    pub(crate) location: Path,
}

#[async_trait]
impl MultipartUpload for FaultyUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (store, location) = (self.store.clone(), self.location.clone());
        let begun = store.begin(Op::Part, &location, data.content_length());
        let part = self.inner.put_part(data);
        async move { store.call(begun, &location, None, part).await }.boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let begun = self.store.begin(Op::Complete, &self.location, 0);
        self.store.call(begun, &self.location, None, self.inner.complete()).await
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}
