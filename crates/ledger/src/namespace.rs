//! All names of the colony at one version of the registry. Names keep their spelling and are found in any.
//!
//! What is found stands here; how the registry's entries make it, in `namespace/apply`. Copies share what they have
//! in common, so that whoever plans a change can try it on a copy first.

use std::{collections::BTreeMap, sync::Arc};

use apiary_core::{BoxName, FrameId, FramePath, HiveName, Version, names::fold, suggest};
use serde::{Deserialize, Serialize};

use crate::{LedgerError, Result, header::Head};

mod apply;

/// Old names in a row that a hint follows.
const RENAMES_FOLLOWED_MAX: usize = 8;

/// Where a frame is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrameRecord {
    /// Its name.
    #[serde(flatten)]
    pub path: FramePath,
    /// What makes its folder unique.
    pub id: FrameId,
    /// Its folder, without a slash at its end. It stays for the frame's whole life, whatever the frame is called.
    pub folder: String,
}

#[derive(Debug, Clone)]
struct Hive {
    name: HiveName,
    birth: Birth,
    boxes: BTreeMap<String, Arc<FrameBox>>,
}

#[derive(Debug, Clone)]
struct FrameBox {
    name: BoxName,
    birth: Birth,
    frames: BTreeMap<String, Arc<FrameRecord>>,
}

/// Which creation in the registry's history made a hive or a box: it stays the same through renames, and whoever
/// creates the name again makes another one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Birth(u64);

/// The registry's state. Immutable; shared by whoever reads it.
#[derive(Debug, Clone, Default)]
pub struct Namespace {
    /// The registry's version; `None` while nothing was ever created.
    pub version: Option<Version>,
    pub(crate) head: Option<Head>,
    hives: BTreeMap<String, Arc<Hive>>,
    births: Birth,
    /// Where names went, by folded path: for hints alone.
    renamed: Arc<BTreeMap<String, String>>,
}

impl Namespace {
    /// All hives, in the order of their names.
    #[must_use]
    pub fn hives(&self) -> Vec<&HiveName> {
        self.hives.values().map(|hive| &hive.name).collect()
    }

    /// A hive's boxes, in the order of their names.
    pub fn boxes(&self, hive: &HiveName) -> Result<Vec<&BoxName>> {
        Ok(self.find_hive(hive.as_str())?.boxes.values().map(|found| &found.name).collect())
    }

    /// A box's frames, in the order of their names.
    pub fn frames(&self, hive: &HiveName, box_name: &BoxName) -> Result<Vec<Arc<FrameRecord>>> {
        Ok(self.find_box(hive.as_str(), box_name.as_str())?.frames.values().map(Arc::clone).collect())
    }

    /// Every frame, in the order of the names.
    #[must_use]
    pub fn all_frames(&self) -> Vec<Arc<FrameRecord>> {
        let boxes = self.hives.values().flat_map(|hive| hive.boxes.values());
        boxes.flat_map(|found| found.frames.values().map(Arc::clone)).collect()
    }

    /// A frame by its names, in any spelling. The error says what is missing and what may have been meant.
    pub fn frame(&self, hive: &str, box_name: &str, frame: &str) -> Result<Arc<FrameRecord>> {
        let found = self.find_hive(hive).and_then(|_| self.find_box(hive, box_name)).and_then(|in_box| {
            let known = in_box.frames.values().map(|frame| frame.path.frame.as_str());
            in_box.frames.get(&fold(frame)).map(Arc::clone).ok_or_else(|| {
                let name = format!("{hive}.{box_name}.{frame}");
                missing("frame", name, frame, known, "create it first")
            })
        });
        found.map_err(|error| self.hint_elsewhere(error, &[hive, box_name, frame]))
    }

    /// A hive by its name, in any spelling.
    pub fn hive(&self, hive: &str) -> Result<&HiveName> {
        let found = self.find_hive(hive).map(|found| &found.name);
        found.map_err(|error| self.hint_elsewhere(error, &[hive]))
    }

    /// A box by its names, in any spelling.
    pub fn box_name(&self, hive: &str, box_name: &str) -> Result<&BoxName> {
        let found = self.find_box(hive, box_name).map(|found| &found.name);
        found.map_err(|error| self.hint_elsewhere(error, &[hive, box_name]))
    }

    /// What a hive (one part), box (two) or frame (three) that is not there any more is called now.
    #[must_use]
    pub fn renamed_to(&self, parts: &[&str]) -> Option<String> {
        (1..=parts.len()).find_map(|n| self.follow(&parts[..n]))
    }

