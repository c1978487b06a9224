//! From bytes to an entry. What the frame's schema decides (bounds, partition values) is read later, in `replay`,
//! where the schema is known.

use std::collections::{BTreeMap, HashSet};

use apiary_bucket::layout;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::{
    Add, Metadata, Protocol, Remove,
    actions::{CommitInfo, WRITER_FEATURE},
    strict,
};
use crate::{LedgerError, Result, header::Header};

/// A frame's entry.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FrameEntry {
    pub(crate) header: Header,
    pub(crate) timestamp_ms: i64,
    pub(crate) protocol: Option<Protocol>,
    pub(crate) metadata: Option<Metadata>,
    pub(crate) adds: Vec<Add>,
    pub(crate) removes: Vec<Remove>,
}

/// Reads an entry; `object` names it in errors.
pub(crate) fn decode(object: &str, body: &[u8]) -> Result<FrameEntry> {
    let corrupt = |why: String| LedgerError::corrupt(object, why);
    let lines = strict::lines(body).map_err(corrupt)?;
    let mut entry = None;
    for (i, line) in lines.iter().enumerate() {
        let numbered = |why: String| corrupt(format!("line {}: {why}", i + 1));
        let (name, json) = action(line).map_err(numbered)?;
        match (&mut entry, name.as_str()) {
            (None, "commitInfo") => entry = Some(begin(parse(&json).map_err(numbered)?)),
            (None, _) => return Err(numbered("the first action is not 'commitInfo'".to_owned())),
            (Some(_), "commitInfo") => return Err(numbered("a second 'commitInfo'".to_owned())),
            (Some(entry), name) => take(entry, name, &json).map_err(numbered)?,
        }
    }
    let entry = entry.ok_or_else(|| corrupt("it has no 'commitInfo'".to_owned()))?;
    check(object, &entry)?;
    Ok(entry)
}

fn begin(info: CommitInfo) -> FrameEntry {
    FrameEntry {
        header: info.apiary,
        timestamp_ms: info.in_commit_timestamp,
        protocol: None,
        metadata: None,
        adds: Vec::new(),
        removes: Vec::new(),
    }
}

/// A line's one key and what stands under it.
fn action(line: &str) -> Result<(String, Box<RawValue>), String> {
    let map: BTreeMap<String, Box<RawValue>> = parse_str(line)?;
    let count = map.len();
    let mut actions = map.into_iter();
    match (actions.next(), count) {
        (Some(action), 1) => Ok(action),
        _ => Err(format!("{count} actions; each line holds one")),
    }
}

fn take(entry: &mut FrameEntry, name: &str, json: &RawValue) -> Result<(), String> {
    match name {
        "protocol" if entry.protocol.is_none() => entry.protocol = Some(parse(json)?),
        "metaData" if entry.metadata.is_none() => entry.metadata = Some(parse(json)?),
        "protocol" | "metaData" => return Err(format!("a second '{name}'")),
        "add" => entry.adds.push(parse(json)?),
        "remove" => entry.removes.push(parse(json)?),
        // `txn` repeats what the header says; others are a newer program's, and what must be understood is a feature.
        _ => {}
    }
    Ok(())
}

fn parse<T: DeserializeOwned>(json: &RawValue) -> Result<T, String> {
    parse_str(json.get())
}

fn parse_str<T: DeserializeOwned>(json: &str) -> Result<T, String> {
    serde_json::from_str(json).map_err(|error| error.to_string())
}

/// What must hold of any entry by itself.
fn check(object: &str, entry: &FrameEntry) -> Result<()> {
    if let Some(protocol) = &entry.protocol {
        if let Some(needs) = protocol.unknown() {
            return Err(LedgerError::Newer { object: object.to_owned(), needs });
        }
        let ours = |names: &Vec<String>| names.iter().any(|name| name == WRITER_FEATURE);
        if !protocol.writer_features.as_ref().is_some_and(ours) {
            return Err(LedgerError::corrupt(object, format!("it lacks the writer feature '{WRITER_FEATURE}'")));
        }
    }
    let mut paths = HashSet::new();
    let named = entry.adds.iter().map(|add| &add.path).chain(entry.removes.iter().map(|remove| &remove.path));
    for path in named {
        if !paths.insert(path) {
            return Err(LedgerError::corrupt(object, format!("it names the cell '{path}' twice")));
        }
    }
    let said = |count: fn(&crate::header::TxnRecord) -> u64| entry.header.txns.iter().map(count).sum::<u64>();
    if said(|txn| txn.add) != entry.adds.len() as u64 || said(|txn| txn.remove) != entry.removes.len() as u64 {
        return Err(LedgerError::corrupt(object, "its transactions count other cells than it has"));
    }
    check_owners(object, entry)
}

/// Cells stand in the order of their transactions, and each is named by its own.
fn check_owners(object: &str, entry: &FrameEntry) -> Result<()> {
    let mut adds = entry.adds.iter();
    for txn in &entry.header.txns {
        // No more than there are: the counts agree.
        for add in adds.by_ref().take(usize::try_from(txn.add).unwrap_or(usize::MAX)) {
            let owner = layout::parse_cell_path(&add.path).map(|(id, _)| id);
            if owner != Some(txn.id) {
                let why = format!("the cell '{}' is not named by transaction {}, which adds it", add.path, txn.id);
                return Err(LedgerError::corrupt(object, why));
            }
        }
    }
    let mut ids = HashSet::new();
    match entry.header.txns.iter().find(|txn| !ids.insert(txn.id)) {
        Some(txn) => Err(LedgerError::corrupt(object, format!("it holds transaction {} twice", txn.id))),
        None => Ok(()),
    }
}
