//! `MaintenanceService`: care of a frame when somebody asks for it.

use apiary_core::Version;
use apiary_ingest::{CompactReport, Ingest};
use apiary_node::Node;
use apiary_proto::{
    convert,
    v1::{CompactRequest, CompactResult, VerifyRequest, maintenance_service_server::MaintenanceService},
};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::{
    CompactorError, Result,
    verify::{self, Reports},
};

/// The service.
#[derive(Debug, Clone)]
pub(crate) struct Maintenance {
    pub(crate) node: Arc<Node>,
    pub(crate) ingest: Ingest,
    pub(crate) shutdown: CancellationToken,
}

#[tonic::async_trait]
impl MaintenanceService for Maintenance {
    type VerifyStream = Reports;

    async fn compact(&self, request: Request<CompactRequest>) -> Result<Response<CompactResult>, Status> {
        let report = self.merge(request.into_inner()).await?;
        Ok(Response::new(result(report)))
    }

    async fn verify(&self, request: Request<VerifyRequest>) -> Result<Response<Reports>, Status> {
        let reports = verify::verify(self.clone(), request.into_inner()).await?;
        Ok(Response::new(reports))
    }
}

impl Maintenance {
    /// One merge at a time for each bee: a merge decodes and encodes on a core of its own.
    async fn merge(&self, request: CompactRequest) -> Result<CompactReport> {
        let frame = convert::frame_path(request.frame.as_ref())?;
        let _bee = self.node.bees.lease(&self.shutdown).await?;
        let report = self.ingest.compact(&frame).await.map_err(CompactorError::from)?;
        tracing::info!(%frame, before = report.cells_before, after = report.cells_after, "merged cells");
        Ok(report)
    }
}

fn result(report: CompactReport) -> CompactResult {
    let Version(version) = report.version;
    CompactResult {
        version,
        cells_before: report.cells_before,
        cells_after: report.cells_after,
        bytes_written: report.bytes_written,
        groups_skipped: u32::try_from(report.groups_skipped).unwrap_or(u32::MAX),
    }
}
