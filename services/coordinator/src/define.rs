//! Creating, dropping and renaming, for the calls and for SQL alike. Names come in whole and checked; the registry
//! decides.
//!
//! All of it runs on a task of its own: a client that leaves must not stop a change between its two logs, though
//! whoever comes by would finish it.

use apiary_core::{ErrorKind, Version};
use apiary_ingest::storable_schema;
use apiary_ledger::{DropReport, FrameSpec, LedgerError, Namespace};
use apiary_query::Place;
use arrow::datatypes::{FieldRef, Schema};

use crate::{CoordinatorError, Result, state::State};

/// Creates what is not there; a frame takes a `spec`. False: it is there already, identical.
pub(crate) async fn create(state: &State, place: Place, spec: Option<FrameSpec>) -> Result<bool> {
    place.may_be_new()?;
    whole(state, move |state| async move {
        match place {
            Place::Hive(hive) => state.registry.create_hive(&hive).await,
            Place::Box(hive, box_name) => state.registry.create_box(&hive, &box_name).await,
            Place::Frame(path) => {
                let spec =
                    spec.ok_or_else(|| LedgerError::Schema("it has no columns; give at least one".to_owned()))?;
                state.registry.create_frame(&path, &spec).await
            }
        }
    })
    .await
}

/// How to drop.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Dropping {
    /// What is not there is no error.
    pub(crate) if_exists: bool,
    /// With all that is in it.
    pub(crate) cascade: bool,
    /// A frame: only while this is its newest version.
    pub(crate) expected: Option<Version>,
}

/// Drops what is there. `None`: it is not there, and that is no error.
pub(crate) async fn drop(state: &State, place: Place, how: Dropping) -> Result<Option<DropReport>> {
    let dropped = whole(state, move |state| async move {
        match place {
            Place::Hive(hive) => state.registry.drop_hive(&hive, how.cascade).await,
            Place::Box(hive, box_name) => state.registry.drop_box(&hive, &box_name, how.cascade).await,
            Place::Frame(path) => state.registry.drop_frame(&path, how.expected).await,
        }
    });
    match dropped.await {
        Ok(report) => Ok(Some(report)),
        Err(error) if how.if_exists && error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Renames what is there to something of the same kind. False: it is not there, and that is no error.
pub(crate) async fn rename(state: &State, from: Place, to: Place, if_exists: bool) -> Result<bool> {
    to.may_be_new()?;
    if if_exists && !exists(&*state.registry.namespace().await?, &from) {
        return Ok(false);
    }
    whole(state, move |state| async move {
        match (from, to) {
            (Place::Hive(from), Place::Hive(to)) => state.registry.rename_hive(&from, &to).await,
            (Place::Box(hive, from), Place::Box(_, to)) => state.registry.rename_box(&hive, &from, &to).await,
            (Place::Frame(from), Place::Frame(to)) => state.registry.rename_frame(&from, &to).await,
            _ => Err(LedgerError::Internal("a rename from one kind to another".to_owned())),
        }
    })
    .await?;
    Ok(true)
}

/// What a new frame shall be, in types that can be stored; partition columns are found in any case, as in SQL.
pub(crate) fn spec(schema: &Schema, partition_by: Vec<String>) -> Result<FrameSpec> {
    let schema = storable_schema(schema)?;
    let partition_by = partition_by.into_iter().map(|name| column_of(&schema, name)).collect();
    Ok(FrameSpec { schema, partition_by })
}

/// The column that `name` means, as the schema spells it.
fn column_of(schema: &Schema, name: String) -> String {
    let fields = schema.fields();
    let is = |field: &&FieldRef| field.name().to_lowercase() == name.to_lowercase();
    let exact = fields.iter().any(|field| *field.name() == name);
    if exact { name } else { fields.iter().find(is).map_or_else(|| name.clone(), |field| field.name().clone()) }
}

fn exists(names: &Namespace, place: &Place) -> bool {
    match place {
        Place::Hive(hive) => names.hive(hive.as_str()).is_ok(),
        Place::Box(hive, box_name) => names.box_name(hive.as_str(), box_name.as_str()).is_ok(),
        Place::Frame(path) => names.frame(path.hive.as_str(), path.box_name.as_str(), path.frame.as_str()).is_ok(),
    }
}

/// Runs `work` to its end, whoever waits for it.
async fn whole<T, W>(state: &State, work: impl FnOnce(State) -> W) -> Result<T>
where
    T: Send + 'static,
    W: Future<Output = Result<T, LedgerError>> + Send + 'static,
{
    match state.tasks.spawn(work(state.clone())).await {
        Ok(done) => Ok(done?),
        Err(broken) => Err(CoordinatorError::Panicked(broken.to_string())),
    }
}
