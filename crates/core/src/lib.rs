//! The nouns of Apiary: names, ids, statistics, limits, time, chance and error kinds; and work on several cores.
//!
//! Nothing in here touches a disk or a network, and nothing knows about columns or SQL. Every other crate may
//! depend on this one; this one depends on none of them.

pub mod chance;
pub mod clock;
pub mod failpoint;
pub mod ids;
pub mod kind;
pub mod limits;
mod manual_clock;
pub mod names;
pub mod stats;
pub mod suggest;
pub mod threads;
pub mod units;

pub use chance::{Rng, SeededRng, SystemRng};
pub use clock::{Clock, SystemClock, within};
pub use ids::{FrameId, Incarnation, NodeId, QueryId, TxnId, Version};
pub use kind::ErrorKind;
pub use manual_clock::ManualClock;
pub use names::{BoxName, DEFAULT_BOX, DEFAULT_HIVE, FrameName, FramePath, HiveName, NameError};
pub use stats::{CellStats, ColumnStats, StatValue};
pub use threads::side_by_side;
