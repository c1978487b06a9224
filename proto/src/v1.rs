//! Generated from `apiary/v1/*.proto`: see there for what each message means.
//!
//! Nothing here is written by hand but the descriptor for reflection, so the workspace's lints do not apply.
#![allow(
    clippy::all,
    clippy::pedantic,
    clippy::clone_on_ref_ptr,
    clippy::disallowed_methods,
    missing_debug_implementations,
    unreachable_pub,
    missing_docs,
    rustdoc::all
)]

tonic::include_proto!("apiary.v1");

/// For gRPC reflection.
pub mod descriptor {
    /// Every message and service of the package, as `protoc` would write it.
    pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/apiary_descriptor.bin"));
}
