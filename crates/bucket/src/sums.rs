//! Checksums of a cell's blocks and the cell's own name, inside the cell: what lets a query trust the few ranges it
//! reads, and that they are ranges of the cell it asked for.
//!
//! The ledger's SHA-256 is of the whole file, and a query reads a part. Parquet's own page checksums leave out what
//! steers a reader most: footer, page headers and indexes. So a cell carries a sum of each block, where every Parquet
//! reader looks past it: in front of the footer, which is found from the end.
//!
//! ```text
//! data, in blocks of 64 KiB | crc32 of each block | name | magic · data bytes · crc32 of the tail · crc32 of these | tail
//!                                                                                      Parquet's footer, its length, PAR1
//! ```
//!
//! All is covered: the data by the blocks' sums, those and the name by one of their own, the tail by one more. The name
//! is the transaction's id and the cell's number in it, which no other cell of any frame has: a whole cell in another's
//! place is undamaged in itself, and only its name tells (`docs/adr/0007-a-cell-knows-its-name.md`). A file without sums
//! is read as it is, and one without a name whatever its place: cells of the first colonies have none. Nothing in here
//! touches a store.

use std::ops::Range;

use apiary_core::TxnId;

/// Bytes under one sum: small beside what a scan reads at once, large beside its four bytes of sum.
pub(crate) const BLOCK_BYTES: u64 = 64 * 1024;

/// What stands before the tail, to be found and to be told from anything else.
const MAGIC: [u8; 8] = *b"APSUMS\x00\x02";

/// The same in cells of the first programs, which have no name.
const MAGIC_UNNAMED: [u8; 8] = *b"APSUMS\x00\x01";

/// Transaction, number.
const NAME_BYTES: usize = 16 + 4;

/// Magic, data bytes, sum of the tail, sum of the sums.
const TRAILER_BYTES: usize = 8 + 8 + 4 + 4;

/// What Parquet ends with: the length of its footer and its name.
const END_BYTES: usize = 8;

/// The name that a Parquet file ends with.
const PARQUET: &[u8] = b"PAR1";

/// A cell's name: the transaction that wrote it, and its number in there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) txn: TxnId,
    pub(crate) n: u32,
}

impl Name {
    fn bytes(self) -> [u8; NAME_BYTES] {
        let mut bytes = [0; NAME_BYTES];
        bytes[..16].copy_from_slice(self.txn.uuid().as_bytes());
        bytes[16..].copy_from_slice(&self.n.to_le_bytes());
        bytes
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (txn, n) = bytes.split_first_chunk::<16>()?;
        Some(Self { txn: TxnId::from_bytes(*txn), n: u32::from_le_bytes(n.try_into().ok()?) })
    }
}

/// The `n`th cell of a transaction: a whole Parquet file, with sums and its name put into it; `None` if it is no
/// Parquet file.
#[must_use]
pub fn with_sums(file: Vec<u8>, txn: &TxnId, n: usize) -> Option<Vec<u8>> {
    let name = Name { txn: *txn, n: u32::try_from(n).ok()? };
    put_in(file, &name.bytes(), MAGIC)
}

/// A whole Parquet file with sums put into it that is no frame's cell; `None` if it is no Parquet file.
#[must_use]
pub fn with_sums_unnamed(file: Vec<u8>) -> Option<Vec<u8>> {
    put_in(file, &[], MAGIC_UNNAMED)
}

fn put_in(mut file: Vec<u8>, name: &[u8], magic: [u8; 8]) -> Option<Vec<u8>> {
    let tail = tail_bytes(&file)?;
    let data = file.len().checked_sub(tail)?;
    let blocks = file[..data].chunks(usize::try_from(BLOCK_BYTES).ok()?);
    let mut sums: Vec<u8> = blocks.flat_map(|block| crc32fast::hash(block).to_le_bytes()).collect();
    sums.extend(name);
    sums.extend(magic);
    sums.extend((data as u64).to_le_bytes());
    sums.extend(crc32fast::hash(&file[data..]).to_le_bytes());
    sums.extend(crc32fast::hash(&sums).to_le_bytes());
    drop(file.splice(data..data, sums));
    Some(file)
}

/// The bytes of the footer and of what comes after it.
fn tail_bytes(suffix: &[u8]) -> Option<usize> {
    let end = suffix.get(suffix.len().checked_sub(END_BYTES)?..)?;
    let (length, name) = end.split_first_chunk::<4>()?;
    if name != PARQUET {
        return None;
    }
    usize::try_from(u32::from_le_bytes(*length)).ok()?.checked_add(END_BYTES)
}

