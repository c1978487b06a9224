//! Putting a file of this machine into the bucket: in parts where it is large, by a second name where that is enough.

use std::path::Path as FilePath;

use bytes::Bytes;
use object_store::{ObjectStoreExt, WriteMultipart};
use tokio::io::AsyncReadExt;

use crate::{
    bucket::Bucket,
    error::{BucketError, Result},
    layout::Key,
};

/// Larger files go up in parts of this size, a few at a time.
const PART_BYTES: usize = 8 * 1024 * 1024;

/// Parts of one upload in flight: enough to fill a link, few enough for a small machine's memory.
const PARTS_IN_FLIGHT_MAX: usize = 4;

impl Bucket {
    /// Writes a local file to an object and returns its bytes. 1 PUT, or above 8 MiB one for each 8 MiB and two
    /// more; holds at most five parts in memory. A failed upload, or one that is dropped half way, leaves no object.
    ///
    /// The file must not change any more: where the bucket is a folder on the same file system, and the object need not
    /// outlive the power, it only gets a second name. It may be removed.
    pub async fn put_file(&self, key: &Key, file: &FilePath) -> Result<u64> {
        if let Some(folder) = &self.opened.folder {
            let failed = |error| BucketError::store("write", key.as_str(), error);
            if let Some(bytes) = folder.adopt(&key.to_path()?, file).await.map_err(failed)? {
                self.counters().put(bytes);
                return Ok(bytes);
            }
        }
        let io = |operation| move |source| BucketError::Io { operation, path: file.to_owned(), source };
        let mut source = tokio::fs::File::open(file).await.map_err(io("open"))?;
        let mut part = read_part(&mut source).await.map_err(io("read"))?;
        if part.len() < PART_BYTES {
            let bytes = part.len() as u64;
            self.put(key, part).await?;
            return Ok(bytes);
        }
        let failed = |error| BucketError::store("upload", key.as_str(), error);
        let upload = self.store.put_multipart(&key.to_path()?).await.map_err(failed)?;
        let mut upload = Upload(Some(WriteMultipart::new_with_chunk_size(upload, PART_BYTES)));
        let mut bytes = 0;
        // Ends with the file: the store's own limit of 10 000 parts is 80 GB.
        while let Some(parts) = upload.0.as_mut().filter(|_| !part.is_empty()) {
            bytes += part.len() as u64;
            parts.wait_for_capacity(PARTS_IN_FLIGHT_MAX).await.map_err(failed)?;
            parts.put(part);
            part = read_part(&mut source).await.map_err(io("read"))?;
        }
        if let Some(whole) = upload.0.take() {
            whole.finish().await.map_err(failed)?;
        }
        Ok(bytes)
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

/// The next part of a file; shorter than [`PART_BYTES`] only at its end.
async fn read_part(source: &mut tokio::fs::File) -> std::io::Result<Bytes> {
    let mut part = Vec::with_capacity(PART_BYTES);
    source.take(PART_BYTES as u64).read_to_end(&mut part).await?;
    Ok(Bytes::from(part))
}
