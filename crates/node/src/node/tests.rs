//! Two nodes on one bucket in memory, on a clock that moves when told.

use std::{pin::Pin, time::Duration};

use apiary_core::{QueryId, SystemRng};
use apiary_swarm::{NodeState, board::QueryRecord};
use tokio::sync::watch;

use super::*;
use crate::pulse::{PACE_BUSY, PACE_FIRST, PACE_IDLE};

/// A clock that stands still until it is moved.
#[derive(Debug)]
struct HandClock(watch::Sender<Duration>);

impl HandClock {
    fn new() -> Arc<Self> {
        Arc::new(Self(watch::channel(Duration::from_secs(1000)).0))
    }

    /// Moves time on and lets everything that waited for it run until it waits again.
    async fn pass(&self, time: Duration) {
        self.0.send_modify(|now| *now += time);
        settle().await;
    }
}

/// Everything in these tests is in memory: some turns of the scheduler, and all is still.
async fn settle() {
    for _ in 0..2_000 {
        tokio::task::yield_now().await;
    }
}

impl Clock for HandClock {
    fn wall_ms(&self) -> i64 {
        0
    }

    fn monotonic(&self) -> Duration {
        *self.0.borrow()
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + 'static>> {
        let mut now = self.0.subscribe();
        let until = *now.borrow() + duration;
        Box::pin(async move {
            let _ = now.wait_for(|now| *now >= until).await;
        })
    }
}

struct Colony {
    clock: Arc<HandClock>,
    bucket: Bucket,
    folder: tempfile::TempDir,
}

impl Colony {
    fn new() -> Self {
        let clock = HandClock::new();
        let store = Bucket::in_memory().object_store();
        let bucket = Bucket::over(store, Arc::clone(&clock) as Arc<dyn Clock>, Arc::new(SystemRng));
        Self { clock, bucket, folder: tempfile::tempdir().unwrap() }
    }

    fn settings(&self, name: &str) -> NodeSettings {
        let settings = NodeSettings::new("memory://", self.folder.path().join(name));
        NodeSettings { name: Some(name.to_owned()), cores: 2, memory_bytes: 1 << 30, ..settings }
    }

    async fn join(&self, name: &str) -> Arc<Node> {
        Node::join(self.bucket.clone(), self.settings(name)).await.unwrap()
    }

    async fn pass(&self, time: Duration, times: usize) {
        for _ in 0..times {
            self.clock.pass(time).await;
        }
    }
}

fn states(node: &Node) -> Vec<NodeState> {
    node.world().iter().map(|view| view.state).collect()
}

use NodeState::{Alive, Dead, Leaving, Suspect};

#[tokio::test]
async fn nodes_of_one_bucket_are_one_colony() {
    let colony = Colony::new();
    let (a, b) = (colony.join("a").await, colony.join("b").await);
    assert_eq!((&a.cluster, a.secret.bytes()), (&b.cluster, b.secret.bytes()));
    assert_ne!(a.id, b.id);
}

#[tokio::test]
async fn nodes_that_start_together_see_each_other_in_seconds() {
    let colony = Colony::new();
    let (a, b) = (colony.join("a").await, colony.join("b").await);
    a.start_pulse(CancellationToken::new());
    settle().await;
    b.start_pulse(CancellationToken::new());
    colony.pass(PACE_FIRST, 1).await;
    assert_eq!((states(&a), states(&b)), (vec![Alive; 2], vec![Alive; 2]));
}

#[tokio::test]
async fn a_node_that_vanishes_is_suspect_then_dead_and_one_that_leaves_is_gone() {
    let colony = Colony::new();
    let (a, b, c) = (colony.join("a").await, colony.join("b").await, colony.join("c").await);
    for node in [&a, &b, &c] {
        node.start_pulse(CancellationToken::new());
    }
    colony.pass(PACE_FIRST, 8).await;
    colony.pass(PACE_IDLE, 3).await;
    assert_eq!(states(&a), [Alive; 3]);
    // Who works keeps looking.
    let _work = a.bees.try_lease();
    c.leave().await;
    b.vanish();
    colony.pass(PACE_IDLE, 1).await;
    assert_eq!(states(&a).len(), 2);
    colony.pass(PACE_IDLE, 3).await;
    assert_eq!(states(&a), [Alive, Suspect]);
    colony.pass(PACE_IDLE, 4).await;
    assert_eq!(states(&a), [Alive, Dead]);
}

