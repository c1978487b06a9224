//! Group commit: appends to one frame that come while an entry is on its way share the next one.
//!
//! A slot takes one entry, and an entry one round trip, so a frame could take no more appends in a second than a
//! store answers puts one after the other. But an entry may hold many transactions. Whoever comes while a put is in
//! the air joins a **line**; when the put is decided, all that stand in it take off together.
//!
//! ```text
//!   callers   a ─┐  b c d ─┐        e f ─┐
//!                ▼         ▼             ▼
//!   flights   [ PUT 7 {a} ][ PUT 8 {b c d} ][ PUT 9 {e f} ]      one task for each frame, while someone waits
//!   landings               [ fence 7 ]─►a   [ fence 8 ]─►b c d   each on a task of its own, answers in order
//! ```
//!
//! - **Together, but each for itself.** Every member meets every entry that it has not seen for itself: one may be
//!   told that its key was used before while the others fly on. What they share is the slot, so they share its fate.
//!   The answer comes when the slot is decided and its fence was looked for, never before.
//! - **Who flies together** ([`choose`]): blind appends alone, which pass each other in any order. Two with one
//!   idempotency key, or with one id, never share an entry: the second waits and meets the first as an entry. At most
//!   256 in an entry, 8 MiB and 50 000 cells of them; what is larger flies outside the line, alone.
//! - **Straight.** Whoever wrote the last entry a moment ago takes the next slot to be free and puts at once, without
//!   looking first: if another was faster, the put is lost and the slot is read anyway. The next flight takes off
//!   before the fence of the last one was looked for; each slot has its own look, so nothing is believed too early.
//! - **The gate stays open for a moment** ([`linger`]) if the last flight had company. Those whom it brought back are
//!   under way again: they upload a cell while the fence is looked for and the next flight is in the air, and would come
//!   to the gate just after the one that follows took off, by the little that their own work takes. Without it a round
//!   of such writers takes four flights instead of three. (PostgreSQL's `commit_delay` is the same thought.)
//! - **The past** of the line, a few entries without their cells, is kept, for members whose base is older than the
//!   last entry. A member older than that makes the flight begin at its base and read.
//! - **Who goes away** takes nobody along. Flights and landings are tasks of the line's own: a caller that is dropped
//!   before take-off is left out, one that is dropped later has no listener. Everything in here is bounded: who waits
//!   by [`WAITING_MAX`], a flight by its deadline, landings by [`LANDINGS_MAX`], [`Lines::drain`] by the flights.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use apiary_core::{Clock, Version};
use tokio::{
    sync::{Semaphore, oneshot},
    task::JoinHandle,
};
use tokio_util::task::TaskTracker;

use super::{
    FrameLog, Frames,
    committing::{FrameProposal, Newest, conclude},
};
use crate::{
    CommitOutcome, FrameRecord, LedgerError, Result,
    commit::{Answer, Flight, Flown, Proposal},
    entry::FrameEntry,
    header::Head,
    log::Read,
};

/// Most transactions in one entry: more would make everyone wait for the encoding.
const MEMBERS_MAX: usize = 256;

/// Most bytes of `add` lines in one entry, so that it stays below 8 MiB with what stands around them.
const GROUP_BYTES_MAX: usize = 7 * 1024 * 1024;

/// Most cells that one entry adds for many transactions.
const GROUP_CELLS_MAX: usize = 50_000;

/// Most transactions that wait for one frame: some seconds of what a store takes.
const WAITING_MAX: usize = 16 * 1024;

/// Entries of the past that a line keeps, without their cells.
const PAST_MAX: usize = 64;

/// Landings that are not over yet before the next flight waits for them.
const LANDINGS_MAX: usize = 8;

/// Frames whose lines are kept while nobody waits.
const LINES_MAX: usize = 256;

/// How long after its last entry a line still flies straight.
const STRAIGHT_MAX: Duration = Duration::from_secs(10);

/// The part of a flight's time by which the next take-off is put off. Who comes at any moment waits for half a flight on
/// average, so this is an eighth of that.
const LINGER_SHARE: u32 = 16;

/// What no timer can wait for exactly.
const LINGER_MIN: Duration = Duration::from_millis(1);

/// Longest that a take-off is put off.
const LINGER_MAX: Duration = Duration::from_millis(10);

/// All lines of a process.
#[derive(Debug, Default)]
pub(super) struct Lines {
    lines: Mutex<HashMap<String, Arc<Line>>>,
    pub(super) tasks: TaskTracker,
}

/// Who waits for one frame.
#[derive(Debug)]
struct Line {
    state: Mutex<State>,
    landings: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<FrameProposal>,
    flying: bool,
    /// The last entry that is known, and when this process wrote it.
    end: Option<(Head, Moment)>,
    /// The entries up to there, without their cells, no version left out.
    past: VecDeque<Past>,
}

/// An entry without its cells.
type Past = (Version, Arc<FrameEntry>);

/// A moment by both clocks: one stands still while the machine sleeps, the other can be set.
#[derive(Debug, Clone, Copy)]
struct Moment {
    wall_ms: i64,
    monotonic: Duration,
}

