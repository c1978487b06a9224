//! The coordinator: plans SQL, answers clients, takes data in, and wakes workers.
//!
//! It keeps nothing that the bucket does not have: any coordinator serves any call, and one that dies takes no
//! promise with it. What it decides (which way a query runs) is pure code in `apiary-engine`; what it writes goes
//! through `apiary-ingest`; it never asks another role for anything that correctness depends on.
//!
//! | file | serves |
//! |---|---|
//! | `run` | one coordinator on one listener, from start to drain |
//! | `state` | what its services share |
//! | `query/` | `QueryService`: a statement from text to the last row |
//! | `catalog`, `story`, `append`, `colony`, `maintenance`, `nudges` | the other services, a file or two each |
//! | `define` | creating, dropping and renaming, for the calls and for SQL alike |
//! | `cancel` | queries that run here, and how they are stopped from anywhere |
//! | `error` | every failure below, as what travels to the client |

mod append;
mod cancel;
mod catalog;
mod colony;
mod define;
mod error;
mod maintenance;
mod nudges;
mod queries;
mod query;
mod run;
mod state;
mod story;

pub use error::{CoordinatorError, Result};
pub use run::{Beside, run, run_beside};

#[cfg(test)]
mod tests;
