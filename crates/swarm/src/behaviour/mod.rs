//! How a colony regulates itself: pure functions, one behaviour a file.
//!
//! Numbers in, decision out. Nothing in here sleeps, reads or writes, and no function asks what time it is.

pub mod abandonment;
pub mod copies;
pub mod polling;
pub mod stragglers;
pub mod temperature;
pub mod upkeep;
