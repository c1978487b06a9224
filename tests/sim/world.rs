//! Everything that one seed makes: the store, the frames, the plan of faults, and what was asked and answered.

use std::{
    collections::{BTreeMap, VecDeque, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use apiary_core::{Clock, ManualClock, Rng, SeededRng, TxnId};
use apiary_faults::{Fault, FaultStore, MemoryStore, Rates};
use apiary_ledger::FrameRecord;
use apiary_tests::linear::{Op, Told};

use super::{ghost::Ghost, image::Image, names::NameOp, target::Target};

/// How old something must be before it is cleaned away; freezes last longer.
pub(crate) const RETENTION: Duration = Duration::from_secs(7 * 24 * 3600);

/// Lines of the story that are kept.
const STORY_LINES: usize = 400;

/// A fault planted into the world, so that the judge has something to find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sabotage {
    /// The store forgets the condition of every 25th create.
    ForgetfulStore,
    /// A coordinator takes an unknown outcome for none: it says so, and deletes the cells.
    UnknownTakenForNone,
    /// A client repeats an unknown request without its key.
    RetryWithoutKey,
    /// A coordinator acknowledges what it does not know.
    UnknownAcknowledged,
    /// A coordinator answers reads from its cache.
    StaleReads,
    /// A transfer does not say for which version it is meant.
    BlindTransfer,
}

/// What a seed is played with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) sabotage: Option<Sabotage>,
    /// Names change, too, logs are cleaned, appends come together; seeds that were wrong before there was that stay as
    /// they were.
    pub(crate) wide: bool,
}

impl Setting {
    pub(crate) const WIDE: Self = Self { sabotage: None, wide: true };
    pub(crate) const NARROW: Self = Self { sabotage: None, wide: false };
}

/// What was asked, and what came of it.
#[derive(Debug, Default)]
struct Book {
    /// By the frame's folder.
    ops: BTreeMap<String, Vec<Op>>,
    story: VecDeque<String>,
    hasher: DefaultHasher,
    faults: Vec<String>,
    counts: BTreeMap<String, u64>,
    /// Transactions of the register, and the version that each was meant for.
    swaps: Vec<(String, u64)>,
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) clock: ManualClock,
    pub(crate) ghost: Ghost,
    pub(crate) store: FaultStore,
    pub(crate) frames: BTreeMap<Target, Arc<FrameRecord>>,
    pub(crate) sabotage: Option<Sabotage>,
    /// Whether names change, and logs are cleaned.
    pub(crate) wide: bool,
    /// The frame whose log is long.
    pub(crate) old: Option<Target>,
    /// What was asked of names.
    pub(crate) naming: Mutex<Vec<NameOp>>,
    /// Keys of the set's appends that may be asked for again.
    pub(crate) requests: Mutex<Vec<i64>>,
    book: Mutex<Book>,
}

impl World {
    /// A store that goes on from `image`.
    pub(crate) fn new(seed: u64, setting: Setting, image: &Image) -> Arc<Self> {
        let clock = ManualClock::new();
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let forgetful = (setting.sabotage == Some(Sabotage::ForgetfulStore)).then_some(25);
        let ghost = image.ghost.continued(MemoryStore::new(Arc::clone(&shared)), forgetful);
        let store = FaultStore::new(Arc::new(ghost.clone()), seed, shared);
        let (requests, naming, book) = (Mutex::default(), Mutex::default(), Mutex::default());
        let frames = image.frames.clone();
        let Setting { sabotage, wide } = setting;
        Arc::new(Self { seed, clock, ghost, store, frames, sabotage, wide, old: image.old, requests, naming, book })
    }

