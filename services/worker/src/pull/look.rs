//! Looking at the board: the whole of it for what nobody was told of, and a query for what others were to take.

use std::{collections::HashSet, mem};

use apiary_core::QueryId;
use apiary_swarm::{AttemptId, BoardView, SwarmError};

use super::{CARE_EVERY_LISTENING, Puller};
use crate::choose;

impl Puller {
    /// Whether a second look will do: all that is there is hinted at, and it is not long since what nobody hinted at was
    /// looked for.
    pub(super) fn may_look_twice(&self) -> bool {
        let looked_at = if self.node.bees.free() > 0 { self.listed_at } else { self.cared_at };
        let is_recent = self.now().saturating_sub(looked_at) < CARE_EVERY_LISTENING;
        is_recent && !self.hinted.is_empty() && self.ears.hear_all()
    }

    /// Takes what others were to take and have not, and what came while no bee was free. Whether there was anything. 1 LIST
    /// for each query.
    pub(super) async fn second_look(&mut self) -> bool {
        let mut found = false;
        self.missed = false;
        for query in mem::take(&mut self.hinted) {
            if self.node.bees.free() == 0 {
                self.miss(query);
                continue;
            }
            match self.node.board.list_tasks(&query).await {
                // It is being swept.
                Ok(view) if !view.asked => self.forget(&query).await,
                Ok(view) => found |= self.take_free(&view).await,
                Err(error) => self.cannot_look(query, &error),
            }
        }
        found
    }

    fn cannot_look(&mut self, query: QueryId, error: &SwarmError) {
        tracing::warn!(%query, %error, "cannot look at a query; trying again");
        self.hinted.insert(query);
    }

    /// There is more of a query than there are bees.
    pub(super) fn miss(&mut self, query: QueryId) {
        self.missed = true;
        self.hinted.insert(query);
    }

    /// Looks at the board: lets go of what is over and takes what is free. Whether there was anything to take. While
    /// bees are free 1 LIST, and 2 for each open query; else 2 for each query whose tasks run here.
    pub(super) async fn look(&mut self) -> bool {
        let mut found = false;
        let mut looked = HashSet::new();
        self.cared_at = self.now();
        if self.node.bees.free() > 0 {
            let open = match self.node.board.list_open().await {
                Ok(open) => open,
                Err(error) => {
                    tracing::warn!(%error, "cannot look at the board; trying again");
                    return false;
                }
            };
            (self.is_open, self.missed, self.listed_at) = (!open.is_empty(), false, self.now());
            self.hinted.clear();
            let gone: Vec<QueryId> = self.queries.keys().filter(|query| !open.contains(query)).copied().collect();
            for query in gone {
                self.forget(&query).await;
            }
            for query in open {
                if self.node.bees.free() == 0 {
                    self.miss(query);
                    continue;
                }
                looked.insert(query);
                found |= self.look_into(query).await;
            }
        }
        let at_work = self.queries.iter().filter(|(query, attempts)| !attempts.is_empty() && !looked.contains(query));
        for query in at_work.map(|(query, _)| *query).collect::<Vec<_>>() {
            found |= self.look_into(query).await;
        }
        found
    }

    async fn look_into(&mut self, query: QueryId) -> bool {
        let view = match self.node.board.list_query(&query).await {
            Ok(view) => view,
            Err(error) => {
                self.cannot_look(query, &error);
                return false;
            }
        };
        if view.cancelled || !view.asked {
            self.forget(&query).await;
            return false;
        }
        self.let_go_of_done(&view);
        self.take_free(&view).await
    }

    /// Takes as many free attempts as there are bees. Whether there were any.
    async fn take_free(&mut self, view: &BoardView) -> bool {
        let free: Vec<AttemptId> = view.free().filter(|id| !self.passed.contains(id)).collect();
        let found = !free.is_empty();
        if found {
            self.node.hurry();
        }
        for id in choose::rotated(free, self.node.rng().next_u64()) {
            if self.node.bees.free() == 0 {
                self.miss(view.query);
                break;
            }
            self.take(id, None).await;
        }
        found
    }

    /// Ends attempts at tasks that another attempt has done.
    fn let_go_of_done(&self, view: &BoardView) {
        let running = self.queries.get(&view.query).into_iter().flatten();
        for (id, cancel) in running {
            if view.task(id.task.stage, id.task.task).is_some_and(|task| task.done) {
                cancel.cancel();
            }
        }
    }
}
