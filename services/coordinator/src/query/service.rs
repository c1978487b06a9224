//! The calls, and everything that ends a query before its last row: its time, its client, somebody's word, a defect.

use std::{any::Any, panic::AssertUnwindSafe, sync::Arc};

use apiary_core::{ErrorKind, QueryId, limits::SQL_BYTES_MAX};
use apiary_proto::{
    ClientError,
    v1::{CancelRequest, CancelResponse, ExecuteRequest, QueryFinished, query_service_server::QueryService},
};
use apiary_query::Session;
use futures::FutureExt;
use tonic::{Request, Response, Status};
use tracing::Instrument;

use super::{
    outlet::{Events, Outlet},
    statement,
};
use crate::{
    CoordinatorError, Result,
    cancel::{self, Place},
    error::status,
    state::State,
};

/// One call, checked.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) id: QueryId,
    pub(super) sql: String,
    pub(super) session: Session,
    /// It was asked before under this id, and nobody knows how far that went.
    pub(super) again: bool,
}

#[tonic::async_trait]
impl QueryService for State {
    type ExecuteStream = Events;

    async fn execute(&self, request: Request<ExecuteRequest>) -> Result<Response<Events>, Status> {
        let request = request.into_inner();
        let lz4 = request.lz4;
        let ask = read(self, request).map_err(status)?;
        let place = self.running.enter(ask.id, &self.shutdown).map_err(status)?;
        let (outlet, events) = Outlet::new(lz4);
        let span = tracing::info_span!("query", id = %ask.id);
        self.tasks.spawn(supervise(self.clone(), ask, place, outlet).instrument(span));
        Ok(Response::new(events))
    }

    async fn cancel(&self, request: Request<CancelRequest>) -> Result<Response<CancelResponse>, Status> {
        let id = request.into_inner().query_id.parse().map_err(|error: apiary_core::ids::IdError| status(error))?;
        let was_running = cancel::cancel(self, id).await.map_err(status)?;
        Ok(Response::new(CancelResponse { was_running }))
    }
}

fn read(state: &State, request: ExecuteRequest) -> Result<Ask> {
    if request.sql.len() > SQL_BYTES_MAX {
        let text = format!("the statement has {} bytes; at most {SQL_BYTES_MAX} are allowed", request.sql.len());
        return Err(ClientError::new(ErrorKind::InvalidInput, text).into());
    }
    let id = match request.query_id.as_str() {
        "" => QueryId::new(state.node.bucket.clock().as_ref(), state.node.bucket.rng().as_ref()),
        id => id.parse()?,
    };
    let session = request.session.unwrap_or_default();
    let session = Session::from_parts(&session.hive, &session.box_name, session.settings)?;
    Ok(Ask { id, sql: request.sql, session, again: request.again })
}

/// Runs a statement to its end, whatever that is, and tells the client. The query's place is free before the client
/// hears of the end, so that it may ask again at once.
async fn supervise(state: State, ask: Ask, place: Place, outlet: Outlet) {
    let end = until_its_end(&state, &ask, &place, &outlet).await;
    let clock = state.node.bucket.clock();
    state.queries.end(ask.id, &end, clock.monotonic(), clock.wall_ms());
    place.token.cancel();
    drop(place);
    if let Err(error) = &end {
        tracing::info!(kind = %error.kind(), %error, "the query failed");
    }
    outlet.end(end.map_err(|error| ClientError::from(error).with_query_id(ask.id).into())).await;
}

async fn until_its_end(state: &State, ask: &Ask, place: &Place, outlet: &Outlet) -> Result<QueryFinished> {
    let clock = Arc::clone(state.node.bucket.clock());
    let timeout = ask.session.settings.query_timeout();
    let work = AssertUnwindSafe(statement::run(state, ask, &place.token, outlet)).catch_unwind();
    // Whatever wins, the work is dropped with its streams, and what it had leased goes back.
    tokio::select! {
        biased;
        end = work => end.unwrap_or_else(|panic| Err(CoordinatorError::Panicked(words(panic.as_ref())))),
        () = place.token.cancelled() => Err(CoordinatorError::Cancelled),
        () = outlet.gone() => Err(CoordinatorError::Cancelled),
        () = cancel::watch(state.clone(), ask.id, place.token.clone()) => Err(CoordinatorError::Cancelled),
        () = clock.sleep(timeout) => Err(CoordinatorError::TimedOut(timeout)),
    }
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("no words").to_owned()
}
