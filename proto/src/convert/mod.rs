//! From the program's own nouns to the words of the wire and back.
//!
//! Arrow schemas and batches are framed as the messages of an Arrow IPC stream file ([`ipc`]), names are checked
//! when they come in ([`names`]). Errors have a file of their own, beside this folder.

mod ipc;
mod names;
mod pieces;

pub use ipc::{BatchDecoder, BatchEncoder, decode_schema, encode_schema};
pub use names::frame_path;
pub use pieces::pieces;
