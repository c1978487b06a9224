//! Putting what lies in memory in parts: over a network in several requests where it is large.

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::{MultipartUpload, ObjectStoreExt, PutPayload, PutPayloadMut};

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
    /// 8 MiB and two more, unless the bucket is a folder. A failed upload, or one that is dropped half way, leaves no object.
    pub async fn put_parts(&self, key: &Key, parts: Vec<Bytes>) -> Result<()> {
        let path = key.to_path()?;
        if self.is_folder() || parts.iter().map(Bytes::len).sum::<usize>() <= PIECE_BYTES {
            let written = self.store.put(&path, PutPayload::from_iter(parts)).await;
            return written.map(drop).map_err(|error| BucketError::store("write", key.as_str(), error));
        }
        let failed = |error| BucketError::store("upload", key.as_str(), error);
        let mut upload = Upload(Some(self.store.put_multipart(&path).await.map_err(failed)?));
        let Some(going) = upload.0.as_mut() else { return Ok(()) };
        let sent: Vec<_> = pieces(parts).into_iter().map(|piece| going.put_part(piece)).collect();
        stream::iter(sent).buffered(PIECES_IN_FLIGHT_MAX).try_collect::<()>().await.map_err(failed)?;
        going.complete().await.map_err(failed)?;
        upload.0 = None;
        Ok(())
    }
}

/// The same bytes in pieces of [`PIECE_BYTES`], the last of which may be shorter: some stores take no others.
fn pieces(parts: Vec<Bytes>) -> Vec<PutPayload> {
    let (mut pieces, mut piece) = (Vec::new(), PutPayloadMut::new());
    for mut part in parts {
        while !part.is_empty() {
            let room = PIECE_BYTES - piece.content_length();
            piece.push(part.split_to(room.min(part.len())));
            if piece.content_length() == PIECE_BYTES {
                pieces.push(std::mem::take(&mut piece).freeze());
            }
        }
    }
    if !piece.is_empty() {
        pieces.push(piece.freeze());
    }
    pieces
}

/// An upload under way. Dropped before its end it is taken back: a store keeps, and charges for, the parts of an upload
/// that nobody ends.
struct Upload(Option<Box<dyn MultipartUpload>>);

impl Drop for Upload {
    fn drop(&mut self) {
        if let (Some(mut upload), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) {
            // One request, which its caller, gone by now, cannot wait for.
            runtime.spawn(async move { upload.abort().await.ok() });
        }
    }
}
