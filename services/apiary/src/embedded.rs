//! A colony inside this process: one node that is coordinator, worker and compactor at once, and a client that
//! reaches it without a port. It joins whatever else lives on the same bucket, as any node does.

use std::{path::PathBuf, sync::Arc};

use apiary_bucket::Bucket;
use apiary_coordinator::Beside;
use apiary_core::ErrorKind;
use apiary_node::{Listener, Node, NodeError, NodeSettings, Role, Stay};
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
    /// What may be written into the bucket.
    pub leave: Leave,
}

/// What an embedded node may leave in its bucket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Leave {
    /// A colony, where there is none.
    #[default]
    Colony,
    /// What members of a colony write; there has to be one.
    Work,
    /// The same, but in a bucket that cannot be written it looks only.
    WorkIfPossible,
    /// Nothing at all.
    Nothing,
}

impl Leave {
    fn stay(self) -> Stay {
        match self {
            Self::Colony => Stay::Found,
            Self::Work | Self::WorkIfPossible => Stay::Join,
            Self::Nothing => Stay::Visit,
        }
    }
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
        let opened = match options.leave {
            Leave::Colony => Bucket::open(storage),
            _ => Bucket::open_existing(storage),
        };
        let bucket = opened.map_err(|error| failed(error.kind(), &error, error.hint()))?;
        let slot = if options.data_dir.is_none() { Some(home::free_slot()?) } else { None };
        let data_dir = options.data_dir.or_else(|| slot.as_ref().map(|slot| slot.folder.clone())).unwrap_or_default();
        let mut settings = NodeSettings::new(storage, data_dir);
        settings.cores = options.cores.unwrap_or(settings.cores);
        settings.memory_bytes = options.memory_bytes.unwrap_or(settings.memory_bytes);
        let node = enter(bucket, settings, options.leave).await.map_err(of_node)?;
        let (coordinator, channel) = Listener::memory();
        let (worker, to_worker) = Listener::memory();
        let (compactor, to_compactor) = Listener::memory();
        let mut listeners = vec![(Role::Coordinator, coordinator), (Role::Compactor, compactor)];
        if !node.is_visitor() {
            listeners.push((Role::Worker, worker));
        }
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

    /// Whether the bucket cannot be written, and it only looks.
    pub(crate) fn is_visitor(&self) -> bool {
        self.roles.node().is_visitor()
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

async fn enter(bucket: Bucket, settings: NodeSettings, leave: Leave) -> Result<Arc<Node>, NodeError> {
    match Node::enter(bucket.clone(), settings.clone(), leave.stay()).await {
        Err(error) if leave == Leave::WorkIfPossible && error.kind() == ErrorKind::PermissionDenied => {
            tracing::info!(%error, "the bucket cannot be written: reading only");
            Node::enter(bucket, settings, Stay::Visit).await
        }
        entered => entered,
    }
}
