//! Frames that come and go: each machine creates, drops and renames a few names, and writes to what it finds under
//! them. The judge reads the registry with eyes of its own, and holds every answer against what the names were meanwhile.

use std::{collections::BTreeMap, sync::Arc};

use apiary_core::{ErrorKind, FramePath, Rng, SeededRng};
use apiary_ledger::{FrameRecord, LedgerError, Transaction, VacuumOptions, sweep};
use serde_json::Value;

use super::{
    clock::NodeClock,
    node::{Node, may_fail},
    target::Target,
    world::{RETENTION, World},
};

/// The names that are fought for.
const NAMES: [&str; 3] = ["sim.main.a", "sim.main.b", "sim.main.c"];

/// What was asked of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    Create(&'static str),
    Drop(&'static str),
    Rename(&'static str, &'static str),
}

/// What was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    Done,
    /// An identical one is there already.
    WasThere,
    Missing,
    Taken,
    /// It may or may not have been done.
    Unknown,
}

/// One change of names that somebody asked for.
#[derive(Debug, Clone)]
pub(crate) struct NameOp {
    by: String,
    asked: Asked,
    start: u64,
    end: Option<u64>,
    heard: Heard,
}

impl Node {
    /// One change of names, or a row for a frame that has such a name.
    pub(crate) async fn change_names(&self) {
        let name = NAMES[self.rng.below(3) as usize];
        let path: FramePath = name.parse().unwrap();
        match self.rng.below(6) {
            0 | 1 => {
                let nth = self.world.asks(&self.name, Asked::Create(name));
                let created = self.registry.create_frame(&path, &Target::Set.spec()).await;
                let heard = created.map(|created| if created { Heard::Done } else { Heard::WasThere });
                self.world.hears(nth, heard);
            }
            2 => {
                let nth = self.world.asks(&self.name, Asked::Drop(name));
                let dropped = self.registry.drop_frame(&path, None).await;
                if let Ok(lost) = &dropped
                    && let Some(note) = lost.note()
                {
                    self.world.fault(format!("{} drops {name}: {note}", self.name));
                }
                self.world.hears(nth, dropped.map(|_| Heard::Done));
            }
            3 => {
                let to = NAMES[self.rng.below(3) as usize];
                let nth = self.world.asks(&self.name, Asked::Rename(name, to));
                let renamed = self.registry.rename_frame(&path, &to.parse().unwrap()).await;
                self.world.hears(nth, renamed.map(|_| Heard::Done));
            }
            _ => self.write_to(&path).await,
        }
    }

    /// A row for a frame of such a name, if there is one.
    async fn write_to(&self, path: &FramePath) {
        let Ok(names) = self.registry.namespace().await else { return };
        let Ok(record) = names.frame(path.hive.as_str(), path.box_name.as_str(), path.frame.as_str()) else { return };
        let base = match self.look_in(&record).await {
            Ok(base) => base,
            Err(LedgerError::Dropped { .. }) => return,
            Err(error) => return self.failed("read", &record, &error),
        };
        let id = self.new_txn();
        let (cell, body) = Target::Set.cell(&record, id, 0, &[1]);
        let cells = vec![(cell.key(), body)];
        self.write(&record, &base, Transaction::append(id, &self.name, vec![cell]), cells).await;
    }

    /// Away with folders that no name leads to.
    pub(crate) async fn sweep(&self) {
        let options =
            VacuumOptions { retention: RETENTION / 4, run: true, node: self.name.clone(), store_now_ms: None };
        match sweep(&self.bucket, &self.registry, &options).await {
            Ok(report) => {
                self.world.tell(format!("{} sweeps: {report:?}", self.name));
                let went = report.unnamed.iter().filter(|folder| folder.fate.goes()).count();
                self.world.count_many("swept folders", went as u64);
                if let Some(why) = report.refused {
                    self.world.fault(format!("a sweep refused: {why}"));
                }
            }
            Err(error) if may_fail(error.kind()) => self.world.tell(format!("{} cannot sweep: {error}", self.name)),
            Err(error) => self.world.fault(format!("{} cannot sweep: {error}", self.name)),
        }
        self.world.count("sweep");
    }
}

/// What the names were from one moment on: the folder of each.
#[derive(Debug, Clone, Default)]
struct State {
    since: u64,
    folders: BTreeMap<String, String>,
}

/// One change that is in the registry: what it did, and the folder it did it to.
#[derive(Debug, Clone)]
struct Change {
    moment: u64,
    verb: &'static str,
    from: String,
    to: String,
    folder: String,
}

impl World {
    fn asks(&self, by: &str, asked: Asked) -> usize {
        let start = self.ghost.moment();
        let mut naming = self.naming.lock().unwrap();
        naming.push(NameOp { by: by.to_owned(), asked, start, end: None, heard: Heard::Unknown });
        naming.len() - 1
    }

    fn hears(&self, nth: usize, told: Result<Heard, LedgerError>) {
        let heard = match &told {
            Ok(heard) => *heard,
            Err(error) => match error.kind() {
                ErrorKind::NotFound => Heard::Missing,
                ErrorKind::AlreadyExists => Heard::Taken,
                kind if may_fail(kind) => Heard::Unknown,
                _ => return self.fault(format!("a change of names: {error}")),
            },
        };
        let moment = self.ghost.moment();
        let mut naming = self.naming.lock().unwrap();
        let op = &mut naming[nth];
        (op.end, op.heard) = (Some(moment), heard);
        let line = format!("{op:?}");
        drop(naming);
        self.tell(line);
        self.count(match heard {
            Heard::Done => "name changed",
            Heard::WasThere => "name was there",
            Heard::Missing => "name missing",
            Heard::Taken => "name taken",
            Heard::Unknown => "name unknown",
        });
    }

