//! Whether frames are what their ledgers say, down to the bytes of their cells. Changes nothing.

use std::sync::Arc;

use apiary_cell::{rows_of, sha256_hex};
use apiary_core::{ErrorKind, FramePath};
use apiary_ledger::{CellEntry, Namespace, VerifyReport};
use bytes::Bytes;
use futures::{StreamExt, stream};

use crate::{Ingest, Result, verify_colony};

/// Cells opened at once: one is hashed while the next is on its way; more would cost memory, a cell each.
const CELLS_AT_ONCE: usize = 2;

/// What to do about something that is damaged.
pub(crate) const RESTORE: &str = "restore the object from a backup or the store's version history";

impl Ingest {
    /// Checks what the colony as a whole stands on: see [`verify_colony`].
    pub async fn verify_registry(&self) -> Result<(VerifyReport, Option<Arc<Namespace>>)> {
        verify_colony(&self.bucket).await
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
                Looked::Wrong(object, _) if report.problems.iter().any(|known| known.object == object) => {}
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
