//! The whole way, in one process: SQL is cut, put on a board in memory, and done by runners that share nothing but
//! the bucket. Whatever plain DataFusion answers over the same files, the board must answer too.

mod chaos;
pub(crate) mod colony;
mod faults;
mod fragments;
mod reduced;
mod statements;
