//! Checkpoints: a frame at one version in one object, so that nobody replays its whole history.
//!
//! A checkpoint is a Delta checkpoint of the classic kind, `<version>.checkpoint.parquet`: one row for each action that
//! still counts. Other engines read it as it is. For Apiary it is a copy, never a truth of its own, and a copy is
//! believed only if it proves that it is one:
//!
//! ```text
//! <v>.json ────── 1. read, its hash is that of the snapshot ──────────────┐
//! <v>.checkpoint.parquet   2. put if absent, read back, compared          │
//! <v>.crc                  3. put if absent: hashes of 1 and 2, and of itself
//! _last_checkpoint         4. overwritten: a hint where to look first     ▼
//!                                                   readers: crc whole? hash of 2 right? then the head is (v, hash of 1)
//! ```
//!
//! A crash between two steps leaves a checkpoint that nobody believes, and the next run goes on where it stopped: the
//! bytes of a checkpoint depend on its snapshot alone, on no clock and no machine. Two that write at once write the
//! same. What cannot be believed (foreign, damaged, half done) costs its reader a few requests: it is told, skipped, and
//! the checkpoint before it is read instead.
//!
//! What a checkpoint leaves out, and why: `commitInfo`, which stands in the entry of its own version, kept as long as
//! the checkpoint is; tombstones of removed cells, since vacuum goes by the entries themselves, which are there as long
//! as it cares; sealed and doomed ids, since they bind only transactions that began before the entry that names them,
//! and those read the entries. A frame that was dropped gets no checkpoint, so that its last entry stays the last.
//!
//! | file | tells |
//! |---|---|
//! | `schema`, `encode`, `decode`, `columns`, `adds` | the Parquet file |
//! | `checksum`, `hint` | the two small JSON objects beside it |
//! | `store` | reading and writing all three |

mod adds;
mod checksum;
mod columns;
mod decode;
mod encode;
mod hint;
mod schema;
mod store;

pub(crate) use checksum::sha256;
pub(crate) use store::{Loaded, hint, load, same, write};

/// Any bytes as a checkpoint: for fuzzing.
pub(crate) fn any(object: &str, body: bytes::Bytes, folder: &str, head: crate::header::Head) {
    let _ = decode::decode(object, body, folder, head);
}

/// Any bytes as a hint and as a checksum, whose own hash is left out, or nothing would get past it: for fuzzing.
pub(crate) fn any_hint(data: &[u8]) {
    let _ = hint::Hint::parse(data);
    let _ = checksum::Checksum::parse(apiary_core::Version(3), data);
    let _ = serde_json::from_slice::<checksum::Checksum>(data).map(|checksum| checksum.head());
}

/// A checkpoint, its checksum and a hint of an empty frame whose version 0 is `entry`.
#[cfg(test)]
pub(crate) fn samples(snapshot: &crate::Snapshot, entry: &[u8]) -> Vec<Vec<u8>> {
    let body = encode::encode(snapshot).unwrap().body;
    let (of_body, of_entry) = (checksum::Mark::of(&body), checksum::Mark::of(entry));
    let checksum = checksum::Checksum::new(snapshot, of_body, of_entry).to_bytes().unwrap();
    let hint = hint::Hint { version: snapshot.version, size: 3, size_in_bytes: 9, num_of_add_files: 1 };
    vec![body.to_vec(), checksum.to_vec(), hint.to_bytes().unwrap().to_vec()]
}
