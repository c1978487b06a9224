//! Proving a store before anything is trusted to it.
//!
//! Every promise stands on create-if-absent, and some stores take the condition and ignore it, or check it and write
//! later. The probe asks for what the colony will ask for, on keys of its own, and compares. What is wrong is
//! collected, so that one run tells it all; what keeps the probe from asking is an error by itself. It tests the
//! raw primitive: nothing here goes through the decided create.

use std::{collections::BTreeMap, time::Duration};

use apiary_core::within;
use bytes::Bytes;
use futures::future::join_all;
use object_store::{Error as StoreError, ObjectStore, PutMode, PutOptions, PutPayload};

use crate::{
    bucket::Bucket,
    error::{BucketError, Result},
    layout::{self, Key},
};

/// Creators in one race: a store that checks and then writes lets several of them win.
const RACERS: usize = 16;

/// Races: losing sight of a winner takes luck.
const RACES: usize = 2;

/// How long the whole probe may take: some eighty small requests, most of them at once.
const PROBE_MAX: Duration = Duration::from_secs(60);

/// What came of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The store did right.
    Right,
    /// It did this instead.
    Wrong(String),
    /// It was not asked: something before made it useless.
    Unasked,
}

/// One thing that a store must do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeCheck {
    /// What it is.
    pub name: &'static str,
    /// What could happen to a colony on a store that does it wrong.
    pub danger: &'static str,
    /// What came of it.
    pub verdict: Verdict,
    /// How long it took in all.
    pub took: Duration,
}

/// What the probe found, if nothing was wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeReport {
    /// The bucket's uri.
    pub store: String,
    /// What was checked, in order.
    pub checks: Vec<ProbeCheck>,
    /// The store's clock minus ours in milliseconds, within a round trip. Nothing depends on it.
    pub clock_skew_ms: i64,
}

/// All that the probe found, right or wrong.
#[derive(Debug)]
pub struct Examination {
    /// The bucket's uri.
    pub store: String,
    /// Every check, in order.
    pub checks: Vec<ProbeCheck>,
    /// The store's clock minus ours in milliseconds, if it was asked.
    pub clock_skew_ms: Option<i64>,
    /// What kept the probe from asking on.
    pub broken_off: Option<BucketError>,
}

/// What is checked, and the danger of its failing.
const CHECKS: [(&str, &str); 6] = [
    (
        "create, and a second create refused",
        "two writers would overwrite each other's versions, and rows would be lost",
    ),
    (
        "one winner among 16 racing creators",
        "two writers could both be told that one version is theirs, and rows would be lost",
    ),
    ("read after write", "a writer could miss the version that another just committed"),
    ("ranged read", "queries would read wrong bytes"),
    ("list after write, in order", "readers would stop before the newest version"),
    ("delete", "what was cleaned away would come back"),
];

impl Bucket {
    /// Tries whether the store does what the colony stands on. Some 70 PUTs, 10 GETs, 5 LISTs and 40 DELETEs, all
    /// below one prefix that is cleared at the end; dropping the future may leave it there. An error of kind
    /// `ConditionalPutUnsupported` names all that is wrong.
    pub async fn probe(&self) -> Result<ProbeReport> {
        let Examination { store, checks, clock_skew_ms, broken_off } = self.examine().await;
        let wrong = |check: &ProbeCheck| match &check.verdict {
            Verdict::Wrong(fault) => Some(fault.clone()),
            _ => None,
        };
        let faults: Vec<String> = checks.iter().filter_map(wrong).collect();
        if !faults.is_empty() {
            return Err(BucketError::ConditionalPutUnsupported { store, faults });
        }
        match (broken_off, clock_skew_ms) {
            (None, Some(clock_skew_ms)) => Ok(ProbeReport { store, checks, clock_skew_ms }),
            (Some(error), _) => Err(error),
            (None, None) => Err(self.took_too_long()),
        }
    }

