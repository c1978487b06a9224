//! What coordinators and the compactor do: transfers, appends with retries elsewhere, compare-and-set, reads; merges and
//! housekeeping.

use std::{collections::HashSet, sync::PoisonError, time::Duration};

use apiary_core::{Rng, TxnId, within};
use apiary_ledger::{CellEntry, IdempotencyKey, Scope, Snapshot, Transaction, VacuumOptions};
use apiary_tests::linear::Told;
use bytes::Bytes;
use futures::future::join_all;

use super::{
    node::Node,
    target::{ACCOUNTS, Target},
    world::{RETENTION, Sabotage},
};

/// The shortest time for which a log may be kept.
const LOG_RETENTION_MIN: Duration = Duration::from_secs(3600);

/// Appends that one coordinator may have in hand at once.
const APPENDS_AT_ONCE: u64 = 4;

/// How often a transfer is tried again after a conflict.
const TRANSFER_TRIES: usize = 3;

/// The rows of the `nth` request for the set.
pub(crate) fn rows_of(request: i64) -> Vec<i64> {
    (0..=request % 3).map(|row| request * 10 + row).collect()
}

pub(crate) fn key_of(request: i64) -> String {
    format!("request-{request}")
}

impl Node {
    /// One operation of a coordinator, or some appends at once, which may then share an entry.
    pub(crate) async fn serve(&self) {
        let ways = if self.world.wide { 13 } else { 10 };
        match self.rng.below(ways) {
            0..=2 => self.transfer().await,
            3..=6 => {
                let more = if self.world.wide { self.rng.below(APPENDS_AT_ONCE) } else { 0 };
                join_all((0..=more).map(|_| self.add())).await;
            }
            7 | 8 => self.swap().await,
            10.. => self.change_names().await,
            _ => {
                let target = Target::ALL[self.rng.below(3) as usize];
                self.look(target).await;
            }
        }
    }

    async fn transfer(&self) {
        let from = self.rng.below(ACCOUNTS as u64) as i64;
        let to = (from + 1 + self.rng.below(ACCOUNTS as u64 - 1) as i64) % ACCOUNTS;
        let amount = 1 + self.rng.below(30) as i64;
        for _ in 0..TRANSFER_TRIES {
            let Some(base) = self.look(Target::Bank).await else { return };
            let (Some(payer), Some(payee)) = (self.account(&base, from), self.account(&base, to)) else { return };
            let id = self.new_txn();
            let moved = [vec![from, payer.1 - amount], vec![to, payee.1 + amount]];
            let (adds, cells) = self.cells(Target::Bank, id, &moved);
            let scope = Scope::Partitions(adds.iter().map(|add| add.partition_values()).collect());
            let blind = self.world.sabotage == Some(Sabotage::BlindTransfer);
            // Either says what it read and replaces: the cells, or the partitions of a version.
            let txn = if self.rng.below(2) == 0 && !blind {
                Transaction::rewrite(id, &self.name, adds, vec![payer.0, payee.0], scope)
            } else {
                let expected = Some(base.version).filter(|_| !blind);
                Transaction::overwrite(id, &self.name, adds, scope).expecting(expected)
            };
            if self.write(self.record(Target::Bank), &base, txn, cells).await != Told::Nothing {
                return;
            }
        }
    }

    /// The only cell of an account, and its balance.
    fn account(&self, base: &Snapshot, account: i64) -> Option<(String, i64)> {
        let rows = |cell: &CellEntry| self.world.ghost.rows(cell.key().as_ref());
        let found = base.cells.iter().find_map(|cell| Some((cell, rows(cell).filter(|rows| rows[0] == account)?)));
        found.map(|(cell, rows)| (cell.path(), rows[1]))
    }

    /// An append; one in three is of a request that another coordinator, or this one, has or had in hand.
    async fn add(&self) {
        let request = {
            let mut requests = self.world.requests.lock().unwrap_or_else(PoisonError::into_inner);
            let known = requests.len() as u64;
            let recent = known.min(4);
            if recent > 0 && self.rng.below(3) == 0 {
                requests[(known - 1 - self.rng.below(recent)) as usize]
            } else {
                requests.push(known as i64);
                known as i64
            }
        };
        let Some(base) = self.look(Target::Set).await else { return };
        let added = self.add_rows(&base, request, true);
        if self.world.sabotage != Some(Sabotage::RetryWithoutKey) {
            added.await;
        } else if within(self.bucket.clock().as_ref(), Duration::from_millis(200), added).await.is_none() {
            // Its client has no patience and forgets what it said.
            self.add_rows(&base, request, false).await;
        }
    }

