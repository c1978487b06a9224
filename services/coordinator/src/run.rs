//! One coordinator on one listener, from start to drain.

use std::{sync::Arc, time::Duration};

use apiary_core::limits::MESSAGE_BYTES_MAX;
use apiary_node::{Listener, Node, ServerPolicy, serve};
use apiary_proto::v1::{
    catalog_service_server::CatalogServiceServer, colony_service_server::ColonyServiceServer,
    ingest_service_server::IngestServiceServer, maintenance_service_server::MaintenanceServiceServer,
    query_service_server::QueryServiceServer, task_service_server::TaskServiceServer,
};
use tokio_util::sync::CancellationToken;
use tonic::{service::Routes, transport::Channel};

use crate::{Result, queries, state::State};

/// How long queries may go on after the word to stop: a little less than the
/// server gives its calls, so that they end with a word.
const DRAIN_MAX: Duration = Duration::from_secs(8);

/// How long stopped queries may take to clear the board behind them.
const SWEEP_MAX: Duration = Duration::from_secs(3);

/// Roles in the same process that clients reach through this coordinator.
#[derive(Debug, Clone, Default)]
pub struct Beside {
    /// A channel to this process's compactor, if it has one.
    pub compactor: Option<Channel>,
}

/// Serves until `shutdown`, then lets running queries end for a few seconds and stops the rest. The node's pulse
/// is its owner's. Fails if the listener does.
pub async fn run(node: Arc<Node>, listener: Listener, shutdown: CancellationToken) -> Result<()> {
    run_beside(node, listener, Beside::default(), shutdown).await
}

/// The same, with other roles of this process at hand.
pub async fn run_beside(
    node: Arc<Node>,
    listener: Listener,
    beside: Beside,
    shutdown: CancellationToken,
) -> Result<()> {
    let queries = CancellationToken::new();
    let _stops_on_return = queries.clone().drop_guard();
    let state = State::new(Arc::clone(&node), beside, queries.clone())?;
    let policy = ServerPolicy::of(&node);
    let drain = async {
        shutdown.cancelled().await;
        state.tasks.close();
        tokio::select! {
            () = state.tasks.wait() => {}
            () = node.bucket.clock().sleep(DRAIN_MAX) => queries.cancel(),
        }
        // Nudge streams have no end of their own.
        queries.cancel();
    };
    let telling = tokio::spawn(queries::keep(state.clone(), queries.clone()));
    let serving = serve(listener, routes(&state), policy, shutdown.clone());
    tokio::pin!(serving, drain);
    // The server stops taking calls at the word to stop and ends when those it has are done.
    let served = tokio::select! {
        served = &mut serving => served,
        () = &mut drain => serving.await,
    };
    queries.cancel();
    state.tasks.close();
    // Commits whose callers went away have answers to get, too.
    let rest = async { tokio::join!(state.tasks.wait(), state.frames.drain(), telling) };
    if tokio::time::timeout(SWEEP_MAX, rest).await.is_err() {
        tracing::warn!("left before all queries were off the board; the janitor takes the rest");
    }
    Ok(served?)
}

fn routes(state: &State) -> Routes {
    macro_rules! sized {
        ($server:ident, $service:expr) => {
            $server::new($service)
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX)
        };
    }
    Routes::new(sized!(QueryServiceServer, state.clone()))
        .add_service(sized!(IngestServiceServer, state.clone()))
        .add_service(sized!(CatalogServiceServer, state.clone()))
        .add_service(ColonyServiceServer::new(state.clone()))
        .add_service(MaintenanceServiceServer::new(state.clone()))
        .add_service(TaskServiceServer::new(state.nudges.clone()))
}
