//! Keeps ledgers short: checkpoints where the swarm's rules want one, and cleans away what lies below old ones. Goes
//! round the frames by looks that read no entry (see the swarm's `upkeep` for how often), and works on one at a time.
//! Of old checkpoints those go that are not worth their room (`copies`).
//!
//! Two compactors do no harm: both may write the same checkpoint, which is the same object, and delete the same entries.

use std::{collections::HashMap, sync::Arc, time::Duration};

use apiary_bucket::Bucket;
use apiary_core::{Version, within};
use apiary_ledger::{FrameRecord, Frames, LedgerError, LogLook, RETENTION, Registry};
use apiary_node::BeePool;
use apiary_swarm::behaviour::{
    copies::Copies,
    upkeep::{Found, Rounds, wants_checkpoint},
};
use tokio_util::sync::CancellationToken;

/// Between two glances at what is due, which cost no request.
const TICK: Duration = Duration::from_secs(10);

/// Between two looks at the names: a new frame wants nothing for minutes.
const NAMES_INTERVAL: Duration = Duration::from_secs(120);

/// Between two looks at the store's clock.
const TIME_INTERVAL: Duration = Duration::from_secs(3600);

/// Frames looked at in one tick: so that a stop is never far away.
const LOOKS_A_TICK_MAX: usize = 64;

/// How long one look may take.
const LOOK_TIME_MAX: Duration = Duration::from_secs(60);

/// How long one checkpoint or one cleanup may take: minutes of a frame of millions of cells.
const WORK_TIME_MAX: Duration = Duration::from_secs(1800);

/// Between two cleanups of one frame, which list its whole log: what goes is a week old.
const CLEAN_INTERVAL: Duration = Duration::from_secs(24 * 3600);

/// One compactor's upkeep.
#[derive(Debug)]
pub(crate) struct Upkeep {
    bucket: Bucket,
    registry: Registry,
    bees: BeePool,
    shutdown: CancellationToken,
    frames: HashMap<String, Known>,
    /// When the names were read last.
    named: Option<Duration>,
    /// The store's clock, read at that moment.
    store_ms: Option<(i64, Duration)>,
}

/// What is known of one frame.
#[derive(Debug)]
struct Known {
    record: Arc<FrameRecord>,
    look: Option<LogLook>,
    /// Since when there has been a tail.
    tail_since: Option<Duration>,
    cleaned: Option<Duration>,
    copies: Copies,
}

impl Upkeep {
    pub(crate) fn new(bucket: Bucket, registry: Registry, bees: BeePool, shutdown: CancellationToken) -> Self {
        Self { bucket, registry, bees, shutdown, frames: HashMap::new(), named: None, store_ms: None }
    }

