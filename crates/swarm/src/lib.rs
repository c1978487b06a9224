//! Nodes together: heartbeats and what an observer concludes from them, the colony's format and secret, the task
//! board, the log of queries, placement hints, and the behaviours by which a colony regulates itself.
//!
//! Everything here goes through the bucket or is a pure function. No node ever needs another node's answer to be
//! right: liveness changes only how fast things go, and the truth of a task is its one `done` object.

pub mod behaviour;
pub mod board;
pub mod error;
pub mod format;
#[doc(hidden)]
pub mod fuzz;
pub mod heartbeat;
pub mod placement;
pub mod query_log;
pub mod secret;
pub mod world_view;

pub use board::{AttemptId, Board, BoardView, TaskId};
pub use error::{Result, SwarmError};
pub use format::ColonyFormat;
pub use heartbeat::{Bees, Heartbeat, Strain};
pub use query_log::{QueryLine, QueryLog, QueryState};
pub use secret::ColonySecret;
pub use world_view::{NodeState, NodeView, WorldView};
