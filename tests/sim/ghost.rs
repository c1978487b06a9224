//! What the store really held: it stands below all faults, lets every call through, and remembers every ledger entry
//! that ever was, the first in each slot, every change of names, and every cell.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use apiary_faults::MemoryStore;
use apiary_tests::linear::Entry;
use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream::BoxStream};
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, path::Path,
};
use serde_json::Value;

/// One frame's log, as it ever was.
#[derive(Debug, Default, Clone)]
pub(crate) struct GhostLog {
    pub(crate) entries: Vec<Entry>,
    /// The cells of each version, by their paths.
    pub(crate) cells: Vec<Arc<BTreeSet<String>>>,
    /// When the frame was ended.
    pub(crate) ended: Option<u64>,
    /// Slots that were created a second time, after they were cleaned away.
    pub(crate) again: usize,
    pub(crate) seals: usize,
    pub(crate) deleted: BTreeSet<u64>,
}

#[derive(Debug, Default, Clone)]
struct Seen {
    logs: BTreeMap<String, GhostLog>,
    /// Entries of the registry, and when each was written.
    names: Vec<(u64, Bytes)>,
    cells: BTreeMap<String, Bytes>,
    faults: Vec<String>,
}

/// The store. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Ghost {
    pub(crate) memory: MemoryStore,
    seen: Arc<Mutex<Seen>>,
    /// A planted fault: every so many-th create forgets its condition.
    forgetful: Option<u64>,
    creates: Arc<Mutex<u64>>,
    /// Counts what happens: an order that everyone can see.
    moments: Arc<AtomicU64>,
}

impl Ghost {
    pub(crate) fn new(memory: MemoryStore, forgetful: Option<u64>) -> Self {
        Self { memory, seen: Arc::default(), forgetful, creates: Arc::default(), moments: Arc::default() }
    }

    /// A store that goes on from what this one holds and has seen, as if all of it had been written just now.
    pub(crate) fn continued(&self, memory: MemoryStore, forgetful: Option<u64>) -> Self {
        self.memory.keys("").iter().for_each(|key| memory.set(key, self.memory.body(key)));
        let seen = Arc::new(Mutex::new(self.seen().clone()));
        let moments = Arc::new(AtomicU64::new(self.moments.load(Ordering::SeqCst)));
        Self { memory, seen, forgetful, creates: Arc::default(), moments }
    }

    /// The next moment.
    pub(crate) fn moment(&self) -> u64 {
        self.moments.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Every change of names, and when it was written.
    pub(crate) fn names(&self) -> Vec<(u64, Bytes)> {
        self.seen().names.clone()
    }

    /// Folders of all frames that ever were.
    pub(crate) fn folders(&self) -> Vec<String> {
        self.seen().logs.keys().cloned().collect()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at one frame's log.
    pub(crate) fn log<T>(&self, folder: &str, look: impl FnOnce(&GhostLog) -> T) -> T {
        look(self.seen().logs.entry(folder.to_owned()).or_default())
    }

    /// What a cell holds, whether or not it is still there.
    pub(crate) fn rows(&self, key: &str) -> Option<Vec<i64>> {
        serde_json::from_slice(self.seen().cells.get(key)?).ok()
    }

    /// What was wrong with what was written.
    pub(crate) fn faults(&self) -> Vec<String> {
        self.seen().faults.clone()
    }

    fn wrote(&self, key: &str, body: &Bytes) {
        let mut seen = self.seen();
        let moment = self.moment();
        let fault = if let Some((folder, name)) = key.split_once("/_delta_log/") {
            let version = name.strip_suffix(".json").filter(|name| name.len() == 20).and_then(|v| v.parse().ok());
            version.and_then(|version| {
                let log = seen.logs.entry(folder.to_owned()).or_default();
                log.take(version, body, moment).err().map(|why| format!("{key}: {why}"))
            })
        } else if let Some(name) = key.strip_prefix("_apiary/registry/") {
            let version = name.strip_suffix(".json").and_then(|version| version.parse::<usize>().ok());
            let next = seen.names.len();
            seen.names.push((moment, body.clone()));
            (version != Some(next)).then(|| format!("{key} is not version {next} of the names"))
        } else if key.contains("/cells/") {
            let before = seen.cells.insert(key.to_owned(), body.clone());
            before.filter(|before| before != body).map(|_| format!("{key} was written twice, with other rows"))
        } else {
            None
        };
        seen.faults.extend(fault);
    }

    fn deleted(&self, key: &str) {
        if let Some((folder, name)) = key.split_once("/_delta_log/")
            && let Some(version) = name.strip_suffix(".json").and_then(|name| name.parse().ok())
        {
            self.seen().logs.entry(folder.to_owned()).or_default().deleted.insert(version);
        }
    }
}

impl GhostLog {
    /// Entries that hold more than one transaction.
    pub(crate) fn shared(&self) -> usize {
        self.entries.iter().filter(|entry| entry.txns.len() > 1).count()
    }

    fn take(&mut self, version: u64, body: &Bytes, moment: u64) -> Result<(), String> {
        let next = self.entries.len() as u64;
        if version < next {
            self.again += 1;
            let cleaned = self.deleted.contains(&version);
            return if cleaned { Ok(()) } else { Err("a slot that was taken was written again".to_owned()) };
        }
        if version > next {
            return Err(format!("it leaves a hole: version {next} was never written"));
        }
        let entry = Entry::from_body(version, body)?;
        if self.ended.is_some() && !entry.txns.is_empty() {
            return Err("the frame had ended".to_owned());
        }
        let mut cells = self.cells.last().map_or_else(BTreeSet::new, |cells| BTreeSet::clone(cells));
        for line in body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let line: Value = serde_json::from_slice(line).map_err(|error| error.to_string())?;
            let path = |action: &str| line[action]["path"].as_str().map(str::to_owned);
            if let Some(path) = path("add")
                && !cells.insert(path.clone())
            {
                return Err(format!("it adds {path}, which is there"));
            }
            if let Some(path) = path("remove")
                && !cells.remove(&path)
            {
                return Err(format!("it removes {path}, which is not there"));
            }
            let about = &line["commitInfo"]["apiary"];
            self.seals += about["sealed"].as_array().map_or(0, Vec::len);
            if about["txns"].as_array().is_some_and(|txns| txns.iter().any(|txn| txn["kind"] == "drop")) {
                self.ended = Some(moment);
            }
        }
        self.entries.push(entry);
        let same = self.cells.last().filter(|last| ***last == cells).cloned();
        self.cells.push(same.unwrap_or_else(|| Arc::new(cells)));
        Ok(())
    }
}

impl fmt::Display for Ghost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ghost")
    }
}

#[async_trait]
impl ObjectStore for Ghost {
    async fn put_opts(&self, location: &Path, payload: PutPayload, mut opts: PutOptions) -> Result<PutResult> {
        if let Some(nth) = self.forgetful.filter(|_| opts.mode == PutMode::Create) {
            let mut creates = self.creates.lock().unwrap_or_else(PoisonError::into_inner);
            *creates += 1;
            if creates.is_multiple_of(nth) {
                opts.mode = PutMode::Overwrite;
            }
        }
        let body = Bytes::from(payload.clone());
        let put = self.memory.put_opts(location, payload, opts).await?;
        self.wrote(location.as_ref(), &body);
        Ok(put)
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.memory.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.memory.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let ghost = self.clone();
        let deleted = self.memory.delete_stream(locations);
        deleted.inspect(move |path| path.iter().for_each(|path| ghost.deleted(path.as_ref()))).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.memory.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.memory.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.memory.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.memory.copy_opts(from, to, options).await
    }
}
