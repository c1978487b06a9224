//! The pulse: a node's heartbeat and its look at the others, one loop.
//!
//! Every 10 s, every 4 s while a query is open anywhere in the colony, every 2 s in the first seconds of a node's
//! life, so that a colony that starts together knows itself at once. While nothing happens the beats grow rare, a minute
//! apart in the end, and the looks rarer still: requests cost money. Each beat names the time to the next, which is what
//! an observer counts by. A look that fails is skipped: the detector stands still meanwhile.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use apiary_core::Incarnation;
use apiary_swarm::{
    NodeView, WorldView,
    behaviour::temperature::{self, Regime},
    heartbeat,
};
use tokio::{sync::Notify, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{Node, Result};

/// Between beats of a colony that has just become idle.
pub const PACE_IDLE: Duration = Duration::from_secs(10);
/// Between beats of one that has long been.
pub const PACE_LONGEST: Duration = Duration::from_secs(60);
/// Of the quiet so far, how much may pass until the next beat: the longest pace is reached after six minutes.
const QUIET_SHARE: u32 = 6;
/// Beats to a look while they are rarer than [`PACE_IDLE`]: nobody waits for what it would show.
const BEATS_A_LOOK: u64 = 3;
/// Between beats while a query is open.
pub const PACE_BUSY: Duration = Duration::from_secs(4);
/// Between the first beats of a node.
pub const PACE_FIRST: Duration = Duration::from_secs(2);
/// How many beats are first ones.
const FIRST_BEATS: u64 = 5;
/// How long the pulse stays quick after it was told to hurry.
const HURRY_FOR: Duration = Duration::from_secs(30);
/// How long a leaving node may go on before its heartbeat is taken away.
const DRAIN_MAX: Duration = Duration::from_secs(120);
/// How long one beat or look may take: longer, and it counts as failed.
const REQUEST_MAX: Duration = Duration::from_secs(8);
/// How long [`Node::leave`] waits for the last request.
const LEAVE_MAX: Duration = Duration::from_secs(5);
/// Advances of a foreign counter that make a twin. One may be a write of our past life that was long under way.
const TWIN_ADVANCES: u32 = 2;

/// How long until the next beat, after so much quiet. Pure.
fn pace(beats: u64, busy: bool, quiet: Duration) -> Duration {
    match (beats, busy) {
        (0..FIRST_BEATS, _) => PACE_FIRST,
        (_, true) => PACE_BUSY,
        (_, false) => (quiet / QUIET_SHARE).clamp(PACE_IDLE, PACE_LONGEST),
    }
}

/// Whether a beat at this pace comes with a look. Pure.
fn looks(beats: u64, pace: Duration) -> bool {
    pace <= PACE_IDLE || beats.is_multiple_of(BEATS_A_LOOK)
}

/// Notices another process that beats under our id: a foreign incarnation whose counter *advances*. One that stands
/// still is just our past.
#[derive(Debug)]
struct TwinWatch {
    foreign: Option<(Incarnation, u64)>,
    advances: u32,
}

impl TwinWatch {
    /// Takes in what stands under our id; true if it is a twin's.
    fn observe(&mut self, mine: Incarnation, found: (Incarnation, u64)) -> bool {
        if found.0 == mine {
            return self.is_twin();
        }
        match self.foreign {
            Some((incarnation, counter)) if incarnation == found.0 => {
                self.advances += u32::from(found.1 > counter);
            }
            // A life that began after ours, under our id.
            _ => self.advances = 1,
        }
        self.foreign = Some(found);
        self.is_twin()
    }

    fn is_twin(&self) -> bool {
        self.advances >= TWIN_ADVANCES
    }
}

#[derive(Debug)]
struct Seen {
    world: WorldView,
    twin: TwinWatch,
    regime: Regime,
    temperature: f64,
    pace: Duration,
    /// How long until the next look, when the last one was.
    next_look: Duration,
    busy_until: Duration,
    /// When something last happened, as far as this node knows.
    stirred: Duration,
    task: Option<JoinHandle<()>>,
}

/// The state of a node's pulse.
#[derive(Debug)]
pub(crate) struct Pulse {
    seen: Mutex<Seen>,
    counter: AtomicU64,
    leaving: AtomicBool,
    quicken: Notify,
    leave: CancellationToken,
}

impl Pulse {
    /// A pulse that has not begun; `past` is what stands under the node's id from an earlier life.
    pub(crate) fn new(past: Option<(Incarnation, u64)>) -> Self {
        let seen = Seen {
            world: WorldView::new(),
            twin: TwinWatch { foreign: past, advances: 0 },
            regime: Regime::Cold,
            temperature: 0.0,
            pace: PACE_FIRST,
            next_look: PACE_FIRST,
            busy_until: Duration::ZERO,
            stirred: Duration::ZERO,
            task: None,
        };
        Self {
            seen: Mutex::new(seen),
            counter: AtomicU64::new(0),
            leaving: AtomicBool::new(false),
            quicken: Notify::new(),
            leave: CancellationToken::new(),
        }
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn world(&self) -> Vec<NodeView> {
        self.seen().world.nodes()
    }

    /// When the last look was, on the node's clock.
    pub(crate) fn looked_at(&self) -> Option<Duration> {
        self.seen().world.looked_at()
    }

    pub(crate) fn temperature(&self) -> (f64, Regime) {
        let seen = self.seen();
        (seen.temperature, seen.regime)
    }

    pub(crate) fn has_twin(&self) -> bool {
        self.seen().twin.is_twin()
    }

    pub(crate) fn hurry(&self, now: Duration) {
        let mut seen = self.seen();
        seen.busy_until = now + HURRY_FOR;
        if seen.pace > PACE_BUSY {
            self.quicken.notify_one();
        }
    }

    pub(crate) fn start(&self, node: &Arc<Node>, shutdown: CancellationToken) {
        let mut seen = self.seen();
        if seen.task.is_none() {
            seen.task = Some(tokio::spawn(run(Arc::clone(node), shutdown)));
        }
    }

    pub(crate) async fn leave(&self) {
        self.leave.cancel();
        let task = self.seen().task.take();
        if let Some(task) = task
            && tokio::time::timeout(LEAVE_MAX, task).await.is_err()
        {
            tracing::warn!("the store was too slow to take the heartbeat away; the others will see it grow old");
        }
    }

    pub(crate) fn abort(&self) {
        if let Some(task) = &self.seen().task {
            task.abort();
        }
    }

    /// One look: reads all heartbeats and draws the conclusions.
    pub(crate) async fn look(&self, node: &Node) -> Result<Vec<NodeView>> {
        let sightings = heartbeat::read_all(&node.bucket).await?;
        let mut seen = self.seen();
        if let Some(mine) = sightings.iter().find(|sighting| sighting.heartbeat.node == node.id) {
            seen.twin.observe(node.incarnation, (mine.heartbeat.incarnation, mine.heartbeat.counter));
        }
        // What counts for this look is when it was meant to be, as the last one saw it.
        let pace = seen.next_look;
        seen.next_look = if seen.pace > PACE_IDLE { seen.pace * BEATS_A_LOOK as u32 } else { seen.pace };
        let nodes = seen.world.observe(node.clock().monotonic(), pace, sightings);
        seen.temperature = temperature::colony(&nodes);
        seen.regime = seen.regime.next(seen.temperature);
        Ok(nodes)
    }

    /// The pace until the next beat: asks the board unless it is known that a query is open. At most 1 LIST.
    async fn settle_pace(&self, node: &Node, beats: u64) -> Duration {
        let busy = beats >= FIRST_BEATS && (self.is_hurried(node) || is_open(node).await);
        let now = node.clock().monotonic();
        let mut seen = self.seen();
        if busy || beats < FIRST_BEATS || node.bees.busy() > 0 || seen.regime != Regime::Cold {
            seen.stirred = now;
        }
        seen.pace = pace(beats, busy, now.saturating_sub(seen.stirred));
        seen.pace
    }

    fn is_hurried(&self, node: &Node) -> bool {
        node.clock().monotonic() < self.seen().busy_until
    }

    async fn beat(&self, node: &Node, pace: Duration) -> Result<()> {
        let counter = self.counter.fetch_add(1, Ordering::Relaxed) + 1;
        let beat = node.heartbeat(counter, pace.as_secs_f64(), self.leaving.load(Ordering::Relaxed));
        Ok(heartbeat::beat(&node.bucket, &beat).await?)
    }
}

async fn is_open(node: &Node) -> bool {
    match tokio::time::timeout(REQUEST_MAX, node.board.list_open()).await {
        Ok(Ok(open)) => !open.is_empty(),
        // Unknown: the quick pace costs a few requests, the slow one may cost a query half a minute.
        Ok(Err(_)) | Err(_) => true,
    }
}

/// What ended a wait between beats.
enum Wake {
    Beat,
    Drain,
    Leave,
}

async fn run(node: Arc<Node>, shutdown: CancellationToken) {
    let pulse = &node.pulse;
    let mut beats = 0;
    let mut drained_at = None;
    loop {
        let pace = pulse.settle_pace(&node, beats).await;
        beats += 1;
        attempt("beat", pulse.beat(&node, pace)).await;
        if looks(beats, pace) {
            attempt("look at the colony", async { pulse.look(&node).await.map(drop) }).await;
        }
        if pulse.has_twin() {
            tracing::error!(node = %node.id, "another process beats under this id: stopping");
            shutdown.cancel();
            return;
        }
        let now = node.clock().monotonic();
        if drained_at.is_some_and(|since| now.saturating_sub(since) > DRAIN_MAX) {
            break;
        }
        match wait(&node, pace, &shutdown, drained_at.is_some()).await {
            Wake::Beat => {}
            Wake::Leave => break,
            Wake::Drain => {
                pulse.leaving.store(true, Ordering::Relaxed);
                drained_at = Some(now);
            }
        }
    }
    attempt("take the heartbeat away", async { Ok(heartbeat::withdraw(&node.bucket, &node.id).await?) }).await;
}

async fn wait(node: &Node, pace: Duration, shutdown: &CancellationToken, draining: bool) -> Wake {
    tokio::select! {
        biased;
        () = node.pulse.leave.cancelled() => Wake::Leave,
        () = shutdown.cancelled(), if !draining => Wake::Drain,
        () = node.pulse.quicken.notified() => Wake::Beat,
        () = node.clock().sleep(pace) => Wake::Beat,
    }
}

async fn attempt(what: &str, act: impl Future<Output = Result<()>>) {
    match tokio::time::timeout(REQUEST_MAX, act).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "cannot {what}; trying again at the next beat"),
        Err(_) => tracing::warn!("the store was too slow to {what}; trying again at the next beat"),
    }
}