    /// The same, and tells all that it saw: for people.
    pub async fn examine(&self) -> Examination {
        let nonce = format!("{:016x}", self.rng().next_u64());
        let unasked = |(name, danger)| ProbeCheck { name, danger, verdict: Verdict::Unasked, took: Duration::ZERO };
        let mut probe = Probe { bucket: self, nonce, checks: CHECKS.map(unasked) };
        let outcome = within(self.clock().as_ref(), PROBE_MAX, probe.run()).await;
        let swept = self.delete_prefix(&layout::probe_prefix(&probe.nonce)).await;
        let (clock_skew_ms, broken_off) = match outcome {
            None => (None, Some(self.took_too_long())),
            Some(Err(error)) => (None, Some(error)),
            Some(Ok(skew)) => (skew, swept.err()),
        };
        Examination { store: self.uri().to_owned(), checks: probe.checks.to_vec(), clock_skew_ms, broken_off }
    }

    fn took_too_long(&self) -> BucketError {
        let why = format!("the probe took over {} s", PROBE_MAX.as_secs());
        BucketError::Unreachable { uri: self.uri().to_owned(), why, hint: "check the network".to_owned() }
    }
}

struct Probe<'a> {
    bucket: &'a Bucket,
    nonce: String,
    checks: [ProbeCheck; CHECKS.len()],
}

/// What a check found wrong, if anything.
type Fault = Option<String>;

impl Probe<'_> {
    /// All checks; returns the difference of the clocks, unless the store cannot do the first thing.
    async fn run(&mut self) -> Result<Option<i64>> {
        for check in 0..CHECKS.len() {
            let start = self.bucket.clock().monotonic();
            let fault = match check {
                0 => self.create_twice().await?,
                1 => self.races().await?,
                2 => self.overwrite().await?,
                3 => self.range().await?,
                4 => self.list().await?,
                _ => self.delete().await?,
            };
            let is_wrong = fault.is_some();
            self.checks[check].verdict = fault.map_or(Verdict::Right, Verdict::Wrong);
            self.checks[check].took = self.bucket.clock().monotonic().saturating_sub(start);
            if check == 0 && is_wrong {
                // All else would only say the same again.
                return Ok(None);
            }
        }
        self.clock_skew().await.map(Some)
    }

    async fn races(&self) -> Result<Fault> {
        for race in 0..RACES {
            if let Some(fault) = self.race(1 + race).await? {
                return Ok(Some(fault));
            }
        }
        Ok(None)
    }

    fn key(&self, i: usize) -> Key {
        layout::probe(&self.nonce, i)
    }

    async fn create(&self, key: &Key, body: Bytes) -> Result<std::result::Result<(), StoreError>> {
        let options = PutOptions::from(PutMode::Create);
        Ok(self.bucket.store.put_opts(&key.to_path()?, PutPayload::from_bytes(body), options).await.map(drop))
    }

    async fn create_twice(&self) -> Result<Fault> {
        let key = self.key(0);
        let (first, second) = (Bytes::from_static(b"first"), Bytes::from_static(b"second"));
        match self.create(&key, first.clone()).await? {
            Ok(()) => {}
            Err(error) if is_unsupported(&error) => {
                return Ok(Some(format!("it does not know conditional writes (If-None-Match): {error}")));
            }
            Err(error) => return Err(BucketError::store("create", key.as_str(), error)),
        }
        match self.create(&key, second).await? {
            Ok(()) => {
                let fault = "it overwrote an object that was to be created only if absent (it ignores If-None-Match)";
                return Ok(Some(fault.to_owned()));
            }
            Err(StoreError::AlreadyExists { .. } | StoreError::Precondition { .. }) => {}
            Err(error) => return Err(BucketError::store("create", key.as_str(), error)),
        }
        let stored = self.bucket.get(&key).await?;
        Ok((stored != Some(first)).then(|| "it refused a create, and yet the object changed".to_owned()))
    }

    async fn race(&self, i: usize) -> Result<Fault> {
        let key = &self.key(i);
        let body = |racer: usize| Bytes::from(format!("racer {racer}"));
        let answers = join_all((0..RACERS).map(|racer| self.create(key, body(racer)))).await;
        let mut won = Vec::new();
        for (racer, answer) in answers.into_iter().enumerate() {
            if answer?.is_ok() {
                won.push(racer);
            }
        }
        let stored = self.bucket.get(key).await?;
        let stored = stored.and_then(|stored| (0..RACERS).find(|racer| body(*racer) == stored));
        Ok(judge_race(&won, stored))
    }

    async fn overwrite(&self) -> Result<Fault> {
        let key = self.key(10);
        for body in ["old", "new, and longer"].map(Bytes::from) {
            self.bucket.put(&key, body.clone()).await?;
            if self.bucket.get(&key).await? != Some(body) {
                return Ok(Some("it does not return what was just written".to_owned()));
            }
        }
        Ok(None)
    }

    async fn range(&self) -> Result<Fault> {
        let key = self.key(11);
        self.bucket.put(&key, Bytes::from_static(b"0123456789")).await?;
        let middle = self.bucket.get_range(&key, 3..7).await?;
        Ok((middle != "3456").then(|| "it returns wrong bytes for a ranged read".to_owned()))
    }

    async fn list(&self) -> Result<Fault> {
        let names = [27, 21, 25, 29, 23].map(|i| self.key(i));
        for key in &names {
            self.bucket.put(key, Bytes::from_static(b"listed")).await?;
        }
        let prefix = layout::probe_prefix(&self.nonce);
        let expected: BTreeMap<String, ()> = names.iter().map(|key| (key.to_string(), ())).collect();
        let expected: Vec<String> = expected.into_keys().collect();
        let after = self.key(20);
        let listed = self.bucket.list(&prefix, Some(after.as_str()), 100).await?;
        let keys: Vec<String> = listed.into_iter().map(|object| object.key).collect();
        if keys != expected {
            let mut sorted = keys.clone();
            sorted.sort();
            let what = if sorted == expected { "not in the order of names" } else { "not what was just written" };
            return Ok(Some(format!("its listing is {what}")));
        }
        let tail = self.bucket.list(&prefix, Some(&expected[2]), 100).await?;
        let is_tail = tail.iter().map(|object| &object.key).eq(&expected[3..]);
        Ok((!is_tail).then(|| "it cannot list from a given name on".to_owned()))
    }

    async fn delete(&self) -> Result<Fault> {
        let key = self.key(21);
        self.bucket.delete(&key).await?;
        let read = self.bucket.get(&key).await?;
        let before = self.key(20);
        let listed = self.bucket.list(&layout::probe_prefix(&self.nonce), Some(before.as_str()), 1).await?;
        let is_listed = listed.first().is_some_and(|object| object.key == key.as_str());
        Ok((read.is_some() || is_listed).then(|| "it still shows an object that was deleted".to_owned()))
    }

    async fn clock_skew(&self) -> Result<i64> {
        let before = self.bucket.clock().wall_ms();
        self.bucket.put(&self.key(40), Bytes::from_static(b"clock")).await?;
        let after = self.bucket.clock().wall_ms();
        let from = self.key(39);
        let listed = self.bucket.list(&layout::probe_prefix(&self.nonce), Some(from.as_str()), 1).await?;
        let theirs = listed.first().map_or(before, |object| object.modified_ms);
        // A store that tells whole seconds, or answers within our own two readings, is not off.
        Ok(if theirs < before - 1000 {
            theirs - before
        } else if theirs > after {
            theirs - after
        } else {
            0
        })
    }
}

