//! What clients were told, held against the log: is there one order of all operations that explains every answer?
//!
//! The log is the witness, so nothing has to be searched for: a commit's place in the order is its version, a read's
//! place is just behind the version that it saw. The history is right if
//!
//! - every acknowledged transaction is in the log, at the version that was told, and there once;
//! - what was said not to be committed is nowhere; an unknown outcome may be either;
//! - a request under one key is there at most once, and a retry that was told "applied before" was told where;
//! - real time agrees with the order: what ended before another began comes before it. A commit lies beyond all that
//!   was known when it was asked for, a read sees all that was acknowledged when it began.
//!
//! One log at a time; `start` and `end` are of one clock, or counters of one observer. Histories of real processes
//! come as JSON ([`History::from_json`]), and entries are read as they lie in the bucket ([`Entry::from_body`]), with
//! eyes of their own rather than the program's.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// One operation of one client.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Op {
    /// Who asked, for people.
    pub by: String,
    /// The transaction's id, where it is known to who wrote this down.
    pub txn: Option<String>,
    /// The idempotency key.
    pub key: Option<String>,
    /// When it was asked for.
    pub start: u64,
    /// When the answer came; none if none came.
    pub end: Option<u64>,
    /// What was answered.
    pub told: Told,
}

/// An answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Told {
    /// It is in the log, at this version.
    Committed(u64),
    /// The same request is in the log, at this version.
    AlreadyApplied(u64),
    /// It is not in the log and never will be.
    Nothing,
    /// Nobody knows; or no answer came.
    Unknown,
    /// A read saw this version.
    Saw(u64),
}

/// One entry of the log: which transactions it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its version.
    pub version: u64,
    /// Its transactions.
    pub txns: Vec<Logged>,
}

/// One transaction in an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    /// Its id.
    pub id: String,
    /// Its idempotency key.
    pub key: Option<String>,
}

impl Entry {
    /// Reads an entry as it lies in the bucket.
    pub fn from_body(version: u64, body: &[u8]) -> Result<Self, String> {
        let first = body.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let line: Value = serde_json::from_slice(first).map_err(|error| format!("version {version}: {error}"))?;
        let txns = line["commitInfo"]["apiary"]["txns"].as_array();
        let txns = txns.ok_or_else(|| format!("version {version} does not say what it holds"))?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let txns = txns.iter().map(|txn| {
            Ok(Logged { id: text(&txn["id"]).ok_or("a transaction has no id")?, key: text(&txn["idem"]["key"]) })
        });
        Ok(Self { version, txns: txns.collect::<Result<_, String>>()? })
    }
}

/// A log and what its clients were told.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// The log.
    pub log: Vec<Entry>,
    /// The operations, in any order.
    pub ops: Vec<Op>,
}

impl History {
    /// Reads operations: `[{"by", "txn"?, "key"?, "start", "end"?, "told": "committed" | "already_applied" | "nothing"
    /// | "unknown" | "saw", "version"?}]`.
    pub fn from_json(log: Vec<Entry>, ops: &str) -> Result<Self, String> {
        let ops: Vec<Value> = serde_json::from_str(ops).map_err(|error| error.to_string())?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let read = |op: &Value| {
            let version = || op["version"].as_u64().ok_or_else(|| format!("no version in {op}"));
            let told = match op["told"].as_str() {
                Some("committed") => Told::Committed(version()?),
                Some("already_applied") => Told::AlreadyApplied(version()?),
                Some("nothing") => Told::Nothing,
                Some("unknown") => Told::Unknown,
                Some("saw") => Told::Saw(version()?),
                _ => return Err(format!("nothing told in {op}")),
            };
            Ok(Op {
                by: text(&op["by"]).unwrap_or_default(),
                txn: text(&op["txn"]),
                key: text(&op["key"]),
                start: op["start"].as_u64().ok_or_else(|| format!("no start in {op}"))?,
                end: op["end"].as_u64(),
                told,
            })
        };
        Ok(Self { log, ops: ops.iter().map(read).collect::<Result<_, String>>()? })
    }

