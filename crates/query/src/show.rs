//! The answers of SHOW and DESCRIBE, as rows.

use std::sync::Arc;

use apiary_core::HiveName;
use apiary_ledger::{FrameRecord, Namespace};
use datafusion::arrow::{
    array::{ArrayRef, BooleanArray, Float64Array, RecordBatch, StringArray, UInt32Array, UInt64Array},
    datatypes::{Schema, SchemaRef},
    error::ArrowError,
};

use crate::{
    FrameRef, Planner, QueryError, QueryRow, Result, Session, Show, names,
    planner::{boxes_of, find_box, find_hive},
    show_queries,
    system::SystemFrame,
};

/// One line of `SHOW NODES`; the caller knows the nodes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NodeRow {
    /// Its id.
    pub node: String,
    /// alive, suspect, dead or leaving.
    pub state: String,
    /// Its roles.
    pub roles: Vec<String>,
    /// host:port, or empty.
    pub address: String,
    /// How many tasks it runs at a time.
    pub bees_total: u32,
    /// How many it runs now.
    pub bees_busy: u32,
    /// Its memory.
    pub memory_bytes: u64,
    /// How hard it works, 0 to 1.
    pub temperature: f64,
    /// The version it runs.
    pub version: String,
    /// Milliseconds since its heartbeat was seen to move.
    pub seen_ms_ago: u64,
}

/// What the colony knows of itself beside its ledgers; the caller knows it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ColonyRows {
    /// For `SHOW NODES` and `apiary.nodes`.
    pub nodes: Vec<NodeRow>,
    /// For `SHOW QUERIES` and `apiary.queries`, newest first.
    pub queries: Vec<QueryRow>,
}

impl Planner {
    /// Answers `SHOW`. `colony` is looked at for `SHOW NODES` and `SHOW QUERIES` only. One GET while warm, none for
    /// nodes, queries and settings.
    pub async fn show(&self, show: &Show, session: &Session, colony: &ColonyRows) -> Result<RecordBatch> {
        match show {
            Show::Nodes => show_nodes(&colony.nodes),
            Show::Queries => show_queries::short(&colony.queries),
            Show::Settings => rows(show_settings(session)),
            Show::Hives => {
                let namespace = self.registry.namespace().await?;
                rows(vec![("hive", texts(namespace.hives().iter().map(ToString::to_string)))])
            }
            Show::Boxes { hive } => {
                let namespace = self.registry.namespace().await?;
                let hives = match (hive, &session.hive) {
                    (Some(name), _) => vec![find_hive(&namespace, name)?],
                    (None, Some(hive)) => {
                        names::still_there(session, &namespace, false)?;
                        vec![hive.clone()]
                    }
                    (None, None) => namespace.hives().into_iter().cloned().collect(),
                };
                show_boxes(&namespace, &hives)
            }
            Show::History { frame, limit } => self.show_history(frame, *limit, session).await,
            Show::Frames { within } => {
                show_frames(&within_frames(&*self.registry.namespace().await?, within, session)?)
            }
        }
    }

    /// Answers `DESCRIBE`: the columns of a frame. Two GETs while warm.
    pub async fn describe(&self, name: &FrameRef, session: &Session) -> Result<RecordBatch> {
        let namespace = self.registry.namespace().await?;
        let (schema, partition_by) = match SystemFrame::meant(name, session, &namespace) {
            Some(system) => (system.schema(), Vec::new()),
            None => {
                let record = names::resolve(name, session, &namespace, "")?;
                let snapshot = self.frames.snapshot(&record).await?;
                (Arc::clone(&snapshot.schema), snapshot.partition_by.clone())
            }
        };
        let fields = schema.fields();
        let partition = |name: &String| partition_by.contains(name);
        rows(vec![
            ("column", texts(fields.iter().map(|field| field.name().clone()))),
            ("type", texts(fields.iter().map(|field| field.data_type().to_string()))),
            ("nullable", Arc::new(fields.iter().map(|field| Some(field.is_nullable())).collect::<BooleanArray>())),
            ("partition", Arc::new(fields.iter().map(|field| Some(partition(field.name()))).collect::<BooleanArray>())),
        ])
    }
}

fn rows(columns: Vec<(&str, ArrayRef)>) -> Result<RecordBatch> {
    let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, false)));
    batch.map_err(|error: ArrowError| QueryError::from(datafusion::error::DataFusionError::from(error)))
}

