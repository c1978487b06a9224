//! SQL over frames: the only crate that plans with DataFusion.
//!
//! A statement is [`parse`]d, [`Planner::pin`] binds it to one snapshot of each frame it names, and
//! [`Pinned::plan`] turns it into a plan whose scans have already dropped every cell that cannot match. What is
//! executed where is not decided here: a plan runs on the spot with [`gather`], or the engine cuts it.
//!
//! Never in here: Ballista, gRPC, a terminal, a write to the bucket.

mod advice;
mod builds;
mod case;
mod catalog;
mod define;
mod error;
mod explain;
mod footer;
mod gather;
mod names;
mod order;
mod pinned;
mod planner;
mod position;
mod render;
mod report;
mod runtime;
mod session;
mod settings;
mod show;
mod show_history;
mod show_queries;
mod statement;
mod system;
mod table;
#[cfg(test)]
mod tests;
mod views;
mod walls;

pub use advice::scratch_is_full;
pub use builds::{SideSize, known_bytes};
pub use define::{Place, session_after};
pub use error::{QueryError, Result};
pub use explain::{AnalyzeReport, ExplainReport, NodeShare, StageReport, StageRun};
pub use footer::{QueryStats, footer};
pub use gather::gather;
pub use order::filters::cautious;
pub use pinned::{Pinned, Planned};
pub use planner::Planner;
pub use report::{CellReport, PruneKind, PruneReason, ScanReport};
pub use runtime::{local_config, runtime_for, runtime_like, spilling_config, with_text_views, within_chamber};
pub use session::Session;
pub use settings::{Execution, PlanStep, Setting, Settings};
pub use show::{ColonyRows, NodeRow};
pub use show_queries::QueryRow;
pub use statement::{
    Create, Drop, Explain, FrameRef, Named, NewFrame, QueryStatement, Rename, Show, Statement, Use, parse,
};
pub use system::SystemFrame;
pub use views::{conform, plain_schema, plain_type};
pub use walls::push_filters_down;
