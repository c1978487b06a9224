//! The vacuum of one frame, step by step: list, judge, doom, delete, count. What it may delete is decided in `judge`.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use apiary_bucket::{Key, layout};
use apiary_core::{ErrorKind, TxnId, failpoint};

use super::{
    DELETED_MAX, DOOMED_MAX, FILES_MAX, LISTED_MAX, MISSING_MAX,
    doom::Notice,
    judge::{Evidence, File, Horizon, is_young, judge, to_doom},
    ms,
    pins::Pins,
    report::{Fate, FileFate, Hold, Total, VacuumOptions, VacuumReport},
    window,
};
use crate::{
    CellId, FrameRecord, Result, Snapshot,
    frames::FrameLog,
    log::{Log, within},
};

/// Cells asked of one listing: ten requests, a megabyte.
const PAGE: usize = 10_000;

/// Most files in one batch of deletes. The first is of one file, each next twice as large: whoever dies half way
/// leaves some, and little is lost.
const BATCH_MAX: usize = 512;

/// Vacuums one frame whose newest version is `snapshot`.
///
/// Cost: the store's time, 1 LIST for each 1 000 files, 1 LIST of pins; only if a file may go: 1 LIST for each 1 000
/// log objects and 1 GET for each entry that matters; only if one goes: 2 commits and the deletes. Dropping the future
/// is like a crash: the next vacuum finishes.
pub(crate) async fn frame(
    log: &Log<FrameLog>,
    record: &FrameRecord,
    snapshot: Arc<Snapshot>,
    options: &VacuumOptions,
) -> Result<VacuumReport> {
    let now_ms = match options.store_now_ms {
        Some(now_ms) => now_ms,
        None => within(&log.bucket, "the store's clock", log.bucket.store_now_ms()).await?,
    };
    let found = Found { report: VacuumReport::of(snapshot.version, now_ms), going: Going::default() };
    let mut run = Run { log, record, snapshot, options, now_ms, evidence: None };
    let Found { mut report, going } = run.find(found).await?;
    if !options.run || going.is_empty() || !report.missing.is_empty() {
        tell(&mut report, going);
        return Ok(report);
    }
    run.delete(report, going).await
}

struct Run<'a> {
    log: &'a Log<FrameLog>,
    record: &'a FrameRecord,
    snapshot: Arc<Snapshot>,
    options: &'a VacuumOptions,
    now_ms: i64,
    /// Read when the first file asks for it.
    evidence: Option<Evidence>,
}

struct Found {
    report: VacuumReport,
    going: Going,
}

/// What is to go.
#[derive(Default)]
struct Going {
    files: Vec<FileFate>,
    doomed: BTreeSet<TxnId>,
}

impl Going {
    fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Whether there is room for one more file whose transaction must be doomed, or need not.
    fn has_room(&self, doomed: Option<TxnId>) -> bool {
        let known = |txn: &TxnId| self.doomed.contains(txn);
        let doomable = doomed.as_ref().is_none_or(|txn| known(txn) || self.doomed.len() < DOOMED_MAX);
        doomable && self.files.len() < DELETED_MAX
    }
}