fn texts(values: impl Iterator<Item = String>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

fn show_boxes(namespace: &Namespace, hives: &[HiveName]) -> Result<RecordBatch> {
    let mut found = Vec::new();
    for hive in hives {
        found.extend(boxes_of(namespace, hive)?.into_iter().map(|box_name| (hive.to_string(), box_name.to_string())));
    }
    rows(vec![
        ("hive", texts(found.iter().map(|(hive, _)| hive.clone()))),
        ("box", texts(found.iter().map(|(_, box_name)| box_name.clone()))),
    ])
}

/// The frames that `SHOW FRAMES IN within` means: a box of the hive in use goes before a hive of that name.
fn within_frames(namespace: &Namespace, within: &[String], session: &Session) -> Result<Vec<Arc<FrameRecord>>> {
    let (hive, box_name) = match (within, &session.hive) {
        ([hive, box_name], _) => {
            let hive = find_hive(namespace, hive)?;
            let box_name = find_box(namespace, &hive, box_name)?;
            (Some(hive), Some(box_name))
        }
        ([name], Some(hive)) => match find_box(namespace, hive, name) {
            Ok(box_name) => (Some(hive.clone()), Some(box_name)),
            Err(no_box) => (Some(find_hive(namespace, name).map_err(|_| no_box)?), None),
        },
        ([name], None) => (Some(find_hive(namespace, name)?), None),
        _ => {
            names::still_there(session, namespace, true)?;
            (session.hive.clone(), session.box_name.clone())
        }
    };
    let inside = |record: &Arc<FrameRecord>| {
        hive.as_ref().is_none_or(|hive| record.path.hive.folded() == hive.folded())
            && box_name.as_ref().is_none_or(|box_name| record.path.box_name.folded() == box_name.folded())
    };
    Ok(namespace.all_frames().into_iter().filter(inside).collect())
}

fn show_frames(records: &[Arc<FrameRecord>]) -> Result<RecordBatch> {
    rows(vec![
        ("hive", texts(records.iter().map(|record| record.path.hive.to_string()))),
        ("box", texts(records.iter().map(|record| record.path.box_name.to_string()))),
        ("frame", texts(records.iter().map(|record| record.path.frame.to_string()))),
    ])
}

fn show_settings(session: &Session) -> Vec<(&'static str, ArrayRef)> {
    let settings = session.settings.list();
    vec![
        ("setting", texts(settings.iter().map(|setting| setting.name.to_owned()))),
        ("value", texts(settings.iter().map(|setting| setting.value.clone()))),
        ("default", texts(settings.iter().map(|setting| setting.default.to_owned()))),
        ("description", texts(settings.iter().map(|setting| setting.description.to_owned()))),
    ]
}

/// The columns of `apiary.nodes`.
pub(crate) fn nodes_schema() -> SchemaRef {
    show_nodes(&[]).map_or_else(|_| Arc::new(Schema::empty()), |batch| batch.schema())
}

/// The rows of `SHOW NODES` and `apiary.nodes`.
pub(crate) fn show_nodes(nodes: &[NodeRow]) -> Result<RecordBatch> {
    let numbers =
        |of: fn(&NodeRow) -> u32| -> ArrayRef { Arc::new(UInt32Array::from_iter_values(nodes.iter().map(of))) };
    let longs = |of: fn(&NodeRow) -> u64| -> ArrayRef { Arc::new(UInt64Array::from_iter_values(nodes.iter().map(of))) };
    rows(vec![
        ("node", texts(nodes.iter().map(|node| node.node.clone()))),
        ("state", texts(nodes.iter().map(|node| node.state.clone()))),
        ("roles", texts(nodes.iter().map(|node| node.roles.join(", ")))),
        ("address", texts(nodes.iter().map(|node| node.address.clone()))),
        ("bees_total", numbers(|node| node.bees_total)),
        ("bees_busy", numbers(|node| node.bees_busy)),
        ("memory_bytes", longs(|node| node.memory_bytes)),
        ("temperature", Arc::new(Float64Array::from_iter_values(nodes.iter().map(|node| node.temperature)))),
        ("version", texts(nodes.iter().map(|node| node.version.clone()))),
        ("seen_ms_ago", longs(|node| node.seen_ms_ago)),
    ])
}