/// What the end of a file says of its sums.
#[derive(Debug)]
pub(crate) enum Found {
    Sums(Sums),
    /// It has none.
    None,
    /// So many bytes of its end are needed to say.
    More(u64),
    /// It has sums, and they do not fit.
    Damaged,
}

/// The sums of one file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) size: u64,
    pub(crate) name: Option<Name>,
    data: u64,
    blocks: Vec<u32>,
    /// The sum of all that comes after the data.
    rest: u32,
}

impl Sums {
    /// Reads the sums of a file of `size` bytes that ends with `suffix`.
    pub(crate) fn find(size: u64, suffix: &[u8]) -> Found {
        // Sums that are not where the footer says: one of the two is wrong.
        let stray = || suffix.windows(MAGIC.len()).any(|bytes| bytes == MAGIC || bytes == MAGIC_UNNAMED);
        let none = || if stray() { Found::Damaged } else { Found::None };
        let Some(tail) = tail_bytes(suffix) else { return none() };
        let needed = (tail + TRAILER_BYTES) as u64;
        if needed > size {
            return none();
        }
        let Some(at) = suffix.len().checked_sub(tail + TRAILER_BYTES) else { return Found::More(needed) };
        let trailer = &suffix[at..at + TRAILER_BYTES];
        let name_bytes = match &trailer[..8] {
            magic if magic == MAGIC => NAME_BYTES,
            magic if magic == MAGIC_UNNAMED => 0,
            _ => return none(),
        };
        let data = number(&trailer[8..16]);
        let count = data.div_ceil(BLOCK_BYTES);
        let beside = needed + name_bytes as u64;
        let whole =
            count.checked_mul(4).and_then(|sums| data.checked_add(sums)).and_then(|sum| sum.checked_add(beside));
        if whole != Some(size) {
            return Found::Damaged;
        }
        let Some(from) = usize::try_from(size - data).ok().and_then(|rest| suffix.len().checked_sub(rest)) else {
            return Found::More(size - data);
        };
        let (sums, own) = (&suffix[from..at + 20], number(&trailer[20..]));
        let tail = &suffix[at + TRAILER_BYTES..];
        if u64::from(crc32fast::hash(sums)) != own || u64::from(crc32fast::hash(tail)) != number(&trailer[16..20]) {
            return Found::Damaged;
        }
        let sum = |bytes: &[u8]| bytes.iter().rev().fold(0, |sum: u32, byte| sum << 8 | u32::from(*byte));
        let name_at = at - name_bytes;
        let blocks = suffix[from..name_at].chunks(4).map(sum).collect();
        let name = Name::read(&suffix[name_at..at]);
        Found::Sums(Self { size, name, data, blocks, rest: crc32fast::hash(&suffix[from..]) })
    }

    /// What must be read to vouch for the bytes of `range`.
    pub(crate) fn span(&self, range: &Range<u64>) -> Range<u64> {
        let end = range.end.min(self.size);
        let start = floor(range.start.min(end));
        if end <= self.data {
            return start..end.div_ceil(BLOCK_BYTES).saturating_mul(BLOCK_BYTES).min(self.data);
        }
        // What comes after the data has one sum: all of it, or nothing.
        if range.start >= self.data { self.data..self.size } else { start..self.size }
    }

    /// Checks the bytes of a [`Sums::span`], which begin at `start`; tells the first block that is wrong.
    pub(crate) fn check(&self, span: &Range<u64>, bytes: &[u8]) -> Result<(), Range<u64>> {
        if bytes.len() as u64 != span.end - span.start {
            return Err(span.start + bytes.len() as u64..span.end);
        }
        let (mut at, mut left) = (span.start, bytes);
        while at < span.end {
            let (end, sum) = if at < self.data {
                let block = usize::try_from(at / BLOCK_BYTES).unwrap_or(usize::MAX);
                ((at + BLOCK_BYTES).min(self.data), self.blocks.get(block).copied())
            } else {
                (self.size, Some(self.rest))
            };
            let wrong = at..end;
            let Some((block, rest)) = usize::try_from(end - at).ok().and_then(|n| left.split_at_checked(n)) else {
                return Err(wrong);
            };
            if Some(crc32fast::hash(block)) != sum {
                return Err(wrong);
            }
            (at, left) = (end, rest);
        }
        Ok(())
    }

    /// How many sums there are: what it takes in memory.
    pub(crate) fn blocks(&self) -> usize {
        self.blocks.len()
    }
}

/// The start of the block that holds a byte.
pub(crate) fn floor(at: u64) -> u64 {
    at / BLOCK_BYTES * BLOCK_BYTES
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

#[cfg(test)]
#[path = "sums/tests.rs"]
mod tests;
