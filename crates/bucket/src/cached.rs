//! The store that a query's reads of cells pass on their way to the bucket: what the cache holds is not asked for.
//!
//! ```text
//!   ranges ─▶ blocks ─▶ memory? disk? ─▶ rest: runs of blocks that follow each other, one GET each, a few at a time
//!                       │ someone fetches it already: wait for that one
//! ```
//! A fetch runs as a task of its own: a query that stalls half way, or is dropped, holds up nobody who waits for the
//! same block. Fetches count against the query that began them, and what others get of it counts as a hit.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    ops::Range,
    sync::Arc,
};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use chrono::DateTime;
use futures::{StreamExt, stream, stream::BoxStream};
use object_store::{
    CopyOptions, Error, GetOptions, GetRange, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result, path::Path,
};
use tokio::sync::Semaphore;

use crate::{
    cell_cache::{BLOCK_BYTES, CellCache, CellHash, Claim, Found, blocks},
    counted::Counters,
    layout,
};

/// Most blocks of one GET: beyond it two at once are faster than a longer one.
const RUN_BLOCKS_MAX: usize = 8;

/// GETs in flight for one read.
const RUNS_IN_FLIGHT: usize = 8;

/// More than any cell has: a range beyond it is a mistake, and not to be counted in blocks.
const CELL_BYTES_MAX: u64 = 1 << 40;

/// How often blocks are looked for that others were to fetch and did not, before they are read past the cache.
const ROUNDS_MAX: usize = 4;

/// `inner`, with cells from the cache where it holds them.
#[derive(Debug)]
pub(crate) struct Cached {
    inner: Arc<dyn ObjectStore>,
    cache: Arc<CellCache>,
    counters: Arc<Counters>,
}

/// Parts of a cell, by where they begin; none overlaps another.
#[derive(Debug, Default)]
struct Parts {
    size: Option<u64>,
    parts: BTreeMap<u64, Bytes>,
}

impl Parts {
    fn add(&mut self, block: u32, bytes: Bytes) {
        self.parts.insert(u64::from(block) * BLOCK_BYTES, bytes);
    }

    fn has(&self, block: u32) -> bool {
        let at = u64::from(block) * BLOCK_BYTES;
        self.parts.range(..=at).next_back().is_some_and(|(start, bytes)| at < start + bytes.len() as u64)
    }

    /// The bytes of `range`, cut at the cell's end; `None` where a part is missing.
    fn cut(&self, range: &Range<u64>) -> Option<Bytes> {
        let end = range.end.min(self.size.unwrap_or(u64::MAX));
        let mut whole = BytesMut::new();
        let mut at = range.start;
        while at < end {
            let (start, bytes) = self.parts.range(..=at).next_back()?;
            let from = usize::try_from(at - start).ok()?;
            let to = bytes.len().min(usize::try_from(end - start).ok()?);
            if from >= to {
                return None;
            }
            if at == range.start && start + to as u64 == end {
                return Some(bytes.slice(from..to));
            }
            whole.extend_from_slice(&bytes[from..to]);
            at = start + to as u64;
        }
        Some(whole.freeze())
    }
}

fn broken(path: &Path, why: impl fmt::Display) -> Error {
    Error::Generic { store: "cells", source: format!("'{path}': {why}").into() }
}

/// Claims in order, in runs of blocks that follow each other.
fn runs(claims: Vec<Claim>) -> Vec<Vec<Claim>> {
    let mut runs: Vec<Vec<Claim>> = Vec::new();
    for claim in claims {
        match runs.last_mut() {
            Some(run)
                if run.len() < RUN_BLOCKS_MAX && run.last().is_some_and(|last| last.id.block + 1 == claim.id.block) =>
            {
                run.push(claim);
            }
            _ => runs.push(vec![claim]),
        }
    }
    runs
}

/// Fetches blocks that follow each other, and gives them to the cache. 1 GET.
async fn fetch(
    store: Arc<dyn ObjectStore>,
    cache: Arc<CellCache>,
    path: Path,
    run: Vec<Claim>,
) -> Result<(u64, u64, Bytes)> {
    let (Some(first), Some(last)) = (run.first(), run.last()) else { return Err(broken(&path, "nothing to fetch")) };
    let start = u64::from(first.id.block) * BLOCK_BYTES;
    let end = (u64::from(last.id.block) + 1) * BLOCK_BYTES;
    let options = GetOptions { range: Some(GetRange::Bounded(start..end)), ..GetOptions::default() };
    let found = store.get_opts(&path, options).await?;
    let (size, told) = (found.meta.size, found.range.start);
    let bytes = found.bytes().await?;
    if told != start || bytes.len() as u64 != end.min(size).saturating_sub(start) {
        return Err(broken(&path, format!("the read ended after {} bytes; try again", bytes.len())));
    }
    cache.take_in(run, size, &bytes);
    Ok((start, size, bytes))
}

impl Cached {
    pub(crate) fn new(inner: Arc<dyn ObjectStore>, cache: Arc<CellCache>, counters: Arc<Counters>) -> Self {
        Self { inner, cache, counters }
    }

