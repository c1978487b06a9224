//! Vacuums frames when somebody asks, one report at a time. What may go is decided in the ledger.

use std::time::Duration;

use apiary_bucket::layout;
use apiary_core::{ErrorKind, FramePath, Version};
use apiary_ledger::{self as ledger, FileFate, FrameRecord, LedgerError, SweepReport, UnnamedFolder, VacuumOptions};
use apiary_proto::{
    ClientError, convert,
    v1::{VacuumFile, VacuumReport, VacuumRequest},
};
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use tonic::Status;

use crate::{CompactorError, Result, maintenance::Maintenance};

/// Reports as they are made; a vacuum that could not be made ends them.
pub(crate) type VacuumReports = BoxStream<'static, Result<VacuumReport, Status>>;

/// One report, or one of each frame and then the rest of the bucket's.
pub(crate) async fn vacuum(service: Maintenance, request: VacuumRequest) -> Result<VacuumReports> {
    let mut options = options(&service, &request)?;
    let bucket = &service.node.bucket;
    options.store_now_ms = Some(bucket.store_now_ms().await.map_err(LedgerError::from)?);
    let names = service.registry.namespace().await?;
    if request.frame.is_some() {
        let frame = convert::frame_path(request.frame.as_ref())?;
        let record = names.frame(frame.hive.as_str(), frame.box_name.as_str(), frame.frame.as_str())?;
        let report = one(&service, &record, &options).await?;
        return Ok(stream::iter([Ok(report)]).boxed());
    }
    let (of_rest, its_options) = (service.clone(), options.clone());
    let each = stream::iter(names.all_frames()).filter_map(move |record| {
        let (service, options) = (service.clone(), options.clone());
        async move {
            match one(&service, &record, &options).await {
                // What is dropped meanwhile comes with the rest.
                Err(CompactorError::Ledger(LedgerError::Dropped { .. })) => None,
                Err(error) => Some(failed(&record.path, error, options.run)),
                Ok(report) => Some(Ok(report)),
            }
        }
    });
    let rest = stream::once(async move { rest(&of_rest, &its_options).await.map_err(Status::from) });
    Ok(each.chain(rest).boxed())
}

fn options(service: &Maintenance, request: &VacuumRequest) -> Result<VacuumOptions> {
    let retention = request.retain_ms.map_or(ledger::RETENTION, Duration::from_millis);
    if retention < ledger::RETENTION_MIN && !request.force {
        let why = "versions that were current within the last hour may be in use by queries that have just begun";
        let refused = ClientError::new(ErrorKind::InvalidInput, format!("a retention of less than an hour: {why}"));
        return Err(refused.with_hint("retain at least 1h, or force it".to_owned()).into());
    }
    let node = service.node.id.to_string();
    Ok(VacuumOptions { retention, run: request.run, node, store_now_ms: None })
}

/// One frame at a time for each bee: judging a large one takes a core for a moment.
async fn one(service: &Maintenance, record: &FrameRecord, options: &VacuumOptions) -> Result<VacuumReport> {
    let _bee = service.node.bees.lease(&service.shutdown).await?;
    let found = service.frames.vacuum(record, options).await?;
    if let Some(why) = found.refused() {
        tracing::error!(frame = %record.path, why, "a frame is not vacuumed");
    }
    Ok(report(&record.path, found))
}

/// What is told of a frame that cannot be vacuumed, when the others can: its own ledger or its own cells are at fault.
fn failed(frame: &FramePath, error: CompactorError, run: bool) -> Result<VacuumReport, Status> {
    use ErrorKind::{Conflict, Corrupt, NotFound, OutcomeUnknown, Unsupported};
    if !matches!(error.kind(), Conflict | Corrupt | NotFound | OutcomeUnknown | Unsupported) {
        return Err(error.into());
    }
    tracing::warn!(%frame, %error, "a frame is not vacuumed");
    let refused = format!("'{frame}' was not vacuumed: {error}");
    Ok(VacuumReport { frame: Some(frame.into()), run, refused, ..VacuumReport::default() })
}

async fn rest(service: &Maintenance, options: &VacuumOptions) -> Result<VacuumReport> {
    Ok(rest_report(ledger::sweep(&service.node.bucket, &service.registry, options).await?))
}

fn report(frame: &FramePath, found: ledger::VacuumReport) -> VacuumReport {
    let refused = found.refused().unwrap_or_default();
    let number = |version: Option<Version>| version.map(|Version(version)| version);
    let file = |file: FileFate| VacuumFile {
        bytes: file.bytes,
        objects: 1,
        age_ms: u64::try_from(file.age_ms).unwrap_or(0),
        goes: file.fate.goes(),
        code: file.fate.code().to_owned(),
        reason: file.fate.describe(found.store_now_ms),
        path: file.path,
    };
    VacuumReport {
        frame: Some(frame.into()),
        run: found.run,
        version: found.version.0,
        current_files: found.current.files,
        current_bytes: found.current.bytes,
        deleted_files: found.goes.files,
        deleted_bytes: found.goes.bytes,
        kept_files: found.stays.files,
        kept_bytes: found.stays.bytes,
        doomed: found.doomed,
        more: found.more,
        files: found.files.into_iter().map(file).collect(),
        opened_version: number(found.opened),
        closed_version: number(found.closed),
        refused,
    }
}

fn rest_report(found: SweepReport) -> VacuumReport {
    let folder = |folder: UnnamedFolder| VacuumFile {
        bytes: folder.total.bytes,
        objects: folder.total.files,
        age_ms: u64::try_from(folder.age_ms).unwrap_or(0),
        goes: folder.fate.goes(),
        code: folder.fate.code().to_owned(),
        reason: folder.fate.describe(found.store_now_ms),
        path: folder.folder,
    };
    let mut files: Vec<VacuumFile> = found.unnamed.into_iter().map(folder).collect();
    for (path, objects, reason) in [
        (layout::probes_prefix(), found.probes, "left by probes that were cut short"),
        (layout::pins_prefix(), found.pins, "held by queries that nobody runs any more"),
    ] {
        let (path, reason) = (path.to_owned(), reason.to_owned());
        let file =
            VacuumFile { path, objects, goes: true, code: "leftover".to_owned(), reason, ..VacuumFile::default() };
        files.extend((objects > 0).then_some(file));
    }
    let sum = |goes: bool, of: fn(&VacuumFile) -> u64| files.iter().filter(|file| file.goes == goes).map(of).sum();
    VacuumReport {
        run: found.run,
        deleted_files: sum(true, |file| file.objects),
        deleted_bytes: sum(true, |file| file.bytes),
        kept_files: sum(false, |file| file.objects),
        kept_bytes: sum(false, |file| file.bytes),
        more: found.more,
        refused: found.refused.unwrap_or_default(),
        files,
        ..VacuumReport::default()
    }
}