    fn follow(&self, parts: &[&str]) -> Option<String> {
        let old = parts.iter().map(|part| fold(part)).collect::<Vec<_>>().join(".");
        let mut now = self.renamed.get(&old)?;
        for _ in 0..RENAMES_FOLLOWED_MAX {
            match self.renamed.get(&fold(now)) {
                Some(next) => now = next,
                None => return self.has(now).then(|| now.clone()),
            }
        }
        None
    }

    fn has(&self, path: &str) -> bool {
        match path.split('.').collect::<Vec<_>>()[..] {
            [hive] => self.find_hive(hive).is_ok(),
            [hive, in_box] => self.find_box(hive, in_box).is_ok(),
            [hive, in_box, frame] => {
                self.find_box(hive, in_box).is_ok_and(|found| found.frames.contains_key(&fold(frame)))
            }
            _ => false,
        }
    }

    /// The frame in this folder, whatever it is called now.
    #[must_use]
    pub fn in_folder(&self, folder: &str) -> Option<Arc<FrameRecord>> {
        self.all_frames().into_iter().find(|record| record.folder == folder)
    }

    /// Whether a frame has this id.
    pub(crate) fn has_id(&self, id: &FrameId) -> bool {
        self.all_frames().iter().any(|record| record.id == *id)
    }

    /// When a hive was created.
    pub(crate) fn hive_birth(&self, hive: &HiveName) -> Result<Birth> {
        Ok(self.find_hive(hive.as_str())?.birth)
    }

    /// When a box was created.
    pub(crate) fn box_birth(&self, hive: &HiveName, box_name: &BoxName) -> Result<Birth> {
        Ok(self.find_box(hive.as_str(), box_name.as_str())?.birth)
    }

    /// The hive of this birth, whatever it is called now.
    pub(crate) fn hive_born(&self, birth: Birth) -> Option<HiveName> {
        self.hives.values().find(|hive| hive.birth == birth).map(|hive| hive.name.clone())
    }

    /// The box of this birth, wherever it is now.
    pub(crate) fn box_born(&self, birth: Birth) -> Option<(HiveName, BoxName)> {
        let boxes = self.hives.values().flat_map(|hive| hive.boxes.values().map(move |found| (hive, found)));
        let mut found = boxes.filter(|(_, found)| found.birth == birth);
        found.next().map(|(hive, found)| (hive.name.clone(), found.name.clone()))
    }

    fn find_hive(&self, hive: &str) -> Result<&Hive> {
        let known = self.hives.values().map(|hive| hive.name.as_str());
        let none = || missing("hive", hive.to_owned(), hive, known, "create it first");
        self.hives.get(&fold(hive)).map(AsRef::as_ref).ok_or_else(none)
    }

    fn find_box(&self, hive: &str, box_name: &str) -> Result<&FrameBox> {
        let found = self.find_hive(hive)?;
        let known = found.boxes.values().map(|found| found.name.as_str());
        let none = || missing("box", format!("{hive}.{box_name}"), box_name, known, "create it first");
        found.boxes.get(&fold(box_name)).map(AsRef::as_ref).ok_or_else(none)
    }

    /// What is missing here may have another name now, and a frame may be there under the same name in another box:
    /// then that is what was meant.
    fn hint_elsewhere(&self, error: LedgerError, parts: &[&str]) -> LedgerError {
        let LedgerError::NotFound { what, name, hint } = error else { return error };
        let renamed = || self.renamed_to(parts).map(|now| format!("it was renamed to '{now}'"));
        let elsewhere = || {
            let wanted = fold(parts.get(2)?);
            let found = self.all_frames().into_iter().find(|found| found.path.frame.folded() == wanted)?;
            Some(format!("did you mean '{}'?", found.path))
        };
        let hint = renamed().or_else(elsewhere).unwrap_or(hint);
        LedgerError::NotFound { what, name, hint }
    }
}

fn missing<'a>(
    what: &'static str,
    name: String,
    wanted: &str,
    known: impl Iterator<Item = &'a str> + Clone,
    otherwise: &str,
) -> LedgerError {
    /// Names in a hint: as many as one reads at a glance.
    const SHOWN_MAX: usize = 8;
    let near = suggest::nearest(wanted, known.clone()).map(|near| format!("did you mean '{near}'?"));
    let hint = near.unwrap_or_else(|| {
        let shown: Vec<&str> = known.clone().take(SHOWN_MAX).collect();
        let more = if known.count() > SHOWN_MAX { ", …" } else { "" };
        if shown.is_empty() { otherwise.to_owned() } else { format!("there are: {}{more}", shown.join(", ")) }
    });
    LedgerError::NotFound { what, name, hint }
}

#[cfg(test)]
mod tests;
