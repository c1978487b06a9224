//! Dropping: the frame's terminal entry first, so that nothing can be acknowledged after it, then the registry.
//!
//! A drop that stops in between leaves a name that leads to a dropped frame. Whoever follows it finishes the drop:
//! `Frames::snapshot` does, so every reader, every writer, and the next who creates that name.
//!
//! A drop holds on to what its names meant when it began, to folders and births, not to names: what others
//! rename meanwhile is dropped under its new name. A hive or a box goes in one entry of the registry, with every frame
//! in it, each of them ended before; a frame that was created in it meanwhile makes that entry unfit, and then that
//! frame is ended, too. Stopped half way, a drop with all that is in it has dropped some frames, and can be repeated.

use apiary_core::{BoxName, FramePath, HiveName, TxnId, Version, failpoint};
use futures::{StreamExt, TryStreamExt};

use super::{NODE, ROUNDS_MAX, Registry, contended};
use crate::{
    CommitOutcome, FrameRecord, Frames, LedgerError, Namespace, Result, Transaction,
    namespace::Birth,
    registry_entry::{Change, Thing},
    vacuum::mark_without_ledger,
};

/// What a drop found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DropReport {
    /// Frames of whose ledgers nothing was left: they could not be ended in their own ledgers, and only lost their names.
    pub without_ledger: Vec<FramePath>,
}

impl DropReport {
    /// What callers should be told, if there is anything.
    #[must_use]
    pub fn note(&self) -> Option<String> {
        let first = self.without_ledger.first()?;
        let more = match self.without_ledger.len() {
            1 => String::new(),
            n => format!(" and of {} more", n - 1),
        };
        let found = format!("nothing was left of the ledger of '{first}'{more}, so no version of it could be read");
        Some(format!("{found}; the name is gone, and what is in its folder goes with a vacuum after 7 days"))
    }
}

/// How a frame ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// With a terminal entry.
    InItsLedger,
    /// Nothing is left of its ledger.
    WithoutLedger,
}

/// Frames ended at once.
const FRAMES_AT_ONCE: usize = 16;

impl Registry {
    /// Drops a frame; if `expected` is given, only while that is its newest version. Its folder stays
    /// for those who read it, until vacuum takes it. 3 GETs, 2 PUTs and the frame's newest version.
    ///
    /// A frame of whose ledger nothing is left is marked as dropped in the first of its fences; see [`DropReport`].
    pub async fn drop_frame(&self, path: &FramePath, expected: Option<Version>) -> Result<DropReport> {
        let names = self.namespace().await?;
        let record = names.frame(path.hive.as_str(), path.box_name.as_str(), path.frame.as_str())?;
        // Of many who drop a frame the one that ended it did; the others find none.
        let end = self.end(&record, expected).await?;
        failpoint::hit("between_frame_and_registry");
        self.unname(&record.folder).await?;
        let lost = (end == End::WithoutLedger).then(|| record.path.clone());
        Ok(DropReport { without_ledger: lost.into_iter().collect() })
    }

    /// Drops a box; one that is not empty only with `cascade`, and then with all its frames. 2 GETs and 1 PUT, and for
    /// each frame its newest version, 1 GET and 1 PUT.
    pub async fn drop_box(&self, hive: &HiveName, box_name: &BoxName, cascade: bool) -> Result<DropReport> {
        let names = self.namespace().await?;
        names.box_name(hive.as_str(), box_name.as_str())?;
        let birth = names.box_birth(hive, box_name)?;
        let gone = LedgerError::gone("box", format!("{hive}.{box_name}"));
        self.drop_tree(Tree::Box(birth), cascade, gone).await
    }

    /// Drops a hive; one that is not empty only with `cascade`, and then with all its boxes and frames. As
    /// [`Registry::drop_box`].
    pub async fn drop_hive(&self, hive: &HiveName, cascade: bool) -> Result<DropReport> {
        let names = self.namespace().await?;
        names.hive(hive.as_str())?;
        let birth = names.hive_birth(hive)?;
        self.drop_tree(Tree::Hive(birth), cascade, LedgerError::gone("hive", hive.to_string())).await
    }

