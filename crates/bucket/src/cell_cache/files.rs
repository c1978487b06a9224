//! Blocks of cells as files: one file a block, told by its name, vouched for by its checksum.
//!
//! ```text
//!   <folder>/about                                   what this folder is, and of which colony
//!   <folder>/7c/7c…e1-<cell's bytes>-<block>         magic · crc32 of name and body · body
//! ```
//! Nothing in here is the truth, so nothing is synced: a file that a power cut tore, or a bit that a card lost, is a
//! checksum that does not fit, which is a block that is not there. A folder that another version, another colony or a
//! stranger left is cleared.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use bytes::Bytes;

use super::{BLOCK_BYTES, BlockId, CellHash, block_len};

const MAGIC: [u8; 8] = *b"APBLOCK\x01";

/// Magic, sum, and room that keeps the body aligned.
const HEADER_BYTES: usize = 16;

/// Most files that are taken over from an earlier life: a terabyte of them.
const FILES_MAX: usize = 1 << 20;

/// One block as a name tells of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Named {
    pub(super) id: BlockId,
    /// Bytes of the whole cell.
    pub(super) size: u64,
}

impl Named {
    fn name(&self) -> String {
        format!("{:032x}-{:x}-{:x}", self.id.cell.0, self.size, self.id.block)
    }

    fn path(&self, folder: &Path) -> PathBuf {
        let name = self.name();
        folder.join(&name[..2]).join(name)
    }

    fn parse(name: &str) -> Option<Self> {
        let mut parts = name.split('-');
        let cell = CellHash(u128::from_str_radix(parts.next()?, 16).ok()?);
        let size = u64::from_str_radix(parts.next()?, 16).ok()?;
        let block = u32::from_str_radix(parts.next()?, 16).ok()?;
        let named = Self { id: BlockId { cell, block }, size };
        (named.name() == name && u64::from(block) * BLOCK_BYTES < size).then_some(named)
    }

    /// Bytes of its file.
    pub(super) fn file_bytes(&self) -> u64 {
        block_len(self.size, self.id.block) + HEADER_BYTES as u64
    }

    fn sum(&self, body: &[u8]) -> u32 {
        let mut sum = crc32fast::Hasher::new();
        sum.update(self.name().as_bytes());
        sum.update(body);
        sum.finalize()
    }

    /// Writes the block: aside, then renamed, so that its name never leads to a part of it.
    pub(super) fn write(&self, folder: &Path, body: &[u8]) -> io::Result<()> {
        let path = self.path(folder);
        let aside = path.with_extension("new");
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let mut file = Vec::with_capacity(HEADER_BYTES + body.len());
        file.extend(MAGIC);
        file.extend(self.sum(body).to_le_bytes());
        file.resize(HEADER_BYTES, 0);
        file.extend_from_slice(body);
        let written = fs::write(&aside, &file).and_then(|()| fs::rename(&aside, &path));
        if written.is_err() {
            let _ = fs::remove_file(&aside);
        }
        written
    }

    /// Reads the block; nothing if it is not, to the last bit, what was written.
    pub(super) fn read(&self, folder: &Path) -> Option<Bytes> {
        let file = Bytes::from(fs::read(self.path(folder)).ok()?);
        let header = file.get(..HEADER_BYTES)?;
        let body = file.slice(HEADER_BYTES..);
        let fits = header[..8] == MAGIC && file.len() as u64 == self.file_bytes();
        (fits && header[8..12] == self.sum(&body).to_le_bytes()).then_some(body)
    }

    pub(super) fn remove(&self, folder: &Path) {
        let _ = fs::remove_file(self.path(folder));
    }
}

/// What an earlier life left in `folder` that is of `colony`, oldest first; all else in there is taken away.
pub(super) fn open(folder: &Path, colony: &str) -> io::Result<Vec<Named>> {
    let about = folder.join("about");
    let told = format!("apiary cell cache, format 1, colony {colony}\n");
    if fs::read(&about).ok().as_deref() != Some(told.as_bytes()) {
        clear(folder)?;
        fs::create_dir_all(folder)?;
        fs::write(&about, &told)?;
    }
    let mut found: Vec<(SystemTime, Named)> = Vec::new();
    for below in fs::read_dir(folder)? {
        let below = below?.path();
        if below == about {
            continue;
        }
        let Ok(files) = fs::read_dir(&below) else {
            let _ = fs::remove_file(&below);
            continue;
        };
        for file in files.flatten() {
            match taken_over(&file, &below).filter(|_| found.len() < FILES_MAX) {
                Some(taken) => found.push(taken),
                None => drop(clear(&file.path()).or_else(|_| fs::remove_file(file.path()))),
            }
        }
    }
    found.sort_by_key(|(modified, named)| (*modified, named.id.block));
    Ok(found.into_iter().map(|(_, named)| named).collect())
}

/// A file whose name and length fit together. Its body is looked at when it is asked for.
fn taken_over(file: &fs::DirEntry, below: &Path) -> Option<(SystemTime, Named)> {
    let named = Named::parse(file.file_name().to_str()?)?;
    let meta = file.metadata().ok()?;
    let fits = meta.is_file() && meta.len() == named.file_bytes() && named.path(below.parent()?) == file.path();
    Some((meta.modified().ok()?, named)).filter(|_| fits)
}

/// Takes a cache's folder away; one that is not there is no error.
pub(super) fn clear(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Bytes that an earlier life's cache takes of the disk, about: by names alone.
pub(super) fn held_bytes(folder: &Path) -> u64 {
    let below = fs::read_dir(folder).into_iter().flatten().flatten();
    let files = below.flat_map(|below| fs::read_dir(below.path()).into_iter().flatten().flatten());
    let named = files.filter_map(|file| Named::parse(file.file_name().to_str()?));
    named.map(|named| named.file_bytes()).sum()
}
