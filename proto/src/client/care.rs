//! What a frame tells of itself, and care of the bucket.

use std::{future::Future, time::Duration};

use apiary_core::FramePath;
use tonic::Streaming;

use super::{CATALOG_TIMEOUT, Client, within};
use crate::{error::ClientError, v1};

/// How long one piece of maintenance may take.
const MAINTENANCE_TIMEOUT: Duration = Duration::from_secs(3600);

impl Client {
    /// The newest versions of a frame, newest first: at most `limit`, at most 10 000, 20 for 0.
    pub async fn history(&self, path: &FramePath, limit: u32) -> Result<v1::HistoryResponse, ClientError> {
        let mut service = self.catalog();
        let request = v1::HistoryRequest { frame: Some(path.into()), limit };
        within(CATALOG_TIMEOUT, service.history(request)).await
    }

    /// The cells of a frame's newest version, and which version that is.
    pub async fn cells(&self, path: &FramePath) -> Result<(u64, Vec<v1::Cell>), ClientError> {
        let mut service = self.catalog();
        let request = v1::CellsRequest { frame: Some(path.into()) };
        let mut stream = within(CATALOG_TIMEOUT, service.cells(request)).await?;
        let (mut version, mut cells) = (0, Vec::new());
        while let Some(some) = part(&mut stream).await? {
            version = some.version;
            cells.extend(some.cells);
        }
        Ok((version, cells))
    }

    /// Merges the small cells of a frame.
    pub async fn compact(&self, path: &FramePath) -> Result<v1::CompactResult, ClientError> {
        let mut service = self.maintenance();
        let request = v1::CompactRequest { frame: Some(path.into()) };
        within(MAINTENANCE_TIMEOUT, service.compact(request)).await
    }

    /// Writes a checkpoint of a frame's newest version; with `clean_older_than` also deletes the ledger entries below a
    /// checkpoint that are older.
    pub async fn checkpoint(
        &self,
        path: &FramePath,
        clean_older_than: Option<Duration>,
    ) -> Result<v1::CheckpointResult, ClientError> {
        let mut service = self.maintenance();
        let clean_older_than_s = clean_older_than.map(|age| age.as_secs());
        let request = v1::CheckpointRequest { frame: Some(path.into()), clean_older_than_s };
        within(MAINTENANCE_TIMEOUT, service.checkpoint(request)).await
    }

    /// Checks a frame, or without one the registry and every frame; `told` hears of each as soon as it is done. `deep`
    /// reads every cell.
    pub async fn verify(
        &self,
        path: Option<&FramePath>,
        deep: bool,
        mut told: impl FnMut(v1::VerifyReport) + Send,
    ) -> Result<(), ClientError> {
        let mut service = self.maintenance();
        let request = v1::VerifyRequest { frame: path.map(Into::into), deep };
        let mut stream = within(MAINTENANCE_TIMEOUT, service.verify(request)).await?;
        while let Some(report) = part(&mut stream).await? {
            told(report);
        }
        Ok(())
    }

    /// Lists, and with `run` deletes, what nothing needs any more of a frame, or without one of the whole bucket; `told`
    /// hears of each frame as soon as it is done.
    pub async fn vacuum(
        &self,
        request: v1::VacuumRequest,
        mut told: impl FnMut(v1::VacuumReport) + Send,
    ) -> Result<(), ClientError> {
        let mut service = self.maintenance();
        let mut stream = within(MAINTENANCE_TIMEOUT, service.vacuum(request)).await?;
        while let Some(report) = part(&mut stream).await? {
            told(report);
        }
        Ok(())
    }
}

/// The next message of a stream, if it comes in time.
async fn part<T>(stream: &mut Streaming<T>) -> Result<Option<T>, ClientError> {
    within(MAINTENANCE_TIMEOUT, whole(stream.message())).await
}

/// An answer as the calls have it.
async fn whole<T>(answer: impl Future<Output = Result<T, tonic::Status>>) -> Result<tonic::Response<T>, tonic::Status> {
    answer.await.map(tonic::Response::new)
}
