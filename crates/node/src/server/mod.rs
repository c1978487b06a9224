//! One way to serve gRPC, for every role: authentication, admission, deadlines, health and reflection around a
//! role's own services.
//!
//! ```text
//!   connection ─▶ authentication ─▶ admission (concurrency limit, load shedding) ─▶ deadline ─▶ services
//! ```
//! Clients need nothing on the loopback or inside the process. Any other address is refused unless the operator
//! says `--insecure`. Services that only nodes call want a node's proof everywhere.

mod admission;
mod auth;
mod body;
mod deadline;

#[cfg(test)]
mod tests;

use std::{io, sync::Arc, time::Duration};

use apiary_core::Clock;
use apiary_swarm::ColonySecret;
use futures::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{
    service::Routes,
    transport::{
        Server,
        server::{Router, TcpIncoming},
    },
};

pub use auth::Peer;

use crate::{Listener, Node, NodeError, Result};

/// Services that only nodes call, by path.
const NODE_ONLY: &[&str] = &["/apiary.v1.TaskService/"];

/// Calls in flight on one server: more are refused with the time to come back.
const CALLS_MAX: usize = 1024;

/// Streams of one connection.
const STREAMS_PER_CONNECTION_MAX: u32 = 512;

/// How long a call may take if its caller does not say.
const CALL_MAX: Duration = Duration::from_secs(24 * 3600);

/// How long running calls may go on after shutdown began.
const DRAIN_MAX: Duration = Duration::from_secs(10);

/// How often a silent connection is tried, and how long the answer may take.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(10));

/// Whom a server lets in, and how many at once.
#[derive(Debug, Clone)]
pub struct ServerPolicy {
    /// By which nodes are known.
    pub secret: ColonySecret,
    /// Whether clients from other machines need nothing to prove.
    pub insecure: bool,
    /// Paths that only nodes may call; each ends in a slash.
    pub node_only: &'static [&'static str],
    /// Calls in flight.
    pub calls_max: usize,
    /// How long a call may take if its caller does not say; a caller may say less, not more.
    pub call_max: Duration,
    /// How long running calls may go on after shutdown began.
    pub drain_max: Duration,
    /// Deadlines are measured on it.
    pub clock: Arc<dyn Clock>,
}

impl ServerPolicy {
    /// The usual policy of a node.
    #[must_use]
    pub fn of(node: &Node) -> Self {
        Self::new(node.secret.clone(), node.settings.insecure, Arc::clone(node.clock()))
    }

    /// The usual policy.
    #[must_use]
    pub fn new(secret: ColonySecret, insecure: bool, clock: Arc<dyn Clock>) -> Self {
        let (calls_max, call_max, drain_max) = (CALLS_MAX, CALL_MAX, DRAIN_MAX);
        Self { secret, insecure, node_only: NODE_ONLY, calls_max, call_max, drain_max, clock }
    }
}

/// Serves `routes` until `shutdown`, then lets running calls end for a while. Refuses to start where strangers could
/// come in. Health says that every service is up; reflection names them all.
pub async fn serve(
    listener: Listener,
    routes: Routes,
    policy: ServerPolicy,
    shutdown: CancellationToken,
) -> Result<()> {
    let address = listener.shown();
    if !listener.is_private() && !policy.insecure {
        return Err(NodeError::Open { address });
    }
    if !listener.is_private() {
        tracing::warn!(address, "INSECURE: anybody who reaches this address may read and write");
    }
    let drain_max = policy.drain_max;
    let layers = tower::ServiceBuilder::new()
        .layer(auth::AuthLayer::new(&policy))
        .layer(admission::AdmissionLayer::new(&policy))
        .layer(deadline::DeadlineLayer::new(&policy));
    let router = Server::builder()
        .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX)
        .http2_keepalive_interval(Some(KEEP_ALIVE.0))
        .http2_keepalive_timeout(Some(KEEP_ALIVE.1))
        .layer(layers)
        .add_routes(with_care(routes)?);
    tracing::info!(address, "serving");
    accept(listener, router, shutdown, drain_max).await.map_err(|why| NodeError::Server { address, why })
}

/// Health and reflection.
fn with_care(routes: Routes) -> Result<Routes> {
    let (_, health) = tonic_health::server::health_reporter();
    let failed = |why: tonic_reflection::server::Error| NodeError::Server {
        address: "every address".to_owned(),
        why: why.to_string(),
    };
    let words = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(apiary_proto::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    // Both versions: many tools still ask in the older one.
    let reflection = words().build_v1().map_err(failed)?;
    let older = words().build_v1alpha().map_err(failed)?;
    Ok(routes.add_service(health).add_service(reflection).add_service(older))
}

async fn accept<L>(
    listener: Listener,
    router: Router<L>,
    shutdown: CancellationToken,
    drain_max: Duration,
) -> Result<(), String>
where
    L: tower::Layer<Routes> + Clone + Send + 'static,
    L::Service: tower::Service<http::Request<tonic::body::Body>, Response = http::Response<tonic::body::Body>>
        + Clone
        + Send
        + 'static,
    <L::Service as tower::Service<http::Request<tonic::body::Body>>>::Future: Send + 'static,
    <L::Service as tower::Service<http::Request<tonic::body::Body>>>::Error:
        Into<Box<dyn std::error::Error + Send + Sync>> + Send,
{
    let stop = shutdown.clone();
    let stopped = async move { stop.cancelled().await };
    let serving: futures::future::BoxFuture<'_, Result<(), tonic::transport::Error>> = match listener {
        Listener::Tcp(listener) => {
            // Without it the last small packet of each answer waits 40 ms for the client's delayed acknowledgement.
            let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
            Box::pin(router.serve_with_incoming_shutdown(incoming, stopped))
        }
        Listener::Memory(incoming) => {
            let incoming = ReceiverStream::new(incoming).map(Ok::<_, io::Error>);
            Box::pin(router.serve_with_incoming_shutdown(incoming, stopped))
        }
    };
    let mut serving = serving;
    tokio::select! {
        ended = &mut serving => ended.map_err(|why| why.to_string()),
        () = shutdown.cancelled() => {
            if tokio::time::timeout(drain_max, serving).await.is_err() {
                tracing::warn!("dropping calls that did not end in time");
            }
            Ok(())
        }
    }
}
