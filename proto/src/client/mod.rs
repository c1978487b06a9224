//! The one client: what the command line and the Python SDK speak through.
//!
//! It is made over any tonic channel, so a colony inside the process and one across the network are spoken to in the
//! same words. It keeps no state but the connection: what a session has said travels with each call, and the session
//! after a statement comes back with its result. Nothing here retries; the error says whether that can help.

mod append;
mod care;
mod connect;
mod query_stream;

use std::{fmt, future::Future, time::Duration};

use apiary_core::{
    ErrorKind, FramePath, QueryId, SystemClock, SystemRng,
    limits::{FIRST_CONTACT_MAX, MESSAGE_BYTES_MAX},
};
use arrow::datatypes::{Schema, SchemaRef};
use tonic::{
    Request, Response, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::Channel,
};

pub use self::query_stream::QueryStream;
use crate::{convert, error::ClientError, v1};

/// How long a call about names may take: many times what it needs on a slow store, short of a person's patience.
const CATALOG_TIMEOUT: Duration = Duration::from_secs(60);

/// A connection to one coordinator. Cheap to clone; clones share the connection.
#[derive(Clone)]
pub struct Client {
    channel: Channel,
    bearer: Bearer,
    lz4: bool,
}

/// A frame as its ledger has it now.
#[derive(Debug, Clone, PartialEq)]
pub struct FrameInfo {
    /// Where it is found.
    pub path: FramePath,
    /// Its exact Arrow schema.
    pub schema: SchemaRef,
    /// The columns that part it, in order.
    pub partition_by: Vec<String>,
    /// The ledger version that the numbers below belong to.
    pub version: u64,
    /// Live cells.
    pub cells: u64,
    /// Live rows.
    pub rows: u64,
    /// Bytes of live cells.
    pub bytes: u64,
    /// Its folder in the bucket.
    pub folder: String,
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

    /// Connects to `grpc://host:port` (`grpc://` and the port 7410 may be left out) within five seconds.
    pub async fn connect(url: &str, token: Option<String>) -> Result<Self, ClientError> {
        let (channel, is_local) = connect::connect(url).await?;
        let bearer = token.map(|token| connect::bearer(&token)).transpose()?;
        Ok(Self { channel, bearer: Bearer(bearer), lz4: !is_local })
    }

    /// A client over a channel that stands already, such as one inside this process.
    #[must_use]
    pub fn over(channel: Channel) -> Self {
        Self { channel, bearer: Bearer(None), lz4: false }
    }

    /// Starts one statement under a new query id. Dropping the stream cancels the query.
    pub async fn execute(&self, sql: &str, session: &v1::Session) -> Result<QueryStream, ClientError> {
        self.execute_as(QueryId::new(&SystemClock, &SystemRng), sql, session).await
    }

    /// Starts one statement under an id of the caller's, which can be cancelled before the first answer.
    pub async fn execute_as(&self, id: QueryId, sql: &str, session: &v1::Session) -> Result<QueryStream, ClientError> {
        let (sql, session, lz4) = (sql.to_owned(), Some(session.clone()), self.lz4);
        let request = v1::ExecuteRequest { query_id: id.to_string(), sql, session, lz4 };
        let stream = self.queries().execute(request).await?.into_inner();
        Ok(QueryStream::new(id, stream))
    }

    /// Cancels a query, wherever it runs; false if it was not running any more.
    pub async fn cancel(&self, id: QueryId) -> Result<bool, ClientError> {
        let mut service = self.queries();
        let request = v1::CancelRequest { query_id: id.to_string() };
        Ok(within(CATALOG_TIMEOUT, service.cancel(request)).await?.was_running)
    }

    /// Creates a hive; false if it was there already.
    pub async fn create_hive(&self, hive: &str) -> Result<bool, ClientError> {
        let mut service = self.catalog();
        let request = v1::CreateHiveRequest { hive: hive.to_owned() };
        Ok(within(CATALOG_TIMEOUT, service.create_hive(request)).await?.created)
    }

    /// Creates a box; false if it was there already.
    pub async fn create_box(&self, hive: &str, box_name: &str) -> Result<bool, ClientError> {
        let mut service = self.catalog();
        let request = v1::CreateBoxRequest { hive: hive.to_owned(), box_name: box_name.to_owned() };
        Ok(within(CATALOG_TIMEOUT, service.create_box(request)).await?.created)
    }

    /// Creates a frame; false if an identical one was there already, `AlreadyExists` if another was.
    pub async fn create_frame(&self, path: &FramePath, schema: &Schema, by: &[String]) -> Result<bool, ClientError> {
        let mut service = self.catalog();
        let schema = convert::encode_schema(schema)?;
        let request = v1::CreateFrameRequest { frame: Some(path.into()), schema, partition_by: by.to_vec() };
        Ok(within(CATALOG_TIMEOUT, service.create_frame(request)).await?.created)
    }

    /// Everything below a hive or a box; below all of them without.
    pub async fn list(&self, hive: Option<&str>, box_name: Option<&str>) -> Result<v1::ListResponse, ClientError> {
        let mut service = self.catalog();
        let text = |name: Option<&str>| name.unwrap_or_default().to_owned();
        let request = v1::ListRequest { hive: text(hive), box_name: text(box_name) };
        within(CATALOG_TIMEOUT, service.list(request)).await
    }

    /// What the ledger says of a frame.
    pub async fn describe_frame(&self, path: &FramePath) -> Result<FrameInfo, ClientError> {
        let mut service = self.catalog();
        let request = v1::DescribeFrameRequest { frame: Some(path.into()) };
        let answer = within(CATALOG_TIMEOUT, service.describe_frame(request)).await?;
        Ok(FrameInfo {
            path: convert::frame_path(answer.frame.as_ref())?,
            schema: convert::decode_schema(answer.schema)?,
            partition_by: answer.partition_by,
            version: answer.version,
            cells: answer.cells,
            rows: answer.rows,
            bytes: answer.bytes,
            folder: answer.folder,
        })
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
