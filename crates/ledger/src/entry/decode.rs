//! From bytes to an entry. What the frame's schema decides (bounds, partition values) is read later, in `replay`,
//! where the schema is known.
//!
//! A line is read twice: once for what is in doubt in any JSON, once for its action. Lines know nothing of each other, so
//! those of a large entry are read on several threads: a frame overwritten by a hundred thousand cells is one entry.

use std::collections::HashSet;

use apiary_bucket::layout;
use apiary_core::side_by_side;

use super::{
    Add, Metadata, Protocol, Remove,
    actions::{CommitInfo, WRITER_FEATURE},
    line::Line,
    strict,
};
use crate::{LedgerError, Result, header::Header, replay::THREADS_MAX};

/// Lines that one thread takes at a time: a millisecond or two of work.
const LINES_AT_ONCE: usize = 512;

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

/// Reads an entry; `object` names it in errors. CPU work, on several cores if the entry is large.
pub(crate) fn decode(object: &str, body: &[u8]) -> Result<FrameEntry> {
    let corrupt = |why: String| LedgerError::corrupt(object, why);
    let texts = strict::unchecked_lines(body).map_err(corrupt)?;
    let pieces: Vec<&[&str]> = texts.chunks(LINES_AT_ONCE).collect();
    let numbered = |i: usize, why: String| format!("line {}: {why}", i + 1);
    let read = |piece: usize| {
        let first = piece * LINES_AT_ONCE;
        let lines = pieces[piece].iter().enumerate();
        lines.map(|(i, text)| Line::read(text).map_err(|why| numbered(first + i, why))).collect::<Result<Vec<_>, _>>()
    };
    let lines = side_by_side(pieces.len(), THREADS_MAX, read).map_err(corrupt)?;
    let mut lines = lines.into_iter().flatten().enumerate();
    let mut entry = match lines.next() {
        Some((_, Line::CommitInfo(info))) => begin(*info),
        _ => return Err(corrupt(numbered(0, "the first action is not 'commitInfo'".to_owned()))),
    };
    for (i, line) in lines {
        take(&mut entry, line).map_err(|why| corrupt(numbered(i, why)))?;
    }
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

fn take(entry: &mut FrameEntry, line: Line) -> Result<(), String> {
    match line {
        Line::Add(add) => entry.adds.push(add),
        Line::Remove(remove) => entry.removes.push(remove),
        Line::Protocol(protocol) if entry.protocol.is_none() => entry.protocol = Some(*protocol),
        Line::Metadata(metadata) if entry.metadata.is_none() => entry.metadata = Some(*metadata),
        Line::Other => {}
        Line::CommitInfo(_) => return Err("a second 'commitInfo'".to_owned()),
        Line::Protocol(_) => return Err("a second 'protocol'".to_owned()),
        Line::Metadata(_) => return Err("a second 'metaData'".to_owned()),
    }
    Ok(())
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
