//! One compactor on one listener, from start to drain.

use std::sync::Arc;

use apiary_ingest::{Ingest, IngestSettings};
use apiary_ledger::{Frames, Registry};
use apiary_node::{Listener, Node, ServerPolicy, serve};
use apiary_proto::v1::maintenance_service_server::MaintenanceServiceServer;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::{
    Result,
    care::{self, Care},
    janitor,
    maintenance::Maintenance,
    upkeep::Upkeep,
};

/// Serves, cares and sweeps until `shutdown`; merges under way are finished as far as the server's drain allows. A merge
/// that is cut leaves cells that no ledger names, and nothing else. The node's pulse is its owner's. A visitor's serves,
/// and does nothing by itself.
pub async fn run(node: Arc<Node>, listener: Listener, shutdown: CancellationToken) -> Result<()> {
    let bucket = node.bucket.clone();
    let settings = IngestSettings { chamber_bytes: node.chambers.bytes(), node: node.id.to_string() };
    let (registry, frames) = (Registry::new(bucket.clone()), Frames::new(bucket.clone()));
    let ingest = Ingest::new(bucket, registry.clone(), frames.clone(), settings);
    let care = Care { node: Arc::clone(&node), registry: registry.clone(), frames: frames.clone() };
    let upkeep = Upkeep::new(node.bucket.clone(), registry.clone(), node.bees.clone(), shutdown.clone());
    let service = Maintenance { node: Arc::clone(&node), registry, frames, ingest, shutdown: shutdown.clone() };
    let routes = Routes::new(MaintenanceServiceServer::new(service));
    let policy = ServerPolicy::of(&node);
    if node.is_visitor() {
        return Ok(serve(listener, routes, policy, shutdown).await?);
    }
    let serving = serve(listener, routes, policy, shutdown.clone());
    let care = care::run(care, shutdown.clone());
    let (served, (), (), ()) = tokio::join!(serving, upkeep.run(), care, janitor::run(node, shutdown));
    Ok(served?)
}
