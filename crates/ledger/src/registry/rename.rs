//! Renaming: the registry alone changes. A folder keeps the name it was made under, so what is under way on a frame,
//! reading or writing, does not notice.

use apiary_core::{BoxName, FramePath, HiveName};

use super::{ROUNDS_MAX, Registry, contended};
use crate::{
    FrameRecord, Frames, LedgerError, Namespace, Result,
    registry_entry::{Change, Renamed},
};

impl Registry {
    /// Gives a hive another name, or its name another case. 2 GETs and 1 PUT.
    pub async fn rename_hive(&self, from: &HiveName, to: &HiveName) -> Result<()> {
        for _ in 0..ROUNDS_MAX {
            let names = self.namespace().await?;
            let hive = names.hive(from.as_str())?.clone();
            if hive.folded() != to.folded() && names.hive(to.as_str()).is_ok() {
                return Err(LedgerError::Taken { what: "hive", name: to.to_string() });
            }
            if hive == *to || self.write(&names, vec![Change::Rename(Renamed::Hive { hive, to: to.clone() })]).await? {
                return Ok(());
            }
        }
        Err(contended())
    }

    /// Gives a box another name in its hive. 2 GETs and 1 PUT.
    pub async fn rename_box(&self, hive: &HiveName, from: &BoxName, to: &BoxName) -> Result<()> {
        for _ in 0..ROUNDS_MAX {
            let names = self.namespace().await?;
            let box_name = names.box_name(hive.as_str(), from.as_str())?.clone();
            let hive = names.hive(hive.as_str())?.clone();
            if box_name.folded() != to.folded() && names.box_name(hive.as_str(), to.as_str()).is_ok() {
                return Err(LedgerError::Taken { what: "box", name: format!("{hive}.{to}") });
            }
            let same = box_name == *to;
            let change = Change::Rename(Renamed::Box { hive, box_name, to: to.clone() });
            if same || self.write(&names, vec![change]).await? {
                return Ok(());
            }
        }
        Err(contended())
    }

    /// Gives a frame another name, in its box or in another one that is there. 3 GETs and 1 PUT.
    pub async fn rename_frame(&self, from: &FramePath, to: &FramePath) -> Result<()> {
        for _ in 0..ROUNDS_MAX {
            let names = self.namespace().await?;
            let frame = names.frame(from.hive.as_str(), from.box_name.as_str(), from.frame.as_str())?;
            let to = home(&names, to)?;
            if frame.path.folded() != to.folded() && is_taken(&names, &to) {
                return Err(LedgerError::Taken { what: "frame", name: to.to_string() });
            }
            // What is dropped already gets no new name.
            Frames::new(self.log.bucket.clone()).snapshot(&frame).await?;
            if frame.path == to {
                return Ok(());
            }
            let change = Change::Rename(Renamed::Frame { frame: FrameRecord::clone(&frame), to });
            if self.write(&names, vec![change]).await? {
                return Ok(());
            }
        }
        Err(contended())
    }
}

/// The path with its hive and its box, which must be there, as they spell themselves.
fn home(names: &Namespace, path: &FramePath) -> Result<FramePath> {
    let box_name = names.box_name(path.hive.as_str(), path.box_name.as_str())?.clone();
    Ok(FramePath { hive: names.hive(path.hive.as_str())?.clone(), box_name, frame: path.frame.clone() })
}

fn is_taken(names: &Namespace, path: &FramePath) -> bool {
    names.frame(path.hive.as_str(), path.box_name.as_str(), path.frame.as_str()).is_ok()
}
