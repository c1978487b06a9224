//! Queries that run here, and how they are stopped: by their client, by its absence, by a coordinator elsewhere.
//!
//! A query is stopped through its token. A call that asks for it reaches whichever coordinator the client talks to;
//! if the query is not one of its own, it leaves the word in the bucket, and whoever runs the query finds it there.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use apiary_core::QueryId;
use apiary_engine::Nudger;
use apiary_swarm::QueryState;
use tokio_util::sync::CancellationToken;

use crate::{CoordinatorError, Result, queries, state::State};

/// Most queries at once on one coordinator: each holds a channel and at least one batch.
const RUNNING_MAX: usize = 1_000;

/// How often a query that runs on looks for the word in the bucket: within a second a cancel has ended it.
const WATCH_INTERVAL: Duration = Duration::from_millis(700);

/// The tokens of queries that run here.
#[derive(Debug, Clone, Default)]
pub(crate) struct Running(Arc<Mutex<HashMap<QueryId, CancellationToken>>>);

/// A query's place among those that run; gone when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    running: Running,
    id: QueryId,
    pub(crate) token: CancellationToken,
}

impl Running {
    /// Takes a query in; its token is a child of `parent`.
    pub(crate) fn enter(&self, id: QueryId, parent: &CancellationToken) -> Result<Place> {
        let token = parent.child_token();
        self.with(|map| {
            if map.contains_key(&id) {
                return Err(CoordinatorError::Running(id));
            }
            if map.len() >= RUNNING_MAX {
                return Err(CoordinatorError::TooManyQueries(map.len()));
            }
            map.insert(id, token.clone());
            Ok(())
        })?;
        Ok(Place { running: self.clone(), id, token })
    }

    /// Stops a query that runs here; false if it does not.
    pub(crate) fn cancel(&self, id: QueryId) -> bool {
        let token = self.with(|map| map.get(&id).cloned());
        token.inspect(CancellationToken::cancel).is_some()
    }

    fn with<T>(&self, act: impl FnOnce(&mut HashMap<QueryId, CancellationToken>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.running.with(|map| map.remove(&self.id));
    }
}

/// Stops a query wherever it runs. True: it ran, as far as anybody can tell. 0 requests if it runs here, else 1 GET
/// and at most 1 PUT.
pub(crate) async fn cancel(state: &State, id: QueryId) -> Result<bool> {
    if state.running.cancel(id) {
        return Ok(true);
    }
    let board = &state.node.board;
    let on_board = board.read_query(&id).await?.is_some();
    if on_board || state.has_peers() {
        board.cancel(&id, "its client asked for it").await?;
        // Workers that listen here need not wait for the coordinator that runs it.
        state.nudges.nudge(&id, None, true);
    }
    Ok(on_board)
}

/// The same for `CANCEL QUERY`: an error says of what id there is no query, or how it has ended. What is not told of may
/// have begun elsewhere a moment ago, so the word is left for it all the same. 0 requests if it runs here, else 1 LIST and
/// 1 GET for each other coordinator besides.
pub(crate) async fn cancel_told(state: &State, id: QueryId) -> Result<()> {
    if state.running.cancel(id) {
        return Ok(());
    }
    let rows = queries::rows(state).await?;
    let told = rows.into_iter().find(|row| row.query == id.to_string());
    let (running, lost) = (QueryState::Running.as_str(), QueryState::Lost.as_str());
    match told.map(|row| row.state) {
        Some(ended) if ended != running && ended != lost => Err(CoordinatorError::Ended { id, how: ended }),
        told => match cancel(state, id).await? {
            true => Ok(()),
            false if told.as_deref() == Some(running) => Ok(()),
            false if told.is_some() => Err(CoordinatorError::Ended { id, how: lost.to_owned() }),
            false => Err(CoordinatorError::NoQuery(id)),
        },
    }
}

/// Cancels `token` when the bucket says that the query shall stop. Ends with the query. Without another coordinator
/// in sight nobody could leave the word, and nothing is asked; otherwise 1 GET each time.
pub(crate) async fn watch(state: State, id: QueryId, token: CancellationToken) {
    let clock = Arc::clone(state.node.bucket.clock());
    while !token.is_cancelled() {
        tokio::select! {
            () = token.cancelled() => return,
            () = clock.sleep(WATCH_INTERVAL) => {}
        }
        if !state.has_peers() {
            continue;
        }
        match state.node.board.is_cancelled(&id).await {
            Ok(true) => token.cancel(),
            Ok(false) => {}
            // The query itself will notice if the bucket stays away.
            Err(error) => tracing::debug!(query = %id, %error, "cannot look for a cancel"),
        }
    }
}

#[cfg(test)]
mod tests {
    use apiary_core::{SystemClock, SystemRng};

    use super::*;

    #[test]
    fn a_query_is_stopped_while_it_runs_and_not_after() {
        let (running, id) = (Running::default(), QueryId::new(&SystemClock, &SystemRng));
        let place = running.enter(id, &CancellationToken::new()).unwrap();
        assert!(running.enter(id, &CancellationToken::new()).is_err());
        assert!(running.cancel(id) && place.token.is_cancelled());
        drop(place);
        assert!(!running.cancel(id));
    }
}
