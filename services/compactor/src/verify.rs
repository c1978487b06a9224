//! Checks frames when somebody asks, one report at a time.

use apiary_core::{FramePath, Version};
use apiary_ledger as ledger;
use apiary_proto::{
    convert,
    v1::{VerifyProblem, VerifyReport, VerifyRequest},
};
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use tonic::Status;

use crate::{CompactorError, Result, maintenance::Maintenance};

/// Reports as they are made; a check that could not be made ends them.
pub(crate) type Reports = BoxStream<'static, Result<VerifyReport, Status>>;

/// One report, or the registry's and one of each frame.
pub(crate) async fn verify(service: Maintenance, request: VerifyRequest) -> Result<Reports> {
    if request.frame.is_some() {
        let frame = convert::frame_path(request.frame.as_ref())?;
        let report = one(&service, &frame, request.deep).await?;
        return Ok(stream::iter([Ok(report)]).boxed());
    }
    let (registry, names) = service.ingest.verify_registry().await.map_err(CompactorError::from)?;
    let frames = names.map(|names| names.all_frames()).unwrap_or_default();
    let each = stream::iter(frames).then(move |record| {
        let service = service.clone();
        async move { one(&service, &record.path, request.deep).await.map_err(Status::from) }
    });
    Ok(stream::iter([Ok(report(None, registry))]).chain(each).boxed())
}

/// One check at a time for each bee: hashing takes a core.
async fn one(service: &Maintenance, frame: &FramePath, deep: bool) -> Result<VerifyReport> {
    let _bee = service.node.bees.lease(&service.shutdown).await?;
    let found = service.ingest.verify(frame, deep).await.map_err(CompactorError::from)?;
    if !found.is_clean() {
        tracing::error!(%frame, problems = found.problems_total, first = ?found.problems.first(), "a frame is damaged");
    }
    Ok(report(Some(frame), found))
}

fn report(frame: Option<&FramePath>, found: ledger::VerifyReport) -> VerifyReport {
    let number = |version: Option<Version>| version.map(|Version(version)| version);
    let problem =
        |problem: ledger::Problem| VerifyProblem { object: problem.object, what: problem.what, advice: problem.advice };
    VerifyReport {
        frame: frame.map(Into::into),
        version: number(found.version),
        oldest_version: number(found.oldest),
        entries: found.entries,
        checkpoints: found.checkpoints,
        cells: found.cells,
        rows: found.rows,
        bytes: found.bytes,
        cells_opened: found.cells_opened,
        older_cells: found.older_cells,
        orphans: found.orphans,
        orphan_bytes: found.orphan_bytes,
        problems: found.problems.into_iter().map(problem).collect(),
        problems_total: found.problems_total,
    }
}