/// What is wrong with a race that these racers were told they won, and whose object is this racer's.
fn judge_race(won: &[usize], stored: Option<usize>) -> Fault {
    match (won, stored) {
        (_, None) => Some("16 creators raced for one object, and none of them wrote it".to_owned()),
        // The winner's answer may have been lost on its way.
        ([], Some(_)) => None,
        ([winner], Some(stored)) if *winner == stored => None,
        ([_], Some(_)) => Some("16 creators raced for one object, and it is not the winner's".to_owned()),
        (winners, Some(_)) => {
            Some(format!("{} of 16 racing creators of one object were told that they had won", winners.len()))
        }
    }
}

/// Whether a store says that it has no conditional writes at all.
fn is_unsupported(error: &StoreError) -> bool {
    matches!(error, StoreError::NotImplemented { .. } | StoreError::NotSupported { .. })
        || error.to_string().contains("NotImplemented")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_race_has_one_winner_and_the_winners_body() {
        assert_eq!(judge_race(&[3], Some(3)), None);
        assert_eq!(judge_race(&[], Some(3)), None, "a lost answer");
        assert!(judge_race(&[3], Some(4)).is_some());
        assert!(judge_race(&[3], None).is_some());
        assert!(judge_race(&[], None).is_some());
        assert!(judge_race(&[3, 4], Some(4)).unwrap().starts_with("2 of 16"));
    }
}
