//! How changes make a namespace. Strict: a change that does not fit what is there is an error, and nobody writes one,
//! since whoever does tries it on a copy first. That is also the registry's whole rule of conflicts: a change may
//! pass whatever came first as long as it still fits afterwards.

use std::{collections::BTreeMap, sync::Arc};

use apiary_core::{BoxName, FramePath, HiveName, names::fold};

use super::{Birth, FrameBox, FrameRecord, Hive, Namespace};
use crate::registry_entry::{Change, Renamed, Thing};

/// Most renames that are remembered for hints.
const RENAMES_KEPT_MAX: usize = 10_000;

type Fits = Result<(), String>;

impl Namespace {
    /// Takes a change in; the error says why it does not fit. After an error the namespace is of no use.
    pub(crate) fn apply(&mut self, change: &Change) -> Fits {
        match change {
            Change::Create(Thing::Hive { hive }) => self.add_hive(hive),
            Change::Create(Thing::Box { hive, box_name }) => self.add_box(hive, box_name),
            Change::Create(Thing::Frame(record)) => self.add_frame(record.clone()),
            Change::Drop(Thing::Hive { hive }) => self.drop_hive(hive),
            Change::Drop(Thing::Box { hive, box_name }) => self.drop_box(hive, box_name),
            Change::Drop(Thing::Frame(record)) => self.take_frame(record).map(drop),
            Change::Rename(Renamed::Hive { hive, to }) => self.rename_hive(hive, to),
            Change::Rename(Renamed::Box { hive, box_name, to }) => self.rename_box(hive, box_name, to),
            Change::Rename(Renamed::Frame { frame, to }) => self.rename_frame(frame, to),
        }
    }

    /// Whether changes fit one after the other.
    pub(crate) fn fits(&self, changes: &[Change]) -> Fits {
        let mut copy = self.clone();
        changes.iter().try_for_each(|change| copy.apply(change))
    }

    fn add_hive(&mut self, name: &HiveName) -> Fits {
        let birth = self.next_birth();
        let hive = Hive { name: name.clone(), birth, boxes: BTreeMap::new() };
        self.put_hive(hive)
    }

    fn put_hive(&mut self, hive: Hive) -> Fits {
        self.forget_rename(&[hive.name.as_str()]);
        once(self.hives.insert(hive.name.folded(), Arc::new(hive)).map(|before| before.name.to_string()))
    }

    fn add_box(&mut self, hive: &HiveName, name: &BoxName) -> Fits {
        let birth = self.next_birth();
        self.put_box(hive, FrameBox { name: name.clone(), birth, frames: BTreeMap::new() })
    }

    fn put_box(&mut self, hive: &HiveName, new: FrameBox) -> Fits {
        self.forget_rename(&[hive.as_str(), new.name.as_str()]);
        let before = self.hive_mut(hive)?.boxes.insert(new.name.folded(), Arc::new(new));
        once(before.map(|before| before.name.to_string()))
    }

    fn add_frame(&mut self, record: FrameRecord) -> Fits {
        let FramePath { hive, box_name, frame } = &record.path;
        self.forget_rename(&[hive.as_str(), box_name.as_str(), frame.as_str()]);
        let found = self.box_mut(hive, box_name)?;
        once(found.frames.insert(record.path.frame.folded(), Arc::new(record)).map(|before| before.path.to_string()))
    }

    fn drop_hive(&mut self, name: &HiveName) -> Fits {
        let boxes = self.hive_mut(name)?.boxes.len();
        self.hives.remove(&name.folded());
        empty("hive", name, boxes)
    }

    fn drop_box(&mut self, hive: &HiveName, name: &BoxName) -> Fits {
        let frames = self.box_mut(hive, name)?.frames.len();
        self.hive_mut(hive)?.boxes.remove(&name.folded());
        empty("box", name, frames)
    }

