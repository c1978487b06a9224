//! What the role binaries share: settings, joining a colony, the pulse, bees and chambers, servers and channels
//! between nodes, telemetry and shutdown.
//!
//! A role's library takes a [`Node`], a [`Listener`] and a cancellation token; everything that is the same for all
//! roles is here, and nothing that only one role does. Nothing in here plans or executes a query.

pub mod bee_pool;
mod cell_cache;
pub mod chamber;
mod chamber_pool;
pub mod error;
mod identity;
pub mod lean;
pub mod listener;
pub mod node;
pub mod peer;
pub mod process;
pub mod pulse;
pub mod role;
pub mod server;
pub mod settings;
pub mod shutdown;
pub mod telemetry;

pub use bee_pool::{BeePool, Bees};
pub use chamber::{Chamber, Chambers};
pub use error::{NodeError, Result};
pub use listener::Listener;
pub use node::{Node, Stay};
pub use peer::{PeerChannel, node_channel};
pub use role::Role;
pub use server::{ServerPolicy, serve};
pub use settings::{NodeFlags, NodeSettings};
