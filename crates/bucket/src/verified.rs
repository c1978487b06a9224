//! The store that a query reads cells through: nothing of a damaged cell gets past it.
//!
//! A read of a cell is widened to whole blocks and each block is compared with its sum (see `sums`). The sums come
//! with the footer, which a reader asks for first, so they cost no request of their own. With them comes the cell's
//! name, which must be that of the key asked for: a whole cell in another's place is as wrong as a broken one. What is
//! not a cell, or has no sums, passes as it is. A block of 64 KiB costs some microseconds to check.

use std::{
    collections::HashMap,
    fmt,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream, stream::BoxStream};
use object_store::{
    CopyOptions, Error, GetOptions, GetRange, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
    path::Path,
};

use crate::{
    cell_cache::CellCache,
    layout,
    sums::{self, Found, Sums},
};

/// What stands in the error of a cell whose bytes are not what was written.
pub const DAMAGED: &str = " is damaged: ";

/// Read of a file's end if its sums are asked for before its footer: most footers fit.
const SUFFIX_BYTES: u64 = 128 * 1024;

/// Sums held in memory, 16 MiB of them. Past this the memory starts afresh, which costs a read for each file.
const SUMS_MAX: usize = 4 << 20;

/// What is known of cells: their sums, or that they have none. Cells never change.
#[derive(Debug, Default)]
pub(crate) struct Known {
    files: HashMap<Path, Option<Arc<Sums>>>,
    sums: usize,
}

impl Known {
    fn add(&mut self, path: &Path, found: Option<Arc<Sums>>) {
        let count = 1 + found.as_ref().map_or(0, |sums| sums.blocks());
        if self.sums + count > SUMS_MAX {
            *self = Self::default();
        }
        self.sums += count;
        self.files.insert(path.clone(), found);
    }
}

/// `inner`, with every read of a cell checked.
#[derive(Debug)]
pub(crate) struct Verified {
    inner: Arc<dyn ObjectStore>,
    known: Arc<Mutex<Known>>,
    /// What `inner` may answer from: a cell that is damaged there need not be so in the bucket.
    cache: Option<Arc<CellCache>>,
}

/// Bytes of a file from some place on.
struct Piece {
    meta: ObjectMeta,
    start: u64,
    bytes: Bytes,
}

impl Piece {
    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    /// The bytes of `range`, cut at the end of the piece; `None` if it begins before or behind it.
    fn cut(&self, range: &Range<u64>) -> Option<Bytes> {
        let from = usize::try_from(range.start.checked_sub(self.start)?).ok()?;
        let to = usize::try_from(range.end.min(self.end()).checked_sub(self.start)?).ok()?;
        (from <= to && to <= self.bytes.len()).then(|| self.bytes.slice(from..to))
    }
}

/// What was asked for, of a piece that holds at least that.
fn part(path: &Path, piece: Piece, range: &Range<u64>) -> Result<Piece> {
    let size = piece.meta.size;
    match piece.cut(range).filter(|bytes| !bytes.is_empty() || range.is_empty() || range.start == size) {
        Some(bytes) if range.start < size || range.start == 0 => {
            Ok(Piece { start: range.start, bytes, meta: piece.meta })
        }
        _ => {
            let why = format!("'{path}' has {size} bytes and ends before byte {}", range.start);
            Err(Error::Generic { store: "cells", source: why.into() })
        }
    }
}

fn damaged(path: &Path, what: impl fmt::Display) -> Error {
    let why = format!("'{path}'{DAMAGED}{what}");
    Error::Generic { store: "cells", source: why.into() }
}

/// A cell that knows its name stands nowhere else; one of the first programs knows none.
fn in_its_place(path: &Path, sums: &Sums) -> Result<()> {
    let Some(name) = sums.name else { return Ok(()) };
    let (txn, n) = (name.txn, name.n as usize);
    if layout::parse_cell(path.as_ref()) == Some((txn, n)) {
        return Ok(());
    }
    Err(damaged(path, format!("another cell, '{}', stands in its place", layout::cell_path(&txn, n))))
}

fn cut_short(path: &Path, size: u64, end: u64) -> Error {
    damaged(path, format!("it is cut short: it has {size} of at least {end} bytes"))
}

