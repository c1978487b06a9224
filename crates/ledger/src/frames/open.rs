//! Opening a frame: warm, cold, and as it was.
//!
//! ```text
//! warm   GET v+1, with the fence of its epoch unless that is known to be missing; what is there is replayed, and so on
//! cold   GET _last_checkpoint   where to look first; whatever it says costs time at most
//!        LIST from there        checkpoints and entries; beside it already
//!        GET checkpoint, GET its checksum, and then the entries after it, 16 at once
//!        GET the entry after those, which is not there
//! ```
//!
//! A checkpoint that cannot be believed is told and skipped: the one before it is next, at last the log's first entry.
//! Only when the entries that would be needed then were cleaned away is the frame lost, and the error names what to
//! restore.

use std::{collections::BTreeSet, sync::Arc};

use apiary_bucket::layout;
use apiary_core::Version;
use bytes::Bytes;

use super::{
    FrameLog, Frames,
    listing::{LOG_OBJECTS_MAX, Listing},
};
use crate::{
    FrameRecord, LedgerError, Result, Snapshot,
    checkpoint::{self, Loaded},
    fence::Moment,
    log::{Log, LogKind, within},
    replay::Replay,
};

/// Entries read while their checkpoint is, without knowing yet that they will be needed.
const EARLY_MAX: u64 = 64;

/// How often a cold reader begins again because the log was cleaned under its eyes.
const OPENINGS_MAX: u32 = 3;

/// Versions in a first look for the checkpoint before a version; then this many times as many.
const LOOK_BACK: u64 = 256;

/// A hint that lies further back than this is not worth reading on from, where no list says what came after it.
const PROBED_MAX: u64 = 1024;

impl Frames {
    /// The newest version of a frame, dropped or not.
    pub(super) async fn newest(&self, frame: &FrameRecord) -> Result<Arc<Snapshot>> {
        let cached = self.lock().get(&frame.folder);
        let Some(known) = cached else { return self.cold(frame).await };
        match self.warm(frame, Arc::clone(&known)).await {
            Err(LedgerError::Fenced { .. }) => {
                self.lock().forget(&known);
                self.cold(frame).await
            }
            read => read,
        }
    }

    /// What follows a snapshot that is known.
    async fn warm(&self, frame: &FrameRecord, known: Arc<Snapshot>) -> Result<Arc<Snapshot>> {
        let log = self.log(frame);
        match replayed(&log, Some(&known), Vec::new(), None, None).await? {
            Some(snapshot) => Ok(self.lock().put(Arc::new(snapshot), &log.vouch)),
            None => Ok(known),
        }
    }

    /// A frame of which nothing is known.
    pub(super) async fn cold(&self, frame: &FrameRecord) -> Result<Arc<Snapshot>> {
        let log = self.log(frame);
        let mut opening = Opening::new(&log);
        for _ in 0..OPENINGS_MAX {
            match opening.newest().await {
                Err(LedgerError::Fenced { .. }) => opening.tried.clear(),
                Ok(snapshot) => return Ok(self.lock().put(Arc::new(snapshot), &log.vouch)),
                Err(error) => return Err(opening.lost(error)),
            }
        }
        Err(opening.lost(LedgerError::corrupt(log.kind.key(Version(0)), "it and those after it were cleaned away")))
    }

    /// A frame as it was at a version that was there once.
    pub(super) async fn at(&self, frame: &FrameRecord, version: Version) -> Result<Option<Snapshot>> {
        let log = self.log(frame);
        let mut opening = Opening::new(&log);
        match opening.at(version).await {
            Err(LedgerError::Fenced { .. }) => Ok(None),
            Err(error) => Err(opening.lost(error)),
            Ok(snapshot) => Ok(snapshot.filter(|snapshot| snapshot.version == version)),
        }
    }

    /// The oldest version that can be read, as far as names tell. 1 LIST for each 1 000 objects of the log.
    pub(super) async fn oldest(&self, frame: &FrameRecord) -> Result<Option<Version>> {
        let log = self.log(frame);
        Ok(Listing::read(&log, None, LOG_OBJECTS_MAX).await?.oldest())
    }
}

/// A checkpoint, and the first entries after it.
type Loading = (Loaded, Vec<Result<Option<Bytes>>>);

/// Why a hinted checkpoint is loaded no further.
enum Until {
    /// The list shows a newer one.
    Outdated(Listing),
    Failed(LedgerError),
}

