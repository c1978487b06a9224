//! What a look at the board says: new objects become events for the state machine.
//!
//! A listing shows that objects are there; only new ones are read. A claim is read when it has stood for a while, to
//! compare its worker with the world: a node that is dead, or in another life than the claim's, has lost its attempt.
//! Liveness only decides when to try again, never what is true.

use std::time::Duration;

use apiary_swarm::{
    BoardView, NodeState, NodeView, TaskId,
    board::{ClaimRecord, DoneRecord, FailedRecord, FailureCause},
};
use futures::{StreamExt, TryStreamExt, stream};

use crate::{
    EngineError, Result,
    drive::Drive,
    publish,
    query_run::{Attempt, Event},
};

/// How many board objects are read at once.
const READS_AT_ONCE: usize = 16;

/// Small results of a query that a coordinator keeps in memory to send them along with tasks.
const INLINE_KEPT_BYTES_MAX: usize = 32 << 20;

/// A claim younger than this is believed without reading it.
const CLAIM_TRUST: Duration = Duration::from_secs(2);

/// A worker that this coordinator has never seen is given this long to show itself.
const STRANGER_TRUST: Duration = Duration::from_secs(30);

/// What a worker may take beyond its task's own deadline to report that it missed it.
const TIMEOUT_GRACE: Duration = Duration::from_secs(30);

/// What is known of a claim.
#[derive(Debug)]
pub(crate) struct Claim {
    since: Duration,
    record: Option<ClaimRecord>,
}

impl Drive {
    /// One look at the board: what is new is added to `events`, and stays there if the look fails half way, because
    /// what was seen once is not seen again. 1 LIST, with `care` 2, and a GET for each new object.
    pub(crate) async fn look(&mut self, care: bool, events: &mut Vec<Event>) -> Result<()> {
        let view = match care {
            true => self.board.list_query(&self.query).await?,
            false => self.board.list_tasks(&self.query).await?,
        };
        self.new_done(&view, events).await?;
        self.new_failed(&view, events).await?;
        if view.cancelled {
            events.push(Event::Cancel);
        }
        if care {
            self.lost(&view, events).await?;
        }
        Ok(())
    }

