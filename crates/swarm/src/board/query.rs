//! A query as the board knows it: what was asked, and who runs it.

use std::collections::BTreeMap;

use apiary_core::{FramePath, Incarnation, NodeId, QueryId, Version, limits::SQL_BYTES_MAX};
use serde::{Deserialize, Serialize};

use super::{codec::BoardObject, task::first_broken};

/// One frame that a query reads, at the version it was pinned to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinnedFrame {
    /// The frame.
    pub frame: FramePath,
    /// Its folder in the bucket.
    pub folder: String,
    /// The version that the query reads.
    pub version: Version,
}

/// What was asked, and everything that a successor needs to go on with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QueryRecord {
    /// [`QueryRecord::FORMAT_NOW`].
    pub format: u32,
    /// The client's id.
    pub query: QueryId,
    /// The statement.
    pub sql: String,
    /// Who asked; the id belongs to this principal alone.
    pub principal: String,
    /// One version per frame.
    pub frames: Vec<PinnedFrame>,
    /// Default hive of the session, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hive: Option<String>,
    /// Default box of the session, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub box_name: Option<String>,
    /// The session's settings.
    #[serde(default)]
    pub settings: BTreeMap<String, String>,
    /// The version of the planner whose encoding the stages are.
    pub engine_version: String,
    /// How long the query may run, in milliseconds of its coordinator's clock.
    pub timeout_ms: u64,
    /// Why it runs on the board.
    #[serde(default)]
    pub reason: String,
    /// What pruning did, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pruning: Option<serde_json::Value>,
    /// When it was asked, by the coordinator's wall clock: for people alone.
    #[serde(default)]
    pub asked_ms: i64,
}

impl QueryRecord {
    /// The format that this version writes.
    pub const FORMAT_NOW: u32 = 1;

    /// A record that only says what is asked and by whom; the planner fills in the rest.
    #[must_use]
    pub fn new(query: QueryId, sql: impl Into<String>, principal: impl Into<String>, engine_version: &str) -> Self {
        Self {
            format: Self::FORMAT_NOW,
            query,
            sql: sql.into(),
            principal: principal.into(),
            frames: Vec::new(),
            hive: None,
            box_name: None,
            settings: BTreeMap::new(),
            engine_version: engine_version.to_owned(),
            timeout_ms: u64::try_from(apiary_core::limits::QUERY_TIMEOUT.as_millis()).unwrap_or(u64::MAX),
            reason: String::new(),
            pruning: None,
            asked_ms: 0,
        }
    }
}

impl QueryRecord {
    /// What makes `other` another question under the same id, if anything.
    #[must_use]
    pub fn differs_from(&self, other: &Self) -> Option<&'static str> {
        if self.principal != other.principal {
            return Some("principal");
        }
        (self.sql != other.sql).then_some("statement")
    }
}

impl BoardObject for QueryRecord {
    const FORMAT: u32 = Self::FORMAT_NOW;

    fn format(&self) -> u32 {
        self.format
    }

    fn check(&self) -> Result<(), String> {
        first_broken(&[
            (!self.sql.is_empty(), "it has no statement"),
            (self.sql.len() <= SQL_BYTES_MAX, "its statement is longer than may be"),
            (!self.engine_version.is_empty(), "it does not name the engine's version"),
        ])
    }
}

/// Who runs a query: the highest epoch owns it, and a zombie that sees a higher one stops.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnerRecord {
    /// [`OwnerRecord::FORMAT_NOW`].
    pub format: u32,
    /// The coordinator.
    pub coordinator: NodeId,
    /// Its life.
    pub incarnation: Incarnation,
}

impl OwnerRecord {
    /// The format that this version writes.
    pub const FORMAT_NOW: u32 = 1;

    /// Ownership by a coordinator.
    #[must_use]
    pub fn new(coordinator: NodeId, incarnation: Incarnation) -> Self {
        Self { format: Self::FORMAT_NOW, coordinator, incarnation }
    }
}

impl BoardObject for OwnerRecord {
    const FORMAT: u32 = Self::FORMAT_NOW;

    fn format(&self) -> u32 {
        self.format
    }

    fn check(&self) -> Result<(), String> {
        Ok(())
    }
}
