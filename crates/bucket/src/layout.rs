//! The only place that spells keys: formatting and parsing side by side, one function per kind of object.
//!
//! Nobody else concatenates a key, so that a key's shape is read here and changed here. Keys of the task board
//! stand in [`board`]. Nothing in here touches a store.
//!
//! ```text
//! _apiary/format.json                    created once
//! _apiary/secret.json                    the colony's secret, created once
//! _apiary/registry/<v:020>.json          hives, boxes and frames
//! _apiary/nodes/<node>.json              heartbeat, overwritten by its only owner
//! _apiary/fence/<frame id>/<epoch:012>   created before the entries of that epoch are deleted
//! _apiary/pins/<query>.json              the snapshots that a long query reads
//! _apiary/queries/<node>.json            what ran on a coordinator, overwritten by its only owner
//! _apiary/probe/<nonce>/<i>              what the probe leaves for a second
//! _queries/…                             the task board
//! <hive>/<box>/<frame>-<id>/_delta_log/<v:020>.json | <v:020>.checkpoint.parquet | <v:020>.crc | _last_checkpoint
//! <hive>/<box>/<frame>-<id>/cells/<txn>-<nn>.parquet
//! ```

use std::fmt;

use apiary_core::{FrameId, FramePath, NodeId, QueryId, TxnId, Version};
use object_store::path::Path;

use crate::error::{BucketError, Result};

pub mod board;
mod query_log;

pub use board::{
    BoardKey, cancel, claim, done, failed, open_prefix, open_query, out, out_prefix, owner, parse_open, queries_prefix,
    query, query_prefix, stages, task, task_sql,
};
pub use query_log::{parse_query_log, query_log, query_logs_prefix};

/// The name of one object in the bucket, relative to the bucket's prefix.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

impl Key {
    /// Longest key in bytes: what S3 allows, less room for the bucket's prefix.
    pub const BYTES_MAX: usize = 900;

    /// Reads a key that stands in a stored object, such as a ledger entry: no empty part, no `.` or `..`, no
    /// control characters, at most [`Key::BYTES_MAX`] bytes.
    pub fn parse(text: &str) -> Result<Self> {
        let bad = |why: &str| Err(BucketError::Key { key: text.chars().take(200).collect(), why: why.to_owned() });
        if text.len() > Self::BYTES_MAX {
            return bad("it is longer than 900 bytes");
        }
        for part in text.split('/') {
            if part.is_empty() || part == "." || part == ".." {
                return bad("a part of it is empty, '.' or '..'");
            }
            if part.chars().any(char::is_control) {
                return bad("it holds a control character");
            }
        }
        Ok(Self(text.to_owned()))
    }

    /// A key put together in this file from names and ids that were checked before, or from a folder that the
    /// registry recorded; every use checks it once more in [`Key::to_path`].
    fn made(text: String) -> Self {
        Self(text)
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key as the object store's path.
    pub fn to_path(&self) -> Result<Path> {
        path(&self.0)
    }
}

impl AsRef<str> for Key {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A key or prefix as the object store's path; a prefix may end in `/`.
pub(crate) fn path(text: &str) -> Result<Path> {
    Path::parse(text).map_err(|why| BucketError::Key { key: text.to_owned(), why: why.to_string() })
}

/// The url under which the query engine sees the bucket's objects; the paths under it are the bucket's keys.
pub const CELL_SCHEME_URL: &str = "apiary://cells/";

/// What the bucket is: created once, by the first node.
#[must_use]
pub fn format() -> Key {
    Key::made("_apiary/format.json".to_owned())
}

/// The colony's secret: created once, by the first node.
#[must_use]
pub fn secret() -> Key {
    Key::made("_apiary/secret.json".to_owned())
}

/// What every probe writes.
#[must_use]
pub fn probes_prefix() -> &'static str {
    "_apiary/probe/"
}

/// Everything one run of the probe writes.
#[must_use]
pub fn probe_prefix(nonce: &str) -> String {
    format!("{}{nonce}/", probes_prefix())
}

/// One object of the probe.
#[must_use]
pub fn probe(nonce: &str, i: usize) -> Key {
    Key::made(format!("{}{i:03}", probe_prefix(nonce)))
}

/// One entry of the registry.
#[must_use]
pub fn registry(version: Version) -> Key {
    Key::made(format!("{}{:020}.json", registry_prefix(), version.0))
}

/// The registry's entries.
#[must_use]
pub fn registry_prefix() -> &'static str {
    "_apiary/registry/"
}

