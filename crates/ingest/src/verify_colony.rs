//! Whether the objects that a colony as a whole stands on are there and sound: its format, its secret, its registry.
//! Changes nothing.
//!
//! A registry that lost entries reads like a younger one, so it is held against what else is in the bucket: entries
//! behind a gap, and frames to which no name leads.

use std::sync::Arc;

use apiary_bucket::{Bucket, layout};
use apiary_core::Version;
use apiary_ledger::{FolderFate, LedgerError, Namespace, Registry, VacuumOptions, VerifyReport, sweep};
use apiary_swarm::{ColonyFormat, ColonySecret, SwarmError};

use crate::{Result, verify::RESTORE};

/// What to do about a secret that is gone or broken: it decides about no row.
const NEW_SECRET: &str = "restore the object from a backup, or delete it if it is broken: the next node that starts makes \
                          a new one; then restart the nodes that run, so that all know the same";

/// Checks the colony, then the names; without names, if they cannot be read. 1 GET for each entry of the registry and 1
/// LIST for each 1 000, 2 GETs and the LISTs of a sweep besides.
pub async fn verify_colony(bucket: &Bucket) -> Result<(VerifyReport, Option<Arc<Namespace>>)> {
    let mut report = VerifyReport::default();
    let names = entries(bucket, &mut report).await?;
    let has_frames = match &names {
        Some(names) => frames(bucket, names, &mut report).await?,
        None => true,
    };
    let is_founded = has_frames || report.entries > 0 || !report.is_clean();
    let format = ColonyFormat::look(bucket).await;
    if let Some((what, advice)) = wrong(format.map(|found| found.is_some()), is_founded, RESTORE)? {
        report.found(layout::format().as_str(), what, advice);
    }
    let secret = ColonySecret::look(bucket).await;
    if let Some((what, advice)) = wrong(secret.map(|found| found.is_some()), is_founded, NEW_SECRET)? {
        report.found(layout::secret().as_str(), what, advice);
    }
    Ok((report, names))
}

/// What is wrong with one of the colony's own objects.
fn wrong(
    found: std::result::Result<bool, SwarmError>,
    is_founded: bool,
    advice: &'static str,
) -> Result<Option<(String, &'static str)>> {
    match found {
        Ok(false) if is_founded => Ok(Some(("it is missing".to_owned(), advice))),
        Ok(_) => Ok(None),
        Err(SwarmError::Corrupt { why, .. }) => Ok(Some((why, advice))),
        Err(SwarmError::Bucket(error)) => Err(error.into()),
        Err(error) => Ok(Some((error.to_string(), "update this program"))),
    }
}

/// Reads the registry from its first entry on, and looks for entries that it does not reach.
async fn entries(bucket: &Bucket, report: &mut VerifyReport) -> Result<Option<Arc<Namespace>>> {
    // One that has read nothing yet: what is cached was checked when it was read, and is not what is there.
    let registry = Registry::new(bucket.clone());
    let mut read = registry.namespace().await;
    if let Ok(names) = &read
        && is_beyond(bucket, names).await?.is_some()
    {
        // Written since, perhaps.
        read = registry.namespace().await;
    }
    let names = match read {
        Ok(names) => names,
        Err(LedgerError::Corrupt { object, why }) => {
            report.found(object, why, RESTORE);
            return Ok(None);
        }
        Err(error) => return Err(error.into()),
    };
    report.version = names.version;
    report.oldest = names.version.map(|_| Version(0));
    report.entries = names.version.map_or(0, |version| version.0 + 1);
    let key = layout::registry(next(&names));
    // One that is there was written since.
    if let Some(beyond) = is_beyond(bucket, &names).await?
        && bucket.get(&key).await?.is_none()
    {
        report.found(key.as_str(), format!("it is missing, and '{beyond}' is there"), RESTORE);
        return Ok(None);
    }
    Ok(Some(names))
}

fn next(names: &Namespace) -> Version {
    names.version.map_or(Version(0), Version::next)
}

/// An entry after those that were read. 1 LIST.
async fn is_beyond(bucket: &Bucket, names: &Namespace) -> Result<Option<String>> {
    let after = names.version.map(layout::registry);
    let after = after.as_ref().map(|key| key.as_str());
    let listed = bucket.list(layout::registry_prefix(), after, 16).await?;
    let entry = |object: apiary_bucket::Listed| layout::parse_registry(&object.key).map(|_| object.key);
    Ok(listed.into_iter().find_map(entry))
}

/// Looks for frames without a name; false if there are no frames at all.
async fn frames(bucket: &Bucket, names: &Namespace, report: &mut VerifyReport) -> Result<bool> {
    let registry = Registry::new(bucket.clone());
    // Ages decide only what garbage is, and nothing is deleted: this machine's clock will do.
    let options = VacuumOptions { store_now_ms: Some(bucket.clock().wall_ms()), ..VacuumOptions::default() };
    let swept = sweep(bucket, &registry, &options).await?;
    if swept.refused.is_some() {
        let why = "it is missing, as is every entry after it, and there are frames in the bucket";
        report.found(layout::registry(Version(0)).as_str(), why, RESTORE);
        return Ok(true);
    }
    let lost: Vec<_> = swept.unnamed.into_iter().filter(|unnamed| unnamed.fate == FolderFate::HoldsFrame).collect();
    // One that was made meanwhile has its name by now.
    let now = if lost.is_empty() { None } else { Some(registry.namespace().await?) };
    for unnamed in lost {
        if now.as_ref().is_some_and(|now| now.in_folder(&unnamed.folder).is_some()) {
            continue;
        }
        let key = layout::registry(next(names));
        let why =
            format!("it is missing, with every entry after it: no name leads to the frame in '{}'", unnamed.folder);
        report.found(key.as_str(), why, RESTORE);
    }
    Ok(swept.folders_seen > 0)
}