    async fn new_done(&mut self, view: &BoardView, events: &mut Vec<Event>) -> Result<()> {
        let new = view.tasks.iter().filter(|(id, task)| task.done && !self.done.contains_key(id)).map(|(id, _)| *id);
        let read = |(stage, task): (u32, u32)| {
            let (board, id) = (self.board.clone(), TaskId::new(self.query, stage, task));
            async move { Ok::<_, EngineError>(((stage, task), board.read_done(&id).await?)) }
        };
        let reads: Vec<_> = new.map(read).collect();
        let records: Vec<_> = stream::iter(reads).buffer_unordered(READS_AT_ONCE).try_collect().await?;
        for ((stage, task), done) in records {
            let Some(mut done) = done else { continue };
            self.metrics.add(stage, task, &done);
            if stage == self.last {
                self.finished.send(Ok((task, done.clone()))).ok();
            }
            self.lighten(stage, &mut done);
            self.done.insert((stage, task), done);
            events.push(Event::TaskDone { stage, task });
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

    /// Attempts whose worker is gone or that ran far too long.
    async fn lost(&mut self, view: &BoardView, events: &mut Vec<Event>) -> Result<()> {
        let (now, world) = (self.now(), (self.env.world)());
        for attempt in self.run.in_flight() {
            let claimed = view.task(attempt.stage, attempt.task).is_some_and(|t| t.claimed.contains(&attempt.attempt));
            if !claimed {
                continue;
            }
            let id = self.id(attempt);
            let claim = self.claims.entry(attempt).or_insert(Claim { since: now, record: None });
            let age = now.saturating_sub(claim.since);
            if age < CLAIM_TRUST {
                continue;
            }
            if claim.record.is_none() {
                claim.record = self.board.read_claim(&id).await?;
                let node = claim.record.as_ref().map(|record| record.worker.clone());
                events.extend(node.map(|node| Event::Claimed { attempt, node }));
            }
            let Some(record) = &claim.record else { continue };
            let limit = publish::attempt_timeout_max(attempt.attempt).min(self.timeout);
            if let Some((cause, why)) = given_up(record, &world, age, limit) {
                let failed = FailedRecord::by_coordinator(self.env.node.clone(), Some(record), cause, &why);
                events.push(Event::AttemptLost { attempt, failed });
            }
        }
        Ok(())
    }
}

/// Whether a claim is dead, and why. Pure.
fn given_up(claim: &ClaimRecord, world: &[NodeView], age: Duration, limit: Duration) -> Option<(FailureCause, String)> {
    let node = &claim.worker;
    if age > limit + TIMEOUT_GRACE {
        return Some((FailureCause::Timeout, format!("{node} held it for {} s", age.as_secs())));
    }
    let Some(seen) = world.iter().find(|view| view.heartbeat.node == *node) else {
        return (age > STRANGER_TRUST).then(|| (FailureCause::NodeLost, format!("{node} has no heartbeat")));
    };
    // Lives are numbered by their own clocks, and a small machine's may have gone back while it was off: a heartbeat
    // that still tells of another life after so long is not merely late.
    let differs = seen.heartbeat.incarnation != claim.incarnation;
    if seen.heartbeat.incarnation > claim.incarnation || (differs && age > STRANGER_TRUST) {
        return Some((FailureCause::NodeLost, format!("{node} was restarted")));
    }
    let silent = seen.seen_ago.as_secs();
    (seen.state == NodeState::Dead).then(|| (FailureCause::NodeLost, format!("{node} has been silent for {silent} s")))
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, sync::Arc};

    use apiary_bucket::{Bucket, layout};
    use apiary_core::{Incarnation, NodeId, QueryId, SeededRng, SystemClock};
    use apiary_swarm::{Board, Heartbeat, board::InlineFile};
    use bytes::Bytes;
    use datafusion::arrow::datatypes::Schema;
    use tokio::sync::mpsc;

    use super::*;
    use crate::{BoardEnv, NoNudges, StagePlans, pieces::DoneTasks, query_run::QueryRun};

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
            plans: StagePlans { stages: vec![], schema, ordered: false, settings: vec![] },
            last: 2,
            epoch: 1,
            run: QueryRun::new(vec![], 1),
            started: Duration::ZERO,
            timeout: Duration::from_secs(600),
            open: HashMap::new(),
            done: DoneTasks::new(),
            inline_kept: 0,
            failed: Default::default(),
            claims: HashMap::new(),
            delayed: vec![],
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
        assert_eq!(events, [Event::TaskDone { stage: 1, task: 0 }]);

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

    fn world(incarnation: Incarnation, state: NodeState) -> Vec<NodeView> {
        let beat = serde_json::json!({
            "format": 1, "node": "pi-1", "incarnation": incarnation, "counter": 1, "interval_s": 1.0, "roles": ["worker"],
            "version": "0", "cores": 1, "memory_bytes": 1, "bees": {"total": 1, "busy": 0}, "chamber_bytes": 1,
            "strain": {"bees": 0.0, "memory": 0.0, "queue": 0}, "temperature": 0.0
        });
        let heartbeat: Heartbeat = serde_json::from_value(beat).unwrap();
        vec![NodeView { heartbeat, state, seen_ago: Duration::from_secs(40) }]
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

    fn verdict(claimed_by: Incarnation, world: &[NodeView], age_s: u64) -> Option<FailureCause> {
        let claim = ClaimRecord::new(NodeId::new("pi-1").unwrap(), claimed_by, "0123456789abcdef");
        given_up(&claim, world, Duration::from_secs(age_s), Duration::from_secs(600)).map(|(cause, _)| cause)
    }

    #[test]
    fn a_claim_lives_as_long_as_its_worker_does() {
        let [old, new] = lives();
        assert_eq!(verdict(old, &world(old, NodeState::Alive), 500), None);
        assert_eq!(verdict(old, &world(old, NodeState::Suspect), 500), None);
        assert_eq!(verdict(old, &world(old, NodeState::Dead), 5), Some(FailureCause::NodeLost));
        assert_eq!(verdict(old, &world(new, NodeState::Alive), 5), Some(FailureCause::NodeLost));
        assert_eq!(verdict(new, &world(old, NodeState::Alive), 5), None);
    }

    #[test]
    fn a_restart_is_seen_though_the_clock_went_back() {
        let [earlier, later] = lives();
        assert_eq!(verdict(later, &world(earlier, NodeState::Alive), 31), Some(FailureCause::NodeLost));
    }

    #[test]
    fn a_stranger_has_half_a_minute() {
        let [life, _] = lives();
        assert_eq!(verdict(life, &[], 29), None);
        assert_eq!(verdict(life, &[], 31), Some(FailureCause::NodeLost));
    }

    #[test]
    fn nobody_may_hold_a_task_for_ever() {
        let [life, _] = lives();
        assert_eq!(verdict(life, &world(life, NodeState::Alive), 631), Some(FailureCause::Timeout));
    }
}
