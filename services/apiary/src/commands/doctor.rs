//! `apiary doctor`: whether a bucket can hold a colony, and whether the colony in it is well. Exit code 1 if not.
//!
//! It opens the bucket by itself and starts no node: a doctor must be able to look where no node can live. It writes
//! only below the probe's own prefix, and takes that away again.

mod diagnosis;

use apiary_bucket::{Bucket, BucketError, Examination, Verdict, layout};
use apiary_core::{ErrorKind, units};
use apiary_ingest::verify_colony;
use apiary_ledger::Problem;
use apiary_swarm::{ColonyFormat, ColonySecret, SwarmError, heartbeat};

use self::diagnosis::{Diagnosis, Line};
use crate::{
    args::{DoctorArgs, ShownAs},
    failure::CliError,
    home,
    terminal::Terminal,
};

/// The store's clock may be off by this before the doctor speaks of it: log cleanup and vacuum go by the store's, and
/// people compare the times of a history with their own.
const SKEW_TOLD_MS: i64 = 5_000;

/// Stores that are known to do right.
const STORES_THAT_WORK: &str = "use a store that is known to work: Amazon S3, Cloudflare R2, MinIO, Google Cloud \
                                Storage, Azure Blob Storage, or a folder on a file system with hard links";

/// What to give instead of a folder that the system refuses.
const FOLDERS_THAT_WORK: &str =
    "give a folder that this user may read and write, or a bucket such as s3://bucket/prefix";

/// Runs the command.
pub(crate) async fn run(args: &DoctorArgs, terminal: &Terminal) -> Result<(), CliError> {
    let uri = match args.storage.clone().or_else(|| std::env::var("APIARY_STORAGE").ok()) {
        Some(uri) => uri,
        None => home::default_bucket()?.to_string_lossy().into_owned(),
    };
    let opened = Bucket::open_existing(&uri);
    let diagnosis = match &opened {
        Ok(bucket) => examine(bucket).await,
        Err(error) => unopened(error),
    };
    match args.format {
        ShownAs::Table => terminal.line(diagnosis.text(|ink, text| terminal.paint(ink, text))),
        ShownAs::Json => terminal.line(diagnosis.json()),
    }
    if diagnosis.is_safe() { Ok(()) } else { Err(refusal(&diagnosis, opened.err().as_ref())) }
}

/// How a diagnosis that is not good ends the command.
fn refusal(diagnosis: &Diagnosis, unopened: Option<&BucketError>) -> CliError {
    let (message, hint) = match unopened {
        Some(error) => (error.to_string(), error.hint()),
        None => {
            let hint = "what to do stands beside each finding";
            (format!("{} is not safe to write", diagnosis.store), Some(hint.to_owned()))
        }
    };
    // The place is what was to be looked at: one that cannot be is a finding, and no mistake in the command.
    let kind = unopened.map(BucketError::kind).filter(|kind| *kind != ErrorKind::InvalidInput);
    CliError::Refused { kind: kind.unwrap_or(ErrorKind::Unavailable), message, hint }
}

/// What there is to say of a place that cannot even be opened.
fn unopened(error: &BucketError) -> Diagnosis {
    // Never the uri as it was given: it may hold a secret.
    let place = match error {
        BucketError::Uri { uri, .. } => uri.clone(),
        BucketError::NoColony { place, .. } => place.clone(),
        BucketError::Io { path, .. } => path.display().to_string(),
        _ => "that cannot be opened".to_owned(),
    };
    let advice = error.hint().unwrap_or_else(|| FOLDERS_THAT_WORK.to_owned());
    Diagnosis::unasked(&place, Line::wrong("the storage can be opened", error.to_string()).advice(advice))
}

/// Everything there is to see.
pub(crate) async fn examine(bucket: &Bucket) -> Diagnosis {
    let start = bucket.clock().monotonic();
    if let Err(error) = bucket.contact().await {
        return Diagnosis::unasked(bucket.uri(), of_error("the bucket answers", &error));
    }
    let mut diagnosis = Diagnosis::new(bucket.uri());
    let took = bucket.clock().monotonic().saturating_sub(start);
    diagnosis.storage.push(Line::right("the bucket answers").in_time(took));
    let examination = bucket.examine().await;
    of_storage(&examination, &mut diagnosis.storage);
    diagnosis.colony = of_colony(bucket).await;
    diagnosis
}

fn of_error(what: &str, error: &BucketError) -> Line {
    Line::wrong(what, error.to_string()).advice(error.hint().unwrap_or_else(|| "try again".to_owned()))
}