#[tokio::test]
async fn a_node_that_drains_says_leaving() {
    let colony = Colony::new();
    let (a, b) = (colony.join("a").await, colony.join("b").await);
    let stop = CancellationToken::new();
    a.start_pulse(CancellationToken::new());
    b.start_pulse(stop.clone());
    colony.pass(PACE_FIRST, 1).await;
    stop.cancel();
    settle().await;
    assert_eq!(a.look().await.unwrap().iter().map(|view| view.state).collect::<Vec<_>>(), [Alive, Leaving]);
    b.leave().await;
    assert_eq!(a.look().await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_open_query_quickens_the_pulse() {
    let colony = Colony::new();
    let node = colony.join("a").await;
    node.start_pulse(CancellationToken::new());
    colony.pass(PACE_FIRST, 8).await;
    colony.pass(PACE_IDLE, 2).await;
    let interval = || async { node.look().await.unwrap()[0].heartbeat.interval_s };
    assert_eq!(interval().await, PACE_IDLE.as_secs_f64());
    node.hurry();
    settle().await;
    assert_eq!(interval().await, PACE_BUSY.as_secs_f64());
    colony.pass(PACE_BUSY, 12).await;
    assert_eq!(interval().await, PACE_IDLE.as_secs_f64());
    let query = QueryId::new(node.clock().as_ref(), node.rng().as_ref());
    let record = QueryRecord::new(query, "SELECT 1", "ada", "55");
    node.board.open_query(&record, Default::default()).await.unwrap();
    colony.pass(PACE_IDLE, 1).await;
    assert_eq!(interval().await, PACE_BUSY.as_secs_f64());
}

#[tokio::test]
async fn an_idle_colony_stretches_its_beats_and_nobody_dies_of_it() {
    let colony = Colony::new();
    let (a, b) = (colony.join("a").await, colony.join("b").await);
    a.start_pulse(CancellationToken::new());
    b.start_pulse(CancellationToken::new());
    for _ in 0..180 {
        colony.pass(PACE_IDLE, 1).await;
        assert!(states(&a).iter().all(|state| *state == Alive), "{:?}", a.world());
    }
    assert!(a.world().iter().all(|view| view.heartbeat.interval_s == 60.0), "{:?}", a.world());
    b.vanish();
    // Work wakes the one that is left, and soon it knows.
    a.hurry();
    let _work = a.bees.try_lease();
    settle().await;
    colony.pass(PACE_IDLE, 45).await;
    assert_eq!(states(&a), [Alive, Dead]);
}

#[tokio::test]
async fn who_asks_for_a_young_view_gets_one_and_does_not_pay_twice() {
    let colony = Colony::new();
    let (a, b) = (colony.join("a").await, colony.join("b").await);
    heartbeat::beat(&colony.bucket, &b.heartbeat(1, 10.0, false)).await.unwrap();
    assert_eq!(a.world_within(PACE_FIRST).await.len(), 1);
    let before = colony.bucket.counters().snapshot();
    assert_eq!(a.world_within(PACE_FIRST).await.len(), 1);
    assert_eq!(colony.bucket.counters().snapshot(), before);
    colony.pass(PACE_IDLE, 1).await;
    a.world_within(PACE_FIRST).await;
    assert_eq!(colony.bucket.counters().snapshot().lists, before.lists + 1);
}

#[tokio::test]
async fn a_twin_stops_the_node() {
    let colony = Colony::new();
    let node = colony.join("a").await;
    let stop = CancellationToken::new();
    node.start_pulse(stop.clone());
    settle().await;
    let other = Incarnation::new(node.clock().as_ref(), node.rng().as_ref());
    for counter in 1..4 {
        let twin = Heartbeat { incarnation: other, ..node.heartbeat(counter, 10.0, false) };
        heartbeat::beat(&colony.bucket, &twin).await.unwrap();
        node.look().await.unwrap();
    }
    colony.pass(PACE_IDLE, 1).await;
    assert!(stop.is_cancelled());
    assert!(matches!(node.failure(), Some(NodeError::Twin { .. })));
}

#[tokio::test]
async fn a_node_that_comes_back_is_itself_and_no_twin() {
    let colony = Colony::new();
    let first = colony.join("a").await;
    let (id, life) = (first.id.clone(), first.incarnation);
    first.start_pulse(CancellationToken::new());
    colony.pass(PACE_FIRST, 2).await;
    first.vanish();
    settle().await;
    drop(first);
    let again = colony.join("a").await;
    assert_eq!(again.id, id);
    assert_ne!(again.incarnation, life);
    let stop = CancellationToken::new();
    again.start_pulse(stop.clone());
    colony.pass(PACE_FIRST, 4).await;
    assert!(!stop.is_cancelled());
    assert_eq!(states(&again), [Alive]);
}

#[tokio::test]
async fn two_nodes_cannot_share_a_data_folder() {
    let colony = Colony::new();
    let _first = colony.join("a").await;
    let error = Node::join(colony.bucket.clone(), colony.settings("a")).await.unwrap_err();
    assert!(matches!(error, NodeError::DataDirTaken { .. }), "{error}");
}

#[tokio::test]
async fn a_coordinators_address_goes_over_a_workers() {
    let colony = Colony::new();
    let node = colony.join("a").await;
    node.serves(Role::Worker, "127.0.0.1:7420".parse().unwrap()).unwrap();
    assert_eq!(node.address().as_deref(), Some("127.0.0.1:7420"));
    node.serves(Role::Coordinator, "127.0.0.1:7410".parse().unwrap()).unwrap();
    node.serves(Role::Compactor, "127.0.0.1:7430".parse().unwrap()).unwrap();
    assert_eq!(node.address().as_deref(), Some("127.0.0.1:7410"));
}

#[tokio::test]
async fn work_shows_in_the_heartbeat() {
    let colony = Colony::new();
    let node = colony.join("a").await;
    let _bees = node.bees.lease_up_to(2, &CancellationToken::new()).await.unwrap();
    let beat = node.heartbeat(1, 10.0, false);
    assert_eq!((beat.bees.busy, beat.bees.total), (2, 2));
    assert!((beat.temperature - 0.4).abs() < 1e-9);
}

#[tokio::test]
async fn a_folder_is_a_colony_for_two_nodes() {
    let folder = tempfile::tempdir().unwrap();
    let join = async |name: &str| {
        let bucket = Bucket::open(&format!("file://{}", folder.path().join("bucket").display())).unwrap();
        Node::join(bucket, NodeSettings::new("", folder.path().join(name))).await.unwrap()
    };
    let (a, b) = (join("a").await, join("b").await);
    assert_eq!(a.cluster, b.cluster);
    a.start_pulse(CancellationToken::new());
    b.start_pulse(CancellationToken::new());
    let seen = async || a.look().await.unwrap().len() == 2;
    let both = async { while !seen().await {} };
    tokio::time::timeout(Duration::from_secs(10), both).await.unwrap();
    b.leave().await;
    a.leave().await;
    assert!(a.look().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_visitor_reads_what_it_may_not_write() {
    use apiary_faults::{Fault, FaultStore, MemoryStore, Op, Rule};
    let clock: Arc<dyn Clock> = Arc::new(apiary_core::SystemClock);
    let memory = MemoryStore::new(Arc::clone(&clock));
    let faults = FaultStore::new(Arc::new(memory.clone()), 1, Arc::clone(&clock));
    let bucket = Bucket::over(Arc::new(faults.clone()), clock, Arc::new(SystemRng));
    let folder = tempfile::tempdir().unwrap();
    let enter = async |name: &str, stay: Stay| {
        Node::enter(bucket.clone(), NodeSettings::new("", folder.path().join(name)), stay).await
    };
    for stay in [Stay::Join, Stay::Visit] {
        let error = enter("early", stay).await.unwrap_err();
        assert_eq!(error.kind(), apiary_core::ErrorKind::NotFound, "{error}");
        assert!(memory.keys("").is_empty(), "{stay:?}");
    }
    let member = enter("member", Stay::Found).await.unwrap();
    let before = memory.keys("");
    for op in [Op::Put, Op::Create, Op::Delete] {
        faults.script(Rule::on(op, Fault::Denied).forever());
    }
    let visitor = enter("visitor", Stay::Visit).await.unwrap();
    assert_eq!((&visitor.cluster, &visitor.secret), (&member.cluster, &member.secret));
    visitor.start_pulse(CancellationToken::new());
    visitor.look().await.unwrap();
    visitor.leave().await;
    assert_eq!(memory.keys(""), before);
    memory.set(layout::secret().as_str(), None);
    enter("blind", Stay::Visit).await.unwrap();
}

#[tokio::test]
async fn nobody_founds_a_colony_over_what_is_left_of_one() {
    let left = ["_apiary/registry/00000000000000000000.json", "h/b/t-0123abcd/_delta_log/00000000000000000000.json"];
    for key in left {
        let colony = Colony::new();
        colony.bucket.put(&apiary_bucket::Key::parse(key).unwrap(), "{}\n".into()).await.unwrap();
        let error = Node::join(colony.bucket.clone(), colony.settings("a")).await.unwrap_err();
        assert_eq!(error.kind(), apiary_core::ErrorKind::Corrupt);
        assert!(error.to_string().contains("_apiary/format.json") && error.hint().is_some(), "{error}");
    }
    // Other people's folders are none of ours.
    let colony = Colony::new();
    colony.bucket.put(&apiary_bucket::Key::parse("logs/2026/app-20260101/x.log").unwrap(), "x".into()).await.unwrap();
    colony.join("a").await;
}
