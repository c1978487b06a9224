//! The bucket: reading, writing, listing, deleting. Creating is decided in `create.rs`.
//!
//! A handle is cheap to clone and carries its own clock, chance and counters. All keys are relative to the
//! bucket's prefix. Nothing in here interprets a body.

use std::{
    fmt,
    ops::Range,
    sync::{Arc, Mutex},
};

use apiary_core::{Clock, Rng, SystemClock, SystemRng};
use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt, stream};
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutPayload, memory::InMemory};

use crate::{
    cached::Cached,
    cell_cache::CellCache,
    counted::{Counted, Counters},
    error::{BucketError, Result},
    layout::{self, Key},
    near,
    open::Opened,
    verified::{Known, Verified},
};

/// One bucket with everything in it. Clones share the connection pool, the counters, the clock and the chance.
#[derive(Clone)]
pub struct Bucket {
    /// Counted.
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) opened: Arc<Opened>,
    known: Arc<Mutex<Known>>,
    cache: Option<Arc<CellCache>>,
    counters: Arc<Counters>,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
    list_is_ordered: bool,
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bucket").field("uri", &self.uri()).finish_non_exhaustive()
    }
}

/// One object as LIST tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The whole key.
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// When it was written, by the store's clock, in milliseconds since 1970.
    pub modified_ms: i64,
}

impl From<ObjectMeta> for Listed {
    fn from(meta: ObjectMeta) -> Self {
        Self { key: meta.location.into(), size: meta.size, modified_ms: meta.last_modified.timestamp_millis() }
    }
}

/// Most objects that one [`Bucket::delete_prefix`] deletes.
const DELETE_PREFIX_OBJECTS_MAX: usize = 1_000_000;

impl Bucket {
    /// The bucket at `uri`, with the machine's own clock and chance. Parses and builds; the only input or output is
    /// to make the local folder if it is not there. See [`Bucket::contact`] for a first request.
    pub fn open(uri: &str) -> Result<Self> {
        Self::open_with(uri, Arc::new(SystemClock), Arc::new(SystemRng))
    }

    /// The bucket at `uri`, with a clock and chance from outside.
    pub fn open_with(uri: &str, clock: Arc<dyn Clock>, rng: Arc<dyn Rng>) -> Result<Self> {
        Ok(Self::of(crate::open::open(uri, rng.as_ref(), true)?, clock, rng))
    }

    /// The same, but a local folder that is not there is an error, and is not made.
    pub fn open_existing(uri: &str) -> Result<Self> {
        let (clock, rng) = (Arc::new(SystemClock), Arc::new(SystemRng));
        Ok(Self::of(crate::open::open(uri, rng.as_ref(), false)?, clock, rng))
    }

    /// A bucket in this process's memory that ends with its last clone.
    #[must_use]
    pub fn in_memory() -> Self {
        Self::over(Arc::new(InMemory::new()), Arc::new(SystemClock), Arc::new(SystemRng))
    }

    /// A bucket over any store, for tests.
    #[must_use]
    pub fn over(store: Arc<dyn ObjectStore>, clock: Arc<dyn Clock>, rng: Arc<dyn Rng>) -> Self {
        Self::of(Opened::given(store), clock, rng)
    }

    fn of(opened: Opened, clock: Arc<dyn Clock>, rng: Arc<dyn Rng>) -> Self {
        Self::counting(Arc::new(opened), Arc::default(), Arc::default(), clock, rng)
    }

    fn counting(
        opened: Arc<Opened>,
        known: Arc<Mutex<Known>>,
        counters: Arc<Counters>,
        clock: Arc<dyn Clock>,
        rng: Arc<dyn Rng>,
    ) -> Self {
        let (store, counted_by) = (Arc::clone(&opened.store), Arc::clone(&counters));
        let counted = Counted::new(store, counted_by, Arc::clone(&clock), opened.is_local);
        let list_is_ordered = opened.list_is_ordered();
        Self { store: Arc::new(counted), opened, known, cache: None, counters, clock, rng, list_is_ordered }
    }

    /// The same store, taken for one whose LIST cannot begin at a key: for tests.
    #[must_use]
    pub fn without_ordered_lists(&self) -> Self {
        Self { list_is_ordered: false, ..self.clone() }
    }

