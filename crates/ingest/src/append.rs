//! Append: a stream of batches becomes rows of a frame, all of them or none.

use std::sync::Arc;

use apiary_core::{ErrorKind, FramePath, Version};
use apiary_ledger::{CellEntry, FrameRecord, IdempotencyKey, Snapshot, Transaction};
use arrow::{array::RecordBatch, datatypes::SchemaRef};
use futures::Stream;

use crate::{
    Ingest, IngestError, Result,
    commit::Landed,
    limits::IDEMPOTENCY_KEY_BYTES_MAX,
    names::Confirm,
    payload::{self, Intake, Source, Written},
};

/// How to append.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AppendOptions {
    /// The same key with the same rows in the same order is applied once, however often it is sent; with other rows it
    /// is an error. 1 to 256 bytes.
    pub idempotency_key: Option<String>,
    /// Whose key it is: keys of different principals never meet.
    pub principal: String,
}

/// What a write did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteReport {
    /// The version of the frame that holds the rows.
    pub version: Version,
    /// Rows that the payload had.
    pub rows: u64,
    /// Cells that joined the frame.
    pub cells: u64,
    /// Bytes of Parquet in them.
    pub bytes: u64,
    /// Slots of the ledger lost to other writers on the way.
    pub retries: u32,
    /// The key had been applied before, at `version`; nothing was written now.
    pub already_applied: bool,
}

/// A frame as a write begins with it.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) record: Arc<FrameRecord>,
    pub(crate) base: Arc<Snapshot>,
    pub(crate) confirm: Confirm,
}

impl Ingest {
    /// Appends everything in `batches` to `frame` in one version. An error anywhere, in the stream too, and nothing is
    /// visible: what was uploaded is deleted. A payload without rows makes no version.
    ///
    /// Cost: 1 PUT a cell (see [`apiary_cell::target_bytes`]), 1 commit; beside the upload 1 GET that confirms the
    /// name; before it the frame's newest version, if this process does not know the frame. Memory: about one and a
    /// half chambers, whatever the stream's length. Dropping the future leaves what it uploaded to vacuum, and during
    /// the commit an unknown outcome: run it on a task of its own where callers may go away.
    pub async fn append(
        &self,
        frame: &FramePath,
        schema: SchemaRef,
        batches: impl Stream<Item = Result<RecordBatch>> + Send + Unpin,
        options: AppendOptions,
    ) -> Result<WriteReport> {
        check_key(options.idempotency_key.as_deref())?;
        let mut source = Source::new(batches);
        if let Some((record, base)) = self.known(frame) {
            let confirm = self.confirm(frame, &record);
            match self.append_to(Start { record, base, confirm }, &schema, &mut source, &options).await {
                Err(error) if error.is_stale() => {
                    tracing::info!(%frame, %error, "what was known of a frame is not so any more");
                    source.rewind();
                }
                done => return done,
            }
        }
        source.forget();
        let (record, base) = self.newest(frame).await?;
        let start = Start { record, base, confirm: Confirm::none() };
        self.append_to(start, &schema, &mut source, &options).await
    }

    async fn append_to(
        &self,
        mut start: Start,
        schema: &SchemaRef,
        source: &mut Source<impl Stream<Item = Result<RecordBatch>> + Send + Unpin>,
        options: &AppendOptions,
    ) -> Result<WriteReport> {
        let key = options.idempotency_key.as_deref();
        let unsure = !start.confirm.is_over();
        let intake = match Intake::new(schema, &start.base, key.is_some()) {
            // The columns may be others by now.
            Err(error) if unsure && error.kind() == ErrorKind::SchemaMismatch => return Err(IngestError::Stale),
            intake => intake?,
        };
        let txn = self.new_txn();
        let mut pipeline = self.pipeline(&start.base, txn)?;
        let was_used = key.is_some_and(|key| start.base.knows_key(&options.principal, key));
        let written = if was_used {
            // Nothing will be written: only whether the rows are the same is open.
            let digest = payload::digest(&self.cores, intake, source).await;
            let confirmed = start.confirm.wait().await;
            digest.and_then(|written| confirmed.map(|()| written))
        } else {
            payload::write_all(&mut pipeline, intake, source, &mut start.confirm, |_| Ok(())).await
        };
        let written = match written {
            Ok(written) => written,
            Err(error) => {
                pipeline.delete_own().await;
                return Err(error);
            }
        };
        if written.cells.is_empty() && !was_used {
            let landed = Landed { version: start.base.version, retries: 0, already_applied: false };
            return Ok(report(&written, landed));
        }
        let idem = idem_of(key, &options.principal, written.digest.clone());
        let transaction = Transaction::append(txn, &self.settings.node, written.cells.clone()).with_idem(idem);
        let landed = self.land(&start.record, start.base, transaction, pipeline).await?;
        let report = report(&written, landed);
        tracing::info!(
            frame = %start.record.path, %txn, version = %report.version, rows = report.rows, cells = report.cells,
            bytes = report.bytes, retries = report.retries, already_applied = report.already_applied, "append committed"
        );
        Ok(report)
    }
}

/// Refuses a key that is empty or too long.
pub(crate) fn check_key(key: Option<&str>) -> Result<()> {
    match key.filter(|key| key.is_empty() || key.len() > IDEMPOTENCY_KEY_BYTES_MAX) {
        Some(key) => Err(IngestError::IdempotencyKey { bytes: key.len() }),
        None => Ok(()),
    }
}

/// A key with the digest of what came under it.
pub(crate) fn idem_of(key: Option<&str>, principal: &str, digest: Option<String>) -> Option<IdempotencyKey> {
    let (key, digest) = (key?, digest?);
    Some(IdempotencyKey { scope: principal.to_owned(), key: key.to_owned(), digest })
}

pub(crate) fn report(written: &Written, landed: Landed) -> WriteReport {
    let kept: &[CellEntry] = if landed.already_applied { &[] } else { &written.cells };
    WriteReport {
        version: landed.version,
        rows: written.rows,
        cells: kept.len() as u64,
        bytes: kept.iter().map(|cell| cell.size_bytes).sum(),
        retries: landed.retries,
        already_applied: landed.already_applied,
    }
}