impl Run<'_> {
    /// Looks at every file of the frame.
    async fn find(&mut self, mut found: Found) -> Result<Found> {
        let prefix = layout::cells_prefix(&self.record.folder);
        let snapshot = Arc::clone(&self.snapshot);
        let current: HashSet<CellId> = snapshot.cells.iter().map(|cell| cell.id).collect();
        let mut there: HashSet<CellId> = HashSet::with_capacity(current.len());
        let mut after: Option<String> = None;
        for _ in 0..FILES_MAX / PAGE {
            let listing = self.log.bucket.list(&prefix, after.as_deref(), PAGE);
            let page = within(&self.log.bucket, &prefix, listing).await?;
            let full = page.len() == PAGE;
            after = page.last().map(|last| last.key.clone());
            for listed in page {
                let path = listed.key.get(self.record.folder.len() + 1..).unwrap_or_default();
                let id = CellId::of_path(path).filter(|id| current.contains(id));
                if id.is_some_and(|id| there.insert(id)) {
                    found.report.current.add(listed.size);
                } else if id.is_none() {
                    let file = File { path: path.to_owned(), bytes: listed.size, modified_ms: listed.modified_ms };
                    self.take(&mut found, file).await?;
                }
            }
            if !full {
                found.report.missing = self.missing(current.difference(&there)).await?;
                return Ok(found);
            }
        }
        found.report.more = true;
        Ok(found)
    }

    /// Of these cells of the newest version, which no list shows, those that are not there. 1 GET for each, a thousand
    /// at most: the first says enough.
    async fn missing(&self, unseen: impl Iterator<Item = &CellId>) -> Result<Vec<String>> {
        let mut missing = Vec::new();
        for id in unseen.take(MISSING_MAX) {
            let key = layout::in_folder(&self.record.folder, &id.path())?;
            match within(&self.log.bucket, key.as_ref(), self.log.bucket.get_range(&key, 0..1)).await {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => missing.push(id.path()),
                Err(error) => return Err(error),
            }
        }
        missing.sort_unstable();
        Ok(missing)
    }

    async fn take(&mut self, found: &mut Found, file: File) -> Result<()> {
        let retention_ms = ms(self.options.retention);
        let mut fate = if is_young(&file, self.now_ms, retention_ms) {
            Fate::Stays(Hold::Young)
        } else {
            let evidence = match self.evidence.take() {
                Some(evidence) => evidence,
                None => self.gather().await?,
            };
            let fate = judge(&file, &evidence, self.now_ms, retention_ms);
            self.evidence = Some(evidence);
            fate
        };
        let doomed = to_doom(&fate);
        let Found { report, going } = found;
        if matches!(fate, Fate::Goes(_)) && !going.has_room(doomed) {
            (fate, report.more) = (Fate::Stays(Hold::Later), true);
        }
        let goes = matches!(fate, Fate::Goes(_));
        let age_ms = self.now_ms.saturating_sub(file.modified_ms);
        let file = FileFate { path: file.path, bytes: file.bytes, age_ms, fate };
        if goes {
            going.doomed.extend(doomed);
            going.files.push(file);
        } else {
            report.stay(file);
        }
        Ok(())
    }

    /// Reads what the judgement rests on.
    async fn gather(&self) -> Result<Evidence> {
        let head = &self.snapshot.head;
        let pins = Pins::new(self.log.bucket.clone()).of_folder(&self.record.folder, self.now_ms).await?;
        let written = window::written(self.log, head.version).await?;
        let horizon = Horizon::of(head.version, &written, &pins, self.now_ms, ms(self.options.retention));
        let window = window::read(self.log, horizon.read_from, head).await?;
        Ok(Evidence { horizon, window, written })
    }

    /// Dooms, deletes, counts.
    async fn delete(&self, mut report: VacuumReport, mut going: Going) -> Result<VacuumReport> {
        report.run = true;
        let mut opening =
            self.notice(|id, node| Notice::opening(id, node, std::mem::take(&mut going.doomed), total(&going.files)));
        let (opened, read) = opening.commit(self.log, self.snapshot.head.clone()).await?;
        report.opened = Some(opened);
        report.doomed = opening.doomed.len() as u64;
        going.files.retain(|file| to_doom(&file.fate).is_none_or(|txn| !opening.spared.contains(&txn)));
        let paths = going.files.iter().map(|file| layout::in_folder(&self.record.folder, &file.path));
        let keys = paths.collect::<apiary_bucket::Result<Vec<Key>>>()?;
        let (mut rest, mut batch) = (&keys[..], 1);
        // Ends with the keys.
        while !rest.is_empty() {
            let (now, later) = rest.split_at(batch.min(rest.len()));
            within(&self.log.bucket, "what a vacuum deletes", self.log.bucket.delete_all(now)).await?;
            failpoint::hit("mid_vacuum");
            (rest, batch) = (later, (batch * 2).min(BATCH_MAX));
        }
        let went = total(&going.files);
        tell(&mut report, going);
        let head = read.last().map_or_else(|| self.snapshot.head.clone(), |read| read.head.clone());
        let mut closing = self.notice(|id, node| Notice::closing(id, node, went));
        match closing.commit(self.log, head).await {
            Ok((closed, _)) => report.closed = Some(closed),
            // The files are gone either way; the entry is for people.
            Err(error) => tracing::warn!(frame = %self.record.path, %error, "a vacuum could not be counted"),
        }
        tracing::info!(
            frame = %self.record.path, opened = %opened, files = went.files, bytes = went.bytes,
            doomed = report.doomed, more = report.more, "vacuum ended"
        );
        Ok(report)
    }

    fn notice(&self, make: impl FnOnce(TxnId, &str) -> Notice) -> Notice {
        let bucket = &self.log.bucket;
        make(TxnId::new(bucket.clock().as_ref(), bucket.rng().as_ref()), &self.options.node)
    }
}

fn total(files: &[FileFate]) -> Total {
    files.iter().fold(Total::default(), |mut total, file| {
        total.add(file.bytes);
        total
    })
}

/// Puts what goes, or went, before what stays.
fn tell(report: &mut VacuumReport, going: Going) {
    report.goes = total(&going.files);
    report.doomed = report.doomed.max(going.doomed.len() as u64);
    let mut files = going.files;
    files.append(&mut report.files);
    files.truncate(LISTED_MAX);
    report.files = files;
}
