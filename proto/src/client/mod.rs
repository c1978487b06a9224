//! The one client: what the command line and the Python SDK speak through.
//!
//! It is made over any tonic channel, so a colony inside the process and one across the network are spoken to in the
//! same words. It keeps no state but the connection: what a session has said travels with each call, and the session
//! after a statement comes back with its result. Nothing here retries but a query whose connection breaks before its
//! first row, on the next coordinator it knows (`places`); for the rest the error says whether that can help.

mod append;
mod care;
mod catalog;
mod connect;
mod places;
mod query_stream;

use std::{fmt, future::Future, time::Duration};

use apiary_core::{
    ErrorKind, QueryId, SystemClock, SystemRng,
    limits::{FIRST_CONTACT_MAX, MESSAGE_BYTES_MAX},
};
use tonic::{
    Request, Response, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::Channel,
};

use self::places::Places;
pub use self::{catalog::FrameInfo, query_stream::QueryStream};
use crate::{error::ClientError, v1};

/// How long a call about names may take: many times what it needs on a slow store, short of a person's patience.
const CATALOG_TIMEOUT: Duration = Duration::from_secs(60);

/// A connection to one coordinator. Cheap to clone; clones share the connection.
#[derive(Clone)]
pub struct Client {
    channel: Channel,
    bearer: Bearer,
    lz4: bool,
    places: Places,
}

/// Puts the token into every call.
#[derive(Clone, Default)]
struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

type Connection = InterceptedService<Channel, Bearer>;

macro_rules! service {
    ($name:ident, $module:ident, $client:ident) => {
        fn $name(&self) -> v1::$module::$client<Connection> {
            v1::$module::$client::with_interceptor(self.channel.clone(), self.bearer.clone())
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX)
        }
    };
}

impl Client {
    service!(queries, query_service_client, QueryServiceClient);
    service!(catalog, catalog_service_client, CatalogServiceClient);
    service!(ingest, ingest_service_client, IngestServiceClient);
    service!(colony, colony_service_client, ColonyServiceClient);
    service!(maintenance, maintenance_service_client, MaintenanceServiceClient);

    /// Connects to `grpc://host:port` (`grpc://` and the port 7410 may be left out) within five seconds. Several
    /// coordinators may be named, with commas between them: the first that answers is spoken to, and a query whose
    /// coordinator dies goes on at the next.
    pub async fn connect(url: &str, token: Option<String>) -> Result<Self, ClientError> {
        let bearer = Bearer(token.map(|token| connect::bearer(&token)).transpose()?);
        Places::of(url)?.connect(bearer).await
    }

    /// A client over a channel that stands already, such as one inside this process.
    #[must_use]
    pub fn over(channel: Channel) -> Self {
        Self { channel, bearer: Bearer(None), lz4: false, places: Places::default() }
    }

    /// Starts one statement under a new query id. Dropping the stream cancels the query.
    pub async fn execute(&self, sql: &str, session: &v1::Session) -> Result<QueryStream, ClientError> {
        self.execute_as(QueryId::new(&SystemClock, &SystemRng), sql, session).await
    }

    /// Starts one statement under an id of the caller's, which can be cancelled before the first answer.
    pub async fn execute_as(&self, id: QueryId, sql: &str, session: &v1::Session) -> Result<QueryStream, ClientError> {
        let request = v1::ExecuteRequest {
            query_id: id.to_string(),
            sql: sql.to_owned(),
            session: Some(session.clone()),
            lz4: self.lz4,
            again: false,
        };
        QueryStream::start(self.clone(), id, request).await
    }

    /// Cancels a query, wherever it runs; false if it was not running any more.
    pub async fn cancel(&self, id: QueryId) -> Result<bool, ClientError> {
        match self.cancel_here(id).await {
            Err(error) if error.kind == ErrorKind::Unavailable && self.places.len() > 1 => {
                self.places.elsewhere(self).await?.cancel_here(id).await
            }
            cancelled => cancelled,
        }
    }

    async fn cancel_here(&self, id: QueryId) -> Result<bool, ClientError> {
        let mut service = self.queries();
        let request = v1::CancelRequest { query_id: id.to_string() };
        Ok(within(CATALOG_TIMEOUT, service.cancel(request)).await?.was_running)
    }

    /// What the coordinator sees of the colony.
    pub async fn status(&self) -> Result<v1::ColonyStatus, ClientError> {
        let mut service = self.colony();
        within(CATALOG_TIMEOUT, service.status(v1::StatusRequest {})).await
    }

    /// Whether the node serves, whatever its role; the usual gRPC health check.
    pub async fn is_serving(&self) -> Result<bool, ClientError> {
        use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
        let mut service = HealthClient::new(self.channel.clone());
        let answer = within(FIRST_CONTACT_MAX, service.check(HealthCheckRequest::default())).await?;
        Ok(answer.status() == ServingStatus::Serving)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has_token = self.bearer.0.is_some();
        f.debug_struct("Client").field("has_token", &has_token).field("lz4", &self.lz4).finish_non_exhaustive()
    }
}

/// The answer of `call`, if it comes in time.
async fn within<T>(limit: Duration, call: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, ClientError> {
    match tokio::time::timeout(limit, call).await {
        Ok(answer) => Ok(answer?.into_inner()),
        Err(_) => {
            let text = format!("the node has not answered for {} s", limit.as_secs());
            Err(ClientError::new(ErrorKind::Timeout, text).with_hint("apiary status".to_owned()))
        }
    }
}
