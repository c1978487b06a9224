//! The colony in one process, for tests.

pub mod linear;
pub mod s3_server;