impl Moment {
    fn now(clock: &dyn Clock) -> Self {
        Self { wall_ms: clock.wall_ms(), monotonic: clock.monotonic() }
    }

    fn is_just_before(self, now: Self) -> bool {
        let wall = now.wall_ms.saturating_sub(self.wall_ms);
        let passed = now.monotonic.saturating_sub(self.monotonic);
        passed <= STRAIGHT_MAX && wall >= 0 && u128::from(wall.unsigned_abs()) <= STRAIGHT_MAX.as_millis()
    }
}

/// The next flight.
struct TakeOff {
    members: Vec<FrameProposal>,
    base: Head,
    straight: bool,
    /// What members must meet before they fly.
    past: Vec<Past>,
}

impl Lines {
    /// Whether a transaction may fly with others.
    pub(super) fn takes(&self, proposal: &FrameProposal) -> bool {
        proposal.mine.txn.is_blind_append()
            && proposal.adds.len() <= GROUP_BYTES_MAX
            && proposal.mine.txn.adds.len() <= GROUP_CELLS_MAX
    }

    /// Joins the line of a frame and waits for the answer.
    pub(super) async fn fly(
        &self,
        frames: &Frames,
        frame: &FrameRecord,
        mut proposal: FrameProposal,
    ) -> Result<CommitOutcome> {
        let (reply, answer) = oneshot::channel();
        let txn = proposal.mine.txn.id;
        proposal.reply = Some(reply);
        let line = self.line(&frame.folder);
        if line.join(proposal)? {
            self.tasks.spawn(fly_all(frames.clone(), frame.clone(), line));
        }
        answer.await.unwrap_or_else(|_| {
            let why = "the process was shut down while it was on its way".to_owned();
            Err(LedgerError::OutcomeUnknown { txn, object: frame.folder.clone(), why })
        })
    }

    pub(super) async fn drain(&self) {
        self.tasks.close();
        self.tasks.wait().await;
        self.tasks.reopen();
    }

    fn line(&self, folder: &str) -> Arc<Line> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() >= LINES_MAX && !lines.contains_key(folder) {
            lines.retain(|_, line| line.lock().flying);
        }
        let new = || Line { state: Mutex::default(), landings: Arc::new(Semaphore::new(LANDINGS_MAX)) };
        Arc::clone(lines.entry(folder.to_owned()).or_insert_with(|| Arc::new(new())))
    }
}

impl Line {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Whole after every statement.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True if nobody flies, and the caller must see to it.
    fn join(&self, proposal: FrameProposal) -> Result<bool> {
        let mut state = self.lock();
        if state.waiting.len() >= WAITING_MAX {
            return Err(LedgerError::Contended { what: "frame", attempts: 0 });
        }
        state.waiting.push_back(proposal);
        Ok(!mem::replace(&mut state.flying, true))
    }

    /// Whether as many wait as fly together.
    fn is_full(&self) -> bool {
        self.lock().waiting.len() >= MEMBERS_MAX
    }

    /// Who flies next, and from where; `None` if nobody waits, and then nobody flies.
    fn take_off(&self, now: Moment) -> Option<TakeOff> {
        let mut state = self.lock();
        let members = choose(&mut state.waiting);
        let Some(oldest) = members.iter().min_by_key(|member| member.mine.base.version) else {
            state.flying = false;
            return None;
        };
        let (from, oldest) = (oldest.mine.base.head.clone(), oldest.mine.base.version);
        if state.end.as_ref().is_some_and(|(end, _)| end.version < oldest) {
            (state.end, state.past) = (None, VecDeque::new());
        }
        let covered = |state: &State, end: &Head| {
            end.version == oldest || state.past.front().is_some_and(|(first, _)| first.0 <= oldest.0 + 1)
        };
        match state.end.clone().filter(|(end, _)| covered(&state, end)) {
            Some((base, at)) => {
                let known = members.iter().all(|member| member.mine.base.version <= base.version);
                let past = state.past.iter().filter(|(version, _)| *version > oldest).cloned().collect();
                Some(TakeOff { members, base, straight: known && at.is_just_before(now), past })
            }
            None => Some(TakeOff { members, base: from, straight: false, past: Vec::new() }),
        }
    }

    /// Notes what a flight read and wrote, so that the next one begins there.
    fn note(&self, flown: &Flown<FrameLog, FrameProposal>, now: Moment) {
        let mut state = self.lock();
        for read in flown.passed().iter().chain(flown.written()) {
            state.follow(read);
        }
        if let Some(written) = flown.written() {
            state.end = Some((written.head.clone(), now));
        } else {
            // A slot that is not decided, or another's: look before the next.
            (state.end, state.past) = (None, VecDeque::new());
        }
    }

    fn forget(&self) {
        let mut state = self.lock();
        (state.end, state.past) = (None, VecDeque::new());
    }
}

