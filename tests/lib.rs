//! The colony in one process, for tests.

pub mod cloud_server;
pub mod linear;
mod objects;
pub mod s3_server;
