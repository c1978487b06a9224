//! From names to snapshots: a statement is bound to one version of each frame before it is planned, so that all of
//! it, wherever it runs and however long, sees one state of each frame.

use std::sync::Arc;

use apiary_bucket::Bucket;
use apiary_core::{BoxName, DEFAULT_BOX, DEFAULT_HIVE, ErrorKind, FramePath, HiveName, names::fold, suggest::nearest};
use apiary_ledger::{FrameRecord, Frames, Namespace, Registry, Snapshot};
use datafusion::execution::runtime_env::RuntimeEnv;
use futures::{StreamExt, TryStreamExt};

use crate::{
    ColonyRows, Pinned, QueryError, QueryStatement, Result, Session, SystemFrame, Use,
    case::Spellings,
    names::{self, References},
    runtime_for,
};

/// Snapshots fetched side by side for one statement.
const SNAPSHOT_FETCHES_MAX: usize = 16;

/// Most different frames in one statement: far beyond what people join, short of what a plan can hold.
const FRAMES_MAX: usize = 1_000;

/// Plans statements over one bucket. Cheap to clone; clones share the footer cache.
#[derive(Debug, Clone)]
pub struct Planner {
    pub(crate) registry: Registry,
    pub(crate) frames: Frames,
    runtime: Arc<RuntimeEnv>,
}

impl Planner {
    /// A planner over `bucket`, with an environment of its own (see [`runtime_for`]). No I/O.
    pub fn new(bucket: Bucket, registry: Registry, frames: Frames) -> Result<Self> {
        let runtime = runtime_for(&bucket)?;
        Ok(Self { registry, frames, runtime })
    }

    /// The environment in which local plans run unless they are given another.
    #[must_use]
    pub fn runtime(&self) -> Arc<RuntimeEnv> {
        Arc::clone(&self.runtime)
    }

    /// Binds `statement` to the newest version of each frame that it names. Names without a hive or box are looked
    /// for where `session` says. Costs one GET for the names and one per frame while both are warm; nothing for a
    /// statement without FROM. Fails with kind `NotFound` and the nearest name.
    pub async fn pin(&self, statement: &QueryStatement, session: &Session) -> Result<Pinned> {
        let references = References::of(statement.ast(), statement.sql())?;
        let namespace = match references.frames.is_empty() && !references.catalog {
            true => None,
            false => Some(self.registry.namespace().await?),
        };
        let (mut records, mut system): (Vec<Arc<FrameRecord>>, Vec<SystemFrame>) = Default::default();
        for name in &references.frames {
            let Some(namespace) = &namespace else { continue };
            if let Some(meant) = SystemFrame::meant(name, session, namespace) {
                system.extend((!system.contains(&meant)).then_some(meant));
                continue;
            }
            let record = names::resolve(name, session, namespace, statement.sql())?;
            if !records.iter().any(|known| known.path == record.path) {
                records.push(record);
            }
        }
        if records.len() > FRAMES_MAX {
            let message = format!("the statement names {} frames; at most {FRAMES_MAX} are allowed", records.len());
            return Err(QueryError::meaning(message, None));
        }
        let snapshots = self.snapshots(&records).await?;
        let mut ast = statement.ast().clone();
        let schemas = snapshots.iter().map(|(_, snapshot)| Arc::clone(&snapshot.schema));
        let schemas: Vec<_> = schemas.chain(system.iter().map(|system| system.schema())).collect();
        let columns = schemas.iter().flat_map(|schema| schema.fields());
        let spellings = Spellings::of(columns.map(|field| field.name().as_str()));
        spellings.apply(&mut ast);
        let (sql, session, frames) = (statement.sql().to_owned(), session.clone(), self.frames.clone());
        let colony = ColonyRows::default();
        Ok(Pinned { sql, ast, spellings, session, namespace, snapshots, frames, system, colony, verbose: false })
    }

    async fn snapshots(&self, records: &[Arc<FrameRecord>]) -> Result<Vec<(FramePath, Arc<Snapshot>)>> {
        let fetch = |record: Arc<FrameRecord>| async move {
            let snapshot = self.frames.snapshot(&record).await?;
            Ok::<_, QueryError>((record.path.clone(), snapshot))
        };
        futures::stream::iter(records.iter().map(Arc::clone).map(fetch))
            .buffered(SNAPSHOT_FETCHES_MAX)
            .try_collect()
            .await
    }

    /// The session after `USE`. Fails with kind `NotFound` if there is no such hive or box. One GET while warm.
    pub async fn use_(&self, target: &Use, session: &Session) -> Result<Session> {
        let namespace = self.registry.namespace().await?;
        let mut session = session.clone();
        match target {
            Use::Hive(hive) => {
                session.hive = Some(find_hive(&namespace, hive)?);
                session.box_name = None;
            }
            Use::Box { hive, box_name } => {
                let hive = match hive {
                    Some(hive) => find_hive(&namespace, hive)?,
                    None => {
                        names::still_there(&session, &namespace, false)?;
                        session.hive_used()
                    }
                };
                session.box_name = Some(find_box(&namespace, &hive, box_name)?);
                session.hive = Some(hive);
            }
        }
        Ok(session)
    }
}

/// The hive named `name` in any case; the default one is there before it is made.
pub(crate) fn find_hive(namespace: &Namespace, name: &str) -> Result<HiveName> {
    let hives = namespace.hives();
    if let Some(hive) = hives.iter().find(|hive| hive.folded() == fold(name)) {
        return Ok(HiveName::clone(hive));
    }
    if fold(name) == DEFAULT_HIVE {
        return Ok(HiveName::default());
    }
    let near = || nearest(name, hives.iter().map(|hive| hive.as_str()));
    let hint = match namespace.renamed_to(&[name]) {
        Some(now) => format!("it was renamed to {now}"),
        None => near().map_or_else(|| "SHOW HIVES lists them all".to_owned(), |near| format!("did you mean {near}?")),
    };
    Err(QueryError::unknown(format!("there is no hive {name}"), hint))
}

/// The box named `name` in any case; the default one is there before it is made.
pub(crate) fn find_box(namespace: &Namespace, hive: &HiveName, name: &str) -> Result<BoxName> {
    let boxes = boxes_of(namespace, hive)?;
    if let Some(box_name) = boxes.iter().find(|box_name| box_name.folded() == fold(name)) {
        return Ok(BoxName::clone(box_name));
    }
    if fold(name) == DEFAULT_BOX {
        return Ok(BoxName::default());
    }
    let hint = match namespace.renamed_to(&[hive.as_str(), name]) {
        Some(now) => format!("it was renamed to {now}"),
        None => match nearest(name, boxes.iter().map(|box_name| box_name.as_str())) {
            Some(near) => format!("did you mean {hive}.{near}?"),
            None => format!("SHOW BOXES IN {hive} lists them all"),
        },
    };
    Err(QueryError::unknown(format!("there is no box {hive}.{name}"), hint))
}

/// A hive's boxes; none if it is not there.
pub(crate) fn boxes_of<'a>(namespace: &'a Namespace, hive: &HiveName) -> Result<Vec<&'a BoxName>> {
    namespace.boxes(hive).or_else(|error| match error.kind() {
        ErrorKind::NotFound => Ok(Vec::new()),
        _ => Err(error.into()),
    })
}
