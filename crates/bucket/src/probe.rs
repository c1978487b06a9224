//! probe skeleton
use std::time::Duration;
use crate::{bucket::Bucket, error::Result};
/// One check.
#[derive(Debug, Clone)]
pub struct ProbeCheck {
    /// What was checked.
    pub name: &'static str,
    /// How long it took.
    pub took: Duration,
}
/// What the probe found.
#[derive(Debug, Clone)]
pub struct ProbeReport {
    /// The store.
    pub store: String,
    /// The checks, all passed.
    pub checks: Vec<ProbeCheck>,
    /// The store's clock minus ours, in ms.
    pub clock_skew_ms: i64,
}
impl Bucket {
    /// Proves the store.
    pub async fn probe(&self) -> Result<ProbeReport> {
        Ok(ProbeReport { store: self.uri().to_owned(), checks: vec![], clock_skew_ms: 0 })
    }
}