impl Verified {
    pub(crate) fn new(inner: Arc<dyn ObjectStore>, known: Arc<Mutex<Known>>, cache: Option<Arc<CellCache>>) -> Self {
        Self { inner, known, cache }
    }

    /// Whether a read that failed may succeed: it found damage, and what it read may have come from the cache, which
    /// holds nothing of that cell from now on.
    fn may_try_again(&self, path: &Path, error: &Error) -> bool {
        let Some(cache) = self.cache.as_ref().filter(|_| error.to_string().contains(DAMAGED)) else { return false };
        self.known().files.remove(path);
        cache.forget(path.as_ref())
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads bytes as they are. A reader knows a cell's size from the ledger, so a range that ends behind the cell's end
    /// says that some of it is gone.
    async fn piece(&self, path: &Path, range: Range<u64>) -> Result<Piece> {
        let end = range.end;
        let asked = match range {
            Range { start: 0, end: u64::MAX } => None,
            Range { start, end: u64::MAX } => Some(GetRange::Offset(start)),
            range => Some(GetRange::Bounded(range)),
        };
        let found = match self.inner.get_opts(path, GetOptions { range: asked, ..GetOptions::default() }).await {
            // Perhaps a range behind the end, which stores refuse each in its own words.
            Err(error @ Error::Generic { .. }) if end != u64::MAX => match self.inner.head(path).await {
                Ok(meta) if meta.size < end => return Err(cut_short(path, meta.size, end)),
                _ => return Err(error),
            },
            found => found?,
        };
        if end != u64::MAX && found.meta.size < end {
            return Err(cut_short(path, found.meta.size, end));
        }
        let (meta, range) = (found.meta.clone(), found.range.clone());
        let piece = Piece { meta, start: range.start, bytes: found.bytes().await? };
        if piece.end() != range.end {
            return Err(damaged(path, format!("the read ended at byte {} instead of {}", piece.end(), range.end)));
        }
        Ok(piece)
    }

    /// Looks for a file's sums in `piece`, or in its end if that is elsewhere; returns what it read for that.
    /// A file that knows its name must be the one asked for.
    async fn look(&self, path: &Path, piece: &Piece) -> Result<(Option<Arc<Sums>>, Option<Piece>)> {
        let size = piece.meta.size;
        let mut read = None;
        if piece.end() < size {
            read = Some(self.piece(path, sums::floor(size.saturating_sub(SUFFIX_BYTES))..size).await?);
        }
        // The trailer says how many sums there are: two rounds at most.
        for _ in 0..3 {
            let suffix = read.as_ref().unwrap_or(piece);
            let found = match Sums::find(size, &suffix.bytes) {
                Found::Sums(sums) => {
                    in_its_place(path, &sums)?;
                    Some(Arc::new(sums))
                }
                Found::None => None,
                Found::Damaged => return Err(damaged(path, "its checksums and its footer do not fit")),
                Found::More(bytes) => {
                    read = Some(self.piece(path, sums::floor(size.saturating_sub(bytes))..size).await?);
                    continue;
                }
            };
            self.known().add(path, found.clone());
            return Ok((found, read));
        }
        Err(damaged(path, "its checksums have no end"))
    }

    /// Bytes of a cell, all of them checked.
    async fn read(&self, path: &Path, range: Range<u64>) -> Result<Piece> {
        let known = self.known().files.get(path).cloned();
        let (sums, mut read) = match known {
            Some(Some(sums)) => (sums, Vec::new()),
            Some(None) => return self.piece(path, range).await,
            None => {
                let piece = self.piece(path, sums::floor(range.start)..range.end).await?;
                match self.look(path, &piece).await? {
                    (Some(sums), other) => (sums, other.into_iter().chain([piece]).collect()),
                    (None, _) => return part(path, piece, &range),
                }
            }
        };
        let span = sums.span(&range);
        let covers = |piece: &Piece| piece.start <= span.start && span.end <= piece.end();
        let piece = match read.iter().position(covers) {
            Some(at) => read.swap_remove(at),
            None => self.piece(path, span.clone()).await?,
        };
        let bytes = piece.cut(&span).unwrap_or_default();
        let wrong = |wrong: Range<u64>| {
            damaged(path, format!("bytes {} to {} do not match their checksum", wrong.start, wrong.end))
        };
        sums.check(&span, &bytes).map_err(wrong)?;
        part(path, piece, &range)
    }

    /// Many ranges of a cell, all of them checked.
    async fn ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        if !layout::is_cell(location.as_ref()) || ranges.is_empty() {
            return self.inner.get_ranges(location, ranges).await;
        }
        if let [range] = ranges {
            return Ok(vec![self.read(location, range.clone()).await?.bytes]);
        }
        let known = self.known().files.get(location).cloned();
        let sums = match known {
            Some(sums) => sums,
            None => {
                // Someone else read the footer: its end first.
                let size = self.inner.head(location).await?.size;
                let end = self.piece(location, sums::floor(size.saturating_sub(SUFFIX_BYTES))..size).await?;
                self.look(location, &end).await?.0
            }
        };
        let Some(sums) = sums else { return self.inner.get_ranges(location, ranges).await };
        let spans: Vec<Range<u64>> = ranges.iter().map(|range| sums.span(range)).collect();
        let merged = merged(&spans);
        let bodies = self.inner.get_ranges(location, &merged).await?;
        let mut pieces = Vec::with_capacity(merged.len());
        for (span, bytes) in merged.into_iter().zip(bodies) {
            sums.check(&span, &bytes).map_err(|wrong| {
                damaged(location, format!("bytes {} to {} do not match their checksum", wrong.start, wrong.end))
            })?;
            pieces.push((span, bytes));
        }
        let cut = |range: &Range<u64>| {
            let at = pieces.partition_point(|(span, _)| span.start <= range.start).checked_sub(1)?;
            let (span, bytes) = &pieces[at];
            let from = usize::try_from(range.start - span.start).ok()?;
            let to = usize::try_from(range.end.min(span.end).checked_sub(span.start)?).ok()?;
            (from <= to).then(|| bytes.slice(from..to))
        };
        let whole = ranges.iter().map(cut).collect::<Option<Vec<_>>>();
        whole.ok_or_else(|| damaged(location, "it ends before a range that its footer names"))
    }

