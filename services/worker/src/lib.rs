//! The worker: pulls tasks from the board and executes them.
//!
//! It serves nothing but its health. It takes what a nudge brings, looks at the board at an adaptive pace, claims
//! what it has free bees for, and runs each attempt in a chamber. Everything that matters is in the bucket: a worker
//! may vanish at any moment and costs nothing but time.

mod choose;
mod error;
mod nudges;
mod pull;
mod run;

pub use error::{Result, WorkerError};
pub use run::run;

#[cfg(test)]
mod tests;
