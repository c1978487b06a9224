//! contact skeleton
use crate::{bucket::Bucket, error::Result};
impl Bucket {
    /// First contact.
    pub async fn contact(&self) -> Result<()> {
        self.list("_apiary/", None, 1).await.map(drop)
    }
}
