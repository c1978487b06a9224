//! Integration tests: one binary, so that DataFusion is linked once.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says so")]

mod corruption;
mod examination;
mod golden;
mod promises;
mod sim;
mod store_conformance;
mod store_kill;
mod swapped;
mod tidy;
