//! The keys of what coordinators tell of their queries, for people: `_apiary/queries/<node>.json`, overwritten by its
//! only owner.

use apiary_core::NodeId;

use super::Key;

/// The queries of one coordinator.
#[must_use]
pub fn query_log(node: &NodeId) -> Key {
    Key::made(format!("{}{node}.json", query_logs_prefix()))
}

/// The queries of all coordinators.
#[must_use]
pub fn query_logs_prefix() -> &'static str {
    "_apiary/queries/"
}

/// Reads [`query_log`].
#[must_use]
pub fn parse_query_log(key: &str) -> Option<NodeId> {
    NodeId::new(key.strip_prefix(query_logs_prefix())?.strip_suffix(".json")?).ok()
}
