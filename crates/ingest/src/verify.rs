//! Whether frames are what their ledgers say, down to the bytes of their cells. Changes nothing.

use std::sync::Arc;

use apiary_cell::{rows_of, sha256_hex};
use apiary_core::{ErrorKind, FramePath, Version};
use apiary_ledger::{CellEntry, LedgerError, Namespace, Registry, VerifyReport};
use bytes::Bytes;
use futures::{StreamExt, stream};

use crate::{Ingest, Result};

/// Cells opened at once: one is hashed while the next is on its way; more would cost memory, a cell each.
const CELLS_AT_ONCE: usize = 2;

/// What to do about something that is damaged.
const RESTORE: &str = "restore the object from a backup or the store's version history";

impl Ingest {
    /// Checks the registry from its first entry on; without names, if it cannot be read. 1 LIST for each 1 000 entries,
    /// 1 GET for each entry.
    pub async fn verify_registry(&self) -> Result<(VerifyReport, Option<Arc<Namespace>>)> {
        let mut report = VerifyReport::default();
        // A registry that has read nothing yet: what is cached was checked when it was read, and is not what is there.
        match Registry::new(self.bucket.clone()).namespace().await {
            Ok(names) => {
                report.version = names.version;
                report.oldest = names.version.map(|_| Version(0));
                report.entries = names.version.map_or(0, |version| version.0 + 1);
                Ok((report, Some(names)))
            }
            Err(LedgerError::Corrupt { object, why }) => {
                report.found(object, why, RESTORE);
                Ok((report, None))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Checks one frame: its ledger and the sizes of its cells; if `deep`, every cell's checksum and row count. Deep, 1
    /// GET a cell, and memory for [`CELLS_AT_ONCE`] cells.
    pub async fn verify(&self, frame: &FramePath, deep: bool) -> Result<VerifyReport> {
        let names = self.registry.namespace().await?;
        let record = names.frame(frame.hive.as_str(), frame.box_name.as_str(), frame.frame.as_str())?;
        let (mut report, newest) = self.frames.verify(&record).await?;
        let Some(newest) = newest.filter(|_| deep) else { return Ok(report) };
        let open = |cell: &Arc<CellEntry>| self.look(Arc::clone(cell));
        let mut opened = stream::iter(newest.cells.iter().map(open)).buffer_unordered(CELLS_AT_ONCE);
        while let Some(result) = opened.next().await {
            match result? {
                Looked::Right => report.cells_opened += 1,
                // Told already by the look at its size, or removed by a writer since.
                Looked::Gone => {}
                Looked::Wrong(object, why) => report.found(object, why, RESTORE),
            }
        }
        Ok(report)
    }

    async fn look(&self, cell: Arc<CellEntry>) -> Result<Looked> {
        let Some(body) = self.bucket.get(&cell.key()).await? else { return Ok(Looked::Gone) };
        let checked = tokio::task::spawn_blocking(move || check(&cell, body)).await;
        checked.map_err(crate::pipeline::ended_early)
    }
}

/// What was seen of one cell.
enum Looked {
    Right,
    Gone,
    Wrong(String, String),
}

fn check(cell: &CellEntry, body: Bytes) -> Looked {
    let wrong = |why: String| Looked::Wrong(cell.key().to_string(), why);
    let sha256 = sha256_hex(&body);
    if sha256 != cell.sha256() {
        return wrong(format!("its bytes have the checksum {sha256}, and the ledger says {}", cell.sha256()));
    }
    match rows_of(body) {
        Ok(rows) if rows == cell.rows => Looked::Right,
        Ok(rows) => wrong(format!("it holds {rows} rows, and the ledger says {}", cell.rows)),
        Err(error) if error.kind() == ErrorKind::Corrupt => wrong(error.to_string()),
        Err(error) => wrong(format!("it cannot be opened: {error}")),
    }
}