#[cfg(test)]
mod tests {
    use apiary_core::{SeededRng, SystemClock};

    use super::*;

    fn lives() -> [Incarnation; 2] {
        let rng = SeededRng::new(5);
        [Incarnation::new(&SystemClock, &rng), Incarnation::new(&SystemClock, &rng)]
    }

    fn watch(past: Option<(Incarnation, u64)>) -> TwinWatch {
        TwinWatch { foreign: past, advances: 0 }
    }

    #[test]
    fn the_pace_follows_the_work() {
        let long = Duration::from_secs(86_400);
        assert_eq!((pace(0, false, long), pace(4, true, long)), (PACE_FIRST, PACE_FIRST));
        assert_eq!((pace(5, false, Duration::ZERO), pace(900, true, long)), (PACE_IDLE, PACE_BUSY));
    }

    #[test]
    fn a_quiet_colony_beats_ever_more_rarely_and_looks_more_rarely_still() {
        let after = |minutes: u64| pace(900, false, Duration::from_secs(60 * minutes)).as_secs();
        assert_eq!([0, 1, 2, 4, 6, 60].map(after), [10, 10, 20, 40, 60, 60]);
        let looks_of = |pace| (1..=12).filter(|beats| looks(*beats, pace)).count();
        assert_eq!([PACE_BUSY, PACE_IDLE, PACE_LONGEST].map(looks_of), [12, 12, 4]);
    }

    #[test]
    fn our_past_that_stands_still_is_no_twin() {
        let [mine, past] = lives();
        let mut twin = watch(Some((past, 7)));
        assert!((0..10).all(|_| !twin.observe(mine, (past, 7))));
    }

    #[test]
    fn one_late_write_of_our_past_is_no_twin() {
        let [mine, past] = lives();
        let mut twin = watch(Some((past, 7)));
        assert!(!twin.observe(mine, (past, 8)));
        assert!((1..10).all(|counter| !twin.observe(mine, (mine, counter))));
    }

    #[test]
    fn a_foreign_counter_that_advances_is_a_twin() {
        let [mine, other] = lives();
        let mut twin = watch(Some((other, 7)));
        assert!(!twin.observe(mine, (other, 8)));
        assert!(!twin.observe(mine, (mine, 1)));
        assert!(twin.observe(mine, (other, 9)));
    }

    #[test]
    fn a_life_that_began_after_ours_is_a_twin_when_it_moves() {
        let [mine, other] = lives();
        let mut twin = watch(None);
        assert!(!twin.observe(mine, (other, 1)));
        assert!(twin.observe(mine, (other, 2)));
    }
}