    /// Works until the shutdown; a checkpoint under way is dropped, which leaves nothing that is believed.
    pub(crate) async fn run(mut self) {
        let clock = Arc::clone(self.bucket.clock());
        let mut rounds = Rounds::new(clock.monotonic());
        let shutdown = self.shutdown.clone();
        let work = async {
            // Ends with the node.
            loop {
                clock.sleep(TICK).await;
                self.learn_names(&mut rounds).await;
                for _ in 0..LOOKS_A_TICK_MAX {
                    let Some(folder) = rounds.next(clock.monotonic()) else { break };
                    let found = self.visit(&folder).await;
                    rounds.looked(&folder, found, clock.monotonic(), self.bucket.rng().next_u64());
                }
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = work => {}
        }
    }

    /// How long ago something was written, by the store's clock and what has passed since it was read.
    fn quiet(&self, modified_ms: i64) -> Duration {
        let Some((store_ms, read)) = self.store_ms else { return Duration::ZERO };
        let since = self.bucket.clock().monotonic().saturating_sub(read);
        let quiet = u64::try_from(store_ms.saturating_sub(modified_ms)).unwrap_or(0);
        Duration::from_millis(quiet) + since
    }

    /// The store's clock is read once an hour: it tells busy frames from quiet ones, no more.
    async fn learn_time(&mut self) {
        let clock = Arc::clone(self.bucket.clock());
        let now = clock.monotonic();
        if self.store_ms.is_some_and(|(_, read)| now.saturating_sub(read) < TIME_INTERVAL) {
            return;
        }
        match within(clock.as_ref(), LOOK_TIME_MAX, self.bucket.store_now_ms()).await {
            Some(Ok(store_ms)) => self.store_ms = Some((store_ms, now)),
            Some(Err(error)) => tracing::warn!(%error, "cannot read the store's clock"),
            None => tracing::warn!("the store's clock takes too long to read"),
        }
    }

    async fn learn_names(&mut self, rounds: &mut Rounds<String>) {
        let now = self.bucket.clock().monotonic();
        if self.named.is_some_and(|named| now.saturating_sub(named) < NAMES_INTERVAL) {
            return;
        }
        self.named = Some(now);
        self.learn_time().await;
        let clock = Arc::clone(self.bucket.clock());
        let names = match within(clock.as_ref(), LOOK_TIME_MAX, self.registry.namespace()).await {
            Some(Ok(names)) => names,
            Some(Err(error)) => return tracing::warn!(%error, "cannot read the names of the frames"),
            None => return tracing::warn!("the names of the frames take too long to read"),
        };
        let mut known = std::mem::take(&mut self.frames);
        for record in names.all_frames() {
            let new = || Known {
                record: Arc::clone(&record),
                look: None,
                tail_since: None,
                cleaned: None,
                copies: Copies::default(),
            };
            let mut known = known.remove(&record.folder).unwrap_or_else(new);
            known.record = Arc::clone(&record);
            self.frames.insert(record.folder.clone(), known);
        }
        rounds.know(self.frames.keys().cloned(), now);
    }

    /// Looks at one frame and does what is due.
    async fn visit(&mut self, folder: &str) -> Found {
        let Some(known) = self.frames.get_mut(folder) else { return Found::Nothing };
        let (clock, record) = (Arc::clone(self.bucket.clock()), Arc::clone(&known.record));
        // A cache of its own for each visit: snapshots of many frames would fill the memory.
        let frames = Frames::new(self.bucket.clone());
        let before = known.look;
        let look = match within(clock.as_ref(), LOOK_TIME_MAX, frames.look(&record, before)).await {
            Some(Ok(look)) => look,
            Some(Err(error)) => return given_up(&record, &error),
            None => return Found::Nothing,
        };
        let news = before != Some(look);
        known.see(look, clock.monotonic());
        let mut wants = known.wants_checkpoint(clock.monotonic());
        if wants && before.is_some() {
            // Somebody else may have written one meanwhile.
            match within(clock.as_ref(), LOOK_TIME_MAX, frames.look(&record, None)).await {
                Some(Ok(look)) => known.see(look, clock.monotonic()),
                Some(Err(error)) => return given_up(&record, &error),
                None => return Found::Nothing,
            }
            wants = known.wants_checkpoint(clock.monotonic());
        }
        if wants && let Err(found) = self.checkpoint(folder, &frames).await {
            return found;
        }
        self.clean(folder, &frames).await;
        match self.frames.get(folder) {
            _ if news => Found::News { quiet: self.quiet(look.modified_ms) },
            Some(Known { tail_since: Some(_), look: Some(look), .. }) if look.entries >= 10 => Found::Waiting,
            _ => Found::Nothing,
        }
    }

    async fn checkpoint(&mut self, folder: &str, frames: &Frames) -> Result<(), Found> {
        let Some(known) = self.frames.get_mut(folder) else { return Ok(()) };
        let Ok(_bee) = self.bees.lease(&self.shutdown).await else { return Ok(()) };
        let clock = Arc::clone(self.bucket.clock());
        match within(clock.as_ref(), WORK_TIME_MAX, frames.checkpoint(&known.record)).await {
            Some(Ok(report)) => {
                tracing::info!(frame = %known.record.path, ?report, "a checkpoint");
                let (modified_ms, tail) = known.look.map_or((0, 0), |look| (look.modified_ms, look.bytes));
                let (newest, checkpoint) = (report.version, Some(report.version));
                let look = LogLook { newest, checkpoint, entries: 0, bytes: 0, modified_ms };
                known.see(look, clock.monotonic());
                if report.written {
                    let goes = known.copies.wrote(report.version.0, report.bytes, tail, clock.monotonic());
                    thin(frames, &known.record, goes.map(Version)).await;
                }
                Ok(())
            }
            Some(Err(error)) => Err(given_up(&known.record, &error)),
            None => {
                tracing::warn!(frame = %known.record.path, "a checkpoint took too long");
                Err(Found::Nothing)
            }
        }
    }

    async fn clean(&mut self, folder: &str, frames: &Frames) {
        let Some(known) = self.frames.get_mut(folder) else { return };
        let clock = Arc::clone(self.bucket.clock());
        let now = clock.monotonic();
        let lately = known.cleaned.is_some_and(|cleaned| now.saturating_sub(cleaned) < CLEAN_INTERVAL);
        if lately || !known.look.is_some_and(|look| look.may_be_cleaned()) {
            return;
        }
        known.cleaned = Some(now);
        let cleaning = frames.clean_log(&known.record, RETENTION);
        match within(clock.as_ref(), WORK_TIME_MAX, cleaning).await {
            Some(Ok(_)) => {}
            Some(Err(error)) => drop(given_up(&known.record, &error)),
            None => tracing::warn!(frame = %known.record.path, "a cleanup of the ledger took too long"),
        }
    }
}

impl Known {
    fn see(&mut self, look: LogLook, now: Duration) {
        // A tail that began after another checkpoint is another tail.
        let same = self.look.is_some_and(|before| before.checkpoint == look.checkpoint);
        self.tail_since = (look.entries > 0).then(|| self.tail_since.filter(|_| same).unwrap_or(now));
        self.look = Some(look);
    }

    fn wants_checkpoint(&self, now: Duration) -> bool {
        let waited = self.tail_since.map_or(Duration::ZERO, |since| now.saturating_sub(since));
        self.look.is_some_and(|look| wants_checkpoint(look.entries, look.bytes, waited))
    }
}

/// An old checkpoint that is not worth its room goes; if it does not, the next log cleanup takes it.
async fn thin(frames: &Frames, record: &FrameRecord, goes: Option<Version>) {
    let Some(version) = goes else { return };
    if let Err(error) = frames.thin_checkpoint(record, version).await {
        tracing::warn!(frame = %record.path, %version, %error, "an old checkpoint stays");
    }
}

/// Upkeep that failed is tried again at the frame's next turn, later and later.
fn given_up(record: &FrameRecord, error: &LedgerError) -> Found {
    match error {
        LedgerError::Dropped { .. } => tracing::debug!(frame = %record.path, "dropped"),
        error => tracing::warn!(frame = %record.path, %error, "no upkeep of this frame's ledger for now"),
    }
    Found::Nothing
}

#[cfg(test)]
mod tests;
