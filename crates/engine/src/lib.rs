//! Stages: how one plan becomes tasks on many machines, through the bucket alone.
//!
//! The only crate that knows Ballista. [`gate`] decides whether a query is worth it, [`split`] cuts its plan,
//! [`run_on_board`] drives it over the board as [`query_run`] says, and a worker's [`TaskRunner`] does the tasks.
//! How rows lie between stages is known in `comb` alone.
//!
//! Never in here: planning of SQL, a server, a decision about liveness.

mod board_env;
mod cause;
mod claims;
mod codec;
mod comb;
mod config;
mod drive;
mod error;
mod execute;
mod filters;
mod fragment_sql;
pub mod gate;
mod last_word;
mod look;
mod merge_joins;
mod metrics;
mod open;
mod pace;
mod placing;
mod publish;
pub mod query_run;
mod result_stream;
mod room;
mod staff;
mod stages;
mod task_cells;
mod task_context;
pub mod wake;
mod weigh;

pub use board_env::{BoardEnv, BoardQuery, BoardResult};
pub use codec::{check_version, engine_version};
pub use config::board_config;
pub use error::{EngineError, Result};
pub use execute::{Outcome, TaskRunner};
pub use fragment_sql::FrameNames;
pub use gate::{Decision, GateInput, Way};
pub use merge_joins::everywhere as merge_joins;
pub use metrics::{BoardMetrics, TaskCost};
pub use open::{Resumed, resume_on_board, run_on_board};
pub use placing::{Share, StagePlacement};
pub use publish::{NewTask, NoNudges, Nudger};
pub use query_run::Progress;
pub use room::Room;
pub use stages::{StagePlan, StagePlans, sizing::Grain, split};
pub use weigh::weigh_windows;

#[cfg(test)]
mod tests;
