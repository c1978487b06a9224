//! The compactor: keeps the bucket healthy.
//!
//! It merges small cells, checks and vacuums frames when asked, by the same commit protocol as every writer; unasked it
//! keeps ledgers short by checkpoints and cleanups (`upkeep`), vacuums each frame and sweeps the bucket about once a day
//! (`care`), and sweeps what dead coordinators left on the board (`janitor`). Several compactors are safe: conflicts
//! decide between them. It never touches a cell that a ledger
//! names but through a commit.

mod care;
mod error;
mod janitor;
mod maintenance;
mod run;
mod upkeep;
mod vacuum;
mod verify;

pub use error::{CompactorError, Result};
pub use run::run;

#[cfg(test)]
mod tests;
