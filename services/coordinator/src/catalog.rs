//! `CatalogService`: hives, boxes, frames. Names are checked here, once; the registry decides.

use apiary_core::{BoxName, FramePath, HiveName, Version};
use apiary_ingest::storable_schema;
use apiary_ledger::{FrameSpec, Namespace};
use apiary_proto::{
    convert,
    v1::{
        CellsRequest, CellsResponse, CreateBoxRequest, CreateFrameRequest, CreateHiveRequest, CreateResponse,
        DescribeFrameRequest, FrameDescription, FramePath as WirePath, HistoryRequest, HistoryResponse, ListRequest,
        ListResponse, catalog_service_server::CatalogService,
    },
};
use arrow::datatypes::{FieldRef, Schema};
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use tonic::{Request, Response, Status};

use crate::{Result, error::status, state::State, story};

type Answer<T> = std::result::Result<Response<T>, Status>;

fn created(created: bool) -> Response<CreateResponse> {
    Response::new(CreateResponse { created })
}

#[tonic::async_trait]
impl CatalogService for State {
    type CellsStream = BoxStream<'static, std::result::Result<CellsResponse, Status>>;

    async fn create_hive(&self, request: Request<CreateHiveRequest>) -> Answer<CreateResponse> {
        let hive = HiveName::new(request.into_inner().hive).map_err(status)?;
        self.registry.create_hive(&hive).await.map(created).map_err(status)
    }

    async fn create_box(&self, request: Request<CreateBoxRequest>) -> Answer<CreateResponse> {
        let request = request.into_inner();
        let hive = HiveName::new(request.hive).map_err(status)?;
        let box_name = BoxName::new(request.box_name).map_err(status)?;
        self.registry.create_box(&hive, &box_name).await.map(created).map_err(status)
    }

    async fn create_frame(&self, request: Request<CreateFrameRequest>) -> Answer<CreateResponse> {
        let request = request.into_inner();
        let path = convert::frame_path(request.frame.as_ref()).map_err(status)?;
        let schema = convert::decode_schema(request.schema).map_err(status)?;
        let schema = storable_schema(&schema).map_err(status)?;
        let partition_by = request.partition_by.into_iter().map(|name| column_of(&schema, name)).collect();
        let spec = FrameSpec { schema, partition_by };
        self.registry.create_frame(&path, &spec).await.map(created).map_err(status)
    }

    async fn list(&self, request: Request<ListRequest>) -> Answer<ListResponse> {
        let request = request.into_inner();
        let namespace = self.registry.namespace().await.map_err(status)?;
        list(&namespace, &request).map(Response::new).map_err(status)
    }

    async fn describe_frame(&self, request: Request<DescribeFrameRequest>) -> Answer<FrameDescription> {
        let path = convert::frame_path(request.into_inner().frame.as_ref()).map_err(status)?;
        describe(self, &path).await.map(Response::new).map_err(status)
    }

    async fn history(&self, request: Request<HistoryRequest>) -> Answer<HistoryResponse> {
        let request = request.into_inner();
        let path = convert::frame_path(request.frame.as_ref()).map_err(status)?;
        story::history(self, &path, request.limit).await.map(Response::new).map_err(status)
    }

    async fn cells(&self, request: Request<CellsRequest>) -> Answer<Self::CellsStream> {
        let path = convert::frame_path(request.into_inner().frame.as_ref()).map_err(status)?;
        let messages = story::cells(self, &path).await.map_err(status)?;
        Ok(Response::new(stream::iter(messages.map(Ok)).boxed()))
    }
}

/// The column that `name` means, as the schema spells it; names match in any case, as they do in SQL.
fn column_of(schema: &Schema, name: String) -> String {
    let fields = schema.fields();
    let is = |field: &&FieldRef| field.name().to_lowercase() == name.to_lowercase();
    let exact = fields.iter().any(|field| *field.name() == name);
    if exact { name } else { fields.iter().find(is).map_or_else(|| name.clone(), |field| field.name().clone()) }
}

fn list(namespace: &Namespace, request: &ListRequest) -> Result<ListResponse> {
    let same = |wanted: &str, name: &str| wanted.is_empty() || wanted.to_lowercase() == name.to_lowercase();
    let mut found = ListResponse::default();
    for hive in namespace.hives() {
        if !same(&request.hive, hive.as_str()) {
            continue;
        }
        found.hives.push(hive.to_string());
        for box_name in namespace.boxes(hive)? {
            if !same(&request.box_name, box_name.as_str()) {
                continue;
            }
            let (hive_text, box_text) = (hive.to_string(), box_name.to_string());
            found.boxes.push(WirePath { hive: hive_text, box_name: box_text, frame: String::new() });
            let frames = namespace.frames(hive, box_name)?;
            found.frames.extend(frames.iter().map(|record| WirePath::from(&record.path)));
        }
    }
    if !request.hive.is_empty() && found.hives.is_empty() {
        // The namespace words it, with the nearest name.
        namespace.boxes(&HiveName::new(&request.hive)?)?;
    }
    Ok(found)
}

/// 2 GETs while warm.
async fn describe(state: &State, path: &FramePath) -> Result<FrameDescription> {
    let namespace = state.registry.namespace().await?;
    let record = namespace.frame(path.hive.as_str(), path.box_name.as_str(), path.frame.as_str())?;
    let snapshot = state.frames.snapshot(&record).await?;
    let Version(version) = snapshot.version;
    Ok(FrameDescription {
        frame: Some(WirePath::from(&record.path)),
        schema: convert::encode_schema(&snapshot.schema)?,
        partition_by: snapshot.partition_by.clone(),
        version,
        cells: snapshot.cells.len() as u64,
        rows: snapshot.rows(),
        bytes: snapshot.bytes(),
        folder: record.folder.clone(),
    })
}