/// Reads [`registry`].
#[must_use]
pub fn parse_registry(key: &str) -> Option<Version> {
    version(key.strip_prefix(registry_prefix())?)
}

/// A node's heartbeat.
#[must_use]
pub fn node(id: &NodeId) -> Key {
    Key::made(format!("{}{id}.json", nodes_prefix()))
}

/// All heartbeats.
#[must_use]
pub fn nodes_prefix() -> &'static str {
    "_apiary/nodes/"
}

/// Reads [`node`].
#[must_use]
pub fn parse_node(key: &str) -> Option<NodeId> {
    NodeId::new(key.strip_prefix(nodes_prefix())?.strip_suffix(".json")?).ok()
}

/// The snapshots that a long query reads.
#[must_use]
pub fn pin(query: &QueryId) -> Key {
    Key::made(format!("{}{query}.json", pins_prefix()))
}

/// All pins.
#[must_use]
pub fn pins_prefix() -> &'static str {
    "_apiary/pins/"
}

/// Reads [`pin`].
#[must_use]
pub fn parse_pin(key: &str) -> Option<QueryId> {
    key.strip_prefix(pins_prefix())?.strip_suffix(".json")?.parse().ok()
}

/// The mark that a frame's epoch of ledger entries was cleaned away.
#[must_use]
pub fn fence(frame: &FrameId, epoch: u64) -> Key {
    Key::made(format!("{}{epoch:012}", fence_prefix(frame)))
}

/// The marks of one frame.
#[must_use]
pub fn fence_prefix(frame: &FrameId) -> String {
    format!("_apiary/fence/{frame}/")
}

/// Reads [`fence`] of this frame.
#[must_use]
pub fn parse_fence(frame: &FrameId, key: &str) -> Option<u64> {
    let epoch = key.strip_prefix(fence_prefix(frame).as_str())?;
    (epoch.len() == 12).then(|| digits(epoch)).flatten()
}

/// Most bytes of a name in a folder: with the id the folder's name stays under the 255 bytes that file systems allow.
/// The id alone makes the folder unique; the names are there for people.
const FOLDER_NAME_BYTES_MAX: usize = 200;

/// A name as a folder: other readers of a frame take its path for a URL or not, each in its own way, so nothing stands
/// in it that would be written differently there.
fn folder_name(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' || c == '-' { c } else { '-' };
    name.chars().map(plain).take(FOLDER_NAME_BYTES_MAX).collect()
}

/// The folder of a new frame, without a slash at its end. The registry records it: look it up there, since a
/// rename changes the name and not the folder, and two names may look alike in it.
#[must_use]
pub fn frame_folder(path: &FramePath, id: &FrameId) -> String {
    let [hive, box_name, frame] = [path.hive.as_str(), path.box_name.as_str(), path.frame.as_str()].map(folder_name);
    format!("{hive}/{box_name}/{frame}-{id}")
}

/// The id in a [`frame_folder`]; `None` for a folder that is no frame's.
#[must_use]
pub fn parse_frame_folder(folder: &str) -> Option<FrameId> {
    let parts: Vec<&str> = folder.split('/').collect();
    let [hive, box_name, frame] = parts[..] else { return None };
    let (name, id) = frame.rsplit_once('-')?;
    let ours = |part: &str| !part.is_empty() && folder_name(part) == part;
    let named = ours(hive) && ours(box_name) && ours(name) && !is_own_folder(hive);
    named.then(|| FrameId::try_from(id.to_owned()).ok()).flatten()
}

/// Whether a folder at the top is the colony's own: no hive's name begins so.
#[must_use]
pub fn is_own_folder(top: &str) -> bool {
    top.starts_with('_')
}

/// One entry of a frame's ledger.
#[must_use]
pub fn ledger_entry(folder: &str, version: Version) -> Key {
    Key::made(format!("{}{:020}.json", ledger_prefix(folder), version.0))
}

/// A frame's ledger.
#[must_use]
pub fn ledger_prefix(folder: &str) -> String {
    format!("{folder}/_delta_log/")
}

/// Reads [`ledger_entry`] of this folder.
#[must_use]
pub fn parse_ledger_entry(folder: &str, key: &str) -> Option<Version> {
    version(key.strip_prefix(folder)?.strip_prefix("/_delta_log/")?)
}

/// A frame at one version, in one object.
#[must_use]
pub fn checkpoint(folder: &str, version: Version) -> Key {
    Key::made(format!("{}{:020}.checkpoint.parquet", ledger_prefix(folder), version.0))
}