impl State {
    fn follow(&mut self, read: &Read<FrameEntry>) {
        let version = read.head.version;
        if self.past.back().is_some_and(|(last, _)| version <= *last) {
            return;
        }
        if self.past.back().is_some_and(|(last, _)| last.next() != version) {
            self.past.clear();
        }
        if self.past.len() == PAST_MAX {
            self.past.pop_front();
        }
        // Blind appends look at no cell.
        let FrameEntry { header, timestamp_ms, protocol, metadata, .. } = &read.entry;
        let entry = FrameEntry {
            header: header.clone(),
            timestamp_ms: *timestamp_ms,
            protocol: protocol.clone(),
            metadata: metadata.clone(),
            adds: Vec::new(),
            removes: Vec::new(),
        };
        self.past.push_back((version, Arc::new(entry)));
    }
}

/// Takes those who may share the next entry out of the line; the others keep their order.
pub(super) fn choose(waiting: &mut VecDeque<FrameProposal>) -> Vec<FrameProposal> {
    let (mut members, mut stay) = (Vec::new(), VecDeque::new());
    let (mut ids, mut keys) = (HashSet::new(), HashSet::new());
    let (mut bytes, mut cells) = (0, 0);
    while let Some(next) = waiting.pop_front() {
        if next.reply.as_ref().is_some_and(oneshot::Sender::is_closed) {
            continue;
        }
        let (more_bytes, more_cells) = (bytes + next.adds.len(), cells + next.mine.txn.adds.len());
        let full = members.len() == MEMBERS_MAX || more_bytes > GROUP_BYTES_MAX || more_cells > GROUP_CELLS_MAX;
        if full && !members.is_empty() {
            stay.push_back(next);
            break;
        }
        let key = next.mine.txn.idem.as_ref().map(|idem| (idem.scope.clone(), idem.key.clone()));
        let twice = ids.contains(&next.mine.txn.id) || key.as_ref().is_some_and(|key| keys.contains(key));
        if twice {
            stay.push_back(next);
            continue;
        }
        ids.insert(next.mine.txn.id);
        keys.extend(key);
        (bytes, cells) = (more_bytes, more_cells);
        members.push(next);
    }
    while let Some(last) = stay.pop_back() {
        waiting.push_front(last);
    }
    members
}

/// Flies until nobody waits.
async fn fly_all(frames: Frames, frame: FrameRecord, line: Arc<Line>) {
    let mut guard = Grounded { line: Arc::clone(&line), armed: true };
    let clock = Arc::clone(frames.bucket.clock());
    let log = frames.log(&frame);
    let mut landing: Option<JoinHandle<()>> = None;
    while let Some(next) = line.take_off(Moment::now(clock.as_ref())) {
        // Never closed.
        let Ok(permit) = Arc::clone(&line.landings).acquire_owned().await else { break };
        let (members, began) = (next.members.len(), clock.monotonic());
        let base = next.members.first().map(|member| Arc::clone(&member.mine.base));
        let mut flight = Flight::new(&log, Some(next.base), next.members);
        flight.catch_up(next.past.iter().map(|(version, entry)| (*version, entry.as_ref())));
        let flown = flight.fly(next.straight).await;
        let ended = Moment::now(clock.as_ref());
        line.note(&flown, ended);
        let before = landing.take();
        let (frames, frame, log, landed_on) = (frames.clone(), frame.clone(), log.clone(), Arc::clone(&line));
        landing = Some(frames.lines.tasks.clone().spawn(async move {
            let landed = flown.land(&log).await;
            if let Some(before) = before {
                // One that broke has told its own callers so.
                let _ = before.await;
            }
            if let Some(base) = base {
                frames.learn(&log, &base, &landed.read);
            }
            if landed.cleaned {
                landed_on.forget();
            }
            frames.answer_all(&frame, landed.answers).await;
            drop(permit);
        }));
        let moment = linger(members, ended.monotonic.saturating_sub(began));
        if let Some(moment) = moment.filter(|_| !line.is_full()) {
            clock.sleep(moment).await;
        }
    }
    guard.armed = false;
}

/// How long the gate stays open after a flight of so many members that took so long.
pub(super) fn linger(members: usize, took: Duration) -> Option<Duration> {
    Some(took / LINGER_SHARE).filter(|moment| members > 1 && *moment >= LINGER_MIN).map(|moment| moment.min(LINGER_MAX))
}

impl Frames {
    async fn answer_all(&self, frame: &FrameRecord, answers: Vec<Answer<FrameProposal>>) {
        let newest = self.newest_if_cleaned(frame, &answers).await;
        for (member, settled) in answers {
            self.answer(frame, (member, settled), newest.as_ref());
        }
    }

    fn answer(&self, frame: &FrameRecord, (mut member, settled): Answer<FrameProposal>, newest: Option<&Newest>) {
        let txn = member.id();
        let outcome = conclude(frame, &member.mine, settled, newest);
        if let Some(reply) = member.reply.take()
            && reply.send(outcome).is_err()
        {
            tracing::debug!(%txn, "nobody waits for the end of this transaction");
        }
    }
}

/// If the task that flies ends before its time, those who wait are told so, and the next one who comes flies.
struct Grounded {
    line: Arc<Line>,
    armed: bool,
}

impl Drop for Grounded {
    fn drop(&mut self) {
        if self.armed {
            let mut state = self.line.lock();
            state.flying = false;
            state.waiting.clear();
        }
    }
}
