//! Hives, boxes and frames: creating, dropping, renaming, listing, describing.

use std::time::Duration;

use apiary_core::FramePath;
use arrow::datatypes::{Schema, SchemaRef};

use super::{CATALOG_TIMEOUT, Client, within};
use crate::{convert, error::ClientError, v1};

/// How long dropping a hive with all its frames may take: each of them costs a round trip or two.
const CASCADE_TIMEOUT: Duration = Duration::from_secs(600);

/// A frame as its ledger has it now.
#[derive(Debug, Clone, PartialEq)]
pub struct FrameInfo {
    /// Where it is found.
    pub path: FramePath,
    /// Its exact Arrow schema.
    pub schema: SchemaRef,
    /// The columns that part it, in order.
    pub partition_by: Vec<String>,
    /// The ledger version that the numbers below belong to.
    pub version: u64,
    /// Live cells.
    pub cells: u64,
    /// Live rows.
    pub rows: u64,
    /// Bytes of live cells.
    pub bytes: u64,
    /// Its folder in the bucket.
    pub folder: String,
}

impl Client {
    /// Creates a hive; false if it was there already.
    pub async fn create_hive(&self, hive: &str) -> Result<bool, ClientError> {
        let mut service = self.catalog();
        let request = v1::CreateHiveRequest { hive: hive.to_owned() };
        Ok(within(CATALOG_TIMEOUT, service.create_hive(request)).await?.created)
    }

    /// Creates a box; false if it was there already.
    pub async fn create_box(&self, hive: &str, box_name: &str) -> Result<bool, ClientError> {
        let mut service = self.catalog();
        let request = v1::CreateBoxRequest { hive: hive.to_owned(), box_name: box_name.to_owned() };
        Ok(within(CATALOG_TIMEOUT, service.create_box(request)).await?.created)
    }

    /// Creates a frame; false if an identical one was there already, `AlreadyExists` if another was.
    pub async fn create_frame(&self, path: &FramePath, schema: &Schema, by: &[String]) -> Result<bool, ClientError> {
        let mut service = self.catalog();
        let schema = convert::encode_schema(schema)?;
        let request = v1::CreateFrameRequest { frame: Some(path.into()), schema, partition_by: by.to_vec() };
        Ok(within(CATALOG_TIMEOUT, service.create_frame(request)).await?.created)
    }

    /// Everything below a hive or a box; below all of them without.
    pub async fn list(&self, hive: Option<&str>, box_name: Option<&str>) -> Result<v1::ListResponse, ClientError> {
        let mut service = self.catalog();
        let text = |name: Option<&str>| name.unwrap_or_default().to_owned();
        let request = v1::ListRequest { hive: text(hive), box_name: text(box_name) };
        within(CATALOG_TIMEOUT, service.list(request)).await
    }

    /// What the ledger says of a frame.
    pub async fn describe_frame(&self, path: &FramePath) -> Result<FrameInfo, ClientError> {
        let mut service = self.catalog();
        let request = v1::DescribeFrameRequest { frame: Some(path.into()) };
        let answer = within(CATALOG_TIMEOUT, service.describe_frame(request)).await?;
        Ok(FrameInfo {
            path: convert::frame_path(answer.frame.as_ref())?,
            schema: convert::decode_schema(answer.schema)?,
            partition_by: answer.partition_by,
            version: answer.version,
            cells: answer.cells,
            rows: answer.rows,
            bytes: answer.bytes,
            folder: answer.folder,
        })
    }

    /// Drops a hive, with `cascade` all that is in it; false if there was none and `if_exists` allows that.
    pub async fn drop_hive(&self, hive: &str, cascade: bool, if_exists: bool) -> Result<bool, ClientError> {
        let mut service = self.catalog();
        let request = v1::DropHiveRequest { hive: hive.to_owned(), cascade, if_exists };
        Ok(within(CASCADE_TIMEOUT, service.drop_hive(request)).await?.dropped)
    }

    /// Drops a box, with `cascade` all that is in it; false if there was none and `if_exists` allows that.
    pub async fn drop_box(
        &self,
        hive: &str,
        box_name: &str,
        cascade: bool,
        if_exists: bool,
    ) -> Result<bool, ClientError> {
        let mut service = self.catalog();
        let (hive, box_name) = (hive.to_owned(), box_name.to_owned());
        let request = v1::DropBoxRequest { hive, box_name, cascade, if_exists };
        Ok(within(CASCADE_TIMEOUT, service.drop_box(request)).await?.dropped)
    }

    /// Drops a frame; false if there was none and `if_exists` allows that.
    pub async fn drop_frame(&self, path: &FramePath, if_exists: bool) -> Result<bool, ClientError> {
        let request = v1::DropFrameRequest { frame: Some(path.into()), if_exists, expected_version: None };
        self.drop_frame_request(request).await
    }

    /// Drops a frame while `version` is its newest one; `Conflict` if it is not.
    pub async fn drop_frame_at(&self, path: &FramePath, version: u64) -> Result<bool, ClientError> {
        let (frame, expected_version) = (Some(path.into()), Some(version));
        self.drop_frame_request(v1::DropFrameRequest { frame, if_exists: false, expected_version }).await
    }

    async fn drop_frame_request(&self, request: v1::DropFrameRequest) -> Result<bool, ClientError> {
        let mut service = self.catalog();
        Ok(within(CATALOG_TIMEOUT, service.drop_frame(request)).await?.dropped)
    }

    /// Gives a hive another name.
    pub async fn rename_hive(&self, hive: &str, to: &str) -> Result<(), ClientError> {
        let mut service = self.catalog();
        let request = v1::RenameHiveRequest { hive: hive.to_owned(), to: to.to_owned() };
        within(CATALOG_TIMEOUT, service.rename_hive(request)).await.map(drop)
    }

    /// Gives a box another name in its hive.
    pub async fn rename_box(&self, hive: &str, box_name: &str, to: &str) -> Result<(), ClientError> {
        let mut service = self.catalog();
        let (hive, box_name, to) = (hive.to_owned(), box_name.to_owned(), to.to_owned());
        within(CATALOG_TIMEOUT, service.rename_box(v1::RenameBoxRequest { hive, box_name, to })).await.map(drop)
    }

    /// Gives a frame another name, in its box or in another one.
    pub async fn rename_frame(&self, path: &FramePath, to: &FramePath) -> Result<(), ClientError> {
        let mut service = self.catalog();
        let request = v1::RenameFrameRequest { frame: Some(path.into()), to: Some(to.into()) };
        within(CATALOG_TIMEOUT, service.rename_frame(request)).await.map(drop)
    }
}
