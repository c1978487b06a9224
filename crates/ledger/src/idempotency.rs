//! The idempotency keys that a frame remembers: for 7 days, and at most 100 000 of them, oldest first out.
//!
//! Two layers, so that a snapshot that differs from the one before it by one key shares almost all of it: a large
//! one that is copied once for [`RECENT_MAX`] keys, and a small one on top.

use std::{collections::HashMap, sync::Arc};

use apiary_core::Version;

use crate::{header::Idem, transaction::IdempotencyKey};

/// Most keys that a frame remembers: some tens of megabytes.
const KEYS_MAX: usize = 100_000;

/// How long a key is remembered: longer than any client retries.
const KEPT_MS: i64 = 7 * 24 * 60 * 60 * 1000;

/// Most keys in the small layer.
const RECENT_MAX: usize = 256;

/// Where a key was used.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Used {
    pub(crate) digest: String,
    pub(crate) version: Version,
    pub(crate) at_ms: i64,
}

/// The keys of a frame. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Idempotency {
    older: Arc<HashMap<Idem, Used>>,
    recent: Arc<HashMap<Idem, Used>>,
}

impl Idempotency {
    pub(crate) fn find(&self, key: &IdempotencyKey) -> Option<&Used> {
        let idem = Idem::of(key);
        self.recent.get(&idem).or_else(|| self.older.get(&idem))
    }

    pub(crate) fn remember(&mut self, idem: Idem, used: Used) {
        let now_ms = used.at_ms;
        Arc::make_mut(&mut self.recent).insert(idem, used);
        if self.recent.len() >= RECENT_MAX {
            self.settle(now_ms);
        }
    }

    /// Keys from a checkpoint.
    pub(crate) fn of(keys: Vec<(Idem, Used)>) -> Self {
        Self { older: Arc::new(keys.into_iter().collect()), recent: Arc::default() }
    }

    /// The keys that count at `now_ms`, by version: the same ones however many that count no more are still kept.
    pub(crate) fn sorted(&self, now_ms: i64) -> Vec<(&Idem, &Used)> {
        let young = |(_, used): &(&Idem, &Used)| used.at_ms > now_ms.saturating_sub(KEPT_MS);
        let older = self.older.iter().filter(|(idem, _)| !self.recent.contains_key(*idem));
        let mut keys: Vec<(&Idem, &Used)> = older.chain(self.recent.iter()).filter(young).collect();
        keys.sort_unstable_by(|(a, in_a), (b, in_b)| {
            in_a.version.cmp(&in_b.version).then_with(|| (&a.scope, &a.key).cmp(&(&b.scope, &b.key)))
        });
        if keys.len() > KEYS_MAX {
            let oldest_kept = keys[keys.len() - KEYS_MAX].1.version;
            keys.retain(|(_, used)| used.version >= oldest_kept);
        }
        keys
    }

    /// Moves the small layer into the large one and forgets what is too old or too much.
    fn settle(&mut self, now_ms: i64) {
        let older = Arc::make_mut(&mut self.older);
        older.extend(std::mem::take(Arc::make_mut(&mut self.recent)));
        older.retain(|_, used| used.at_ms > now_ms.saturating_sub(KEPT_MS));
        if older.len() > KEYS_MAX {
            let mut versions: Vec<Version> = older.values().map(|used| used.version).collect();
            versions.sort_unstable();
            let oldest_kept = versions[versions.len() - KEYS_MAX];
            older.retain(|_, used| used.version >= oldest_kept);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u64) -> IdempotencyKey {
        IdempotencyKey { scope: "me".into(), key: n.to_string(), digest: "d".into() }
    }

    fn used(n: u64, at_ms: i64) -> Used {
        Used { digest: "d".into(), version: Version(n), at_ms }
    }

    #[test]
    fn keys_are_found_in_both_layers() {
        let mut keys = Idempotency::default();
        for n in 0..1000 {
            keys.remember(Idem::of(&key(n)), used(n, 1));
        }
        assert!((0..1000).all(|n| keys.find(&key(n)).is_some_and(|used| used.version == Version(n))));
        assert!(keys.find(&IdempotencyKey { scope: "you".into(), ..key(1) }).is_none());
    }

    #[test]
    fn old_keys_and_too_many_keys_are_forgotten() {
        let mut keys = Idempotency::default();
        keys.remember(Idem::of(&key(0)), used(0, 0));
        for n in 1..=100_600 {
            keys.remember(Idem::of(&key(n)), used(n, KEPT_MS + 1));
        }
        assert!(keys.find(&key(0)).is_none());
        assert!(keys.find(&key(1)).is_none() && keys.find(&key(100_600)).is_some());
        assert!(keys.older.len() <= KEYS_MAX);
    }
}