    /// Whether LIST can begin at any key and goes on from there in order. Where it cannot, [`Bucket::list`] asks for all
    /// there is below the prefix, so that whoever wants but the end of a long row of keys had better try GETs.
    #[must_use]
    pub fn list_is_ordered(&self) -> bool {
        self.list_is_ordered
    }

    /// The same store with counters of its own: for one query, one task.
    #[must_use]
    pub fn with_counters(&self, counters: Arc<Counters>) -> Self {
        let counting = Self::counting(
            Arc::clone(&self.opened),
            Arc::clone(&self.known),
            counters,
            Arc::clone(&self.clock),
            Arc::clone(&self.rng),
        );
        Self { list_is_ordered: self.list_is_ordered, cache: self.cache.clone(), ..counting }
    }

    /// The same store, with cells that queries read and that are written through it kept in `cache`.
    #[must_use]
    pub fn with_cache(&self, cache: Arc<CellCache>) -> Self {
        Self { cache: Some(cache), ..self.clone() }
    }

    /// Whether its objects are files of this machine, or its memory: reading them again costs next to nothing.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.opened.is_local
    }

    /// What this handle and its clones asked of the store.
    #[must_use]
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// That there is no colony in here; and where the one may be that was meant.
    #[must_use]
    pub fn no_colony(&self) -> BucketError {
        let local = self.opened.is_local.then(|| near::to_uri(self.uri())).flatten();
        let place = self.uri().strip_prefix("file://").unwrap_or(self.uri());
        BucketError::NoColony { place: place.to_owned(), near: local }
    }

    /// Where it is, without credentials.
    #[must_use]
    pub fn uri(&self) -> &str {
        &self.opened.uri
    }

    /// Whether it is a folder, so that bytes cost no network.
    #[must_use]
    pub fn is_folder(&self) -> bool {
        self.opened.is_local && self.opened.is_shared
    }

    /// Whether other processes can see it: false only for memory.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.opened.is_shared
    }

    /// The clock of everything that works on this bucket.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// The chance of everything that works on this bucket.
    #[must_use]
    pub fn rng(&self) -> &Arc<dyn Rng> {
        &self.rng
    }

    /// The store, rooted at the bucket's prefix and counted, with every read of a cell checked, and taken from the cache
    /// if there is one: for the query engine, which reads ranges of cells. Use it inside a runtime.
    #[must_use]
    pub fn object_store(&self) -> Arc<dyn ObjectStore> {
        let plain = Arc::clone(&self.store);
        let store: Arc<dyn ObjectStore> = match &self.cache {
            Some(cache) => Arc::new(Cached::new(plain, Arc::clone(cache), Arc::clone(&self.counters))),
            None => plain,
        };
        Arc::new(Verified::new(store, Arc::clone(&self.known), self.cache.clone()))
    }

    /// An object's whole body, or `None` if it is not there. 1 GET. An object larger than one of its kind may be is an
    /// error, and nothing of it is read.
    pub async fn get(&self, key: &Key) -> Result<Option<Bytes>> {
        self.get_at_most(key, layout::bytes_max(key)).await
    }

    /// The same for an object of at most `bytes_max` bytes: a stranger's object must not take the node's memory.
    pub async fn get_at_most(&self, key: &Key, bytes_max: u64) -> Result<Option<Bytes>> {
        let failed = |error| BucketError::store("read", key.as_str(), error);
        let found = match self.store.get(&key.to_path()?).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let bytes = found.range.end.saturating_sub(found.range.start);
        let too_large = |bytes| BucketError::TooLarge { key: key.to_string(), bytes, bytes_max };
        if bytes > bytes_max {
            return Err(too_large(bytes));
        }
        let mut body = BytesMut::new();
        let mut pieces = found.into_stream();
        while let Some(piece) = pieces.try_next().await.map_err(failed)? {
            if body.is_empty() && piece.len() as u64 == bytes {
                return Ok(Some(piece));
            }
            if (body.len() + piece.len()) as u64 > bytes_max {
                return Err(too_large((body.len() + piece.len()) as u64));
            }
            body.extend_from_slice(&piece);
        }
        if body.len() as u64 != bytes {
            return Err(BucketError::Short { key: key.to_string(), read: body.len() as u64, bytes });
        }
        Ok(Some(body.freeze()))
    }

    /// Bytes `range` of an object, cut at its end. 1 GET. An object that is not there is an error.
    pub async fn get_range(&self, key: &Key, range: Range<u64>) -> Result<Bytes> {
        let read = self.store.get_range(&key.to_path()?, range).await;
        read.map_err(|error| BucketError::store("read", key.as_str(), error))
    }

    /// Writes an object whether or not it is there: for objects with one owner, or with a name of their own.
    /// 1 PUT. On an error it may or may not have been written. A cell enters the cache meanwhile.
    pub async fn put(&self, key: &Key, body: Bytes) -> Result<()> {
        let path = key.to_path()?;
        let put = self.store.put(&path, PutPayload::from_bytes(body.clone()));
        let written = match self.cache.as_ref().filter(|_| layout::is_cell(key.as_str())) {
            Some(cache) => futures::future::join(put, cache.take_written(key.as_str(), &body)).await.0,
            None => put.await,
        };
        written.map(drop).map_err(|error| BucketError::store("write", key.as_str(), error))
    }

    /// At most `max` objects below the folder `prefix`, in lexical order of their keys, of those after the key
    /// `after`, which need not be there. 1 LIST for each 1 000 (see [`Bucket::list_is_ordered`]).
    pub async fn list(&self, prefix: &str, after: Option<&str>, max: usize) -> Result<Vec<Listed>> {
        let folder = layout::path(prefix)?;
        if !self.list_is_ordered {
            return self.list_and_sort(prefix, after, max).await;
        }
        let listing = match after {
            Some(after) => self.store.list_with_offset(Some(&folder), &layout::path(after)?),
            None => self.store.list(Some(&folder)),
        };
        let listed = listing.take(max).map_ok(Listed::from).try_collect().await;
        listed.map_err(|error| BucketError::store("list", prefix, error))
    }

    /// Lists all there is, where the store's own order is none.
    async fn list_and_sort(&self, prefix: &str, after: Option<&str>, max: usize) -> Result<Vec<Listed>> {
        let listing = self.store.list(Some(&layout::path(prefix)?));
        let listed: std::result::Result<Vec<Listed>, _> = listing.map_ok(Listed::from).try_collect().await;
        let mut listed = listed.map_err(|error| BucketError::store("list", prefix, error))?;
        listed.retain(|object| after.is_none_or(|after| object.key.as_str() > after));
        listed.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        listed.truncate(max);
        Ok(listed)
    }

    /// The names of the folders right below the folder `prefix`, in order; an empty prefix is the whole bucket. 1 LIST
    /// for each 1 000 folders and objects there.
    pub async fn folders(&self, prefix: &str) -> Result<Vec<String>> {
        let folder = layout::path(prefix)?;
        let listed = self.store.list_with_delimiter(Some(&folder)).await;
        let listed = listed.map_err(|error| BucketError::store("list", prefix, error))?;
        let mut names: Vec<String> =
            listed.common_prefixes.iter().filter_map(|below| below.filename().map(str::to_owned)).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// Deletes an object; one that is not there is deleted already. 1 DELETE.
    pub async fn delete(&self, key: &Key) -> Result<()> {
        match self.store.delete(&key.to_path()?).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(BucketError::store("delete", key.as_str(), error)),
        }
    }

    /// Deletes these objects; those that are not there are deleted already. On an error some may be gone. 1 DELETE for
    /// each 1 000 where the store can.
    pub async fn delete_all(&self, keys: &[Key]) -> Result<()> {
        let paths = keys.iter().map(Key::to_path).collect::<Result<Vec<_>>>()?;
        let mut answers = self.store.delete_stream(stream::iter(paths).map(Ok).boxed());
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => {
                    let first = keys.first().map(Key::as_str).unwrap_or_default();
                    return Err(BucketError::store("delete", first, error));
                }
            }
        }
        Ok(())
    }

    /// Deletes what is below the folder `prefix` now, and says how many objects that were: at most a million, so
    /// ask again while it returns that many. 1 LIST and 1 DELETE for each 1 000.
    pub async fn delete_prefix(&self, prefix: &str) -> Result<u64> {
        let folder = layout::path(prefix)?;
        let listing = self.store.list(Some(&folder)).take(DELETE_PREFIX_OBJECTS_MAX);
        let doomed = listing.map_ok(|meta| meta.location).boxed();
        let mut deleted = 0;
        let mut answers = self.store.delete_stream(doomed);
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(_) | Err(object_store::Error::NotFound { .. }) => deleted += 1,
                Err(error) => return Err(BucketError::store("delete", prefix, error)),
            }
        }
        Ok(deleted)
    }
}
