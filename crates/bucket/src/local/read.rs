//! Reading: one open, at most one stat, and one positioned read for each run of neighbouring ranges.

use std::{
    fs::{File, Metadata},
    io::{self, ErrorKind},
    ops::Range,
    os::unix::fs::MetadataExt,
    sync::Arc,
};

use bytes::Bytes;
use futures::{StreamExt, stream, stream::BoxStream};
use object_store::{GetOptions, ObjectMeta, Result, path::Path};
use rustix::{buffer::spare_capacity, io::Errno};

use super::{faults, once, place::Place};

/// Reads of up to this size are done at once, in the same blocking call as the open.
const AT_ONCE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// A range that the caller names will stand in memory anyway, so it is read at once up to here.
const AT_ONCE_RANGE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Ranges with a gap of up to this are read together: copying it costs less than another system call.
const GAP_BYTES_MAX: u64 = 16 * 1024;

/// A body, or the file to read it from.
#[derive(Debug)]
pub(super) enum Read {
    /// Read already.
    Done(Range<u64>, Bytes),
    /// To be read piece by piece.
    Later(Range<u64>, File),
}

impl Read {
    pub(super) fn range(&self) -> Range<u64> {
        match self {
            Self::Done(range, _) | Self::Later(range, _) => range.clone(),
        }
    }

    pub(super) fn into_stream(self) -> BoxStream<'static, Result<Bytes>> {
        match self {
            Self::Done(_, bytes) => once(Ok(bytes)),
            Self::Later(range, file) => pieces(file, range),
        }
    }
}

/// Opens an object, checks the conditions, and reads it if that is all the same.
pub(super) fn get(place: &Place, location: Path, options: &GetOptions) -> Result<(ObjectMeta, Read)> {
    let file = place.open_object(&location)?;
    let metadata = file.metadata().map_err(|error| faults::of(&location, error))?;
    if !metadata.is_file() {
        return Err(faults::of(&location, ErrorKind::NotFound.into()));
    }
    let meta = meta(location, &metadata);
    options.check_preconditions(&meta)?;
    let range = match &options.range {
        Some(range) => range.as_range(meta.size).map_err(faults::generic)?,
        None => 0..meta.size,
    };
    if options.head {
        return Ok((meta, Read::Done(range, Bytes::new())));
    }
    let at_once = if options.range.is_some() { AT_ONCE_RANGE_BYTES_MAX } else { AT_ONCE_BYTES_MAX };
    if range.end - range.start > at_once {
        return Ok((meta, Read::Later(range, file)));
    }
    let bytes = read_at(&file, range.clone()).map_err(|error| faults::of(&meta.location, error))?;
    Ok((meta, Read::Done(range, bytes)))
}

/// Reads ranges of an object, each cut at its end; one that begins behind it is an error.
pub(super) fn ranges(place: &Place, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
    let file = place.open_object(location)?;
    let runs = runs(ranges);
    let mut bodies = Vec::with_capacity(runs.len());
    for run in &runs {
        bodies.push(read_at(&file, run.clone()).map_err(|error| faults::of(location, error))?);
    }
    let cut = |range: &Range<u64>| {
        let run = runs.partition_point(|run| run.start <= range.start).saturating_sub(1);
        let (body, start) = (&bodies[run], (range.start - runs[run].start) as usize);
        let end = ((range.end - runs[run].start) as usize).min(body.len());
        if start > end || (start == end && range.start < range.end) {
            return Err(faults::generic(format!("{location} ends before byte {}", range.start)));
        }
        Ok(body.slice(start..end))
    };
    ranges.iter().map(cut).collect()
}

/// The fewest reads that cover `ranges`: sorted, apart by more than [`GAP_BYTES_MAX`].
fn runs(ranges: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut sorted: Vec<Range<u64>> = ranges.iter().map(|range| range.start..range.end.max(range.start)).collect();
    sorted.sort_unstable_by_key(|range| range.start);
    let mut runs: Vec<Range<u64>> = Vec::with_capacity(sorted.len());
    for range in sorted {
        match runs.last_mut() {
            Some(run) if range.start <= run.end.saturating_add(GAP_BYTES_MAX) => run.end = run.end.max(range.end),
            _ => runs.push(range),
        }
    }
    runs
}

/// Bytes `range` of a file, fewer at its end. Into memory that nobody wrote zeros to before.
fn read_at(file: &File, range: Range<u64>) -> io::Result<Bytes> {
    let length = usize::try_from(range.end - range.start).map_err(io::Error::other)?;
    let mut body = Vec::with_capacity(length);
    while body.len() < length {
        let at = range.start + body.len() as u64;
        match rustix::io::pread(file, spare_capacity(&mut body), at) {
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    body.truncate(length);
    Ok(Bytes::from(body))
}

fn pieces(file: File, range: Range<u64>) -> BoxStream<'static, Result<Bytes>> {
    let file = Arc::new(file);
    let next = move |range: Range<u64>| {
        let file = Arc::clone(&file);
        async move {
            if range.is_empty() {
                return Ok(None);
            }
            let piece = range.start..range.end.min(range.start + AT_ONCE_BYTES_MAX);
            let rest = piece.end..range.end;
            let read = tokio::task::spawn_blocking(move || read_at(&file, piece)).await?;
            let bytes = read.map_err(faults::generic)?;
            if bytes.is_empty() {
                return Err(faults::generic("the file became shorter while it was read"));
            }
            Ok(Some((bytes, rest)))
        }
    };
    stream::try_unfold(range, next).boxed()
}

/// What is known of an object without reading it.
pub(super) fn meta(location: Path, metadata: &Metadata) -> ObjectMeta {
    let nanoseconds = u32::try_from(metadata.mtime_nsec()).unwrap_or(0);
    let last_modified = chrono::DateTime::from_timestamp(metadata.mtime(), nanoseconds).unwrap_or_default();
    ObjectMeta { location, last_modified, size: metadata.len(), e_tag: Some(e_tag(metadata)), version: None }
}

/// A new file has a new inode, so that a body replaced within one tick of the clock is told apart.
pub(super) fn e_tag(metadata: &Metadata) -> String {
    format!("{:x}-{:x}-{:x}-{:x}", metadata.ino(), metadata.mtime(), metadata.mtime_nsec(), metadata.len())
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "one range is what is meant")]
mod tests {
    use super::*;

    #[test]
    fn near_ranges_are_read_together() {
        let far = 10 * GAP_BYTES_MAX;
        assert_eq!(runs(&[20..30, 0..10]), [0..30]);
        assert_eq!(runs(&[0..10, far..far + 1]), [0..10, far..far + 1]);
        assert_eq!(runs(&[0..100, 10..20]), [0..100]);
        assert_eq!(runs(&[]), []);
    }
}
