//! `CatalogService`: hives, boxes, frames. Names are checked here, once; the registry decides.

use apiary_core::{BoxName, FramePath, HiveName, Version, names::fold};
use apiary_ledger::{DropReport, Namespace};
use apiary_proto::{
    convert,
    v1::{
        CellsRequest, CellsResponse, CreateBoxRequest, CreateFrameRequest, CreateHiveRequest, CreateResponse,
        DescribeFrameRequest, DropBoxRequest, DropFrameRequest, DropHiveRequest, DropResponse, FrameDescription,
        FramePath as WirePath, HistoryRequest, HistoryResponse, ListRequest, ListResponse, RenameBoxRequest,
        RenameFrameRequest, RenameHiveRequest, RenameResponse, catalog_service_server::CatalogService,
    },
};
use apiary_query::Place;
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use tonic::{Request, Response, Status};

use crate::{
    Result,
    define::{self, Dropping},
    error::status,
    state::State,
    story,
};

type Answer<T> = std::result::Result<Response<T>, Status>;

fn created(created: bool) -> Response<CreateResponse> {
    Response::new(CreateResponse { created })
}

fn dropped(report: Option<DropReport>) -> Response<DropResponse> {
    let note = report.as_ref().and_then(DropReport::note).unwrap_or_default();
    Response::new(DropResponse { dropped: report.is_some(), note })
}

fn renamed(_: bool) -> Response<RenameResponse> {
    Response::new(RenameResponse {})
}

fn hive(name: String) -> Result<Place> {
    Ok(Place::Hive(HiveName::new(name)?))
}

fn in_hive(hive: String, box_name: String) -> Result<Place> {
    Ok(Place::Box(HiveName::new(hive)?, BoxName::new(box_name)?))
}

fn frame(path: Option<&WirePath>) -> Result<Place> {
    Ok(Place::Frame(convert::frame_path(path)?))
}

#[tonic::async_trait]
impl CatalogService for State {
    type CellsStream = BoxStream<'static, std::result::Result<CellsResponse, Status>>;

    async fn create_hive(&self, request: Request<CreateHiveRequest>) -> Answer<CreateResponse> {
        let place = hive(request.into_inner().hive).map_err(status)?;
        define::create(self, place, None).await.map(created).map_err(status)
    }

    async fn create_box(&self, request: Request<CreateBoxRequest>) -> Answer<CreateResponse> {
        let request = request.into_inner();
        let place = in_hive(request.hive, request.box_name).map_err(status)?;
        define::create(self, place, None).await.map(created).map_err(status)
    }

    async fn create_frame(&self, request: Request<CreateFrameRequest>) -> Answer<CreateResponse> {
        let request = request.into_inner();
        let place = frame(request.frame.as_ref()).map_err(status)?;
        let schema = convert::decode_schema(request.schema).map_err(status)?;
        let spec = define::spec(&schema, request.partition_by).map_err(status)?;
        define::create(self, place, Some(spec)).await.map(created).map_err(status)
    }

    async fn drop_hive(&self, request: Request<DropHiveRequest>) -> Answer<DropResponse> {
        let DropHiveRequest { hive: name, cascade, if_exists } = request.into_inner();
        let how = Dropping { if_exists, cascade, expected: None };
        define::drop(self, hive(name).map_err(status)?, how).await.map(dropped).map_err(status)
    }

    async fn drop_box(&self, request: Request<DropBoxRequest>) -> Answer<DropResponse> {
        let DropBoxRequest { hive, box_name, cascade, if_exists } = request.into_inner();
        let how = Dropping { if_exists, cascade, expected: None };
        define::drop(self, in_hive(hive, box_name).map_err(status)?, how).await.map(dropped).map_err(status)
    }

    async fn drop_frame(&self, request: Request<DropFrameRequest>) -> Answer<DropResponse> {
        let DropFrameRequest { frame: path, if_exists, expected_version } = request.into_inner();
        let how = Dropping { if_exists, cascade: false, expected: expected_version.map(Version) };
        define::drop(self, frame(path.as_ref()).map_err(status)?, how).await.map(dropped).map_err(status)
    }

    async fn rename_hive(&self, request: Request<RenameHiveRequest>) -> Answer<RenameResponse> {
        let RenameHiveRequest { hive: from, to } = request.into_inner();
        let (from, to) = (hive(from).map_err(status)?, hive(to).map_err(status)?);
        define::rename(self, from, to, false).await.map(renamed).map_err(status)
    }

    async fn rename_box(&self, request: Request<RenameBoxRequest>) -> Answer<RenameResponse> {
        let RenameBoxRequest { hive, box_name, to } = request.into_inner();
        let from = in_hive(hive.clone(), box_name).map_err(status)?;
        let to = in_hive(hive, to).map_err(status)?;
        define::rename(self, from, to, false).await.map(renamed).map_err(status)
    }

    async fn rename_frame(&self, request: Request<RenameFrameRequest>) -> Answer<RenameResponse> {
        let RenameFrameRequest { frame: from, to } = request.into_inner();
        let (from, to) = (frame(from.as_ref()).map_err(status)?, frame(to.as_ref()).map_err(status)?);
        define::rename(self, from, to, false).await.map(renamed).map_err(status)
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

fn list(namespace: &Namespace, request: &ListRequest) -> Result<ListResponse> {
    let same = |wanted: &str, name: &str| wanted.is_empty() || fold(wanted) == fold(name);
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
