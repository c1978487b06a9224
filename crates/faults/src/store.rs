//! The store that meets its faults: one function, [`FaultStore::call`], takes every call through them.

mod calls;

use std::{
    collections::hash_map::DefaultHasher,
    fmt,
    future::Future,
    hash::{Hash, Hasher},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use apiary_core::{Clock, Rng, SeededRng};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, future::pending, stream, stream::BoxStream};
use object_store::{Error, ObjectMeta, ObjectStore, ObjectStoreExt, PutPayload, Result, path::Path};

use crate::{
    fault::{Fault, Op},
    late::{LatePut, LatePuts},
    plan::{Plan, Rates, Rule},
    record::{Call, Outcome},
    stale::Changes,
};

/// Names in one page of a listing, as all stores have it.
const PAGE: usize = 1_000;

/// The store. Clones are the same store, with the same script and the same record.
#[derive(Debug, Clone)]
pub struct FaultStore {
    inner: Arc<dyn ObjectStore>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    rng: SeededRng,
    clock: Arc<dyn Clock>,
}

#[derive(Debug)]
struct State {
    plan: Plan,
    late: LatePuts,
    changes: Changes,
    calls: Vec<Call>,
    /// Calls that were recorded and forgotten.
    forgotten: usize,
    latency: Duration,
    space: Option<u64>,
    denied: Vec<Op>,
    page: usize,
    is_ordered: bool,
    weakness: Option<Weakness>,
}

/// How a store can be too weak to hold a colony.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weakness {
    /// It takes the condition of a create and overwrites.
    IgnoresCondition,
    /// It looks whether the name is free, and writes a moment later.
    ChecksThenWrites,
}

/// Lets others go first, once.
#[derive(Debug, Default)]
struct YieldOnce(bool);

impl Future for YieldOnce {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

/// A call that has begun.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Begun {
    id: usize,
    op: Op,
    fault: Option<Fault>,
    half: Duration,
}

/// The body of a put, which may arrive late.
type Body<'a> = Option<&'a PutPayload>;