    /// Everything that is wrong, in words; empty if one order explains it all.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let (by_id, by_key) = self.index(&mut faults);
        for op in &self.ops {
            self.answer(op, &by_id, &by_key, &mut faults);
        }
        self.real_time(&by_id, &mut faults);
        faults
    }

    /// Where each id and each key is; anything that is there twice is a fault.
    fn index(&self, faults: &mut Vec<String>) -> (BTreeMap<&str, u64>, BTreeMap<&str, u64>) {
        let (mut by_id, mut by_key) = (BTreeMap::new(), BTreeMap::new());
        let mut versions = BTreeSet::new();
        for entry in &self.log {
            if !versions.insert(entry.version) {
                faults.push(format!("version {} is there twice", entry.version));
            }
            for txn in &entry.txns {
                if let Some(before) = by_id.insert(txn.id.as_str(), entry.version) {
                    faults.push(format!("transaction {} is in versions {before} and {}", txn.id, entry.version));
                }
                if let Some(key) = &txn.key
                    && let Some(before) = by_key.insert(key.as_str(), entry.version)
                {
                    faults.push(format!("the key '{key}' is in versions {before} and {}", entry.version));
                }
            }
        }
        (by_id, by_key)
    }

    fn answer(&self, op: &Op, by_id: &BTreeMap<&str, u64>, by_key: &BTreeMap<&str, u64>, faults: &mut Vec<String>) {
        let id_at = op.txn.as_deref().and_then(|id| by_id.get(id).copied());
        let key_at = op.key.as_deref().and_then(|key| by_key.get(key).copied());
        let wrong = match op.told {
            // Without an id the key stands for it.
            Told::Committed(version) if op.txn.is_some() => id_at != Some(version),
            Told::Committed(version) => op.key.is_some() && key_at != Some(version),
            Told::AlreadyApplied(version) => key_at != Some(version),
            Told::Nothing => id_at.is_some() || op.txn.is_none() && op.key.is_some() && self.is_alone(op, key_at),
            Told::Saw(version) => self.log.iter().all(|entry| entry.version != version),
            Told::Unknown => false,
        };
        if wrong {
            faults.push(format!("the log holds its id at {id_at:?}, its key at {key_at:?}: {op:?}"));
        }
    }

    /// Whether a key is in the log that no other operation can have brought there.
    fn is_alone(&self, op: &Op, key_at: Option<u64>) -> bool {
        let other = |other: &&Op| other.key == op.key && !matches!(other.told, Told::Nothing | Told::Saw(_));
        key_at.is_some() && self.ops.iter().find(other).is_none()
    }

    /// Walks through all beginnings and ends in the order of time, and keeps the highest version that anyone knew.
    fn real_time(&self, by_id: &BTreeMap<&str, u64>, faults: &mut Vec<String>) {
        let mut moments: Vec<(u64, bool, &Op)> = Vec::new();
        for op in &self.ops {
            // An end and a beginning at the same moment are at the same time: no order is asked of them.
            moments.push((op.start, false, op));
            moments.extend(op.end.map(|end| (end, true, op)));
        }
        moments.sort_by_key(|(at, is_end, _)| (*at, *is_end));
        let mut known: Option<(u64, &Op)> = None;
        for (_, is_end, op) in moments {
            let told = match op.told {
                Told::Committed(version) | Told::AlreadyApplied(version) | Told::Saw(version) => Some(version),
                Told::Nothing | Told::Unknown => None,
            };
            if is_end {
                if let Some(version) = told.filter(|version| known.is_none_or(|(before, _)| before < *version)) {
                    known = Some((version, op));
                }
                continue;
            }
            let Some((before, who)) = known else { continue };
            let committed = match op.told {
                Told::Committed(version) => Some(version),
                // A commit that nobody was told of is one all the same.
                Told::Unknown => op.txn.as_deref().and_then(|id| by_id.get(id).copied()),
                _ => None,
            };
            if committed.is_some_and(|version| version <= before) {
                faults.push(format!(
                    "it was committed before it was asked for: version {before} was known\n  {who:?}\n  {op:?}"
                ));
            }
            if matches!(op.told, Told::Saw(version) if version < before) {
                faults.push(format!(
                    "it did not see what was known before it began, version {before}\n  {who:?}\n  {op:?}"
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(version: u64, txns: &[(&str, Option<&str>)]) -> Entry {
        let logged = |(id, key): &(&str, Option<&str>)| Logged { id: (*id).into(), key: key.map(str::to_owned) };
        Entry { version, txns: txns.iter().map(logged).collect() }
    }

    fn op(txn: Option<&str>, key: Option<&str>, start: u64, end: Option<u64>, told: Told) -> Op {
        let own = |text: Option<&str>| text.map(str::to_owned);
        Op { by: "a".into(), txn: own(txn), key: own(key), start, end, told }
    }

    fn log() -> Vec<Entry> {
        vec![entry(0, &[("c", None)]), entry(1, &[("x", Some("k"))]), entry(2, &[("y", None), ("z", None)])]
    }

    fn faults(log: Vec<Entry>, ops: Vec<Op>) -> Vec<String> {
        History { log, ops }.faults()
    }

    #[test]
    fn a_history_that_the_log_explains_has_no_fault() {
        let ops = vec![
            op(Some("x"), Some("k"), 1, Some(4), Told::Committed(1)),
            op(Some("x2"), Some("k"), 2, Some(9), Told::AlreadyApplied(1)),
            op(Some("y"), None, 5, Some(8), Told::Committed(2)),
            op(Some("z"), None, 3, None, Told::Unknown),
            op(Some("w"), None, 3, Some(4), Told::Nothing),
            op(Some("v"), None, 3, None, Told::Unknown),
            op(None, None, 6, Some(7), Told::Saw(1)),
            op(None, None, 9, Some(10), Told::Saw(2)),
        ];
        assert_eq!(faults(log(), ops), Vec::<String>::new());
    }

    #[test]
    fn every_kind_of_wrong_answer_is_found() {
        let wrong = [
            // Acknowledged and not there; there at another version; there though denied.
            op(Some("w"), None, 1, Some(2), Told::Committed(1)),
            op(Some("x"), None, 1, Some(2), Told::Committed(2)),
            op(Some("y"), None, 1, Some(2), Told::Nothing),
            op(None, Some("k"), 1, Some(2), Told::Nothing),
            // Applied before, where it is not.
            op(Some("w"), Some("k"), 1, Some(2), Told::AlreadyApplied(2)),
            op(None, Some("k2"), 1, Some(2), Told::Committed(1)),
            // A version that never was.
            op(None, None, 1, Some(2), Told::Saw(3)),
        ];
        for op in wrong {
            assert_eq!(faults(log(), vec![op.clone()]).len(), 1, "{op:?}");
        }
    }

    #[test]
    fn what_is_there_twice_is_found() {
        let twice = |txns: &[(&str, Option<&str>)]| faults([log(), vec![entry(3, txns)]].concat(), vec![]).len();
        assert_eq!((twice(&[("x", None)]), twice(&[("n", Some("k"))]), twice(&[("n", None)])), (1, 1, 0));
        assert_eq!(faults([log(), vec![entry(2, &[])]].concat(), vec![]).len(), 1);
    }

    #[test]
    fn an_order_that_real_time_forbids_is_found() {
        let first = op(Some("y"), None, 1, Some(2), Told::Committed(2));
        let late = |told, txn| vec![first.clone(), op(txn, None, 3, Some(4), told)];
        assert_eq!(faults(log(), late(Told::Saw(1), None)).len(), 1);
        assert_eq!(faults(log(), late(Told::Committed(1), Some("x"))).len(), 1);
        assert_eq!(faults(log(), late(Told::Unknown, Some("x"))).len(), 1);
        assert!(faults(log(), late(Told::Saw(2), None)).is_empty());
        // At the same moment there is no order.
        let both = vec![first.clone(), op(None, None, 2, Some(4), Told::Saw(1))];
        assert!(faults(log(), both).is_empty());
    }

    #[test]
    fn histories_and_entries_are_read_from_json() {
        let body = br#"{"commitInfo":{"apiary":{"v":1,"txns":[{"id":"x","idem":{"scope":"s","key":"k"}}]}}}
{"add":{}}
"#;
        let log = vec![Entry::from_body(1, body).unwrap()];
        assert_eq!(log[0], entry(1, &[("x", Some("k"))]));
        assert!(Entry::from_body(1, b"{}").is_err() && Entry::from_body(1, b"").is_err());
        let ops = r#"[{"by":"p","key":"k","start":1,"end":2,"told":"committed","version":1},
                      {"start":3,"end":4,"told":"saw","version":0}]"#;
        let history = History::from_json(log, ops).unwrap();
        // It did not see version 1, and there is no version 0 in this log.
        assert_eq!(history.faults().len(), 2);
        assert!(History::from_json(vec![], r#"[{"start":1,"told":"maybe"}]"#).is_err());
    }
}
