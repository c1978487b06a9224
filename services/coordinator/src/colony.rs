//! `ColonyService`: the colony as this coordinator sees it.

use apiary_proto::v1::{ColonyStatus, NodeStatus, StatusRequest, colony_service_server::ColonyService};
use apiary_query::NodeRow;
use apiary_swarm::{
    NodeView,
    behaviour::temperature::{self, Regime},
};
use tonic::{Request, Response, Status};

use crate::state::State;

#[tonic::async_trait]
impl ColonyService for State {
    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<ColonyStatus>, Status> {
        let world = self.world().await;
        let temperature = temperature::colony(&world);
        Ok(Response::new(ColonyStatus {
            cluster: self.node.cluster.clone(),
            storage: self.node.bucket.uri().to_owned(),
            nodes: world.iter().map(node_status).collect(),
            temperature,
            regime: Regime::of(temperature).to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }))
    }
}

fn node_status(view: &NodeView) -> NodeStatus {
    let row = node_row(view);
    NodeStatus {
        node: row.node,
        state: row.state,
        roles: row.roles,
        address: row.address,
        bees_total: row.bees_total,
        bees_busy: row.bees_busy,
        chamber_bytes: view.heartbeat.chamber_bytes,
        memory_bytes: row.memory_bytes,
        temperature: row.temperature,
        version: row.version,
        seen_ms_ago: row.seen_ms_ago,
    }
}

/// One line of `SHOW NODES`.
pub(crate) fn node_row(view: &NodeView) -> NodeRow {
    let beat = &view.heartbeat;
    NodeRow {
        node: beat.node.to_string(),
        state: view.state.to_string(),
        roles: beat.roles.clone(),
        address: beat.address.clone().unwrap_or_default(),
        bees_total: beat.bees.total,
        bees_busy: beat.bees.busy,
        memory_bytes: beat.memory_bytes,
        temperature: beat.temperature,
        version: beat.version.clone(),
        seen_ms_ago: u64::try_from(view.seen_ago.as_millis()).unwrap_or(u64::MAX),
    }
}
