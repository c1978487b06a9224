//! A colony inside this process: one node that is coordinator, worker and compactor at once, and a client that
//! reaches it without a port. It joins whatever else lives on the same bucket, as any node does.

use std::path::PathBuf;

use apiary_bucket::Bucket;
use apiary_coordinator::Beside;
use apiary_node::{Listener, Node, NodeSettings, Role};
use apiary_proto::{Client, ClientError};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::Channel;

use crate::{
    home::{self, Slot},
    roles::{Roles, failed, of_node},
};

/// How an embedded node differs from what the hardware suggests.
#[derive(Debug, Clone, Default)]
pub struct EmbeddedOptions {
    /// Folder for the node's identity and scratch files, held by one process at a time; without it one of a few
    /// below `~/.apiary/nodes`.
    pub data_dir: Option<PathBuf>,
    /// Bees (cores) to work with.
    pub cores: Option<usize>,
    /// Memory to live in, in bytes.
    pub memory_bytes: Option<u64>,
}

/// A running colony of one node. [`shutdown`](Self::shutdown) ends it in order; dropping it ends it all the same,
/// but nobody waits for the end.
#[derive(Debug)]
pub struct Embedded {
    client: Client,
    roles: Roles,
    /// A listener whose last channel is gone ends its server, and that the worker with it.
    _to_worker: Channel,
    _stop: DropGuard,
    _slot: Option<Slot>,
}

impl Embedded {
    /// Opens `storage` and starts the roles; must be called inside a runtime, which must outlive it. Within five
    /// seconds it is clear whether the bucket can be reached. Cost: the probe of a bucket not seen before, and a
    /// handful of GETs, PUTs and LISTs.
    pub async fn start(storage: &str, options: EmbeddedOptions) -> Result<Self, ClientError> {
        let bucket = Bucket::open(storage).map_err(|error| failed(error.kind(), &error, error.hint()))?;
        let slot = if options.data_dir.is_none() { Some(home::free_slot()?) } else { None };
        let data_dir = options.data_dir.or_else(|| slot.as_ref().map(|slot| slot.folder.clone())).unwrap_or_default();
        let mut settings = NodeSettings::new(storage, data_dir);
        settings.cores = options.cores.unwrap_or(settings.cores);
        settings.memory_bytes = options.memory_bytes.unwrap_or(settings.memory_bytes);
        let node = Node::join(bucket, settings).await.map_err(of_node)?;
        let (coordinator, channel) = Listener::memory();
        let (worker, to_worker) = Listener::memory();
        let (compactor, to_compactor) = Listener::memory();
        let listeners = vec![(Role::Coordinator, coordinator), (Role::Worker, worker), (Role::Compactor, compactor)];
        let beside = Beside { compactor: Some(to_compactor) };
        let shutdown = CancellationToken::new();
        let roles = Roles::start(node, listeners, beside, shutdown.clone())?;
        Ok(Self {
            client: Client::over(channel),
            roles,
            _to_worker: to_worker,
            _stop: shutdown.drop_guard(),
            _slot: slot,
        })
    }

    /// The client; clone it as you like.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Ends the roles in order: running work is finished or handed back, and the node says goodbye. What goes wrong
    /// on the way is logged: nothing that was acknowledged depends on it.
    pub async fn shutdown(self) {
        if let Err(error) = self.roles.stop().await {
            tracing::warn!(%error, "the embedded colony did not end in order");
        }
    }
}