    /// What a request asks of a cell, if it is one whose answer can be checked.
    async fn wanted(&self, path: &Path, options: &GetOptions) -> Result<Option<Range<u64>>> {
        let plain = options.if_match.is_none()
            && options.if_none_match.is_none()
            && options.if_modified_since.is_none()
            && options.if_unmodified_since.is_none()
            && options.version.is_none();
        if options.head || !plain || !layout::is_cell(path.as_ref()) {
            return Ok(None);
        }
        Ok(Some(match &options.range {
            None => 0..u64::MAX,
            Some(GetRange::Bounded(range)) => range.clone(),
            Some(GetRange::Offset(start)) => *start..u64::MAX,
            Some(GetRange::Suffix(bytes)) => {
                let size = self.inner.head(path).await?.size;
                size.saturating_sub(*bytes)..size
            }
        }))
    }
}

impl fmt::Display for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for Verified {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let Some(range) = self.wanted(location, &options).await? else {
            return self.inner.get_opts(location, options).await;
        };
        let piece = match self.read(location, range.clone()).await {
            Err(error) if self.may_try_again(location, &error) => self.read(location, range).await?,
            read => read?,
        };
        let range = piece.start..piece.end();
        let payload = GetResultPayload::Stream(stream::once(futures::future::ready(Ok(piece.bytes))).boxed());
        Ok(GetResult { payload, meta: piece.meta, range, attributes: Default::default() })
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        match self.ranges(location, ranges).await {
            Err(error) if self.may_try_again(location, &error) => self.ranges(location, ranges).await,
            read => read,
        }
    }

    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await
    }
}

/// The fewest ranges that cover `spans`, in order: those that touch or overlap are one.
fn merged(spans: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut sorted = spans.to_vec();
    sorted.sort_unstable_by_key(|span| span.start);
    let mut merged: Vec<Range<u64>> = Vec::with_capacity(sorted.len());
    for span in sorted {
        match merged.last_mut() {
            Some(last) if span.start <= last.end => last.end = last.end.max(span.end),
            _ => merged.push(span),
        }
    }
    merged
}

#[cfg(test)]
#[path = "verified/tests.rs"]
mod tests;
