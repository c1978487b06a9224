//! A store in memory that keeps every promise, with a clock from outside and a door for tests.
//!
//! Creates are strictly atomic, listings are ordered and always fresh, and an object's age is by the given clock, so
//! that a test can let a week pass. Through the door (`body`, `set`, `age`, `fork`) a test changes objects behind the
//! program's back.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use apiary_core::Clock;
use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::{FutureExt, StreamExt, stream, stream::BoxStream};
use object_store::{
    CopyMode, CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart, path::Path,
};

/// The store. Clones are the same store; [`MemoryStore::fork`] makes another.
#[derive(Debug, Clone)]
pub struct MemoryStore {
    state: Arc<Mutex<State>>,
    clock: Arc<dyn Clock>,
}

#[derive(Debug, Clone, Default)]
struct State {
    objects: BTreeMap<String, Object>,
    writes: u64,
}

#[derive(Debug, Clone)]
struct Object {
    body: Bytes,
    modified_ms: i64,
    write: u64,
}

impl Object {
    fn meta(&self, key: &str) -> Result<ObjectMeta> {
        Ok(ObjectMeta {
            location: Path::parse(key)?,
            last_modified: DateTime::<Utc>::from_timestamp_millis(self.modified_ms).unwrap_or_default(),
            size: self.body.len() as u64,
            e_tag: Some(self.write.to_string()),
            version: None,
        })
    }
}

impl MemoryStore {
    /// An empty store whose objects are as old as `clock` says.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { state: Arc::default(), clock }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another store that holds now what this one holds: to try what could happen next, each time afresh.
    #[must_use]
    pub fn fork(&self) -> Self {
        let state = self.state().clone();
        Self { state: Arc::new(Mutex::new(state)), clock: Arc::clone(&self.clock) }
    }

    /// All keys that begin with `prefix`, in order.
    #[must_use]
    pub fn keys(&self, prefix: &str) -> Vec<String> {
        self.state().objects.keys().filter(|key| key.starts_with(prefix)).cloned().collect()
    }

    /// The bytes of an object.
    #[must_use]
    pub fn body(&self, key: &str) -> Option<Bytes> {
        self.state().objects.get(key).map(|object| object.body.clone())
    }

    /// Puts an object there, or removes it, behind everybody's back. An object that was there keeps its age.
    pub fn set(&self, key: &str, body: Option<Bytes>) {
        let mut state = self.state();
        state.writes += 1;
        let write = state.writes;
        let Some(body) = body else {
            state.objects.remove(key);
            return;
        };
        let modified_ms = state.objects.get(key).map_or_else(|| self.clock.wall_ms(), |object| object.modified_ms);
        state.objects.insert(key.to_owned(), Object { body, modified_ms, write });
    }

    /// Makes all objects whose keys begin with `prefix` older by `by_ms`, and says how many those are.
    pub fn age(&self, prefix: &str, by_ms: i64) -> usize {
        let mut aged = 0;
        for (_, object) in self.state().objects.iter_mut().filter(|(key, _)| key.starts_with(prefix)) {
            object.modified_ms = object.modified_ms.saturating_sub(by_ms);
            aged += 1;
        }
        aged
    }

    fn write(&self, location: &Path, body: Bytes, create: bool) -> Result<PutResult> {
        let modified_ms = self.clock.wall_ms();
        let mut state = self.state();
        if create && state.objects.contains_key(location.as_ref()) {
            return Err(Error::AlreadyExists { path: location.to_string(), source: "it is there".into() });
        }
        state.writes += 1;
        let write = state.writes;
        state.objects.insert(location.to_string(), Object { body, modified_ms, write });
        Ok(PutResult { e_tag: Some(write.to_string()), version: None })
    }

    fn read(&self, location: &Path) -> Result<Object> {
        let found = self.state().objects.get(location.as_ref()).cloned();
        found.ok_or_else(|| Error::NotFound { path: location.to_string(), source: "it is not there".into() })
    }

    fn listed(&self, prefix: Option<&Path>, after: &str) -> Vec<Result<ObjectMeta>> {
        let folder = folder(prefix);
        let state = self.state();
        let from = folder.as_str().max(after).to_owned();
        let below = state.objects.range(from..).take_while(|(key, _)| key.starts_with(&folder));
        below.filter(|(key, _)| key.as_str() > after).map(|(key, object)| object.meta(key)).collect()
    }
}

/// The start of all keys below a prefix.
fn folder(prefix: Option<&Path>) -> String {
    match prefix.map(Path::as_ref) {
        None | Some("") => String::new(),
        Some(prefix) => format!("{prefix}/"),
    }
}

impl fmt::Display for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryStore")
    }
}

#[async_trait]
impl ObjectStore for MemoryStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        match opts.mode {
            PutMode::Overwrite => self.write(location, payload.into(), false),
            PutMode::Create => self.write(location, payload.into(), true),
            PutMode::Update(_) => Err(Error::NotImplemented {
                operation: "conditional updates".into(),
                implementer: "the store in memory".into(),
            }),
        }
    }

    async fn put_multipart_opts(&self, location: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Ok(Box::new(MemoryUpload { store: self.clone(), location: location.clone(), parts: Vec::new() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let object = self.read(location)?;
        let meta = object.meta(location.as_ref())?;
        options.check_preconditions(&meta)?;
        let all = 0..meta.size;
        let range = match options.range {
            Some(range) => {
                let bad = |error| Error::Generic { store: "memory", source: Box::new(error) };
                range.as_range(meta.size).map_err(bad)?
            }
            None => all,
        };
        let body = object.body.slice(index(range.start)..index(range.end));
        let payload = GetResultPayload::Stream(stream::once(futures::future::ready(Ok(body))).boxed());
        Ok(GetResult { payload, meta, range, attributes: Default::default() })
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        let delete = move |location: Result<Path>| {
            let location = location?;
            store.state().objects.remove(location.as_ref());
            Ok(location)
        };
        locations.map(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        stream::iter(self.listed(prefix, "")).boxed()
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        stream::iter(self.listed(prefix, offset.as_ref())).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let folder = folder(prefix);
        let (mut folders, mut objects) = (BTreeSet::new(), Vec::new());
        for meta in self.listed(prefix, "") {
            let meta = meta?;
            match meta.location.as_ref()[folder.len()..].split_once('/') {
                Some((part, _)) => drop(folders.insert(Path::parse(format!("{folder}{part}"))?)),
                None => objects.push(meta),
            }
        }
        Ok(ListResult { common_prefixes: folders.into_iter().collect(), objects })
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let object = self.read(from)?;
        self.write(to, object.body, matches!(options.mode, CopyMode::Create)).map(drop)
    }
}

/// A place in a body that is in memory.
fn index(at: u64) -> usize {
    usize::try_from(at).unwrap_or(usize::MAX)
}

/// An upload in parts; the object appears at its end.
#[derive(Debug)]
struct MemoryUpload {
    store: MemoryStore,
    location: Path,
    parts: Vec<PutPayload>,
}

#[async_trait]
impl MultipartUpload for MemoryUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.parts.push(data);
        futures::future::ready(Ok(())).boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let body: PutPayload = self.parts.drain(..).flatten().collect();
        self.store.write(&self.location, body.into(), false)
    }

    async fn abort(&mut self) -> Result<()> {
        self.parts.clear();
        Ok(())
    }
}
