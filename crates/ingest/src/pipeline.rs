//! Rows to cells in the bucket: starts what the shaper decides.
//!
//! ```text
//!   rows ─▶ shaper ─▶ encode (bees, in parallel) ─▶ open cells ─▶ finish + upload (a few at a time) ─▶ ledger entries
//! ```
//! Row groups come back in the order in which they left, so a partition's rows keep theirs. Memory: what the shaper's
//! sizes allow, the groups being encoded, and the cells being uploaded. Every cell has a name made of the
//! transaction's id, so whatever goes wrong the writer knows what to delete.

use std::collections::{HashMap, hash_map::Entry};

use apiary_bucket::{Bucket, layout};
use apiary_cell::{CellFormat, CellWriter, EncodedCell, EncodedGroup, GroupEncoder};
use apiary_core::{TxnId, failpoint};
use apiary_ledger::{CellEntry, CellFacts, CellId};
use arrow::array::RecordBatch;
use futures::{StreamExt, stream::FuturesOrdered};
use tokio::{task::JoinSet, time::timeout};

use crate::{
    IngestError, Result,
    limits::{CELLS_MAX, CLEANUP_TIME_MAX, ENCODERS_MAX, UPLOAD_TIME_MAX, UPLOADS_MAX},
    shaper::{PartId, PartitionText, Shaper, Sizes},
    work::{Cores, Running, Size},
};

/// One transaction's way into the bucket.
#[derive(Debug)]
pub(crate) struct Pipeline {
    bucket: Bucket,
    cores: Cores,
    folder: String,
    txn: TxnId,
    format: CellFormat,
    encoder: GroupEncoder,
    encoders_max: usize,
    shaper: Shaper,
    encoding: FuturesOrdered<Running<(PartId, EncodedGroup)>>,
    open: HashMap<PartId, CellWriter>,
    uploads: JoinSet<Result<CellEntry>>,
    named: usize,
    done: Vec<CellEntry>,
}

impl Pipeline {
    /// Nothing written yet of transaction `txn` to the frame in `folder`.
    pub(crate) fn new(
        bucket: &Bucket,
        cores: &Cores,
        folder: &str,
        txn: TxnId,
        format: CellFormat,
        sizes: Sizes,
    ) -> Result<Self> {
        Ok(Self {
            bucket: bucket.clone(),
            cores: cores.clone(),
            folder: folder.to_owned(),
            txn,
            encoder: GroupEncoder::new(&format)?,
            format,
            encoders_max: cores.count().min(ENCODERS_MAX),
            shaper: Shaper::new(sizes),
            encoding: FuturesOrdered::new(),
            open: HashMap::new(),
            uploads: JoinSet::new(),
            named: 0,
            done: Vec::new(),
        })
    }

    /// Where its work runs.
    pub(crate) fn cores(&self) -> &Cores {
        &self.cores
    }

    /// Takes rows of one partition. Returns when there is room for more.
    pub(crate) async fn push(&mut self, values: PartitionText, rows: RecordBatch) -> Result<()> {
        self.shaper.push(values, rows)?;
        while let Some((part, rows)) = self.shaper.next_group() {
            self.encode(part, rows).await?;
        }
        Ok(())
    }

    /// Writes what still waits; returns every cell, all of them in the bucket.
    pub(crate) async fn finish(&mut self) -> Result<Vec<CellEntry>> {
        while let Some((part, rows)) = self.shaper.next_rest() {
            self.encode(part, rows).await?;
        }
        while !self.encoding.is_empty() {
            self.take_encoded().await?;
        }
        let mut rest: Vec<PartId> = self.open.keys().copied().collect();
        rest.sort();
        for part in rest {
            self.close(part).await?;
        }
        while !self.uploads.is_empty() {
            self.take_uploaded().await?;
        }
        let mut cells = std::mem::take(&mut self.done);
        cells.sort_by_key(|cell| cell.id);
        Ok(cells)
    }

