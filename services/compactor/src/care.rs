//! Care of the bucket without being asked: each frame is vacuumed, and the rest of the bucket swept, about once a day.
//!
//! What is due is decided in `plan`, pure; this loop asks it every few minutes, without a request, and does one job after
//! the other. Several compactors share the frames by what they see of each other; where they see differently, two do
//! the same work, which is safe. Only a colony that is cold or ideal is cared for: maintenance waits for queries.
//!
//! Requests of an idle compactor: the names once an hour (1 GET); a day for each frame its newest version and its list of
//! cells (some 4), for the bucket a sweep (some 8) and the store's time (3). With ten frames that is 3 an hour.

pub(crate) mod plan;

use std::{sync::Arc, time::Duration};

use apiary_core::clock::within;
use apiary_ledger::{self as ledger, FrameRecord, Frames, LedgerError, Registry, VacuumOptions};
use apiary_node::Node;
use apiary_swarm::behaviour::temperature::Regime;
use tokio_util::sync::CancellationToken;

use self::plan::{Job, Outcome, Schedule};
use crate::Result;

/// Between two looks at the schedule, which costs no request.
const TICK: Duration = Duration::from_secs(300);

/// A look waits up to this much longer, so that compactors started together do not work together.
const TICK_JITTER_MS: u64 = 60_000;

/// Longest one job may take; what it did not do is due again.
const JOB_MAX: Duration = Duration::from_secs(3600);

/// What care needs to do its jobs.
#[derive(Debug)]
pub(crate) struct Care {
    pub(crate) node: Arc<Node>,
    pub(crate) registry: Registry,
    pub(crate) frames: Frames,
}

/// Cares until `shutdown`.
pub(crate) async fn run(care: Care, shutdown: CancellationToken) {
    let clock = Arc::clone(care.node.clock());
    let mut schedule = Schedule::new(clock.monotonic());
    // Ends with the node.
    loop {
        let wait = TICK + Duration::from_millis(care.node.rng().below(TICK_JITTER_MS));
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = clock.sleep(wait) => {}
        }
        let (_, regime) = care.node.colony_temperature();
        tokio::select! {
            // A job that is dropped is like a crash of it: the next finishes.
            () = shutdown.cancelled() => return,
            () = care.look(&mut schedule, regime) => {}
        }
    }
}

impl Care {
    /// Does what is due now.
    pub(crate) async fn look(&self, schedule: &mut Schedule, regime: Regime) {
        let clock = self.node.clock();
        if schedule.wants_names(clock.monotonic(), regime) {
            match self.registry.namespace().await {
                Ok(names) => schedule.know(clock.monotonic(), &names.all_frames(), &self.mine()),
                Err(error) => {
                    tracing::warn!(%error, "cannot read the names of frames to care for");
                    return;
                }
            }
        }
        // Bounded by the schedule: what was done is not due.
        while let Some(job) = schedule.next(clock.monotonic(), regime) {
            let done = within(clock.as_ref(), JOB_MAX, self.perform(&job)).await;
            let outcome = match done {
                Some(Ok(outcome)) => outcome,
                Some(Err(error)) => {
                    tracing::warn!(%job, %error, "maintenance failed; trying again later");
                    Outcome::Failed
                }
                None => Outcome::More,
            };
            schedule.done(&job, outcome, clock.monotonic());
        }
    }

    /// Which jobs are this compactor's, among those it sees alive.
    fn mine(&self) -> impl Fn(&str) -> bool + use<> {
        let me = self.node.id.to_string();
        let alive = self.node.world().into_iter().filter(|node| node.is_alive() && node.has_role("compactor"));
        let others: Vec<String> = alive.map(|node| node.heartbeat.node.to_string()).collect();
        move |what| plan::is_mine(&me, &others, what)
    }

    async fn perform(&self, job: &Job) -> Result<Outcome> {
        let options = VacuumOptions { run: true, node: self.node.id.to_string(), ..VacuumOptions::default() };
        let more = match job {
            Job::Vacuum(record) => self.vacuum(record, &options).await?,
            Job::Sweep => {
                let swept = ledger::sweep(&self.node.bucket, &self.registry, &options).await?;
                if let Some(why) = &swept.refused {
                    tracing::error!(why, "the bucket is not swept");
                }
                swept.more
            }
        };
        Ok(if more { Outcome::More } else { Outcome::Done })
    }

    async fn vacuum(&self, record: &FrameRecord, options: &VacuumOptions) -> Result<bool> {
        match self.frames.vacuum(record, options).await {
            Ok(report) => {
                if let Some(why) = report.refused() {
                    tracing::error!(frame = %record.path, why, "a frame is not vacuumed");
                }
                Ok(report.more)
            }
            // Its folder is the sweep's.
            Err(LedgerError::Dropped { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}
