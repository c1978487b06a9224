//! The system frames: what the colony knows of itself, as rows for plain SQL.
//!
//! | frame | rows | costs |
//! |---|---|---|
//! | `apiary.queries` | what runs, and what ran during the last day | as `SHOW QUERIES` |
//! | `apiary.nodes` | the nodes on the bucket | as `SHOW NODES` |
//! | `apiary.cells` | the cells of every frame's newest version | 1 GET for each frame, while warm |
//! | `apiary.ledger` | the newest versions of every frame | the same, and 1 GET for each version |
//!
//! They are fresh at each statement and stand in no bucket. Conditions on `hive`, `box` and `frame` choose which
//! frames the last two walk through. A user's frame of the same name goes before them. A statement that names one
//! runs where it was asked.

mod walk;

use std::{collections::BTreeMap, sync::Arc};

use apiary_core::names::fold;
use apiary_ledger::{Frames, Namespace};
use datafusion::{arrow::datatypes::SchemaRef, catalog::TableProvider, datasource::MemTable};

use crate::{ColonyRows, FrameRef, Result, Session, names, show, show_queries};

/// The box, in every hive, that the system frames are in.
pub(crate) const SYSTEM_BOX: &str = "apiary";

/// A frame that nobody wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum SystemFrame {
    /// Every cell of every frame.
    Cells,
    /// The newest versions of every frame.
    Ledger,
    /// The nodes.
    Nodes,
    /// The queries.
    Queries,
}

impl SystemFrame {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Cells, Self::Ledger, Self::Nodes, Self::Queries];

    /// Its name in its box.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cells => "cells",
            Self::Ledger => "ledger",
            Self::Nodes => "nodes",
            Self::Queries => "queries",
        }
    }

    /// The system frame that `name` means in `session`, unless a user's frame has that name.
    pub(crate) fn meant(name: &FrameRef, session: &Session, namespace: &Namespace) -> Option<Self> {
        let [.., box_name, frame] = &name.0[..] else { return None };
        if fold(box_name) != SYSTEM_BOX || names::find(name, session, namespace).is_ok() {
            return None;
        }
        Self::named(frame)
    }

    pub(crate) fn named(frame: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|system| system.name() == fold(frame))
    }

    /// Its columns.
    pub(crate) fn schema(self) -> SchemaRef {
        match self {
            Self::Cells => walk::cells_schema(),
            Self::Ledger => walk::ledger_schema(),
            Self::Nodes => show::nodes_schema(),
            Self::Queries => show_queries::schema(),
        }
    }
}

/// The tables behind the system frames that one statement names.
pub(crate) fn tables(
    asked: &[SystemFrame],
    colony: &ColonyRows,
    namespace: Option<&Arc<Namespace>>,
    frames: &Frames,
) -> Result<BTreeMap<SystemFrame, Arc<dyn TableProvider>>> {
    let records = || namespace.map(|namespace| namespace.all_frames()).unwrap_or_default();
    let table = |system: SystemFrame| -> Result<Arc<dyn TableProvider>> {
        let batch = match system {
            SystemFrame::Nodes => show::show_nodes(&colony.nodes)?,
            SystemFrame::Queries => show_queries::full(&colony.queries)?,
            walks => return Ok(Arc::new(walk::Walk::new(walks, records(), frames.clone()))),
        };
        Ok(Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]])?))
    };
    asked.iter().map(|system| Ok((*system, table(*system)?))).collect()
}
