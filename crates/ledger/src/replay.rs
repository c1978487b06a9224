//! How entries make a snapshot. Begins with nothing or with a snapshot, takes entries in order, ends in a snapshot.
//!
//! A frame of a hundred thousand cells is extended by an entry of one for about the cost of that one: all but the last
//! piece of the list is shared with the version before (see `cells`).

use std::{collections::HashSet, sync::Arc};

use apiary_core::side_by_side;
use arrow::datatypes::{Schema, SchemaRef};

use crate::{
    CellEntry, CellId, Cells, Kind, LedgerError, Result, Snapshot, delta_schema,
    entry::{ARROW_SCHEMA, CellReader, FrameEntry, Metadata},
    header::Head,
    idempotency::Idempotency,
    log::Read,
    snapshot::{About, Tail},
};

/// Cells of an entry that one thread takes at a time: a millisecond or two of work.
const CELLS_AT_ONCE: usize = 512;

/// Threads that read one entry or checkpoint: more would wait for memory.
pub(crate) const THREADS_MAX: usize = 4;

/// A frame under replay.
#[derive(Debug)]
pub(crate) struct Replay {
    folder: String,
    schema: SchemaRef,
    partition_by: Vec<String>,
    /// Cells in the order of their entries.
    cells: Cells,
    /// Reads cells as the newest metadata has them.
    reader: Option<Arc<CellReader>>,
    idem: Idempotency,
    about: Option<Arc<About>>,
    tail: Tail,
    dropped: bool,
    head: Option<Head>,
}

impl Replay {
    /// A frame of which nothing is known.
    pub(crate) fn new(folder: &str) -> Self {
        Self {
            folder: folder.to_owned(),
            schema: Arc::new(Schema::empty()),
            partition_by: Vec::new(),
            cells: Cells::default(),
            reader: None,
            idem: Idempotency::default(),
            about: None,
            tail: Tail::default(),
            dropped: false,
            head: None,
        }
    }

    /// A frame known up to a version.
    pub(crate) fn after(snapshot: &Snapshot) -> Self {
        Self {
            folder: snapshot.folder.clone(),
            schema: Arc::clone(&snapshot.schema),
            partition_by: snapshot.partition_by.clone(),
            cells: snapshot.cells.clone(),
            reader: snapshot.reader.clone(),
            idem: snapshot.idem.clone(),
            about: Some(Arc::clone(&snapshot.about)),
            tail: snapshot.tail,
            dropped: snapshot.dropped,
            head: Some(snapshot.head.clone()),
        }
    }

    /// A frame as a checkpoint describes it, without its cells and keys; `object` names the checkpoint in errors.
    pub(crate) fn restored(object: &str, folder: &str, about: About, head: Head) -> Result<Self> {
        let tail = Tail { checkpoint: Some(head.version), ..Tail::default() };
        let mut replay = Self { tail, ..Self::new(folder) };
        replay.describe(object, &about.metadata)?;
        (replay.about, replay.head) = (Some(Arc::new(about)), Some(head));
        Ok(replay)
    }

    /// What reads the cells of this frame.
    pub(crate) fn reader(&mut self) -> Arc<CellReader> {
        let made = || Arc::new(CellReader::new(&self.folder, &self.schema, &self.partition_by));
        Arc::clone(self.reader.get_or_insert_with(made))
    }

    /// Takes the next cells of a checkpoint, each there once.
    pub(crate) fn restore_cells(&mut self, cells: Vec<Arc<CellEntry>>) {
        self.cells.extend(cells);
    }

    /// Takes the idempotency keys of a checkpoint.
    pub(crate) fn restore_keys(&mut self, keys: Idempotency) {
        self.idem = keys;
    }

    /// Takes the next entry; `object` names it in errors.
    pub(crate) fn take(&mut self, object: &str, read: &Read<FrameEntry>) -> Result<()> {
        let entry = &read.entry;
        match (&entry.metadata, &self.head) {
            (Some(metadata), _) => self.describe(object, metadata)?,
            (None, Some(_)) => {}
            (None, None) => return Err(LedgerError::corrupt(object, "a frame's first entry must describe it")),
        }
        if self.head.is_none() && entry.protocol.is_none() {
            return Err(LedgerError::corrupt(object, "a frame's first entry must name its protocol"));
        }
        self.remove(object, entry)?;
        self.add(object, entry)?;
        self.note(entry);
        self.remember(read);
        self.dropped |= ends(entry);
        self.tail.entries += 1;
        self.tail.bytes += read.bytes;
        self.head = Some(read.head.clone());
        Ok(())
    }

