//! The only words that roles and clients exchange.
//!
//! [`v1`] is generated from `apiary/v1/*.proto`; [`convert`] turns Arrow data, names and errors into those words
//! and back; [`client`] is the one client that the command line and the Python SDK speak through, over TCP or over a
//! channel inside the process. Nothing in here plans, stores or decides.

pub mod client;
pub mod convert;
pub mod error;
pub mod v1;

pub use client::{Client, FrameInfo, QueryStream};
pub use error::ClientError;
pub use v1::{
    ColonyStatus, CompactResult, NodeStatus, QueryProgress, QueryStats, Session, WriteResult,
    descriptor::FILE_DESCRIPTOR_SET,
};