    async fn add_rows(&self, base: &std::sync::Arc<Snapshot>, request: i64, keyed: bool) -> Told {
        let id = self.new_txn();
        let (adds, cells) = self.cells(Target::Set, id, &[rows_of(request)]);
        let key = IdempotencyKey { scope: "client".into(), key: key_of(request), digest: "d".into() };
        let txn = Transaction::append(id, &self.name, adds).with_idem(keyed.then_some(key));
        self.write(self.record(Target::Set), base, txn, cells).await
    }

    /// The register gets a new value if it is still what was read.
    async fn swap(&self) {
        let Some(base) = self.look(Target::Register).await else { return };
        let id = self.new_txn();
        let value = (self.rng.next_u64() >> 12) as i64;
        let (adds, cells) = self.cells(Target::Register, id, &[vec![value]]);
        let txn = Transaction::overwrite(id, &self.name, adds, Scope::All).expecting(Some(base.version));
        self.world.swaps(id, base.version.0);
        self.write(self.record(Target::Register), &base, txn, cells).await;
    }

    fn cells(
        &self,
        target: Target,
        id: TxnId,
        rows: &[Vec<i64>],
    ) -> (Vec<CellEntry>, Vec<(apiary_bucket::Key, Bytes)>) {
        let cell = |(nth, rows): (usize, &Vec<i64>)| target.cell(self.record(target), id, nth as u32, rows);
        let made: Vec<_> = rows.iter().enumerate().map(cell).collect();
        let cells = made.iter().map(|(cell, body)| (cell.key(), body.clone())).collect();
        (made.into_iter().map(|(cell, _)| cell).collect(), cells)
    }

    /// One chore of the compactor.
    pub(crate) async fn keep_house(&self) {
        let ways = if self.world.wide { 10 } else { 6 };
        match self.rng.below(ways) {
            0 | 1 => self.vacuum().await,
            2 => self.checkpoint(self.any_target()).await,
            6 | 7 => self.care_for_log().await,
            8 => self.sweep().await,
            _ => self.merge().await,
        }
    }

    fn any_target(&self) -> Target {
        Target::ALL[self.rng.below(3) as usize]
    }

    /// As a compactor goes about it: a checkpoint, and away with what lies below an old one.
    async fn care_for_log(&self) {
        let target = self.world.old.filter(|_| self.rng.below(4) > 0).unwrap_or_else(|| self.any_target());
        self.checkpoint(target).await;
        let retention = if self.rng.below(2) == 0 { LOG_RETENTION_MIN } else { RETENTION / 4 };
        match self.frames.clean_log(self.record(target), retention).await {
            Ok(report) => {
                self.world.tell(format!("{} cleans the log of {target:?}: {report:?}", self.name));
                self.world.count_many("cleaned entries", report.entries);
            }
            Err(error) => self.failed("clean", self.record(target), &error),
        }
        self.world.count("clean");
    }

    async fn checkpoint(&self, target: Target) {
        match self.frames.checkpoint(self.record(target)).await {
            Ok(report) => self.world.tell(format!("{} checkpoints {target:?}: {report:?}", self.name)),
            Err(error) => self.failed("checkpoint", self.record(target), &error),
        }
        self.world.count("checkpoint");
    }

    /// What nobody can see any more goes.
    async fn vacuum(&self) {
        let target = Target::ALL[self.rng.below(3) as usize];
        let options = VacuumOptions { retention: RETENTION, run: true, node: self.name.clone(), store_now_ms: None };
        let report = self.frames.vacuum(self.record(target), &options).await;
        self.world.tell(format!("{} vacuums {target:?}: {report:?}", self.name));
        match report {
            Ok(report) => self.world.count_many("vacuumed files", report.goes.files),
            Err(error) => self.failed("vacuum", self.record(target), &error),
        }
        self.world.count("vacuum");
    }

    /// Some cells of the set become one.
    async fn merge(&self) {
        let Some(base) = self.look(Target::Set).await else { return };
        if base.cells.len() < 2 {
            return;
        }
        let most = 2 + self.rng.below(6) as usize;
        let first = self.rng.below(base.cells.len() as u64 - 1) as usize;
        let group: Vec<_> = base.cells.iter().skip(first).take(most).collect();
        let mut rows = Vec::new();
        for cell in &group {
            let Some(more) = self.rows(&cell.key()).await else { return };
            rows.extend(more);
        }
        let twice = rows.len() - rows.iter().collect::<HashSet<_>>().len();
        if twice > 0 {
            self.world.fault(format!("{twice} rows are there twice in what {} merges", self.name));
        }
        let id = self.new_txn();
        let (adds, cells) = self.cells(Target::Set, id, &[rows]);
        let removes = group.iter().map(|cell| cell.path()).collect();
        let txn = Transaction::compaction(id, &self.name, adds, removes);
        self.write(self.record(Target::Set), &base, txn, cells).await;
        self.world.count("merge");
    }
}
