//! The compactor: keeps the bucket healthy.
//!
//! It merges small cells and checks frames when asked, by the same commit protocol as every writer, and sweeps what dead coordinators
//! left on the board. Two compactors are safe: conflicts decide between them. It never touches a cell that a ledger
//! names but through a commit.

mod error;
mod janitor;
mod maintenance;
mod run;
mod vacuum;
mod verify;

pub use error::{CompactorError, Result};
pub use run::run;

#[cfg(test)]
mod tests;
