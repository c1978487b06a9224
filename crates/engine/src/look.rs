//! What a look at the board says: new objects become events for the state machine.
//!
//! A listing shows that objects are there; only new ones are read. What claims say is `claims.rs`'s.

use std::collections::BTreeSet;

use apiary_swarm::{BoardView, TaskId, board::DoneRecord};
use futures::{StreamExt, TryStreamExt, stream};

use crate::{
    EngineError, Result,
    drive::Drive,
    query_run::{Attempt, Event},
};

/// How many board objects are read at once.
const READS_AT_ONCE: usize = 16;

/// Small results of a query that a coordinator keeps in memory to send them along with tasks.
const INLINE_KEPT_BYTES_MAX: usize = 32 << 20;

impl Drive {
    /// One look at the board: what is new is added to `events`, and stays there if the look fails half way, because
    /// what was seen once is not seen again. 1 LIST, with `care` 2, and a GET for each new object and what
    /// [`Drive::care`] costs.
    pub(crate) async fn look(&mut self, care: bool, events: &mut Vec<Event>) -> Result<()> {
        let view = match care {
            true => self.board.list_query(&self.query).await?,
            false => self.board.list_tasks(&self.query).await?,
        };
        self.new_attempts(&view, events);
        self.new_done(&view, events).await?;
        self.new_failed(&view, events).await?;
        if view.cancelled {
            events.push(Event::Cancel);
        }
        if care {
            self.care(&view, events).await?;
        }
        Ok(())
    }

    /// Attempts that a predecessor published.
    fn new_attempts(&self, view: &BoardView, events: &mut Vec<Event>) {
        for (&(stage, task), board) in &view.tasks {
            let newest = board.published.last().copied().unwrap_or(0);
            if newest > self.run.attempts(stage, task) {
                events.push(Event::Published { attempt: Attempt { stage, task, attempt: newest } });
            }
        }
    }

    async fn new_done(&mut self, view: &BoardView, events: &mut Vec<Event>) -> Result<()> {
        let new = view.tasks.iter().filter(|(_, task)| task.done).map(|(id, _)| *id).collect();
        self.read_done(new, events).await
    }

    /// Reads the results of tasks that are said to have ended. One that has none has failed, and a look says why.
    /// A GET for each, and then 1 LIST.
    pub(crate) async fn read_ended(&mut self, ended: BTreeSet<(u32, u32)>, events: &mut Vec<Event>) -> Result<()> {
        self.read_done(ended.clone(), events).await?;
        match ended.iter().all(|task| self.done.contains_key(task)) {
            true => Ok(()),
            false => self.look(false, events).await,
        }
    }

    /// Reads what is new of these tasks' results; of one that has none there is nothing to say. A GET for each.
    pub(crate) async fn read_done(&mut self, mut new: BTreeSet<(u32, u32)>, events: &mut Vec<Event>) -> Result<()> {
        new.retain(|id| !self.done.contains_key(id));
        let read = |(stage, task): (u32, u32)| {
            let (board, id) = (self.board.clone(), TaskId::new(self.query, stage, task));
            async move { Ok::<_, EngineError>(((stage, task), board.read_done(&id).await?)) }
        };
        let reads: Vec<_> = new.into_iter().map(read).collect();
        let records: Vec<_> = stream::iter(reads).buffer_unordered(READS_AT_ONCE).try_collect().await?;
        for ((stage, task), done) in records {
            let Some(mut done) = done else { continue };
            self.metrics.add(stage, task, &done, self.now());
            if stage == self.last {
                self.finished.send(Ok(Some((task, done.clone())))).ok();
            }
            let bytes = done.pieces.iter().map(|piece| piece.bytes).sum();
            self.lighten(stage, &mut done);
            self.done.insert((stage, task), done);
            events.push(Event::TaskDone { stage, task, bytes });
        }
        Ok(())
    }

    /// Lets go of small results that the client reads by itself, or that are too much to keep: a task whose input does
    /// not travel with it reads it from the board.
    fn lighten(&mut self, stage: u32, done: &mut DoneRecord) {
        let bytes = self.inline_kept + done.inline_bytes();
        if stage != self.last && bytes <= INLINE_KEPT_BYTES_MAX {
            self.inline_kept = bytes;
        } else {
            done.inline.iter_mut().for_each(|file| file.body.clear());
        }
    }

