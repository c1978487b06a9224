//! `MaintenanceService`: care of a frame when somebody asks for it.

use apiary_core::Version;
use apiary_ingest::{CompactReport, Ingest};
use apiary_ledger::{CleanReport, Frames, Registry};
use apiary_node::Node;
use apiary_proto::{
    convert,
    v1::{
        CheckpointRequest, CheckpointResult, CompactRequest, CompactResult, VacuumRequest, VerifyRequest,
        maintenance_service_server::MaintenanceService,
    },
};
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::{
    CompactorError, Result,
    vacuum::{self, VacuumReports},
    verify::{self, Reports},
};

/// The service.
#[derive(Debug, Clone)]
pub(crate) struct Maintenance {
    pub(crate) node: Arc<Node>,
    pub(crate) registry: Registry,
    pub(crate) frames: Frames,
    pub(crate) ingest: Ingest,
    pub(crate) shutdown: CancellationToken,
}

#[tonic::async_trait]
impl MaintenanceService for Maintenance {
    type VacuumStream = VacuumReports;
    type VerifyStream = Reports;

    async fn compact(&self, request: Request<CompactRequest>) -> Result<Response<CompactResult>, Status> {
        let report = self.merge(request.into_inner()).await?;
        Ok(Response::new(result(report)))
    }

    async fn checkpoint(&self, request: Request<CheckpointRequest>) -> Result<Response<CheckpointResult>, Status> {
        let result = self.keep(request.into_inner()).await?;
        Ok(Response::new(result))
    }

    async fn verify(&self, request: Request<VerifyRequest>) -> Result<Response<Reports>, Status> {
        let reports = verify::verify(self.clone(), request.into_inner()).await?;
        Ok(Response::new(reports))
    }

    async fn vacuum(&self, request: Request<VacuumRequest>) -> Result<Response<VacuumReports>, Status> {
        let reports = vacuum::vacuum(self.clone(), request.into_inner()).await?;
        Ok(Response::new(reports))
    }
}

impl Maintenance {
    /// Writes a checkpoint, and cleans the ledger below it.
    async fn keep(&self, request: CheckpointRequest) -> Result<CheckpointResult> {
        let path = convert::frame_path(request.frame.as_ref())?;
        let _bee = self.node.bees.lease(&self.shutdown).await?;
        let names = self.registry.namespace().await?;
        let frame = names.frame(path.hive.as_str(), path.box_name.as_str(), path.frame.as_str())?;
        let written = self.frames.checkpoint(&frame).await?;
        let cleaned = match request.clean_older_than_s {
            Some(seconds) => self.frames.clean_log(&frame, Duration::from_secs(seconds)).await?,
            None => CleanReport::default(),
        };
        tracing::info!(frame = %path, version = %written.version, entries_deleted = cleaned.entries, "checkpointed");
        Ok(CheckpointResult {
            version: written.version.0,
            written: written.written,
            cells: written.cells,
            bytes: written.bytes,
            cleaned_below: cleaned.below.map(|Version(version)| version),
            entries_deleted: cleaned.entries,
            checkpoints_deleted: cleaned.checkpoints,
            bytes_deleted: cleaned.bytes,
        })
    }

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