    async fn encode(&mut self, part: PartId, rows: Vec<RecordBatch>) -> Result<()> {
        while self.encoding.len() >= self.encoders_max {
            self.take_encoded().await?;
        }
        let encoder = self.encoder.clone();
        self.encoding.push_back(self.cores.run(Size::of_rows(&rows), move || Ok((part, encoder.encode(&rows)?))));
        Ok(())
    }

    async fn take_encoded(&mut self) -> Result<()> {
        let Some(encoded) = self.encoding.next().await else { return Ok(()) };
        let (part, group) = encoded?;
        let cell = match self.open.entry(part) {
            Entry::Occupied(cell) => cell.into_mut(),
            Entry::Vacant(place) => place.insert(CellWriter::new(&self.format)?),
        };
        cell.append(group)?;
        let bytes = cell.encoded_bytes();
        for full in self.shaper.grown(part, bytes) {
            self.close(full).await?;
        }
        Ok(())
    }

    /// Sends the partition's open cell on its way.
    async fn close(&mut self, part: PartId) -> Result<()> {
        let Some(cell) = self.open.remove(&part) else { return Ok(()) };
        if self.named == CELLS_MAX {
            return Err(IngestError::TooManyCells { max: CELLS_MAX });
        }
        while self.uploads.len() >= UPLOADS_MAX {
            self.take_uploaded().await?;
        }
        let n = self.named;
        self.named += 1;
        let (bucket, folder, txn) = (self.bucket.clone(), self.folder.clone(), self.txn);
        let partition_values = self.shaper.values(part).clone();
        let size = Size::of(cell.encoded_bytes(), self.format.schema.fields().len());
        let finished = self.cores.run(size, move || Ok(cell.finish(&txn, n)?));
        self.uploads.spawn(async move { upload(&bucket, &folder, txn, n, finished, partition_values).await });
        Ok(())
    }

    async fn take_uploaded(&mut self) -> Result<()> {
        if let Some(uploaded) = self.uploads.join_next().await {
            self.done.push(uploaded.map_err(ended_early)??);
        }
        Ok(())
    }

    /// Deletes every cell of this transaction, after its uploads have ended: a put that arrives after the delete would
    /// leave its cell behind. Best effort within [`CLEANUP_TIME_MAX`]; vacuum takes the rest. 1 DELETE a cell.
    pub(crate) async fn delete_own(mut self) {
        let (folder, txn, named) = (self.folder.clone(), self.txn, self.named);
        let clean = async {
            while self.uploads.join_next().await.is_some() {}
            for n in 0..named {
                self.bucket.delete(&layout::cell(&folder, &txn, n)).await?;
            }
            Ok::<_, IngestError>(())
        };
        match timeout(CLEANUP_TIME_MAX, clean).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%txn, %folder, %error, "some cells of a failed write are left to vacuum"),
            Err(_) => tracing::warn!(%txn, %folder, "no time to delete the cells of a failed write, vacuum will"),
        }
    }
}

/// Closes a cell and puts it. 1 PUT.
async fn upload(
    bucket: &Bucket,
    folder: &str,
    txn: TxnId,
    n: usize,
    finished: Running<EncodedCell>,
    partition_values: PartitionText,
) -> Result<CellEntry> {
    let cell = finished.await?;
    let key = layout::cell(folder, &txn, n);
    let size_bytes = cell.bytes.len() as u64;
    let put = timeout(UPLOAD_TIME_MAX, bucket.put(&key, cell.bytes)).await;
    put.map_err(|_| IngestError::Timeout { what: format!("uploading '{key}'"), seconds: UPLOAD_TIME_MAX.as_secs() })??;
    failpoint::hit("mid_upload");
    let facts = CellFacts {
        folder: folder.to_owned(),
        id: CellId { txn, n: u32::try_from(n).map_err(|_| IngestError::TooManyCells { max: CELLS_MAX })? },
        size_bytes,
        partition_values,
        stats: cell.stats,
        sha256: cell.sha256,
        modified_ms: bucket.clock().wall_ms(),
    };
    Ok(facts.pack()?)
}

/// A task that panicked or was cancelled with its runtime.
pub(crate) fn ended_early(error: tokio::task::JoinError) -> IngestError {
    IngestError::Internal(format!("background work ended early: {error}"))
}
