//! Delta's actions, as far as a frame's ledger uses them: names and order of fields as the Delta protocol has them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::header::Header;

/// Writers that do not know Apiary must refuse: its ledger has rules that Delta has not.
pub(crate) const WRITER_FEATURE: &str = "apiary-v1";

/// The reader feature of a timestamp without zone.
pub(crate) const PLAIN_TIMESTAMP_FEATURE: &str = "timestampNtz";

/// One line of an entry.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Action<'a> {
    CommitInfo(&'a CommitInfo),
    Protocol(&'a Protocol),
    MetaData(&'a Metadata),
    Add(&'a Add),
    Remove(&'a Remove),
    Txn(&'a Txn),
}

/// What the commit was, for people; and under `apiary`, for the protocol.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CommitInfo {
    pub(crate) timestamp: i64,
    pub(crate) in_commit_timestamp: i64,
    pub(crate) operation: String,
    #[serde(default)]
    pub(crate) operation_parameters: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) is_blind_append: bool,
    #[serde(default)]
    pub(crate) engine_info: String,
    #[serde(default)]
    pub(crate) txn_id: String,
    pub(crate) apiary: Header,
}

/// What a reader and a writer must know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Protocol {
    pub(crate) min_reader_version: u32,
    pub(crate) min_writer_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reader_features: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) writer_features: Option<Vec<String>>,
}

impl Protocol {
    /// The protocol of a frame.
    pub(crate) fn of_frame(plain_timestamp: bool) -> Self {
        let ours = ["inCommitTimestamp", "domainMetadata", WRITER_FEATURE];
        let plain = plain_timestamp.then_some(PLAIN_TIMESTAMP_FEATURE);
        Self {
            min_reader_version: if plain_timestamp { 3 } else { 1 },
            min_writer_version: 7,
            reader_features: plain.map(|feature| vec![feature.to_owned()]),
            writer_features: Some(ours.into_iter().chain(plain).map(str::to_owned).collect()),
        }
    }

    /// A feature that this program does not know.
    pub(crate) fn unknown(&self) -> Option<String> {
        if self.min_reader_version > 3 || self.min_writer_version > 7 {
            let (reader, writer) = (self.min_reader_version, self.min_writer_version);
            return Some(format!("Delta reader version {reader}, writer version {writer}"));
        }
        let known = ["inCommitTimestamp", "domainMetadata", WRITER_FEATURE, PLAIN_TIMESTAMP_FEATURE];
        let named = self.reader_features.iter().chain(&self.writer_features).flatten();
        named.into_iter().find(|name| !known.contains(&name.as_str())).map(|name| format!("the feature '{name}'"))
    }
}

/// What the frame is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Metadata {
    pub(crate) id: String,
    pub(crate) format: Format,
    pub(crate) schema_string: String,
    pub(crate) partition_columns: Vec<String>,
    pub(crate) configuration: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) created_time: i64,
}

/// How cells are written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Format {
    pub(crate) provider: String,
    #[serde(default)]
    pub(crate) options: BTreeMap<String, String>,
}

/// A cell joins the frame.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Add {
    pub(crate) path: String,
    pub(crate) partition_values: BTreeMap<String, Option<String>>,
    pub(crate) size: u64,
    pub(crate) modification_time: i64,
    pub(crate) data_change: bool,
    #[serde(default)]
    pub(crate) stats: Option<String>,
    #[serde(default)]
    pub(crate) tags: BTreeMap<String, String>,
}

/// A cell leaves the frame.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Remove {
    pub(crate) path: String,
    #[serde(default)]
    pub(crate) deletion_timestamp: i64,
    pub(crate) data_change: bool,
    #[serde(default)]
    pub(crate) extended_file_metadata: bool,
    #[serde(default)]
    pub(crate) partition_values: BTreeMap<String, Option<String>>,
    #[serde(default)]
    pub(crate) size: u64,
    /// How many rows leave with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stats: Option<String>,
}

/// An idempotency key, as Delta keeps such things.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Txn {
    pub(crate) app_id: String,
    pub(crate) version: u64,
    pub(crate) last_updated: i64,
}
