//! What is due, and whose it is: pure.

use std::{
    collections::{BTreeMap, hash_map::DefaultHasher},
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use apiary_ledger::FrameRecord;
use apiary_swarm::behaviour::temperature::Regime;

/// Between two vacuums of one frame, and two sweeps.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Between two looks at the names: a new frame has nothing to vacuum for days.
const NAMES_EVERY: Duration = Duration::from_secs(3600);

/// After its start a compactor lets others work first.
const SETTLE: Duration = Duration::from_secs(600);

/// After a job that reached a limit: others first.
const GO_ON: Duration = Duration::from_secs(300);

/// After a job that failed.
const RETRY: Duration = Duration::from_secs(3600);

/// Most jobs between two looks.
const JOBS_MAX: u32 = 100;

/// One piece of care.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Job {
    /// A frame's files.
    Vacuum(Arc<FrameRecord>),
    /// What no frame has.
    Sweep,
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vacuum(record) => write!(f, "vacuum of {}", record.path),
            Self::Sweep => f.write_str("sweep of the bucket"),
        }
    }
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    /// A limit was reached; there is more to do.
    More,
    Failed,
}

/// What is known of the jobs. Times are of one monotonic clock.
#[derive(Debug)]
pub(crate) struct Schedule {
    started: Duration,
    names_at: Option<Duration>,
    /// By folder, which a rename does not change.
    frames: BTreeMap<String, Frame>,
    sweep_due: Option<Duration>,
    jobs: u32,
}

#[derive(Debug)]
struct Frame {
    record: Arc<FrameRecord>,
    due: Duration,
}

impl Schedule {
    pub(crate) fn new(now: Duration) -> Self {
        Self { started: now, names_at: None, frames: BTreeMap::new(), sweep_due: None, jobs: 0 }
    }

    /// Whether the names should be read now. Begins a new look.
    pub(crate) fn wants_names(&mut self, now: Duration, regime: Regime) -> bool {
        self.jobs = 0;
        let old = self.names_at.is_none_or(|at| now >= at + NAMES_EVERY);
        is_calm(regime) && now >= self.started + SETTLE && old
    }

    /// Learns the frames there are; `mine` says of a folder, or of the empty word for the sweep, whether it is ours.
    pub(crate) fn know(&mut self, now: Duration, frames: &[Arc<FrameRecord>], mine: &impl Fn(&str) -> bool) {
        self.names_at = Some(now);
        let known = std::mem::take(&mut self.frames);
        for record in frames.iter().filter(|record| mine(&record.folder)) {
            let due = known.get(&record.folder).map_or(now, |frame| frame.due);
            self.frames.insert(record.folder.clone(), Frame { record: Arc::clone(record), due });
        }
        self.sweep_due = mine("").then(|| self.sweep_due.unwrap_or(now));
    }

    /// The next job that is due; what waited longest comes first.
    pub(crate) fn next(&mut self, now: Duration, regime: Regime) -> Option<Job> {
        if !is_calm(regime) || self.jobs == JOBS_MAX {
            return None;
        }
        let frame = self.frames.values().filter(|frame| frame.due <= now).min_by_key(|frame| frame.due);
        let sweep = self.sweep_due.filter(|due| *due <= now);
        let job = match (frame, sweep) {
            (Some(frame), sweep) if sweep.is_none_or(|due| frame.due <= due) => Job::Vacuum(Arc::clone(&frame.record)),
            (_, Some(_)) => Job::Sweep,
            _ => return None,
        };
        self.jobs += 1;
        Some(job)
    }

    /// Learns how a job ended.
    pub(crate) fn done(&mut self, job: &Job, outcome: Outcome, now: Duration) {
        let due = now
            + match outcome {
                Outcome::Done => DAY,
                Outcome::More => GO_ON,
                Outcome::Failed => RETRY,
            };
        match job {
            Job::Sweep => self.sweep_due = Some(due),
            Job::Vacuum(record) => {
                if let Some(frame) = self.frames.get_mut(&record.folder) {
                    frame.due = due;
                }
            }
        }
    }
}

/// Whether maintenance may work.
fn is_calm(regime: Regime) -> bool {
    matches!(regime, Regime::Cold | Regime::Ideal)
}

/// Whether a job is this compactor's: rendezvous hashing, so that few jobs move when compactors come and go. One that does
/// not see itself yet counts itself.
pub(crate) fn is_mine(me: &str, others: &[String], what: &str) -> bool {
    let weight = |node: &str| {
        let mut hasher = DefaultHasher::new();
        (node, what).hash(&mut hasher);
        (hasher.finish(), node.to_owned())
    };
    let mine = weight(me);
    others.iter().all(|other| weight(other) <= mine)
}