/// What a checkpoint must be.
#[must_use]
pub fn checksum(folder: &str, version: Version) -> Key {
    Key::made(format!("{}{:020}.crc", ledger_prefix(folder), version.0))
}

/// Which checkpoint is the newest: a hint.
#[must_use]
pub fn last_checkpoint(folder: &str) -> Key {
    Key::made(format!("{}_last_checkpoint", ledger_prefix(folder)))
}

/// Where a list of a frame's ledger begins that shows all objects of `version` and of those after it: no object has
/// this name.
#[must_use]
pub fn ledger_from(folder: &str, version: Version) -> String {
    format!("{}{:020}", ledger_prefix(folder), version.0)
}

/// One object of a frame's ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LedgerObject {
    /// [`ledger_entry`].
    Entry(Version),
    /// [`checkpoint`].
    Checkpoint(Version),
    /// [`checksum`].
    Checksum(Version),
}

/// Reads [`ledger_entry`], [`checkpoint`] and [`checksum`] of this folder.
#[must_use]
pub fn parse_ledger_object(folder: &str, key: &str) -> Option<LedgerObject> {
    let name = key.strip_prefix(folder)?.strip_prefix("/_delta_log/")?;
    let (number, ending) = name.split_once('.')?;
    let version = Version((number.len() == 20).then(|| digits(number)).flatten()?);
    match ending {
        "json" => Some(LedgerObject::Entry(version)),
        "checkpoint.parquet" => Some(LedgerObject::Checkpoint(version)),
        "crc" => Some(LedgerObject::Checksum(version)),
        _ => None,
    }
}

/// The `n`th cell that a transaction writes.
#[must_use]
pub fn cell(folder: &str, txn: &TxnId, n: usize) -> Key {
    Key::made(format!("{folder}/{}", cell_path(txn, n)))
}

/// The path of [`cell`] relative to its frame's folder, as the ledger records it.
#[must_use]
pub fn cell_path(txn: &TxnId, n: usize) -> String {
    format!("cells/{txn}-{n:02}.parquet")
}

/// Reads [`cell_path`].
#[must_use]
pub fn parse_cell_path(path: &str) -> Option<(TxnId, usize)> {
    let (txn, n) = path.strip_prefix("cells/")?.strip_suffix(".parquet")?.rsplit_once('-')?;
    Some((txn.parse().ok()?, digits(n)?))
}

/// Reads [`cell`], whatever the folder.
#[must_use]
pub(crate) fn parse_cell(key: &str) -> Option<(TxnId, usize)> {
    parse_cell_path(&key[key.rfind("/cells/")? + 1..])
}

/// A frame's cells.
#[must_use]
pub fn cells_prefix(folder: &str) -> String {
    format!("{folder}/cells/")
}

/// Whether a key is a cell's.
#[must_use]
pub(crate) fn is_cell(key: &str) -> bool {
    key.ends_with(".parquet") && key.rsplit('/').nth(1) == Some("cells")
}

/// The key of a path that an entry names relative to its frame's folder.
pub fn in_folder(folder: &str, relative: &str) -> Result<Key> {
    Key::parse(&format!("{folder}/{relative}"))
}

/// Most bytes of an object that is read whole, by its kind; readers of one that knows its size use that instead.
pub(crate) fn bytes_max(key: &Key) -> u64 {
    const MIB: u64 = 1 << 20;
    let key = key.as_str();
    if is_cell(key) || key.ends_with(".parquet") {
        // A checkpoint of a million cells; a cell whose size nobody knows.
        4096 * MIB
    } else if key.ends_with(".json") && (key.contains("/_delta_log/") || key.starts_with(registry_prefix())) {
        // The largest transaction that goes alone.
        256 * MIB
    } else if key.starts_with(queries_prefix()) {
        // Plans and results that stand inline.
        256 * MIB
    } else {
        // Heartbeats, format, pins, hints: a hundredth of this is much.
        16 * MIB
    }
}

/// Whether an object may be lost with the machine that wrote it: queries end with the power, and a heartbeat is
/// written again within a second. The local store does not wait for the disk to have these.
pub(crate) fn is_ephemeral(key: &str) -> bool {
    let known = [queries_prefix(), nodes_prefix(), pins_prefix(), query_logs_prefix(), probes_prefix()];
    known.iter().any(|prefix| key.starts_with(prefix))
}

fn version(name: &str) -> Option<Version> {
    let text = name.strip_suffix(".json")?;
    (text.len() == 20).then(|| digits(text)).flatten().map(Version)
}

/// A number without a sign, which `parse` alone would accept.
fn digits<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests;