    /// Takes a frame's name away: it must be that of the same folder.
    fn take_frame(&mut self, record: &FrameRecord) -> Result<Arc<FrameRecord>, String> {
        let FramePath { hive, box_name, frame } = &record.path;
        let found = self.box_mut(hive, box_name)?.frames.remove(&frame.folded());
        match found {
            Some(found) if found.folder == record.folder => Ok(found),
            Some(found) => {
                Err(format!("'{}' is in the folder '{}', not '{}'", found.path, found.folder, record.folder))
            }
            None => Err(format!("there is no frame '{}'", record.path)),
        }
    }

    fn rename_hive(&mut self, from: &HiveName, to: &HiveName) -> Fits {
        self.hive_mut(from)?;
        let Some(mut hive) = self.hives.remove(&from.folded()) else { return Ok(()) };
        let renamed = Arc::make_mut(&mut hive);
        renamed.name = to.clone();
        for found in renamed.boxes.values_mut() {
            respell(Arc::make_mut(found), to);
        }
        self.remember_rename(from.folded(), to.to_string());
        self.put_hive(Arc::unwrap_or_clone(hive))
    }

    fn rename_box(&mut self, hive: &HiveName, from: &BoxName, to: &BoxName) -> Fits {
        self.box_mut(hive, from)?;
        let hive_name = self.hive_mut(hive)?.name.clone();
        let Some(mut found) = self.hive_mut(hive)?.boxes.remove(&from.folded()) else { return Ok(()) };
        let renamed = Arc::make_mut(&mut found);
        renamed.name = to.clone();
        respell(renamed, &hive_name);
        self.remember_rename(format!("{}.{}", hive.folded(), from.folded()), format!("{hive_name}.{to}"));
        self.put_box(hive, Arc::unwrap_or_clone(found))
    }

    fn rename_frame(&mut self, frame: &FrameRecord, to: &FramePath) -> Fits {
        let record = self.take_frame(frame)?;
        self.remember_rename(frame.path.folded(), to.to_string());
        // The spelling of hive and box is their own.
        let hive = self.hive_mut(&to.hive)?.name.clone();
        let box_name = self.box_mut(&to.hive, &to.box_name)?.name.clone();
        let path = FramePath { hive, box_name, frame: to.frame.clone() };
        self.add_frame(FrameRecord { path, ..FrameRecord::clone(&record) })
    }

    fn hive_mut(&mut self, hive: &HiveName) -> Result<&mut Hive, String> {
        let found = self.hives.get_mut(&hive.folded()).map(Arc::make_mut);
        found.ok_or_else(|| format!("there is no hive '{hive}'"))
    }

    fn box_mut(&mut self, hive: &HiveName, box_name: &BoxName) -> Result<&mut FrameBox, String> {
        let found = self.hive_mut(hive)?.boxes.get_mut(&box_name.folded()).map(Arc::make_mut);
        found.ok_or_else(|| format!("there is no box '{hive}.{box_name}'"))
    }

    fn next_birth(&mut self) -> Birth {
        self.births.0 += 1;
        self.births
    }

    fn remember_rename(&mut self, from: String, to: String) {
        if from != fold(&to) && self.renamed.len() < RENAMES_KEPT_MAX {
            Arc::make_mut(&mut self.renamed).insert(from, to);
        }
    }

    /// A name that is taken again leads to what has it now.
    fn forget_rename(&mut self, parts: &[&str]) {
        let folded = parts.iter().map(|part| fold(part)).collect::<Vec<_>>().join(".");
        if self.renamed.contains_key(&folded) {
            Arc::make_mut(&mut self.renamed).remove(&folded);
        }
    }
}

/// Gives a box's frames the names of their hive and box.
fn respell(found: &mut FrameBox, hive: &HiveName) {
    let box_name = found.name.clone();
    for record in found.frames.values_mut() {
        let path = FramePath { hive: hive.clone(), box_name: box_name.clone(), frame: record.path.frame.clone() };
        *record = Arc::new(FrameRecord { path, ..FrameRecord::clone(record) });
    }
}

fn once(before: Option<String>) -> Fits {
    before.map_or(Ok(()), |name| Err(format!("'{name}' is there already")))
}

fn empty(what: &str, name: &impl std::fmt::Display, holds: usize) -> Fits {
    if holds == 0 { Ok(()) } else { Err(format!("the {what} '{name}' is not empty")) }
}
