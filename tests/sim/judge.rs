//! What is right: every snapshot is the log's, to the last cell; and at the end, with the store calm again, everything
//! that was promised is there and nothing else.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use apiary_core::SeededRng;
use apiary_ledger::Snapshot;
use apiary_tests::linear::{History, Told};

use super::{
    clock::NodeClock,
    node::Node,
    target::{ACCOUNTS, BALANCE, Target},
    work::{key_of, rows_of},
    world::World,
};

impl World {
    /// A snapshot that somebody saw; a fresh one refers to nothing that is gone.
    pub(crate) fn look_at(&self, snapshot: &Snapshot, is_fresh: bool) {
        let folder = snapshot.folder();
        let seen: BTreeSet<String> = snapshot.cells.iter().map(|cell| cell.path()).collect();
        let version = snapshot.version.0;
        let same = self.ghost.log(folder, |log| {
            let held = log.cells.get(version as usize);
            held.is_some_and(|held| snapshot.cells.len() == seen.len() && **held == seen)
        });
        if !same {
            self.fault(format!("a snapshot of {folder} at version {version} is not what the log says"));
        }
        let gone = snapshot.cells.iter().find(|cell| self.ghost.memory.body(cell.key().as_ref()).is_none());
        if let Some(cell) = gone.filter(|_| is_fresh) {
            self.fault(format!("{folder} at version {version} refers to {}, which is gone", cell.path()));
        }
    }

    /// Looks at everything once more, with a calm store and fresh eyes.
    pub(crate) async fn judge(self: &Arc<Self>) {
        self.ghost.faults().into_iter().for_each(|fault| self.fault(fault));
        for late in [false, true] {
            if late {
                // What is still on its way arrives: of a transaction that nobody knows the end of it may still be the end.
                self.store.land_late().await;
            }
            let clock = NodeClock::new(&self.clock, 0);
            let auditor = Node::new("auditor", self, &clock, &SeededRng::new(self.seed));
            for target in Target::ALL {
                let Some(snapshot) = auditor.look(target).await else {
                    self.fault(format!("{target:?} cannot be read though the store is calm"));
                    continue;
                };
                let last = self.ghost.log(snapshot.folder(), |log| log.entries.len() as u64 - 1);
                if snapshot.version.0 != last {
                    self.fault(format!("{target:?} is at version {} and its log at {last}", snapshot.version));
                }
            }
        }
        for folder in self.ghost.folders() {
            let history = History { log: self.ghost.log(&folder, |log| log.entries.clone()), ops: self.ops(&folder) };
            history.faults().into_iter().for_each(|fault| self.fault(format!("{folder}: {fault}")));
        }
        self.judge_names().await;
        self.judge_bank();
        self.judge_set();
        self.judge_register();
    }

    /// The rows of every cell of a version.
    fn rows_at(&self, target: Target, version: usize) -> Vec<Vec<i64>> {
        let folder = &self.frames[&target].folder;
        let paths = self.ghost.log(folder, |log| log.cells.get(version).cloned().unwrap_or_default());
        paths.iter().map(|path| self.ghost.rows(&format!("{folder}/{path}")).unwrap_or_default()).collect()
    }

    /// In every version there is each account once, and the same sum.
    fn judge_bank(&self) {
        let last = self.ghost.log(&self.frames[&Target::Bank].folder, |log| log.cells.len());
        for version in 1..last {
            let rows = self.rows_at(Target::Bank, version);
            let accounts: BTreeSet<i64> = rows.iter().filter_map(|row| row.first().copied()).collect();
            let sum: i64 = rows.iter().filter_map(|row| row.get(1)).sum();
            if rows.len() != accounts.len() || accounts.len() as i64 != ACCOUNTS || sum != ACCOUNTS * BALANCE {
                return self.fault(format!("the bank at version {version} holds {sum} in {rows:?}"));
            }
        }
    }

    /// Each acknowledged request once; each request at most once; each whole or not at all.
    fn judge_set(&self) {
        let last = self.ghost.log(&self.frames[&Target::Set].folder, |log| log.cells.len());
        let mut times: BTreeMap<i64, usize> = BTreeMap::new();
        for row in self.rows_at(Target::Set, last - 1).into_iter().flatten() {
            *times.entry(row).or_default() += 1;
        }
        for op in self.ops(&self.frames[&Target::Set].folder) {
            let Some(request) = op.key.as_deref().and_then(|key| key.strip_prefix("request-")?.parse().ok()) else {
                continue;
            };
            let there: BTreeSet<usize> =
                rows_of(request).iter().map(|row| times.get(row).copied().unwrap_or_default()).collect();
            let acknowledged = matches!(op.told, Told::Committed(_) | Told::AlreadyApplied(_));
            let right = if acknowledged { there == [1].into() } else { there == [0].into() || there == [1].into() };
            if !right {
                self.fault(format!("rows of {} are there {there:?} times: {op:?}", key_of(request)));
            }
        }
    }

    /// A value that was set only if nothing had changed, was.
    fn judge_register(&self) {
        let folder = &self.frames[&Target::Register].folder;
        for (id, base) in self.swapped() {
            let between = self.ghost.log(folder, |log| {
                let holds = |entry: &apiary_tests::linear::Entry| entry.txns.iter().any(|txn| txn.id == id);
                let at = log.entries.iter().position(holds)?;
                (log.cells[base as usize] != log.cells[at - 1]).then_some(at)
            });
            if let Some(at) = between {
                self.fault(format!("version {at} of the register was meant for version {base}, and it had changed"));
            }
        }
    }
}