    /// `gone` is what is said if another drop takes it first.
    async fn drop_tree(&self, tree: Tree, cascade: bool, gone: LedgerError) -> Result<DropReport> {
        // Frames ended so far, by folder.
        let (mut ended, mut report): (Vec<String>, _) = (Vec::new(), DropReport::default());
        for _ in 0..ROUNDS_MAX {
            let names = self.namespace().await?;
            let Some(mut within) = tree.within(&names)? else {
                // Another drop took it first, and with it whatever was in it then.
                self.unname_all(&ended).await?;
                return Err(gone);
            };
            if !cascade {
                self.refuse_content(&within).await?;
            }
            let alive = within.frames.iter().filter(|frame| !ended.contains(&frame.folder));
            for (frame, end) in self.end_all(alive.cloned().collect()).await? {
                ended.push(frame.folder);
                report.without_ledger.extend((end == End::WithoutLedger).then_some(frame.path));
            }
            // What was in it and was moved away before it was ended.
            let known = |folder: &String| within.frames.iter().any(|frame| frame.folder == *folder);
            let moved = ended.iter().filter(|folder| !known(folder)).filter_map(|folder| names.in_folder(folder));
            let moved: Vec<FrameRecord> = moved.map(|frame| FrameRecord::clone(&frame)).collect();
            within.frames.extend(moved);
            failpoint::hit("between_frame_and_registry");
            if self.write(&names, within.changes()).await? {
                return Ok(report);
            }
        }
        Err(contended())
    }

    /// An error if there is something in it. Frames whose drop stopped half way are nothing.
    async fn refuse_content(&self, within: &Within) -> Result<()> {
        let frames = Frames::new(self.log.bucket.clone());
        for frame in &within.frames {
            match frames.snapshot(frame).await {
                Err(LedgerError::Dropped { .. }) => {}
                Ok(_) | Err(LedgerError::LedgerMissing { .. }) => return Err(within.not_empty()),
                Err(error) => return Err(error),
            }
        }
        if within.is_hive() && !within.boxes.is_empty() { Err(within.not_empty()) } else { Ok(()) }
    }

    /// Ends frames; those that were ended before are fine.
    async fn end_all(&self, frames: Vec<FrameRecord>) -> Result<Vec<(FrameRecord, End)>> {
        let end = |frame: FrameRecord| async move {
            match self.end(&frame, None).await {
                Ok(end) => Ok((frame, end)),
                Err(LedgerError::Dropped { .. }) => Ok((frame, End::InItsLedger)),
                Err(error) => Err(error),
            }
        };
        futures::stream::iter(frames).map(end).buffered(FRAMES_AT_ONCE).try_collect().await
    }

    /// Commits a frame's terminal entry. `Dropped` if another has. Where nothing is left of a ledger there is nothing to
    /// end, and no writer who does not know the frame already can write to it: it is marked instead.
    pub(crate) async fn end(&self, record: &FrameRecord, expected: Option<Version>) -> Result<End> {
        let bucket = &self.log.bucket;
        let frames = Frames::new(bucket.clone());
        for _ in 0..ROUNDS_MAX {
            let base = match frames.snapshot(record).await {
                Err(LedgerError::LedgerMissing { object }) if expected.is_none() => {
                    return self.end_without_ledger(record, &object).await;
                }
                base => base?,
            };
            if let Some(expected) = expected.filter(|expected| *expected != base.version) {
                let (name, version) = (record.path.to_string(), base.version);
                return Err(LedgerError::Changed { name, version, expected });
            }
            let id = TxnId::new(bucket.clock().as_ref(), bucket.rng().as_ref());
            let txn = Transaction::drop_frame(id, NODE).expecting(expected);
            match frames.commit(record, base, txn).await? {
                CommitOutcome::Committed { .. } | CommitOutcome::AlreadyApplied { .. } => return Ok(End::InItsLedger),
                CommitOutcome::Aborted { reason } => return Err(LedgerError::Aborted(reason)),
                // Others were faster; the next round looks at what they did.
                CommitOutcome::Conflict { .. } | CommitOutcome::Rerun { .. } => {}
            }
        }
        Err(LedgerError::Contended { what: "frame", attempts: ROUNDS_MAX })
    }

