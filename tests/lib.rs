//! The colony in one process, for tests.

pub mod s3_server;