#[cfg(test)]
mod tests {
    use apiary_core::{FrameId, FramePath, SeededRng};

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn frames(n: u64) -> Vec<Arc<FrameRecord>> {
        let record = |n| FrameRecord {
            path: FramePath::new("h", "b", &format!("f{n}")).unwrap(),
            id: FrameId::random(&SeededRng::new(n)),
            folder: format!("h/b/f{n}"),
        };
        (0..n).map(|n| Arc::new(record(n))).collect()
    }

    fn all(schedule: &mut Schedule, now: Duration, regime: Regime) -> Vec<String> {
        let mut done = Vec::new();
        while let Some(job) = schedule.next(now, regime) {
            schedule.done(&job, Outcome::Done, now);
            done.push(job.to_string());
        }
        done
    }

    #[test]
    fn everything_is_done_once_a_day() {
        let mut schedule = Schedule::new(Duration::ZERO);
        assert!(!schedule.wants_names(SETTLE - Duration::from_secs(1), Regime::Cold), "others work first");
        let (mut jobs, mut looks) = (0, 0);
        for hour in 1..=72 {
            let now = HOUR * hour;
            if schedule.wants_names(now, Regime::Cold) {
                looks += 1;
                schedule.know(now, &frames(3), &|_| true);
            }
            jobs += all(&mut schedule, now, Regime::Cold).len();
        }
        assert_eq!((jobs, looks), (3 * 4, 72));
    }

    #[test]
    fn a_busy_colony_is_left_alone() {
        let mut schedule = Schedule::new(Duration::ZERO);
        assert!(!schedule.wants_names(HOUR, Regime::Warm));
        assert!(schedule.wants_names(HOUR, Regime::Ideal));
        schedule.know(HOUR, &frames(2), &|_| true);
        for regime in [Regime::Warm, Regime::Hot, Regime::Critical] {
            assert!(all(&mut schedule, HOUR, regime).is_empty());
        }
        assert_eq!(all(&mut schedule, HOUR, Regime::Ideal).len(), 3);
    }

    #[test]
    fn what_failed_waits_an_hour_and_what_is_unfinished_goes_on() {
        let mut schedule = Schedule::new(Duration::ZERO);
        schedule.know(HOUR, &frames(1), &|what| !what.is_empty());
        let job = schedule.next(HOUR, Regime::Cold).unwrap();
        schedule.done(&job, Outcome::Failed, HOUR);
        assert_eq!(schedule.next(HOUR * 2 - Duration::from_secs(1), Regime::Cold), None);
        let job = schedule.next(HOUR * 2, Regime::Cold).unwrap();
        schedule.done(&job, Outcome::More, HOUR * 2);
        assert_eq!(schedule.next(HOUR * 2, Regime::Cold), None, "not in the same look");
        assert!(schedule.next(HOUR * 3, Regime::Cold).is_some());
    }

    #[test]
    fn a_frame_that_was_renamed_or_dropped_is_not_forgotten_or_kept() {
        let mut schedule = Schedule::new(Duration::ZERO);
        schedule.know(HOUR, &frames(2), &|_| true);
        assert_eq!(all(&mut schedule, HOUR, Regime::Cold).len(), 3);
        schedule.know(HOUR * 2, &frames(1), &|_| true);
        assert!(all(&mut schedule, HOUR * 2, Regime::Cold).is_empty(), "it was done an hour ago");
        assert_eq!(all(&mut schedule, HOUR * 40, Regime::Cold).len(), 2);
    }

    #[test]
    fn no_look_does_more_than_a_hundred_jobs() {
        let mut schedule = Schedule::new(Duration::ZERO);
        schedule.know(HOUR, &frames(250), &|_| true);
        assert_eq!(all(&mut schedule, HOUR, Regime::Cold).len(), 100);
    }

    #[test]
    fn each_job_has_one_owner_and_most_stay_when_one_leaves() {
        let nodes: Vec<String> = (0..4).map(|n| format!("pi-{n}")).collect();
        let owner = |nodes: &[String], what: &str| {
            let owners: Vec<&String> = nodes.iter().filter(|node| is_mine(node, nodes, what)).collect();
            assert_eq!(owners.len(), 1);
            owners[0].clone()
        };
        let folders: Vec<String> = (0..200).map(|n| format!("h/b/f{n}")).collect();
        let moved = folders.iter().filter(|folder| owner(&nodes, folder) != owner(&nodes[..3], folder));
        let of_last = folders.iter().filter(|folder| owner(&nodes, folder) == nodes[3]);
        assert_eq!(moved.count(), of_last.count());
        assert!(is_mine("alone", &[], "x"));
    }
}