    /// Marks a frame of whose ledger nothing is left. One that has lost its name, too, was dropped and swept by others.
    async fn end_without_ledger(&self, record: &FrameRecord, object: &str) -> Result<End> {
        if self.namespace().await?.in_folder(&record.folder).is_none() {
            return Err(LedgerError::Dropped { name: record.path.to_string() });
        }
        mark_without_ledger(&self.log.bucket, record).await?;
        tracing::warn!(frame = %record.path, object, "a frame is dropped of whose ledger nothing is left");
        Ok(End::WithoutLedger)
    }

    /// Takes the names of ended frames away.
    async fn unname_all(&self, folders: &[String]) -> Result<()> {
        for folder in folders {
            self.unname(folder).await?;
        }
        Ok(())
    }

    /// Takes the name of an ended frame away, whatever it is by now. Whoever comes first does it.
    pub(crate) async fn unname(&self, folder: &str) -> Result<()> {
        for _ in 0..ROUNDS_MAX {
            let names = self.namespace().await?;
            let Some(record) = names.in_folder(folder) else { return Ok(()) };
            let change = Change::Drop(Thing::Frame(FrameRecord::clone(&record)));
            if self.write(&names, vec![change]).await? {
                return Ok(());
            }
        }
        Err(contended())
    }
}

/// What is dropped with all that is in it.
#[derive(Debug, Clone, Copy)]
enum Tree {
    Hive(Birth),
    Box(Birth),
}

impl Tree {
    /// What is in it now; `None` if it is gone.
    fn within(self, names: &Namespace) -> Result<Option<Within>> {
        let (hive, boxes, root) = match self {
            Self::Hive(birth) => {
                let Some(hive) = names.hive_born(birth) else { return Ok(None) };
                let boxes = names.boxes(&hive)?.into_iter().cloned().collect();
                let root = Thing::Hive { hive: hive.clone() };
                (hive, boxes, root)
            }
            Self::Box(birth) => {
                let Some((hive, box_name)) = names.box_born(birth) else { return Ok(None) };
                let root = Thing::Box { hive: hive.clone(), box_name: box_name.clone() };
                (hive, vec![box_name], root)
            }
        };
        let mut frames = Vec::new();
        for box_name in &boxes {
            frames.extend(names.frames(&hive, box_name)?.iter().map(|frame| FrameRecord::clone(frame)));
        }
        Ok(Some(Within { hive, boxes, frames, root }))
    }
}

/// A hive or a box and what is in it.
#[derive(Debug)]
struct Within {
    hive: HiveName,
    boxes: Vec<BoxName>,
    frames: Vec<FrameRecord>,
    root: Thing,
}

impl Within {
    fn is_hive(&self) -> bool {
        matches!(self.root, Thing::Hive { .. })
    }

    /// Drops all of it, the inner before the outer.
    fn changes(self) -> Vec<Change> {
        let is_hive = self.is_hive();
        let frames = self.frames.into_iter().map(|frame| Change::Drop(Thing::Frame(frame)));
        let hive = self.hive;
        let boxes = self.boxes.into_iter().filter(|_| is_hive);
        let boxes = boxes.map(|box_name| Change::Drop(Thing::Box { hive: hive.clone(), box_name }));
        frames.chain(boxes).chain([Change::Drop(self.root)]).collect()
    }

    fn not_empty(&self) -> LedgerError {
        let counted = apiary_core::units::counted;
        let frames = counted(self.frames.len() as u64, "frame");
        match &self.root {
            Thing::Box { hive, box_name } => {
                LedgerError::NotEmpty { what: "box", name: format!("{hive}.{box_name}"), holds: frames }
            }
            _ => {
                let boxes =
                    if self.boxes.len() == 1 { "1 box".to_owned() } else { format!("{} boxes", self.boxes.len()) };
                LedgerError::NotEmpty { what: "hive", name: self.hive.to_string(), holds: format!("{boxes}, {frames}") }
            }
        }
    }
}
