//! Listings of the past: without the last objects that came, and with the last that went.

use std::collections::{BTreeMap, VecDeque};

use object_store::ObjectMeta;

/// Changes remembered; a listing can be no staler.
const CHANGES_MAX: usize = 1_000;

/// One change of what is there.
#[derive(Debug, Clone)]
enum Change {
    Came(String),
    Went(Box<ObjectMeta>),
}

/// The last changes, the latest at the end.
#[derive(Debug, Default)]
pub(crate) struct Changes(VecDeque<Change>);

impl Changes {
    fn add(&mut self, change: Change) {
        if self.0.len() == CHANGES_MAX {
            self.0.pop_front();
        }
        self.0.push_back(change);
    }

    pub(crate) fn came(&mut self, key: &str) {
        self.add(Change::Came(key.to_owned()));
    }

    pub(crate) fn went(&mut self, meta: ObjectMeta) {
        self.add(Change::Went(Box::new(meta)));
    }

    /// What the store held `back` changes ago, of the names for which `fits`, given what it holds now.
    pub(crate) fn before(&self, now: Vec<ObjectMeta>, back: usize, fits: impl Fn(&str) -> bool) -> Vec<ObjectMeta> {
        let mut then: BTreeMap<String, ObjectMeta> =
            now.into_iter().map(|meta| (meta.location.to_string(), meta)).collect();
        for change in self.0.iter().rev().take(back) {
            match change {
                Change::Came(key) => drop(then.remove(key)),
                Change::Went(meta) if fits(meta.location.as_ref()) => {
                    then.insert(meta.location.to_string(), (**meta).clone());
                }
                Change::Went(_) => {}
            }
        }
        then.into_values().collect()
    }
}
