//! All names of the colony at one version of the registry. Names keep their spelling and are found in any.

use std::{collections::BTreeMap, sync::Arc};

use apiary_core::{BoxName, FrameId, FramePath, HiveName, Version, suggest};
use serde::{Deserialize, Serialize};

use crate::{LedgerError, Result, header::Head};

/// Where a frame is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrameRecord {
    /// Its name.
    #[serde(flatten)]
    pub path: FramePath,
    /// What makes its folder unique.
    pub id: FrameId,
    /// Its folder, without a slash at its end.
    pub folder: String,
}

#[derive(Debug, Clone)]
struct Hive {
    name: HiveName,
    boxes: BTreeMap<String, FrameBox>,
}

#[derive(Debug, Clone)]
struct FrameBox {
    name: BoxName,
    frames: BTreeMap<String, Arc<FrameRecord>>,
}

/// The registry's state. Immutable; shared by whoever reads it.
#[derive(Debug, Clone, Default)]
pub struct Namespace {
    /// The registry's version; `None` while nothing was ever created.
    pub version: Option<Version>,
    pub(crate) head: Option<Head>,
    hives: BTreeMap<String, Hive>,
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
        found.map_err(|error| self.suggest_elsewhere(error, frame))
    }

    /// A hive by its name, in any spelling.
    pub fn hive(&self, hive: &str) -> Result<&HiveName> {
        self.find_hive(hive).map(|found| &found.name)
    }

    /// A box by its names, in any spelling.
    pub fn box_name(&self, hive: &str, box_name: &str) -> Result<&BoxName> {
        self.find_box(hive, box_name).map(|found| &found.name)
    }

    fn find_hive(&self, hive: &str) -> Result<&Hive> {
        let known = self.hives.values().map(|hive| hive.name.as_str());
        let none = || missing("hive", hive.to_owned(), hive, known, "create it first");
        self.hives.get(&fold(hive)).ok_or_else(none)
    }

    fn find_box(&self, hive: &str, box_name: &str) -> Result<&FrameBox> {
        let found = self.find_hive(hive)?;
        let known = found.boxes.values().map(|found| found.name.as_str());
        let none = || missing("box", format!("{hive}.{box_name}"), box_name, known, "create it first");
        found.boxes.get(&fold(box_name)).ok_or_else(none)
    }

    /// A frame that is missing here may be there under the same name: then that is what was meant.
    fn suggest_elsewhere(&self, error: LedgerError, frame: &str) -> LedgerError {
        let wanted = fold(frame);
        let elsewhere = self.all_frames().into_iter().find(|found| found.path.frame.folded() == wanted);
        match (error, elsewhere) {
            (LedgerError::NotFound { what, name, .. }, Some(found)) => {
                LedgerError::NotFound { what, name, hint: format!("did you mean '{}'?", found.path) }
            }
            (error, _) => error,
        }
    }

    pub(crate) fn add_hive(&mut self, name: HiveName) -> Result<(), String> {
        let folded = name.folded();
        let hive = Hive { name, boxes: BTreeMap::new() };
        once(self.hives.insert(folded, hive).map(|hive| hive.name.to_string()))
    }

    pub(crate) fn add_box(&mut self, hive: &HiveName, name: BoxName) -> Result<(), String> {
        let Some(hive) = self.hives.get_mut(&hive.folded()) else { return Err(format!("there is no hive '{hive}'")) };
        let folded = name.folded();
        let new = FrameBox { name, frames: BTreeMap::new() };
        once(hive.boxes.insert(folded, new).map(|found| found.name.to_string()))
    }

    pub(crate) fn add_frame(&mut self, record: FrameRecord) -> Result<(), String> {
        let path = &record.path;
        let hive = self.hives.get_mut(&path.hive.folded());
        let Some(found) = hive.and_then(|hive| hive.boxes.get_mut(&path.box_name.folded())) else {
            return Err(format!("there is no box '{}.{}'", path.hive, path.box_name));
        };
        let folded = path.frame.folded();
        once(found.frames.insert(folded, Arc::new(record)).map(|frame| frame.path.to_string()))
    }
}

/// Names are compared in one spelling of letters and accents, as [`HiveName::folded`] has it; text that can be no
/// name is compared as it is and found nowhere.
fn fold(name: &str) -> String {
    HiveName::new(name).map_or_else(|_| name.to_lowercase(), |name| name.folded())
}

fn once(before: Option<String>) -> Result<(), String> {
    before.map_or(Ok(()), |name| Err(format!("it creates '{name}', which is there already")))
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
mod tests {
    use super::*;

    fn namespace() -> Namespace {
        let mut names = Namespace::default();
        names.add_hive(HiveName::new("Analytics").unwrap()).unwrap();
        names.add_box(&HiveName::new("analytics").unwrap(), BoxName::new("sensors").unwrap()).unwrap();
        let path = FramePath::new("Analytics", "sensors", "Temperature").unwrap();
        let id = FrameId::try_from("0123abcd".to_owned()).unwrap();
        names.add_frame(FrameRecord { path, id, folder: "f".into() }).unwrap();
        names
    }

    #[test]
    fn names_are_found_in_any_case_and_shown_as_written() {
        let frame = namespace().frame("ANALYTICS", "Sensors", "temperature").unwrap();
        assert_eq!(frame.path.to_string(), "Analytics.sensors.Temperature");
    }

    #[test]
    fn a_slip_is_answered_with_the_name_that_was_meant() {
        let hint = |hive, in_box, frame| namespace().frame(hive, in_box, frame).unwrap_err().hint().unwrap();
        assert_eq!(hint("analytics", "sensors", "temperatrue"), "did you mean 'Temperature'?");
        assert_eq!(hint("analytics", "sensor", "wind"), "did you mean 'sensors'?");
        assert_eq!(hint("production", "x", "wind"), "there are: Analytics");
        assert_eq!(hint("production", "x", "temperature"), "did you mean 'Analytics.sensors.Temperature'?");
    }

    #[test]
    fn nothing_is_created_twice_or_nowhere() {
        let mut names = namespace();
        assert!(names.add_hive(HiveName::new("ANALYTICS").unwrap()).is_err());
        assert!(names.add_box(&HiveName::new("none").unwrap(), BoxName::new("b").unwrap()).is_err());
    }
}