    /// Every answer agrees with what the names were; no name went before its frame had ended; what has a name can be read.
    pub(crate) async fn judge_names(self: &Arc<Self>) {
        let (states, changes) = match self.names_as_written() {
            Ok(read) => read,
            Err(why) => return self.fault(format!("the names: {why}")),
        };
        for change in changes.iter().filter(|change| change.verb == "drop") {
            let ended = self.ghost.log(&change.folder, |log| log.ended);
            if ended.is_none_or(|ended| ended > change.moment) {
                self.fault(format!("{} lost its name before {} had ended", change.from, change.folder));
            }
        }
        let naming = self.naming.lock().unwrap().clone();
        for op in &naming {
            if !self.is_explained(op, &states, &changes) {
                self.fault(format!("no history of the names explains what {} was told: {op:?}", op.by));
            }
        }
        let auditor = Node::new("auditor", self, &NodeClock::new(&self.clock, 0), &SeededRng::new(self.seed));
        let names = match auditor.registry.namespace().await {
            Ok(names) => names,
            Err(error) => return self.fault(format!("the names cannot be read though the store is calm: {error}")),
        };
        let all: Vec<Arc<FrameRecord>> = names.all_frames();
        for record in &all {
            match auditor.look_in(record).await {
                Ok(_) | Err(LedgerError::Dropped { .. }) => {}
                Err(error) => self.fault(format!("{} cannot be read though the store is calm: {error}", record.path)),
            }
        }
        for target in Target::ALL {
            if !all.iter().any(|record| record.folder == self.frames[&target].folder) {
                self.fault(format!("{target:?} lost its name"));
            }
        }
    }

    /// What the names were from moment to moment, and every change of them.
    fn names_as_written(&self) -> Result<(Vec<State>, Vec<Change>), String> {
        let (mut states, mut changes) = (vec![State::default()], Vec::new());
        for (moment, body) in self.ghost.names() {
            let mut now = states.last().cloned().unwrap_or_default();
            now.since = moment;
            for line in body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).skip(1) {
                let line: Value = serde_json::from_slice(line).map_err(|error| error.to_string())?;
                for verb in ["create", "drop", "rename"] {
                    let frame = &line[verb]["frame"];
                    let Some(folder) = frame["folder"].as_str() else { continue };
                    let path = |of: &Value| {
                        let part = |name: &str| of[name].as_str().unwrap_or_default().to_owned();
                        format!("{}.{}.{}", part("hive"), part("box"), part("frame"))
                    };
                    let (from, to) = (path(frame), path(&frame["to"]));
                    let change = Change { moment, verb, from, to, folder: folder.to_owned() };
                    now.take(&change)?;
                    changes.push(change);
                }
            }
            states.push(now);
        }
        Ok((states, changes))
    }

    fn is_explained(&self, op: &NameOp, states: &[State], changes: &[Change]) -> bool {
        let Some(end) = op.end else { return true };
        let ended = |folder: &str| self.ghost.log(folder, |log| log.ended).is_some_and(|ended| ended < end);
        let mut during: Vec<&State> =
            states.iter().filter(|state| op.start < state.since && state.since < end).collect();
        during.extend(states.iter().rev().find(|state| state.since < op.start));
        let led_to = |name: &str, folder: &str| during.iter().any(|state| state.leads(name, folder));
        let is_there = |name: &str| during.iter().any(|state| state.folders.contains_key(name));
        let is_gone =
            |name: &str| during.iter().any(|state| state.folders.get(name).is_none_or(|folder| ended(folder)));
        let mut inside = changes.iter().filter(|change| op.start < change.moment && change.moment < end);
        match (&op.asked, op.heard) {
            (_, Heard::Unknown) => true,
            (Asked::Create(name), Heard::Done) => inside.any(|c| c.verb == "create" && c.from == *name),
            (Asked::Create(name), Heard::WasThere) => is_there(name),
            (Asked::Create(_), Heard::Missing | Heard::Taken) => false,
            // Somebody else may have renamed it, or finished the drop.
            (Asked::Drop(name), Heard::Done) => inside.any(|c| c.verb == "drop" && led_to(name, &c.folder)),
            (Asked::Drop(name), Heard::Missing) => is_gone(name),
            (Asked::Drop(_), Heard::Taken | Heard::WasThere) => false,
            (Asked::Rename(from, to), Heard::Done) => {
                from == to || inside.any(|c| c.verb == "rename" && c.from == *from && c.to == *to)
            }
            (Asked::Rename(from, _), Heard::Missing) => is_gone(from),
            (Asked::Rename(_, to), Heard::Taken) => is_there(to),
            (Asked::Rename(..), Heard::WasThere) => false,
        }
    }
}

impl State {
    fn leads(&self, name: &str, folder: &str) -> bool {
        self.folders.get(name).is_some_and(|there| there == folder)
    }

    fn take(&mut self, change: &Change) -> Result<(), String> {
        let Change { verb, from, to, folder, .. } = change;
        let fits = match *verb {
            "create" => self.folders.insert(from.clone(), folder.clone()).is_none(),
            "drop" => self.folders.remove(from).as_ref() == Some(folder),
            _ => {
                let was = self.folders.remove(from);
                was.as_ref() == Some(folder) && self.folders.insert(to.clone(), folder.clone()).is_none()
            }
        };
        if fits { Ok(()) } else { Err(format!("{change:?} does not fit")) }
    }
}