    /// From now on things go wrong, by how much the seed says; and now and then they go very wrong for a while.
    pub(crate) async fn let_loose(self: Arc<Self>, rng: SeededRng) {
        // What is planted must be found soon.
        let rough = u64::from(self.sabotage.is_some());
        let per_mille = if rough == 1 { 60 } else { [0, 4, 12, 30, 60][rng.below(5) as usize] };
        self.store.latency(Duration::from_millis(1 + rng.below(60)));
        if rng.below(4) == 0 {
            self.store.pages_of(2 + rng.below(5) as usize);
        }
        let usual = || usual(per_mille, self.wide);
        self.store.deal(usual());
        for _ in 0..rng.below(6) + 6 * rough {
            let moment = RETENTION / 2 * rng.below(4) as u32 + Duration::from_millis(rng.below(10_000));
            self.clock.sleep(moment.saturating_sub(self.clock.monotonic())).await;
            self.store.deal(Some(outage(&rng)));
            self.tell("an outage begins".to_owned());
            self.count("outage");
            self.clock.sleep(Duration::from_millis(rng.below(if rng.below(2) == 0 { 8_000 } else { 900_000 }))).await;
            self.tell("the outage is over".to_owned());
            self.store.deal(usual());
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes down that something was asked for; the number is for [`World::told`].
    pub(crate) fn asked(&self, frame: &FrameRecord, by: &str, txn: Option<TxnId>, key: Option<String>) -> usize {
        let start = self.ghost.moment();
        let txn = txn.map(|id| id.to_string());
        let op = Op { by: by.to_owned(), txn, key, start, end: None, told: Told::Unknown };
        let mut book = self.book();
        let ops = book.ops.entry(frame.folder.clone()).or_default();
        ops.push(op);
        ops.len() - 1
    }

    /// Writes down the answer.
    pub(crate) fn told(&self, frame: &FrameRecord, nth: usize, told: Told) {
        let moment = self.ghost.moment();
        let mut book = self.book();
        let op = &mut book.ops.entry(frame.folder.clone()).or_default()[nth];
        (op.end, op.told) = (Some(moment), told);
        let line = format!("{} {op:?}", frame.path);
        drop(book);
        self.tell(line);
        self.count(match told {
            Told::Committed(_) => "committed",
            Told::AlreadyApplied(_) => "applied before",
            Told::Nothing => "not committed",
            Told::Unknown => "unknown",
            Told::Saw(_) => "read",
        });
    }

    /// One more line of the story.
    pub(crate) fn tell(&self, line: String) {
        let at = self.clock.monotonic();
        let mut book = self.book();
        (at, &line).hash(&mut book.hasher);
        if book.story.len() == STORY_LINES {
            book.story.pop_front();
        }
        book.story.push_back(format!("{} ms {line}", at.as_millis()));
    }

    pub(crate) fn count(&self, what: &str) {
        self.count_many(what, 1);
    }

    pub(crate) fn count_many(&self, what: &str, times: u64) {
        *self.book().counts.entry(what.to_owned()).or_default() += times;
    }

    pub(crate) fn fault(&self, why: String) {
        self.tell(format!("FAULT {why}"));
        self.book().faults.push(why);
    }

    pub(crate) fn swaps(&self, id: TxnId, base: u64) {
        self.book().swaps.push((id.to_string(), base));
    }

    pub(crate) fn swapped(&self) -> Vec<(String, u64)> {
        self.book().swaps.clone()
    }

    pub(crate) fn ops(&self, folder: &str) -> Vec<Op> {
        self.book().ops.get(folder).cloned().unwrap_or_default()
    }

    pub(crate) fn faults(&self) -> Vec<String> {
        self.book().faults.clone()
    }

    /// What happened how often: answers, and faults that calls met.
    pub(crate) fn counts(&self) -> BTreeMap<String, u64> {
        let mut counts = self.book().counts.clone();
        for call in self.store.calls() {
            if let Some(met) = &call.met {
                let kind = met.split('(').next().unwrap_or_default();
                *counts.entry(format!("fault {kind}")).or_default() += 1;
            }
            *counts.entry(format!("call {:?}", call.op)).or_default() += 1;
        }
        for folder in self.ghost.folders() {
            let folder = &folder;
            let (seals, again, shared) = self.ghost.log(folder, |log| (log.seals, log.again, log.shared()));
            *counts.entry("sealed slots".to_owned()).or_default() += seals as u64;
            *counts.entry("slots won again".to_owned()).or_default() += again as u64;
            *counts.entry("shared entry".to_owned()).or_default() += shared as u64;
        }
        counts
    }

    /// One number for all that happened, every call to the store and every answer.
    pub(crate) fn trace(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.store.calls().hash(&mut hasher);
        self.book().hasher.finish().hash(&mut hasher);
        hasher.finish()
    }

    /// The last of what happened, for people.
    pub(crate) fn tail(&self) -> String {
        let calls = self.store.calls();
        let calls = calls[calls.len().saturating_sub(120)..].iter().map(|call| format!("  {call}\n"));
        let story = self.book().story.iter().map(|line| format!("  {line}\n")).collect::<String>();
        format!("the last calls:\n{}the story:\n{story}", calls.collect::<String>())
    }
}

/// What goes wrong on any day; a wide world reads wrong bits and has full disks, too.
fn usual(per_mille: u64, wide: bool) -> Option<Rates> {
    let rare = per_mille / 4;
    let rates = Rates::storm(per_mille)
        .late(Duration::from_secs(600))
        .with(per_mille, Fault::Stale(3))
        .with(per_mille, Fault::Slow(Duration::from_secs(3)))
        .with(rare, Fault::Hang)
        .with(rare, Fault::AppliedThenHang)
        .with(rare, Fault::LateAndHang(Duration::ZERO))
        .with(rare, Fault::Denied)
        .with(rare, Fault::Truncated);
    let rates = if wide { rates.with(rare, Fault::Flipped).with(rare, Fault::DiskFull) } else { rates };
    (per_mille > 0).then_some(rates)
}

/// What goes wrong when the store is all but gone: ledger entries are lost, late, or there unknown to their writers.
fn outage(rng: &SeededRng) -> Rates {
    let rates = Rates::default().late(Duration::from_secs(3600));
    let rates = match rng.below(4) {
        0 => rates.with(950, Fault::Unavailable),
        1 => rates.with(500, Fault::Late(Duration::ZERO)).with(450, Fault::Error),
        2 => rates.with(300, Fault::LateAndHang(Duration::ZERO)).with(300, Fault::Hang).with(300, Fault::BareConflict),
        _ => rates.with(400, Fault::AppliedThenTimeout).with(300, Fault::Error).with(200, Fault::Denied),
    };
    rates.keys_that(|key| key.contains("/_delta_log"))
}
