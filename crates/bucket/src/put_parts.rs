//! Putting what lies in memory in parts: over a network in several requests where it is large.

use bytes::Bytes;
use object_store::{ObjectStoreExt, PutPayload, WriteMultipart};

use crate::{
    bucket::Bucket,
    error::{BucketError, Result},
    layout::Key,
};

/// What is larger goes up in pieces of this size, a few at a time.
const PIECE_BYTES: usize = 8 * 1024 * 1024;

/// Pieces of one upload in flight: enough to fill a link.
const PIECES_IN_FLIGHT_MAX: usize = 4;

impl Bucket {
    /// Writes `parts`, one after the other, as one object, whether or not it is there. 1 PUT, or above 8 MiB one for each
    /// 8 MiB and two more, unless the bucket is a folder; nothing is copied. A failed upload, or one that is dropped half
    /// way, leaves no object.
    pub async fn put_parts(&self, key: &Key, parts: Vec<Bytes>) -> Result<()> {
        let path = key.to_path()?;
        if self.is_folder() || parts.iter().map(Bytes::len).sum::<usize>() <= PIECE_BYTES {
            let written = self.store.put(&path, PutPayload::from_iter(parts)).await;
            return written.map(drop).map_err(|error| BucketError::store("write", key.as_str(), error));
        }
        let failed = |error| BucketError::store("upload", key.as_str(), error);
        let upload = self.store.put_multipart(&path).await.map_err(failed)?;
        let mut upload = Upload(Some(WriteMultipart::new_with_chunk_size(upload, PIECE_BYTES)));
        for part in parts {
            let Some(pieces) = upload.0.as_mut() else { break };
            pieces.wait_for_capacity(PIECES_IN_FLIGHT_MAX).await.map_err(failed)?;
            pieces.put(part);
        }
        if let Some(whole) = upload.0.take() {
            whole.finish().await.map_err(failed)?;
        }
        Ok(())
    }
}

/// An upload under way. Dropped before its end it is taken back: a store keeps, and charges for, the parts of an upload
/// that nobody ends.
struct Upload(Option<WriteMultipart>);

impl Drop for Upload {
    fn drop(&mut self) {
        if let (Some(upload), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) {
            // One request, which its caller, gone by now, cannot wait for.
            runtime.spawn(async move { upload.abort().await.ok() });
        }
    }
}
