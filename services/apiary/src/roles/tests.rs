//! What a colony costs while nobody asks it anything: real roles over a counted bucket, on a clock that jumps.

use std::path::Path;

use apiary_bucket::Bucket;
use apiary_core::{Clock, ManualClock, SeededRng};
use apiary_faults::MemoryStore;
use apiary_node::NodeSettings;
use tonic::transport::Channel;

use super::*;

/// Requests that a node may make in an hour in which nothing happens.
const REQUESTS_AN_HOUR_MAX: u64 = 400;

const HOUR: Duration = Duration::from_secs(3600);

struct Member {
    name: &'static str,
    bucket: Bucket,
    _roles: Roles,
    /// A listener whose last channel is gone ends its server.
    _channels: Vec<Channel>,
}

impl Member {
    async fn start(
        name: &'static str,
        roles: &[Role],
        clock: &ManualClock,
        store: &MemoryStore,
        folder: &Path,
    ) -> Self {
        let rng = Arc::new(SeededRng::new(name.bytes().map(u64::from).sum()));
        let bucket = Bucket::over(Arc::new(store.clone()), Arc::new(clock.clone()), rng);
        let settings = NodeSettings {
            roles: roles.to_vec(),
            cores: 1,
            memory_bytes: 1 << 30,
            name: Some(name.to_owned()),
            ..NodeSettings::new(bucket.uri(), folder.join(name))
        };
        let node = Node::join(bucket.clone(), settings).await.unwrap();
        let (listeners, channels): (Vec<_>, Vec<_>) = roles.iter().map(|_| Listener::memory()).unzip();
        let listeners = roles.iter().copied().zip(listeners).collect();
        let roles = Roles::start(node, listeners, Beside::default(), CancellationToken::new()).unwrap();
        Self { name, bucket, _roles: roles, _channels: channels }
    }

    fn requests(&self) -> u64 {
        let counted = self.bucket.counters().snapshot();
        counted.gets + counted.puts + counted.lists + counted.deletes
    }
}

/// Tries of an hour: the clock, turned by hand, runs ahead of a task that waits for a busy processor, and only ever adds
/// requests by that.
const HOURS_MAX: usize = 5;

/// Requests of each node in an hour that comes after a quiet half hour.
async fn idle_hour(members: &[(&'static str, &[Role])]) -> Vec<(&'static str, u64)> {
    let (clock, folder) = (ManualClock::new(), tempfile::tempdir().unwrap());
    let store = MemoryStore::new(Arc::new(clock.clone()));
    let work = async {
        let mut colony = Vec::new();
        for (name, roles) in members {
            colony.push(Member::start(name, roles, &clock, &store, folder.path()).await);
        }
        clock.sleep(HOUR / 2).await;
        let before: Vec<u64> = colony.iter().map(Member::requests).collect();
        clock.sleep(HOUR).await;
        let spent = colony.iter().zip(before).map(|(member, before)| (member.name, member.requests() - before));
        spent.collect()
    };
    clock.run(work).await
}

#[tokio::test]
async fn an_idle_node_makes_at_most_400_requests_an_hour_whatever_its_role() {
    use Role::{Compactor, Coordinator, Worker};
    let four: &[(&'static str, &[Role])] = &[
        ("coordinator", &[Coordinator]),
        ("worker-1", &[Worker]),
        ("worker-2", &[Worker]),
        ("compactor", &[Compactor]),
    ];
    let alone: &[(&'static str, &[Role])] = &[("all-in-one", &[Coordinator, Worker, Compactor])];
    for colony in [four, alone] {
        let mut hours = Vec::new();
        while hours.len() < HOURS_MAX && !hours.last().is_some_and(is_quiet) {
            hours.push(idle_hour(colony).await);
        }
        for (name, requests) in hours.last().into_iter().flatten() {
            println!("{name:<12} {requests} requests in an idle hour");
        }
        assert!(hours.last().is_some_and(is_quiet), "{hours:?}");
    }
}

fn is_quiet(hour: &Vec<(&'static str, u64)>) -> bool {
    hour.iter().all(|(_, requests)| (1..=REQUESTS_AN_HOUR_MAX).contains(requests))
}