/// A frame that is being opened.
#[derive(Debug)]
struct Opening<'a> {
    log: &'a Log<FrameLog>,
    /// Checkpoints that need not be tried again.
    tried: BTreeSet<Version>,
    damaged: BTreeSet<String>,
}

impl<'a> Opening<'a> {
    fn new(log: &'a Log<FrameLog>) -> Self {
        Self { log, tried: BTreeSet::new(), damaged: BTreeSet::new() }
    }

    async fn newest(&mut self) -> Result<Snapshot> {
        let asked = Moment::now(self.log.bucket.clock().as_ref());
        let hinted = checkpoint::hint(&self.log.bucket, &self.log.kind.folder).await;
        if let Some(hinted) = hinted {
            let found = if self.log.bucket.list_is_ordered() {
                let (list, ahead) = self.listed_beside(hinted).await?;
                self.by_list(&list, None, asked, ahead).await?
            } else {
                self.by_hint(hinted).await?
            };
            if let Some(snapshot) = found {
                return Ok(snapshot);
            }
        }
        let list = Listing::read(self.log, None, LOG_OBJECTS_MAX).await?;
        if list.is_bare() {
            self.missing_if_without_first().await?;
        }
        if let Some(snapshot) = self.by_list(&list, None, asked, None).await? {
            return Ok(snapshot);
        }
        if list.is_whole && list.newest_checkpoint().is_none() {
            self.log.vouch.set(Version(0), asked);
        }
        let missing = || LedgerError::LedgerMissing { object: self.log.kind.key(Version(0)).to_string() };
        replayed(self.log, None, Vec::new(), list.last(), None).await?.ok_or_else(missing)
    }

    /// Where a list shows nothing, the first entry alone can tell: a fence before it tells only why it is gone.
    async fn missing_if_without_first(&self) -> Result<()> {
        let first = self.log.kind.key(Version(0));
        match within(&self.log.bucket, first.as_ref(), self.log.bucket.get(&first)).await? {
            Some(_) => Ok(()),
            None => Err(LedgerError::LedgerMissing { object: first.to_string() }),
        }
    }

    async fn at(&mut self, version: Version) -> Result<Option<Snapshot>> {
        let asked = Moment::now(self.log.bucket.clock().as_ref());
        let mut back = LOOK_BACK;
        // Ends at version 0, after few steps.
        loop {
            let from = version.0.saturating_sub(back);
            // Three objects of each version at most.
            let objects = usize::try_from((back + 1) * 3).unwrap_or(LOG_OBJECTS_MAX).min(LOG_OBJECTS_MAX);
            let list = Listing::read(self.log, (from > 0).then_some(Version(from)), objects).await?;
            if let Some(snapshot) = self.by_list(&list, Some(version), asked, None).await? {
                return Ok(Some(snapshot));
            }
            if from == 0 {
                let whole = list.entries.contains_key(&Version(0));
                let last = list.last().map(|last| last.min(version));
                return if whole { replayed(self.log, None, Vec::new(), last, Some(version)).await } else { Ok(None) };
            }
            back = back.saturating_mul(LOOK_BACK);
        }
    }

    /// What the log holds from the hinted checkpoint on, which is loaded meanwhile; and the checkpoint, if it is the newest.
    async fn listed_beside(&self, hinted: Version) -> Result<(Listing, Option<Loading>)> {
        let listing = async {
            let list = Listing::read(self.log, Some(hinted), LOG_OBJECTS_MAX).await.map_err(Until::Failed)?;
            if list.newest_checkpoint() != Some(hinted) {
                return Err(Until::Outdated(list));
            }
            let early = self.early(hinted, list.last()).await;
            Ok((list, early))
        };
        // What the store says of a checkpoint counts only if it is the newest.
        let loading = async { Ok(self.load(hinted).await) };
        match tokio::try_join!(listing, loading) {
            Ok(((list, early), loaded)) => Ok((list, Some((loaded?, early)))),
            Err(Until::Outdated(list)) => Ok((list, None)),
            Err(Until::Failed(error)) => Err(error),
        }
    }