    fn remove(&mut self, object: &str, entry: &FrameEntry) -> Result<()> {
        let absent = |path: &str| LedgerError::corrupt(object, format!("it removes '{path}', which is not there"));
        let ids = entry.removes.iter().map(|remove| CellId::of_path(&remove.path).ok_or_else(|| absent(&remove.path)));
        let gone = ids.collect::<Result<HashSet<CellId>>>()?;
        self.cells.remove(&gone).map_err(|id| absent(&id.path()))
    }

    fn add(&mut self, object: &str, entry: &FrameEntry) -> Result<()> {
        if entry.adds.is_empty() {
            return Ok(());
        }
        let reader = self.reader();
        let pieces: Vec<_> = entry.adds.chunks(CELLS_AT_ONCE).collect();
        let cells = side_by_side(pieces.len(), THREADS_MAX, |piece| reader.read_all(pieces[piece]));
        let cells: Vec<_> = cells.map_err(|why| LedgerError::corrupt(object, why))?.into_iter().flatten().collect();
        let ids: HashSet<CellId> = cells.iter().map(|cell| cell.id).collect();
        if let Some(id) = self.cells.any(&ids) {
            return Err(LedgerError::corrupt(object, format!("it adds '{}', which is there already", id.path())));
        }
        self.cells.extend(cells);
        Ok(())
    }

    fn describe(&mut self, object: &str, metadata: &Metadata) -> Result<()> {
        let Some(text) = metadata.configuration.get(ARROW_SCHEMA) else {
            return Err(LedgerError::corrupt(object, format!("its configuration lacks '{ARROW_SCHEMA}'")));
        };
        self.schema = delta_schema::exact_from_text(text).map_err(|why| LedgerError::corrupt(object, why))?;
        let known = |name: &String| self.schema.field_with_name(name).is_ok();
        if let Some(unknown) = metadata.partition_columns.iter().find(|name| !known(name)) {
            return Err(LedgerError::corrupt(object, format!("the partition column '{unknown}' is not in its schema")));
        }
        self.partition_by.clone_from(&metadata.partition_columns);
        self.reader = None;
        Ok(())
    }

    /// Keeps the newest protocol and metadata.
    fn note(&mut self, entry: &FrameEntry) {
        let (protocol, metadata) = (entry.protocol.clone(), entry.metadata.clone());
        if let Some(about) = &mut self.about {
            if protocol.is_some() || metadata.is_some() {
                let about = Arc::make_mut(about);
                protocol.into_iter().for_each(|protocol| about.protocol = protocol);
                metadata.into_iter().for_each(|metadata| about.metadata = metadata);
            }
        } else if let (Some(protocol), Some(metadata)) = (protocol, metadata) {
            self.about = Some(Arc::new(About { protocol, metadata }));
        }
    }

    fn remember(&mut self, read: &Read<FrameEntry>) {
        let (version, at_ms) = (read.head.version, read.head.timestamp_ms);
        let after_ms = self.head.as_ref().map_or(0, |head| at_ms.saturating_sub(head.timestamp_ms));
        let keys = read.entry.header.txns.iter().filter_map(|txn| Some((txn.idem.clone()?, txn.digest.clone()?)));
        self.idem.remember(version, at_ms, after_ms, keys);
    }

    /// The frame as it is now, or `None` if no entry was there.
    pub(crate) fn finish(self) -> Option<Snapshot> {
        let (head, about) = (self.head?, self.about?);
        Some(Snapshot {
            version: head.version,
            schema: self.schema,
            partition_by: self.partition_by,
            cells: self.cells,
            folder: self.folder,
            head,
            idem: self.idem,
            reader: self.reader,
            about,
            tail: self.tail,
            dropped: self.dropped,
        })
    }
}

/// Whether an entry is a frame's terminal one. No checkpoint is made of a dropped frame, so none can hide it.
pub(crate) fn ends(entry: &FrameEntry) -> bool {
    entry.header.txns.iter().any(|txn| txn.kind == Kind::Drop.as_str())
}
