//! The objects of the test store: one map behind one lock. Nothing in here knows HTTP.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use apiary_core::{Clock, SystemClock};
use bytes::{Bytes, BytesMut};

/// Requests served, by what they were.
#[derive(Debug, Default)]
pub struct Requests {
    /// GET and HEAD of objects.
    pub gets: AtomicU64,
    /// PUT of objects and parts.
    pub puts: AtomicU64,
    /// Listings.
    pub lists: AtomicU64,
    /// DELETE, single and many.
    pub deletes: AtomicU64,
}

impl Requests {
    pub(crate) fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// One object.
#[derive(Debug, Clone)]
pub(crate) struct Object {
    pub(crate) body: Bytes,
    pub(crate) e_tag: String,
    pub(crate) modified_ms: i64,
}

/// What a listing found.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) objects: Vec<(String, Object)>,
    pub(crate) folders: Vec<String>,
    /// The last name in it, if there is more.
    pub(crate) next: Option<String>,
}

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<String, Object>,
    uploads: HashMap<String, BTreeMap<i32, Bytes>>,
    writes: u64,
}

/// All objects and unfinished uploads.
#[derive(Debug, Default)]
pub(crate) struct Objects(Mutex<State>);

impl Objects {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self, key: &str) -> Option<Object> {
        self.state().objects.get(key).cloned()
    }

    /// Stores an object; `None` if it was to be new and is not.
    pub(crate) fn put(&self, key: &str, body: Bytes, only_new: bool) -> Option<Object> {
        let mut state = self.state();
        if only_new && state.objects.contains_key(key) {
            return None;
        }
        state.writes += 1;
        let e_tag = format!("{:032x}", state.writes);
        let object = Object { body, e_tag, modified_ms: SystemClock.wall_ms() };
        state.objects.insert(key.to_owned(), object.clone());
        Some(object)
    }

    pub(crate) fn delete(&self, key: &str) {
        self.state().objects.remove(key);
    }

    /// At most `max` names that begin with `prefix` and come after `after`; names that hold `delimiter` behind the
    /// prefix are told as one folder.
    pub(crate) fn list(&self, prefix: &str, after: &str, delimiter: Option<&str>, max: usize) -> Page {
        let state = self.state();
        let mut page = Page::default();
        let mut folders = BTreeSet::new();
        let mut last = String::new();
        let start = prefix.max(after).to_owned();
        for (key, object) in state.objects.range(start..).take_while(|(key, _)| key.starts_with(prefix)) {
            let folder = delimiter.and_then(|delimiter| {
                let end = key[prefix.len()..].find(delimiter)? + prefix.len() + delimiter.len();
                Some(key[..end].to_owned())
            });
            let name = folder.as_ref().unwrap_or(key);
            if name.as_str() <= after || folders.contains(name) {
                continue;
            }
            if page.objects.len() + folders.len() == max {
                page.next = Some(last);
                break;
            }
            last.clone_from(name);
            match folder {
                Some(folder) => drop(folders.insert(folder)),
                None => page.objects.push((key.clone(), object.clone())),
            }
        }
        page.folders = folders.into_iter().collect();
        page
    }

    pub(crate) fn begin_upload(&self) -> String {
        let mut state = self.state();
        state.writes += 1;
        let id = format!("upload-{}", state.writes);
        state.uploads.insert(id.clone(), BTreeMap::new());
        id
    }

    /// Whether there is such an upload.
    pub(crate) fn put_part(&self, id: &str, number: i32, body: Bytes) -> bool {
        let mut state = self.state();
        state.uploads.get_mut(id).map(|parts| parts.insert(number, body)).is_some()
    }

    /// The parts of an upload put together, which ends it; `None` if it or one of them is not there.
    pub(crate) fn end_upload(&self, id: &str, numbers: &[i32]) -> Option<Bytes> {
        let parts = self.state().uploads.remove(id)?;
        let mut body = BytesMut::new();
        for number in numbers {
            body.extend_from_slice(parts.get(number)?);
        }
        Some(body.freeze())
    }

    pub(crate) fn abort_upload(&self, id: &str) {
        self.state().uploads.remove(id);
    }
}
