//! Holding on to what a long query reads: a pin in the bucket, that vacuum keeps (see `apiary_ledger::Pins`).
//!
//! Nothing is written for a query that ends within a minute: what it reads was current a moment ago, and vacuum
//! leaves that for an hour at least. Then one PUT, one more every few hours, and one DELETE at the end, however the query
//! ends. A coordinator that dies leaves a pin that holds nothing after a week.

use std::{convert::Infallible, sync::Arc, time::Duration};

use apiary_bucket::Bucket;
use apiary_core::QueryId;
use apiary_ledger::{Pin, Pins};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

/// A query that is older than this is a long one. Far below the shortest retention.
const LONG: Duration = Duration::from_secs(60);

/// Between two writes of a pin: far below the age at which it holds nothing.
const REFRESH: Duration = Duration::from_secs(12 * 3600);

/// Between two tries of a write that failed.
const RETRY: Duration = Duration::from_secs(30);

/// How long the DELETE at the end may take; what it leaves grows old by itself.
const RELEASE_MAX: Duration = Duration::from_secs(5);

/// What one query holds. Dropped, it lets go.
#[derive(Debug)]
pub(super) struct Hold {
    _until: Option<DropGuard>,
}

impl Hold {
    /// Holds what `pin` names from a minute on. No I/O here; `tasks` waits for the end.
    pub(super) fn begin(bucket: &Bucket, tasks: &TaskTracker, pin: Pin) -> Self {
        if pin.frames.is_empty() {
            return Self { _until: None };
        }
        let ended = CancellationToken::new();
        tasks.spawn(keep(bucket.clone(), pin, ended.clone()));
        Self { _until: Some(ended.drop_guard()) }
    }
}

async fn keep(bucket: Bucket, pin: Pin, ended: CancellationToken) {
    let clock = Arc::clone(bucket.clock());
    tokio::select! {
        biased;
        () = ended.cancelled() => return,
        () = clock.sleep(LONG) => {}
    }
    let pins = Pins::new(bucket);
    tokio::select! {
        biased;
        () = ended.cancelled() => {}
        never = write(&pins, &pin, clock.as_ref()) => match never {},
    }
    // A write may be under way that nobody waits for: what is there is taken away, or grows old.
    let released = apiary_core::clock::within(clock.as_ref(), RELEASE_MAX, pins.release(&pin.query)).await;
    if !matches!(released, Some(Ok(()))) {
        tracing::warn!(query = %pin.query, "a pin could not be taken away; it holds nothing after a week");
    }
}

/// Ends with the query.
async fn write(pins: &Pins, pin: &Pin, clock: &dyn apiary_core::Clock) -> Infallible {
    loop {
        match pins.hold(pin).await {
            Ok(()) => clock.sleep(REFRESH).await,
            Err(error) => {
                tracing::warn!(query = %pin.query, %error, "cannot pin what the query reads; trying again");
                clock.sleep(RETRY).await;
            }
        }
    }
}

/// The pin of a query.
pub(super) fn pin_of(state: &crate::state::State, query: QueryId, pinned: &apiary_query::Pinned) -> Pin {
    let held = pinned.snapshots().iter().map(|(_, snapshot)| snapshot).filter(|snapshot| !snapshot.cells.is_empty());
    let frames = held.map(|snapshot| apiary_ledger::PinnedVersion {
        folder: snapshot.folder().to_owned(),
        version: snapshot.version,
    });
    Pin::new(query, state.node.id.to_string(), frames.collect())
}

#[cfg(test)]
mod tests {
    use apiary_bucket::layout;
    use apiary_core::{Clock, ManualClock, SeededRng, SystemClock, Version};
    use apiary_faults::{Fault, FaultStore, MemoryStore, Op, Rule};
    use apiary_ledger::PinnedVersion;

    use super::*;

    struct World {
        clock: ManualClock,
        memory: MemoryStore,
        faults: FaultStore,
        bucket: Bucket,
        tasks: TaskTracker,
    }

    impl World {
        fn new() -> Self {
            let clock = ManualClock::new();
            let memory = MemoryStore::new(Arc::new(clock.clone()));
            let faults = FaultStore::new(Arc::new(memory.clone()), 1, Arc::new(clock.clone()));
            let rng = Arc::new(SeededRng::new(1));
            let bucket = Bucket::over(Arc::new(faults.clone()), Arc::new(clock.clone()), rng);
            Self { clock, memory, faults, bucket, tasks: TaskTracker::new() }
        }

        fn hold(&self, frames: usize) -> Hold {
            let query = QueryId::new(&SystemClock, &SeededRng::new(2));
            let frame = PinnedVersion { folder: "h/b/f-00000001".into(), version: Version(3) };
            Hold::begin(&self.bucket, &self.tasks, Pin::new(query, "n".into(), vec![frame; frames]))
        }

        async fn pass(&self, time: Duration) {
            self.clock.run(self.clock.sleep(time)).await;
        }

        fn pins(&self) -> usize {
            self.memory.keys(layout::pins_prefix()).len()
        }

        async fn end(&self, hold: Hold) {
            drop(hold);
            self.tasks.close();
            self.clock.run(self.tasks.wait()).await;
        }
    }

    #[tokio::test]
    async fn a_short_query_costs_no_request() {
        let world = World::new();
        let hold = world.hold(1);
        world.pass(LONG - Duration::from_secs(1)).await;
        world.end(hold).await;
        assert!(world.faults.calls().is_empty(), "{:?}", world.faults.calls());
        let nothing = world.hold(0);
        world.pass(LONG * 2).await;
        world.end(nothing).await;
        assert!(world.faults.calls().is_empty(), "a query that reads no cell holds none");
    }

    #[tokio::test]
    async fn a_long_query_is_pinned_until_it_ends() {
        let world = World::new();
        let hold = world.hold(1);
        world.pass(LONG + Duration::from_secs(1)).await;
        assert_eq!((world.pins(), world.faults.calls().len()), (1, 1));
        world.pass(Duration::from_secs(3 * 86_400)).await;
        assert_eq!((world.pins(), world.faults.count(Op::Put, "_apiary/pins")), (1, 7));
        world.end(hold).await;
        assert_eq!((world.pins(), world.faults.count(Op::Delete, "_apiary/pins")), (0, 1));
    }

    #[tokio::test]
    async fn a_pin_that_could_not_be_written_is_written_again() {
        let world = World::new();
        world.faults.script(Rule::on(Op::Put, Fault::Error).times(3));
        let hold = world.hold(1);
        world.pass(LONG + RETRY * 4).await;
        assert_eq!((world.pins(), world.faults.rules_left()), (1, 0));
        world.end(hold).await;
        assert_eq!(world.pins(), 0);
    }
}