impl FaultStore {
    /// A store that does what `inner` does until it is told otherwise. All chance comes from `seed`, all time from
    /// `clock`.
    #[must_use]
    pub fn new(inner: Arc<dyn ObjectStore>, seed: u64, clock: Arc<dyn Clock>) -> Self {
        let state = State {
            plan: Plan::default(),
            late: LatePuts::default(),
            changes: Changes::default(),
            calls: Vec::new(),
            forgotten: 0,
            latency: Duration::ZERO,
            space: None,
            denied: Vec::new(),
            page: PAGE,
            is_ordered: true,
            weakness: None,
        };
        Self { inner, shared: Arc::new(Shared { state: Mutex::new(state), rng: SeededRng::new(seed), clock }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a line to the script. Rules that were added earlier come first.
    pub fn script(&self, rule: Rule) {
        self.state().plan.add(rule);
    }

    /// Deals faults out by chance from now on, or no longer.
    pub fn deal(&self, rates: Option<Rates>) {
        self.state().plan.deal(rates);
    }

    /// From now on nothing goes wrong: no rules, no chance, all rights, space and speed. Late puts still arrive.
    pub fn calm(&self) {
        let mut state = self.state();
        state.plan.clear();
        (state.latency, state.space, state.page, state.is_ordered) = (Duration::ZERO, None, PAGE, true);
        state.denied.clear();
    }

    /// Rules of the script that are not used up: a test that wants all of them met asserts 0.
    #[must_use]
    pub fn rules_left(&self) -> usize {
        self.state().plan.rules_left()
    }

    /// Every call takes so long from now on, half of it before the store acts.
    pub fn latency(&self, latency: Duration) {
        self.state().latency = latency;
    }

    /// How many more bytes may be written; `None` is any number.
    pub fn space(&self, bytes: Option<u64>) {
        self.state().space = bytes;
    }

    /// The right to these operations is gone; an empty list gives all back.
    pub fn deny(&self, ops: &[Op]) {
        self.state().denied = ops.to_vec();
    }

    /// Names in one page of a listing. Each page is a call, and shows what is there when it is asked for.
    pub fn pages_of(&self, names: usize) {
        self.state().page = names.max(1);
    }

    /// Whether listings are in the order of names: S3 directory buckets have none.
    pub fn ordered(&self, is_ordered: bool) {
        self.state().is_ordered = is_ordered;
    }

    /// How the store treats the condition of a create from now on; `None` is as it must.
    pub fn weak(&self, weakness: Option<Weakness>) {
        self.state().weakness = weakness;
    }

    /// Every call so far, in order.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.state().calls.clone()
    }

    /// How many calls of a kind there were on keys that hold `part`.
    #[must_use]
    pub fn count(&self, op: Op, part: &str) -> usize {
        self.state().calls.iter().filter(|call| call.op == op && call.key.contains(part)).count()
    }

    /// Forgets the calls so far.
    pub fn forget_calls(&self) {
        let mut state = self.state();
        state.forgotten += state.calls.len();
        state.calls.clear();
    }

    /// Puts that have not arrived yet.
    #[must_use]
    pub fn late(&self) -> usize {
        self.state().late.len()
    }

    /// Puts that are late never arrive.
    pub fn lose_late(&self) {
        self.state().late.clear();
    }

    /// Lets all late puts arrive now, whatever the time.
    pub async fn land_late(&self) {
        self.arrive(Duration::MAX).await;
    }

    /// Lets the late puts arrive whose time has come: for a test that looks below this store.
    pub async fn settle(&self) {
        self.arrive(self.shared.clock.monotonic()).await;
    }

    async fn arrive(&self, now: Duration) {
        let due = self.state().late.due(now);
        for put in due {
            let path = put.path.clone();
            let is_new = put.create || self.inner.head(&path).await.is_err();
            if put.arrive(self.inner.as_ref()).await && is_new {
                self.state().changes.came(path.as_ref());
            }
        }
    }

    /// Takes one call through what it meets. `work` does it on the store below.
    pub(crate) async fn call<T>(
        &self,
        begun: Begun,
        path: &Path,
        body: Body<'_>,
        work: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        self.wait(begun.half).await;
        self.settle().await;
        let result = self.act(&begun, path, body, work).await;
        self.wait(begun.half).await;
        let mut state = self.state();
        let place = begun.id.checked_sub(state.forgotten);
        if let Some(call) = place.and_then(|place| state.calls.get_mut(place)) {
            call.outcome = Outcome::of(&result);
        }
        result
    }

    /// Records a call and says what it will meet.
    pub(crate) fn begin(&self, op: Op, path: &Path, bytes: usize) -> Begun {
        let key = path.as_ref();
        let at = self.shared.clock.monotonic();
        let mut state = self.state();
        let mut fault = state.plan.meet(op, key, &self.shared.rng);
        if state.denied.contains(&op) {
            fault = Some(Fault::Denied);
        } else if let Some(space) = state.space.filter(|_| Fault::DiskFull.can_meet(op)) {
            match space.checked_sub(bytes as u64) {
                Some(left) => state.space = Some(left),
                None => fault = Some(Fault::DiskFull),
            }
        }
        let id = state.forgotten + state.calls.len();
        state.calls.push(Call::begun(at, op, key, bytes, fault));
        let slow = match fault {
            Some(Fault::Slow(slow)) => slow,
            _ => Duration::ZERO,
        };
        Begun { id, op, fault, half: (state.latency + slow) / 2 }
    }

    async fn wait(&self, how_long: Duration) {
        if !how_long.is_zero() {
            self.shared.clock.sleep(how_long).await;
        }
    }

    async fn act<T>(
        &self,
        begun: &Begun,
        path: &Path,
        body: Body<'_>,
        work: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let Some(fault) = begun.fault else { return work.await };
        if let (Fault::Late(by) | Fault::LateAndHang(by), Some(body)) = (fault, body) {
            let due = self.shared.clock.monotonic().saturating_add(by);
            let put = LatePut { due, path: path.clone(), body: body.clone(), create: begun.op == Op::Create };
            self.state().late.add(put);
        }
        let error = fault.error(path);
        if fault.applies() {
            // A change that the store itself refuses is refused with its own words.
            work.await?;
            return match error {
                Some(error) => Err(error),
                None => pending().await,
            };
        }
        match error {
            Some(error) => Err(error),
            None if fault.hangs() => pending().await,
            None => work.await,
        }
    }

    /// Whether a put over this name brings a new one.
    async fn is_new(&self, path: &Path, create: bool) -> bool {
        create || self.inner.head(path).await.is_err()
    }

    fn came(&self, path: &Path, is_new: bool) {
        if is_new {
            self.state().changes.came(path.as_ref());
        }
    }

    async fn page(&self, prefix: Option<&Path>, after: &Path) -> Result<Vec<ObjectMeta>> {
        let (page, is_ordered) = {
            let state = self.state();
            (state.page, state.is_ordered)
        };
        let at = prefix.cloned().unwrap_or_default();
        let begun = self.begin(Op::List, &at, 0);
        let list = async {
            if let Some(Fault::Stale(back)) = begun.fault {
                let now = self.inner.list(prefix).try_collect().await?;
                let fits = |key: &str| at.as_ref().is_empty() || key.starts_with(&format!("{at}/"));
                let then = self.state().changes.before(now, back, fits);
                return Ok(then.into_iter().filter(|meta| meta.location > *after).take(page).collect());
            }
            let listed = self.inner.list_with_offset(prefix, after);
            if is_ordered { listed.take(page).try_collect::<Vec<_>>().await } else { listed.try_collect().await }
        };
        let mut listed = self.call(begun, &at, None, list).await?;
        if !is_ordered {
            listed.sort_by_key(|meta| {
                let mut hasher = DefaultHasher::new();
                meta.location.as_ref().hash(&mut hasher);
                hasher.finish()
            });
        }
        Ok(listed)
    }

    fn pages(&self, prefix: Option<&Path>, after: Path) -> BoxStream<'static, Result<ObjectMeta>> {
        let (store, prefix) = (self.clone(), prefix.cloned());
        let next = move |after: Option<Path>| {
            let (store, prefix) = (store.clone(), prefix.clone());
            async move {
                let Some(after) = after else { return Ok::<_, Error>(None) };
                let page = store.page(prefix.as_ref(), &after).await?;
                let state = store.state();
                let is_full = state.is_ordered && page.len() >= state.page;
                let next = page.last().map(|meta| meta.location.clone()).filter(|_| is_full);
                Ok(Some((stream::iter(page.into_iter().map(Ok)), next)))
            }
        };
        stream::try_unfold(Some(after), next).try_flatten().boxed()
    }

    /// A body as the fault leaves it.
    fn broken(&self, fault: Option<Fault>, body: Bytes) -> Bytes {
        let place = self.shared.rng.below(body.len().max(1) as u64);
        let place = usize::try_from(place).unwrap_or_default();
        match fault {
            Some(Fault::Truncated) => body.slice(..place.min(body.len())),
            Some(Fault::Flipped) if !body.is_empty() => {
                let mut body = body.to_vec();
                body[place] ^= 1 << self.shared.rng.below(8);
                Bytes::from(body)
            }
            _ => body,
        }
    }
}

impl fmt::Display for FaultStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultStore({})", self.inner)
    }
}

#[cfg(test)]
mod tests;
