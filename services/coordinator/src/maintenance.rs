//! `MaintenanceService` as clients of a coordinator see it: handed on to a compactor.
//!
//! Clients need one address; the work belongs to another role. A compactor in this process is asked first, then any
//! that is alive. Nothing depends on it: an unreachable compactor is an error with advice, and asking again is safe.

use apiary_core::ErrorKind;
use apiary_node::{Role, server::Peer};
use apiary_proto::{
    ClientError,
    v1::{
        CheckpointRequest, CheckpointResult, CompactRequest, CompactResult, VacuumReport, VacuumRequest, VerifyReport,
        VerifyRequest, maintenance_service_client::MaintenanceServiceClient,
        maintenance_service_server::MaintenanceService,
    },
};
use tonic::{Request, Response, Status, Streaming};

use crate::{error::status, state::State};

/// Asks one compactor after the other for `$call`, until one answers.
macro_rules! hand_on {
    ($state:expr, $request:expr, $call:ident) => {{
        // A call that comes from a node has been handed on once: two coordinators never hand it to and fro.
        let handed_on = $request.extensions().get::<Peer>().is_some();
        let body = $request.into_inner();
        if let Some(channel) = &$state.beside.compactor {
            return MaintenanceServiceClient::new(channel.clone()).$call(body).await;
        }
        let others = if handed_on { Vec::new() } else { compactors($state) };
        let mut last = None;
        for address in own($state).into_iter().chain(others) {
            let channel = match $state.node.channel_to(&address) {
                Ok(channel) => channel,
                Err(error) => {
                    last = Some(status(error));
                    continue;
                }
            };
            match MaintenanceServiceClient::new(channel).$call(body.clone()).await {
                Err(error) if error.code() == tonic::Code::Unavailable => last = Some(error),
                answer => return answer,
            }
        }
        Err(last.unwrap_or_else(nobody))
    }};
}

#[tonic::async_trait]
impl MaintenanceService for State {
    type VacuumStream = Streaming<VacuumReport>;
    type VerifyStream = Streaming<VerifyReport>;

    async fn compact(&self, request: Request<CompactRequest>) -> Result<Response<CompactResult>, Status> {
        hand_on!(self, request, compact)
    }

    async fn checkpoint(&self, request: Request<CheckpointRequest>) -> Result<Response<CheckpointResult>, Status> {
        hand_on!(self, request, checkpoint)
    }

    async fn verify(&self, request: Request<VerifyRequest>) -> Result<Response<Self::VerifyStream>, Status> {
        hand_on!(self, request, verify)
    }

    async fn vacuum(&self, request: Request<VacuumRequest>) -> Result<Response<Self::VacuumStream>, Status> {
        hand_on!(self, request, vacuum)
    }
}

/// Where this process's own compactor listens, if it is told to have one on a port of its own.
fn own(state: &State) -> Option<String> {
    let settings = &state.node.settings;
    let address = settings.roles.contains(&Role::Compactor).then(|| settings.listen_on(Role::Compactor).ok())??;
    let (host, port) = address.rsplit_once(':')?;
    // "Every interface" is where to listen, not where to call.
    let host = if ["0.0.0.0", "[::]"].contains(&host) { "localhost" } else { host };
    (port != "0").then(|| format!("{host}:{port}"))
}

/// Addresses of live compactors on other nodes.
fn compactors(state: &State) -> Vec<String> {
    let world = state.node.world();
    let others = world
        .iter()
        .filter(|node| node.is_alive() && node.has_role("compactor") && node.heartbeat.node != state.node.id);
    others.filter_map(|node| node.heartbeat.address.clone()).collect()
}

fn nobody() -> Status {
    ClientError::new(ErrorKind::Unavailable, "no compactor is alive in the colony")
        .with_hint("start one on any machine that sees the bucket: apiary start --roles compactor".to_owned())
        .into()
}
