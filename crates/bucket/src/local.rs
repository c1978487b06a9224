//! A durable object store in a local folder: the bucket of a machine alone, and of several over one file system.
//!
//! What a call acknowledged survives a crash of the process and of the machine. A body goes to a file in a staging
//! folder first, then to the disk, and only then gets its name, in one step that cannot be half done:
//!
//! ```text
//! create      write staged → fsync staged → link(staged, name), fails if the name exists → fsync folder → unlink staged
//! overwrite   write staged → fsync staged → rename(staged, name)                         → fsync folder
//! ```
//!
//! Folders made on the way are brought to the disk as well, from the root down. A crash leaves at most a staged file
//! that no listing shows; it is swept when it is a day old. Board objects and heartbeats are written without
//! waiting for the disk (`layout::is_ephemeral`): they are atomic, but need not outlive the power.
//!
//! Reads cost one open and one read for each run of neighbouring ranges, on a blocking thread. Symbolic links are
//! never followed, so nothing outside the root can be read or written. Object attributes, versions and conditional
//! updates are not there: the colony uses none of them.

use std::{fmt, ops::Range, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use object_store::{
    Attributes, CopyMode, CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, path::Path,
};

mod faults;
mod place;
mod read;
mod steps;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_crash;
mod upload;
mod walk;
mod write;

pub(crate) use place::Place;

/// Deletes at work at one time.
const DELETES_IN_FLIGHT_MAX: usize = 8;

/// The store over one folder.
#[derive(Debug, Clone)]
pub(crate) struct LocalStore {
    place: Arc<Place>,
}

impl LocalStore {
    pub(crate) fn new(place: Place) -> Self {
        Self { place: Arc::new(place) }
    }

    /// Runs file work where it may block.
    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce(&Place) -> Result<T> + Send + 'static) -> Result<T> {
        let place = Arc::clone(&self.place);
        tokio::task::spawn_blocking(move || work(&place)).await?
    }
}

impl fmt::Display for LocalStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LocalStore({})", self.place.root().display())
    }
}

/// Refuses what this store would have to forget.
fn no_attributes(attributes: &Attributes) -> Result<()> {
    if attributes.is_empty() {
        return Ok(());
    }
    Err(Error::NotImplemented { operation: "attributes on objects".into(), implementer: "the local store".into() })
}

#[async_trait]
impl ObjectStore for LocalStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        no_attributes(&opts.attributes)?;
        let create = match opts.mode {
            PutMode::Create => true,
            PutMode::Overwrite => false,
            PutMode::Update(_) => {
                let operation = "conditional updates".into();
                return Err(Error::NotImplemented { operation, implementer: "the local store".into() });
            }
        };
        let location = location.clone();
        self.blocking(move |place| write::put(place, &location, &payload, create)).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        no_attributes(&opts.attributes)?;
        let (place, location) = (Arc::clone(&self.place), location.clone());
        let begin = move || upload::LocalUpload::begin(place, location);
        Ok(Box::new(tokio::task::spawn_blocking(begin).await??))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let location = location.clone();
        let (meta, read) = self.blocking(move |place| read::get(place, location, &options)).await?;
        let range = read.range();
        let payload = GetResultPayload::Stream(read.into_stream());
        Ok(GetResult { payload, meta, range, attributes: Attributes::default() })
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let (location, ranges) = (location.clone(), ranges.to_vec());
        self.blocking(move |place| read::ranges(place, &location, &ranges)).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        let delete = move |location: Result<Path>| {
            let store = store.clone();
            async move {
                let location = location?;
                store.blocking(move |place| write::delete(place, &location).map(|()| location)).await
            }
        };
        locations.map(delete).buffered(DELETES_IN_FLIGHT_MAX).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        walk::stream(Arc::clone(&self.place), prefix.cloned().unwrap_or_default(), None)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        walk::stream(Arc::clone(&self.place), prefix.cloned().unwrap_or_default(), Some(offset.as_ref().to_owned()))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let prefix = prefix.cloned().unwrap_or_default();
        self.blocking(move |place| walk::one_level(place, &prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let (from, to) = (from.clone(), to.clone());
        let create = matches!(options.mode, CopyMode::Create);
        self.blocking(move |place| write::copy(place, &from, &to, create)).await
    }
}

/// A stream of one item.
fn once<T: Send + 'static>(item: T) -> BoxStream<'static, T> {
    stream::once(futures::future::ready(item)).boxed()
}