    async fn new_failed(&mut self, view: &BoardView, events: &mut Vec<Event>) -> Result<()> {
        for (&(stage, task), board) in view.tasks.iter().filter(|(_, board)| !board.done) {
            for &number in &board.failed {
                let attempt = Attempt { stage, task, attempt: number };
                if !self.failed.contains(&attempt)
                    && let Some(failed) = self.board.read_failed(&self.id(attempt)).await?
                {
                    self.failed.insert(attempt);
                    events.push(Event::AttemptFailed { attempt, failed });
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, sync::Arc, time::Duration};

    use apiary_bucket::{Bucket, layout};
    use apiary_core::{Incarnation, NodeId, QueryId, SeededRng, SystemClock};
    use apiary_swarm::{
        Board,
        board::{FailedRecord, FailureCause, InlineFile},
    };
    use bytes::Bytes;
    use datafusion::arrow::datatypes::Schema;
    use tokio::sync::mpsc;

    use super::*;
    use crate::{
        BoardEnv, Grain, NoNudges, StagePlans, comb::pieces::DoneTasks, placing::Placing, query_run::QueryRun,
    };

    fn drive(bucket: &Bucket, query: QueryId) -> Drive {
        let schema = Arc::new(Schema::empty());
        let [_, life] = lives();
        Drive {
            env: BoardEnv {
                bucket: bucket.clone(),
                node: NodeId::new("queen").unwrap(),
                incarnation: life,
                world: Arc::new(Vec::new),
                nudger: Arc::new(NoNudges),
                runtime: apiary_query::runtime_for(bucket).unwrap(),
                tasks: Default::default(),
            },
            board: Board::new(bucket.clone()),
            query,
            plans: StagePlans { stages: vec![], schema, ordered: false, settings: vec![], grain: Grain::FINE },
            last: 2,
            epoch: 1,
            run: QueryRun::new(vec![], 1, Grain::FINE),
            started: Duration::ZERO,
            pointed: Duration::ZERO,
            superseded: false,
            deserted_since: None,
            timeout: Duration::from_secs(600),
            open: HashMap::new(),
            done: DoneTasks::new(),
            inline_kept: 0,
            failed: Default::default(),
            claims: HashMap::new(),
            delayed: vec![],
            placing: Placing::default(),
            metrics: Arc::default(),
            progress: Box::new(|_| {}),
            finished: mpsc::unbounded_channel().0,
        }
    }

    #[tokio::test]
    async fn what_a_look_saw_before_it_failed_is_not_forgotten() {
        let (bucket, query) = (Bucket::in_memory(), QueryId::new(&SystemClock, &SeededRng::new(1)));
        let (board, node, [_, life]) = (Board::new(bucket.clone()), NodeId::new("pi-1").unwrap(), lives());
        let done = DoneRecord::of(1, "0123456789abcdef", &node, life);
        board.mark_done(&TaskId::new(query, 1, 0), &done).await.unwrap();
        let unreadable = layout::failed(&query, 1, 1, 1);
        bucket.put(&unreadable, Bytes::from_static(b"{")).await.unwrap();

        let (mut drive, mut events) = (drive(&bucket, query), Vec::new());
        drive.look(false, &mut events).await.unwrap_err();
        assert_eq!(events, [Event::TaskDone { stage: 1, task: 0, bytes: 0 }]);

        bucket.delete(&unreadable).await.unwrap();
        let failed = FailedRecord::by_worker(node, life, FailureCause::Store, "m");
        let attempt = Attempt { stage: 1, task: 1, attempt: 1 };
        board.mark_failed(&drive.id(attempt), &failed).await.unwrap();
        drive.look(false, &mut events).await.unwrap();
        assert_eq!(events[1..], [Event::AttemptFailed { attempt, failed }]);
    }

    fn lives() -> [Incarnation; 2] {
        let mut lives = [1, 2].map(|seed| Incarnation::new(&SystemClock, &SeededRng::new(seed)));
        lives.sort();
        lives
    }

    #[test]
    fn small_results_are_kept_as_long_as_there_is_room() {
        let (bucket, query) = (Bucket::in_memory(), QueryId::new(&SystemClock, &SeededRng::new(1)));
        let (mut drive, [life, _]) = (drive(&bucket, query), lives());
        let mut kept = |stage| {
            let mut done = DoneRecord::of(1, "0123456789abcdef", &NodeId::new("pi-1").unwrap(), life);
            done.inline = vec![InlineFile { file: "f".into(), body: vec![0; 20 << 20].into() }];
            drive.lighten(stage, &mut done);
            (done.inline.len(), done.inline_bytes() > 0)
        };
        assert_eq!([kept(1), kept(1), kept(2)], [(1, true), (1, false), (1, false)]);
    }
}