    /// The frame by the newest checkpoint that can be believed, up to `upto`; `None` if there is none. The newest of the
    /// list may have been loaded `ahead`.
    async fn by_list(
        &mut self,
        list: &Listing,
        upto: Option<Version>,
        asked: Moment,
        mut ahead: Option<Loading>,
    ) -> Result<Option<Snapshot>> {
        let last = list.last().map(|last| upto.map_or(last, |upto| last.min(upto)));
        for version in list.checkpoints.keys().rev().filter(|version| upto.is_none_or(|upto| **version <= upto)) {
            let ahead = ahead.take();
            if !self.tried.insert(*version) {
                continue;
            }
            let (loaded, early) = match ahead {
                Some(loading) => loading,
                None => tokio::try_join!(self.load(*version), async { Ok(self.early(*version, last).await) })?,
            };
            let Some(base) = self.believed(*version, loaded) else { continue };
            // No checkpoint lies above, so no slot after this one is in a fenced epoch.
            if list.is_whole && upto.is_none() && list.newest_checkpoint() == Some(*version) {
                self.log.vouch.set(version.next(), asked);
            }
            let read = replayed(self.log, Some(&base), early, last, upto).await?;
            return Ok(Some(read.unwrap_or(*base)));
        }
        Ok(None)
    }

    /// The frame by the checkpoint that the hint names, where no list can begin there.
    async fn by_hint(&mut self, hinted: Version) -> Result<Option<Snapshot>> {
        self.tried.insert(hinted);
        let loaded = self.load(hinted).await?;
        let Some(base) = self.believed(hinted, loaded) else { return Ok(None) };
        let last = match self.log.probe(hinted).await {
            Ok(last) if last.0 - hinted.0 <= PROBED_MAX => last,
            // Old enough that a newer checkpoint is there.
            Ok(_) | Err(LedgerError::Fenced { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let read = replayed(self.log, Some(&base), Vec::new(), Some(last), None).await?;
        Ok(Some(read.unwrap_or(*base)))
    }

    async fn load(&self, version: Version) -> Result<Loaded> {
        checkpoint::load(&self.log.bucket, &self.log.kind.folder, self.log.kind.id.as_str(), version).await
    }

    /// A checkpoint, or `None` if it cannot be believed.
    fn believed(&mut self, version: Version, loaded: Loaded) -> Option<Box<Snapshot>> {
        match loaded {
            Loaded::Good(snapshot) => Some(snapshot),
            Loaded::Absent => None,
            Loaded::Damaged(why) => {
                let object = layout::checkpoint(&self.log.kind.folder, version);
                tracing::warn!(%object, why, "a damaged checkpoint is skipped; 'apiary verify' tells of all of them");
                self.damaged.insert(object.to_string());
                None
            }
        }
    }

    /// The first entries after a checkpoint that is still on its way.
    async fn early(&self, version: Version, last: Option<Version>) -> Vec<Result<Option<Bytes>>> {
        use futures::StreamExt;
        let last = last.map_or(0, |last| last.0.min(version.0 + EARLY_MAX));
        self.log.get_all(version.next().0..=last).map(|(_, body)| body).collect().await
    }

    /// An error of an opening that found damaged checkpoints names them.
    fn lost(&self, error: LedgerError) -> LedgerError {
        match error {
            LedgerError::Corrupt { object, why } if !self.damaged.is_empty() => {
                let why = format!(
                    "{why}; and no checkpoint is whole: {}",
                    self.damaged.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
                );
                LedgerError::Corrupt { object, why }
            }
            error => error,
        }
    }
}

/// Replays what follows `base`, up to `upto` or the end: first `early`, then what is known to be there up to `last`, then
/// what else there is. `None` if nothing follows.
async fn replayed(
    log: &Log<FrameLog>,
    base: Option<&Snapshot>,
    early: Vec<Result<Option<Bytes>>>,
    last: Option<Version>,
    upto: Option<Version>,
) -> Result<Option<Snapshot>> {
    let mut reader = log.read_after(base.map(|base| base.head.clone()));
    if last.is_some() {
        reader.go_ahead(early, last);
    }
    let mut replay: Option<Replay> = None;
    // Ends at the end of the log, which others extend no faster than they can put.
    while upto.is_none_or(|upto| reader.slot() <= upto)
        && let Some(read) = reader.next().await?
    {
        let begin = || base.map_or_else(|| Replay::new(&log.kind.folder), Replay::after);
        let key = log.kind.key(read.head.version);
        replay.get_or_insert_with(begin).take(key.as_ref(), &read)?;
    }
    Ok(replay.and_then(Replay::finish))
}
