//! Roles on one node of this process: started together, ended together, and then the node says goodbye.

use std::{fmt::Display, sync::Arc, time::Duration};

use apiary_coordinator::Beside;
use apiary_core::ErrorKind;
use apiary_node::{Listener, Node, NodeError, Role};
use apiary_proto::ClientError;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How long roles may take to end: a little more than they give themselves.
const DRAIN_MAX: Duration = Duration::from_secs(30);

/// The running roles of one node.
#[derive(Debug)]
pub(crate) struct Roles {
    node: Arc<Node>,
    tasks: JoinSet<Result<(), ClientError>>,
    shutdown: CancellationToken,
}

impl Roles {
    /// Starts `roles` and the node's pulse. Cancelling `shutdown` ends them. Servers inside the process know each
    /// other by channels, the others by what the heartbeat says.
    pub(crate) fn start(
        node: Arc<Node>,
        roles: Vec<(Role, Listener)>,
        beside: Beside,
        shutdown: CancellationToken,
    ) -> Result<Self, ClientError> {
        for (role, listener) in &roles {
            if let Some(address) = listener.local_addr() {
                node.serves(*role, address).map_err(of_node)?;
            }
        }
        node.start_pulse(shutdown.clone());
        let mut tasks = JoinSet::new();
        for (role, listener) in roles {
            tasks.spawn(run(role, Arc::clone(&node), listener, beside.clone(), shutdown.clone()));
        }
        Ok(Self { node, tasks, shutdown })
    }

    /// The node.
    pub(crate) fn node(&self) -> &Node {
        &self.node
    }

    /// Waits until all roles have ended, and says goodbye. A role that ends early takes the others with it; the
    /// first error counts, and a node that had to stop by itself says why.
    pub(crate) async fn ended(mut self) -> Result<(), ClientError> {
        let mut first = Ok(());
        while let Some(ended) = self.tasks.join_next().await {
            self.shutdown.cancel();
            let broke = |error| ClientError::new(ErrorKind::Internal, format!("a role broke off: {error}"));
            first = first.and(ended.unwrap_or_else(|error| Err(broke(error))));
        }
        self.node.leave().await;
        self.node.failure().map_or(first, |why| Err(of_node(why)))
    }

    /// Asks all roles to end and waits for them, with a limit.
    pub(crate) async fn stop(self) -> Result<(), ClientError> {
        self.shutdown.cancel();
        let drained = tokio::time::timeout(DRAIN_MAX, self.ended()).await;
        drained.unwrap_or_else(|_| {
            let text = format!("the node did not drain within {} s", DRAIN_MAX.as_secs());
            Err(ClientError::new(ErrorKind::Timeout, text))
        })
    }
}

async fn run(
    role: Role,
    node: Arc<Node>,
    listener: Listener,
    beside: Beside,
    shutdown: CancellationToken,
) -> Result<(), ClientError> {
    match role {
        Role::Coordinator => {
            let done = apiary_coordinator::run_beside(node, listener, beside, shutdown).await;
            done.map_err(|error| failed(error.kind(), &error, error.hint()))
        }
        Role::Worker => {
            let done = apiary_worker::run(node, listener, shutdown).await;
            done.map_err(|error| failed(error.kind(), &error, error.hint()))
        }
        Role::Compactor => {
            let done = apiary_compactor::run(node, listener, shutdown).await;
            done.map_err(|error| failed(error.kind(), &error, error.hint()))
        }
    }
}

/// A node's error as the one that callers know.
pub(crate) fn of_node(error: NodeError) -> ClientError {
    failed(error.kind(), &error, error.hint())
}

/// Any crate's error as the one that callers know.
pub(crate) fn failed(kind: ErrorKind, error: &dyn Display, hint: Option<String>) -> ClientError {
    ClientError::new(kind, error.to_string()).with_hint(hint)
}

#[cfg(test)]
mod tests;