    /// The parts of a cell that hold `ranges`.
    async fn parts(&self, path: &Path, ranges: &[Range<u64>]) -> Result<Parts> {
        let cell = CellHash::of(path.as_ref());
        let mut parts = Parts { size: self.cache.size(cell), ..Parts::default() };
        let of = |range: &Range<u64>| {
            let end = range.end.min(parts.size.unwrap_or(u64::MAX));
            (range.start / BLOCK_BYTES) as u32..u32::try_from(end.div_ceil(BLOCK_BYTES)).unwrap_or(u32::MAX)
        };
        let wanted: BTreeSet<u32> = ranges.iter().filter(|range| !range.is_empty()).flat_map(of).collect();
        for _ in 0..ROUNDS_MAX {
            let end = parts.size.map_or(u32::MAX, blocks);
            // A cell of which nothing is known tells its size with the first of it.
            let at_once = if parts.size.is_some() { usize::MAX } else { RUN_BLOCKS_MAX };
            let missing = wanted.iter().copied().filter(|block| *block < end && !parts.has(*block));
            let missing: Vec<u32> = missing.take(at_once).collect();
            if missing.is_empty() {
                return Ok(parts);
            }
            let found = self.cache.look(cell, missing.into_iter());
            self.gather(path, found, &mut parts).await?;
        }
        Ok(parts)
    }

    /// One round: reads and fetches what can be, waits for what others fetch.
    async fn gather(&self, path: &Path, found: Found, parts: &mut Parts) -> Result<()> {
        // First of all what others may wait for: all of it is under way before anything is waited for here.
        let turns = Arc::new(Semaphore::new(RUNS_IN_FLIGHT));
        let fetching: Vec<_> = runs(found.claimed)
            .into_iter()
            .map(|run| {
                let (store, cache, path) = (Arc::clone(&self.inner), Arc::clone(&self.cache), path.clone());
                let turns = Arc::clone(&turns);
                tokio::spawn(async move {
                    let _turn = turns.acquire_owned().await;
                    fetch(store, cache, path, run).await
                })
            })
            .collect();
        let on_disk = found.disk;
        let mut read = Vec::new();
        if !on_disk.is_empty() {
            let cache = Arc::clone(&self.cache);
            let reading = tokio::task::spawn_blocking(move || cache.read(&on_disk)).await;
            read = reading.map_err(|error| broken(path, format!("its read broke off: {error}")))?;
        }
        for fetching in fetching {
            let (start, size, bytes) =
                fetching.await.map_err(|error| broken(path, format!("its fetch broke off: {error}")))??;
            parts.size = Some(size);
            parts.parts.insert(start, bytes);
        }
        for (block, size, bytes) in found.memory.into_iter().chain(read) {
            self.hit(parts, block, size, bytes);
        }
        for (block, mut flight) in found.flying {
            // Whoever was to fetch it failed, and tells that to its own query: the next round asks for ours.
            let landed = flight.wait_for(Option::is_some).await.ok().and_then(|landed| landed.clone());
            if let Some((size, bytes)) = landed {
                self.hit(parts, block, size, bytes);
            }
        }
        Ok(())
    }

    fn hit(&self, parts: &mut Parts, block: u32, size: u64, bytes: Bytes) {
        self.counters.hit(bytes.len() as u64);
        parts.size = Some(size);
        parts.add(block, bytes);
    }

    /// A cell's range that the cache can answer.
    fn wanted(&self, path: &Path, options: &GetOptions) -> Option<Range<u64>> {
        let plain = options.if_match.is_none()
            && options.if_none_match.is_none()
            && options.if_modified_since.is_none()
            && options.if_unmodified_since.is_none()
            && options.version.is_none();
        if !plain || options.head || !layout::is_cell(path.as_ref()) {
            return None;
        }
        let size = self.cache.size(CellHash::of(path.as_ref()));
        let range = match (&options.range, size) {
            (Some(GetRange::Bounded(range)), _) => range.clone(),
            (None, Some(size)) => 0..size,
            (Some(GetRange::Offset(start)), Some(size)) => *start..size,
            (Some(GetRange::Suffix(bytes)), Some(size)) => size.saturating_sub(*bytes)..size,
            (_, None) => return None,
        };
        // What is no range of the cell is the store's to refuse, and no cell is as large as this.
        let is_range = !range.is_empty() && size.map_or(range.end < CELL_BYTES_MAX, |size| range.start < size);
        is_range.then_some(range)
    }
}

fn result(path: &Path, size: u64, start: u64, bytes: Bytes) -> GetResult {
    let range = start..start + bytes.len() as u64;
    let payload = GetResultPayload::Stream(stream::once(futures::future::ready(Ok(bytes))).boxed());
    // Cells never change: no age of theirs means anything to a reader.
    let last_modified = DateTime::UNIX_EPOCH;
    let meta = ObjectMeta { location: path.clone(), last_modified, size, e_tag: None, version: None };
    GetResult { payload, meta, range, attributes: Default::default() }
}

impl fmt::Display for Cached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for Cached {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        if options.head
            && layout::is_cell(location.as_ref())
            && let Some(size) = self.cache.size(CellHash::of(location.as_ref()))
        {
            return Ok(result(location, size, 0, Bytes::new()));
        }
        let Some(range) = self.wanted(location, &options) else {
            return self.inner.get_opts(location, options).await;
        };
        let parts = self.parts(location, std::slice::from_ref(&range)).await?;
        match (parts.size, parts.cut(&range)) {
            (Some(size), Some(bytes)) => Ok(result(location, size, range.start, bytes)),
            // Others were to fetch it, and failed again and again.
            _ => self.inner.get_opts(location, options).await,
        }
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        if !layout::is_cell(location.as_ref()) || ranges.is_empty() {
            return self.inner.get_ranges(location, ranges).await;
        }
        let parts = self.parts(location, ranges).await?;
        match ranges.iter().map(|range| parts.cut(range)).collect::<Option<Vec<_>>>() {
            Some(whole) => Ok(whole),
            None => self.inner.get_ranges(location, ranges).await,
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
