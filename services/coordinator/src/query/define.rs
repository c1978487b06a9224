//! `CREATE`, `DROP` and `ALTER … RENAME TO`: from what was written to what is done, and errors with their place.

use apiary_ledger::LedgerError;
use apiary_query::{Create, Drop, Named, Place, Rename, Session, session_after};

use super::service::Ask;
use crate::{
    CoordinatorError, Result,
    define::{self, Dropping},
    state::State,
};

/// `CREATE`: what is there already is an error unless the statement says otherwise, as in other systems.
pub(super) async fn create(state: &State, ask: &Ask, statement: Create) -> Result<()> {
    let place = statement.named.place(&ask.session, &ask.sql)?;
    let spec = statement.frame.map(|frame| define::spec(&frame.schema, frame.partition_by)).transpose()?;
    let taken = || {
        let (what, name) = match &place {
            Place::Hive(hive) => ("hive", hive.to_string()),
            Place::Box(hive, box_name) => ("box", format!("{hive}.{box_name}")),
            Place::Frame(path) => ("frame", path.to_string()),
        };
        CoordinatorError::Ledger(LedgerError::Taken { what, name })
    };
    let created = match define::create(state, place.clone(), spec).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(taken()),
        Err(error) => Err(error),
    };
    match created {
        Err(error) if statement.if_not_exists && error.kind() == apiary_core::ErrorKind::AlreadyExists => Ok(()),
        created => created.map_err(|error| placed(error, &statement.named, &ask.sql)),
    }
}

/// `DROP`; what was found that one should know of.
pub(super) async fn drop(state: &State, ask: &Ask, statement: &Drop) -> Result<Option<String>> {
    let place = statement.named.place(&ask.session, &ask.sql)?;
    let how = Dropping { if_exists: statement.if_exists, cascade: statement.cascade, expected: None };
    let dropped = define::drop(state, place, how).await.map_err(|error| match error {
        // What shall go need not be made first.
        CoordinatorError::Ledger(LedgerError::NotFound { what, name, hint }) if hint == "create it first" => {
            LedgerError::NotFound { what, name, hint: "DROP … IF EXISTS takes that".to_owned() }.into()
        }
        error => error,
    });
    let noted = dropped.map(|report| report.and_then(|report| report.note()));
    noted.map_err(|error| placed(error, &statement.named, &ask.sql))
}

/// `ALTER … RENAME TO`; the session after it.
pub(super) async fn rename(state: &State, ask: &Ask, statement: &Rename) -> Result<Session> {
    let (from, to) = statement.places(&ask.session, &ask.sql)?;
    let renamed = define::rename(state, from.clone(), to.clone(), statement.if_exists).await;
    match renamed.map_err(|error| placed(error, &statement.named, &ask.sql))? {
        true => Ok(session_after(&ask.session, &from, &to)),
        false => Ok(ask.session.clone()),
    }
}

fn placed(error: CoordinatorError, named: &Named, sql: &str) -> CoordinatorError {
    match error {
        CoordinatorError::Ledger(error) => named.error(error, sql).into(),
        error => error,
    }
}
