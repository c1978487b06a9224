//! From the program's own nouns to the words of the wire and back.
//!
//! Arrow schemas and batches are framed as the messages of an Arrow IPC stream file, names are checked when they
//! come in. Errors have a file of their own, beside this folder.

mod decode;
mod ipc;
mod names;
mod pieces;

pub use decode::{BatchDecoder, decode_schema};
pub use ipc::{BatchEncoder, encode_schema};
pub use names::frame_path;
pub use pieces::pieces;
