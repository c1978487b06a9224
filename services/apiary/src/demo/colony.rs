//! The demo's five nodes in one process: a coordinator, three workers, a compactor, each with its own data folder,
//! identity and port on the loopback. They meet only in the bucket.
//!
//! Each worker has a runtime of its own, so that stopping one is sudden: nothing in it runs on, nothing is handed
//! back, its heart just stops, as when a Pi loses power.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use apiary_bucket::Bucket;
use apiary_coordinator::Beside;
use apiary_core::{Clock, ErrorKind, NodeId, SystemClock, units};
use apiary_node::{Listener, Node, NodeSettings, Role};
use apiary_proto::{Client, ClientError};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use super::stage::Stage;
use crate::{
    failure::CliError,
    roles::{Roles, failed, of_node},
};

/// Workers of the demo.
const WORKERS: usize = 3;
/// Nodes that share this machine's memory.
const NODES: u64 = 5;
/// Planning recurses deeply in a debug build.
const STACK_BYTES: usize = 16 * 1024 * 1024;
/// How often the colony is asked who is there while it gathers.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// A worker that is not seen by then will not come.
const GATHER_MAX: Duration = Duration::from_secs(30);

/// Five nodes.
#[derive(Debug)]
pub(super) struct Colony {
    client: Client,
    bucket: Bucket,
    workers: Vec<Worker>,
    others: Vec<Roles>,
}

/// A worker and the runtime that is its life.
#[derive(Debug)]
struct Worker {
    id: NodeId,
    address: String,
    life: Life,
}

/// A runtime that ends without waiting, as a runtime must where others run.
#[derive(Debug)]
struct Life(Option<Runtime>);

impl Life {
    /// Stops everything in it now; false if that has been done.
    fn end(&mut self) -> bool {
        self.0.take().map(Runtime::shutdown_background).is_some()
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.end();
    }
}

impl Colony {
    /// Starts all five below `folder` and waits until the coordinator sees three live workers.
    pub(super) async fn start(stage: &Stage, folder: &Path) -> Result<Self, CliError> {
        stage.chapter("Start: a colony of five nodes in this one process");
        let place = Place { folder: folder.to_path_buf(), uri: folder.join("bucket").to_string_lossy().into_owned() };
        let coordinator = place.node("coordinator", Role::Coordinator).await?;
        introduce(stage, "coordinator", &coordinator.address, "plans SQL, answers clients");
        let mut workers = Vec::new();
        for n in 1..=WORKERS {
            let worker = Worker::start(place.clone(), format!("worker-{n}")).await?;
            introduce(stage, &format!("worker {n}"), &worker.address, "pulls tasks and executes them");
            workers.push(worker);
        }
        let compactor = place.node("compactor", Role::Compactor).await?;
        introduce(stage, "compactor", &compactor.address, "keeps the bucket healthy");
        let client = Client::connect(&format!("grpc://{}", coordinator.address), None).await?;
        let bucket = coordinator.roles.node().bucket.clone();
        let colony = Self { client, bucket, workers, others: vec![coordinator.roles, compactor.roles] };
        colony.gather(stage).await?;
        Ok(colony)
    }

    /// Waits until every worker is seen alive.
    async fn gather(&self, stage: &Stage) -> Result<(), CliError> {
        let started = SystemClock.monotonic();
        let progress = stage.progress("waiting for the workers' heartbeats", "", None);
        loop {
            let status = progress.during(self.client.status()).await?;
            let is_live_worker = |node: &&apiary_proto::v1::NodeStatus| {
                node.state == "alive" && node.roles.iter().any(|role| role == Role::Worker.as_str())
            };
            let seen = status.nodes.iter().filter(is_live_worker).count();
            let waited = SystemClock.monotonic().saturating_sub(started);
            if seen >= WORKERS {
                progress.done();
                stage.line(format_args!("{seen} workers alive after {}", units::duration(waited)));
                return Ok(());
            }
            if waited > GATHER_MAX {
                progress.done();
                let text = format!("only {seen} of {WORKERS} workers were seen within {} s", GATHER_MAX.as_secs());
                return Err(ClientError::new(ErrorKind::Unavailable, text).into());
            }
            progress.during(SystemClock.sleep(LOOK_INTERVAL)).await;
        }
    }

    /// The client, over a real port.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// The bucket, to look at the task board.
    pub(super) fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    /// Stops a worker's heart; false if it is none of ours or stands still already.
    pub(super) fn kill_worker(&mut self, node: &NodeId) -> bool {
        self.workers.iter_mut().find(|worker| worker.id == *node).is_some_and(|worker| worker.life.end())
    }

    /// Ends what is left; the folder goes away next, so nobody needs to say goodbye properly.
    pub(super) async fn stop(self) {
        drop(self.workers);
        for roles in self.others {
            if let Err(error) = roles.stop().await {
                tracing::debug!(%error, "a node of the demo did not end in order");
            }
        }
    }
}

impl Worker {
    async fn start(place: Place, name: String) -> Result<Self, CliError> {
        let life = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .thread_name(&name)
            .thread_stack_size(STACK_BYTES)
            .build()
            .map_err(CliError::io("start a worker's runtime"))?;
        let started = life.spawn(async move {
            let Running { roles, address } = place.node(&name, Role::Worker).await?;
            let id = roles.node().id.clone();
            tokio::spawn(roles.ended());
            Ok::<_, ClientError>((id, address))
        });
        let life = Life(Some(life));
        let broke = |error| ClientError::new(ErrorKind::Internal, format!("a worker did not start: {error}"));
        let (id, address) = started.await.map_err(broke)??;
        Ok(Self { id, address, life })
    }
}

/// A node that has just started.
struct Running {
    roles: Roles,
    address: String,
}

/// Where the demo's nodes live.
#[derive(Debug, Clone)]
struct Place {
    folder: PathBuf,
    uri: String,
}

impl Place {
    /// Starts a node with one role on a free port, with its own folder and its share of the memory.
    async fn node(&self, name: &str, role: Role) -> Result<Running, ClientError> {
        let bucket = Bucket::open(&self.uri).map_err(|error| failed(error.kind(), &error, error.hint()))?;
        let mut settings = NodeSettings::new(self.uri.as_str(), self.folder.join(name));
        settings.roles = vec![role];
        settings.name = Some(name.to_owned());
        settings.memory_bytes /= NODES;
        if role == Role::Worker {
            settings.cores = 1;
        }
        let node = Node::join(bucket, settings).await.map_err(of_node)?;
        let listener = Listener::bind("127.0.0.1:0").await.map_err(of_node)?;
        let address = listener.shown();
        let roles = Roles::start(node, vec![(role, listener)], Beside::default(), CancellationToken::new())?;
        Ok(Running { roles, address })
    }
}

fn introduce(stage: &Stage, name: &str, address: &str, does: &str) {
    stage.line(format_args!("{name:<12} {address:<16} {does}"));
}