fn of_storage(examination: &Examination, lines: &mut Vec<Line>) {
    for check in &examination.checks {
        lines.push(match &check.verdict {
            Verdict::Right => Line::right(check.name).in_time(check.took),
            Verdict::Wrong(fault) => Line::wrong(check.name, fault).danger(check.danger).advice(STORES_THAT_WORK),
            Verdict::Unasked => Line::unasked(check.name),
        });
    }
    if let Some(error) = &examination.broken_off {
        lines.push(of_error("the checks could be ended", error));
    }
    match examination.clock_skew_ms {
        Some(skew) if skew.abs() >= SKEW_TOLD_MS => lines.push(
            Line::note("clock", format!("the store's clock is {} this machine's", off(skew)))
                .danger("nothing is lost by it; times of versions are not what people expect")
                .advice("set this machine's clock by NTP"),
        ),
        Some(_) => lines.push(Line::right("the store's clock agrees with this machine's")),
        None => lines.push(Line::unasked("the store's clock agrees with this machine's")),
    }
}

/// `3.2 s ahead of`, `1 min behind`.
fn off(ms: i64) -> String {
    let seconds = ms.unsigned_abs() / 1000;
    let (number, unit) = match seconds {
        0..120 => (seconds, "s"),
        120..7_200 => (seconds / 60, "min"),
        7_200..172_800 => (seconds / 3_600, "h"),
        _ => (seconds / 86_400, "days"),
    };
    format!("{number} {unit} {}", if ms > 0 { "ahead of" } else { "behind" })
}

async fn of_colony(bucket: &Bucket) -> Vec<Line> {
    let mut lines = Vec::new();
    let wrong = |what: &str, error: &SwarmError| {
        let advice = error.hint().unwrap_or_else(|| "restore the object from a copy of the bucket".to_owned());
        Line::wrong(what, error.to_string()).advice(advice)
    };
    let problems = match verify_colony(bucket).await {
        Ok((report, _)) => report.problems,
        Err(error) => {
            let advice = error.hint().unwrap_or_else(|| "try again".to_owned());
            lines.push(Line::wrong("the colony can be examined", error.to_string()).advice(advice));
            return lines;
        }
    };
    let of = |key: &str| problems.iter().filter(|problem| problem.object == key).map(of_problem).collect::<Vec<_>>();
    match ColonyFormat::look(bucket).await {
        Ok(None) if problems.is_empty() => {
            lines.push(Line::right("no colony yet: the first node founds it"));
            return lines;
        }
        Ok(Some(format)) => {
            lines.push(Line::right(format!("format {}, cluster {}", format.format, format.cluster)));
        }
        Ok(None) => lines.extend(of(layout::format().as_str())),
        Err(error) => lines.push(wrong("the colony's format", &error)),
    }
    match ColonySecret::look(bucket).await {
        Ok(Some(_)) => lines.push(Line::right("the colony's secret is there")),
        Ok(None) => lines.push(
            Line::note(layout::secret().to_string(), "it is not there; the next node makes one")
                .advice("restart the nodes that run when it is there, so that all know the same"),
        ),
        Err(error) => lines.push(wrong("the colony's secret", &error)),
    }
    let others = [layout::format(), layout::secret()];
    let names: Vec<&Problem> =
        problems.iter().filter(|problem| others.iter().all(|key| key.as_str() != problem.object)).collect();
    if names.is_empty() {
        lines.push(Line::right("the registry of names is whole"));
    }
    lines.extend(names.into_iter().map(of_problem));
    match heartbeat::clocks(bucket).await {
        Ok(clocks) => {
            lines.push(Line::right(format!("{} in the listing of nodes", units::counted(clocks.len() as u64, "node"))));
            for clock in clocks {
                lines.extend(of_node(&clock));
            }
        }
        Err(error) => lines.push(wrong("the nodes' heartbeats", &error)),
    }
    lines
}

fn of_problem(problem: &Problem) -> Line {
    Line::wrong(&problem.object, &problem.what).advice(&problem.advice)
}

fn of_node(clock: &heartbeat::NodeClock) -> Option<Line> {
    match &clock.off_ms {
        Err(why) => Some(
            Line::note(clock.key.clone(), format!("this heartbeat cannot be read: {why}"))
                .advice("other nodes pass it over; remove it if its node is gone"),
        ),
        Ok(Some(off_ms)) if off_ms.abs() >= SKEW_TOLD_MS => Some(
            Line::note(clock.key.clone(), format!("this node's clock is {} the store's", off(*off_ms)))
                .danger("nothing is lost by it; times that it writes are not what people expect")
                .advice("set that machine's clock by NTP"),
        ),
        Ok(_) => None,
    }
}

#[cfg(test)]
mod tests;
