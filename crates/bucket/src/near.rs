//! The bucket that somebody meant who named a place where there is none: beside it, within it or around it.
//!
//! Only folders can be looked around in; what another store holds costs requests, and its uri has fewer slips.

use std::path::{Path, PathBuf};

use apiary_core::suggest::nearest;
use url::Url;

use crate::layout;

/// Folders looked at for one suggestion.
const FOLDERS_MAX: usize = 1_000;

/// The nearest folder that holds a colony, to a uri that does not.
pub(crate) fn to_uri(uri: &str) -> Option<PathBuf> {
    to_folder(&Url::parse(uri).ok()?.to_file_path().ok()?)
}

/// The same, to a folder that need not be there.
pub(crate) fn to_folder(folder: &Path) -> Option<PathBuf> {
    let folder = std::path::absolute(folder).ok()?;
    let around = folder.ancestors().skip(1).find(|above| is_bucket(above)).map(Path::to_owned);
    around.or_else(|| only(buckets_in(&folder))).or_else(|| {
        let beside = buckets_in(folder.parent()?);
        let names: Vec<&str> = beside.iter().filter_map(|path| path.file_name()?.to_str()).collect();
        let name = nearest(folder.file_name()?.to_str()?, names)?;
        Some(folder.with_file_name(name))
    })
}

fn is_bucket(folder: &Path) -> bool {
    folder.join(layout::format().as_str()).is_file()
}

fn buckets_in(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut found: Vec<PathBuf> = entries.take(FOLDERS_MAX).flatten().map(|entry| entry.path()).collect();
    found.retain(|path| is_bucket(path));
    found.sort();
    found
}

/// One of several would be a guess.
fn only(mut found: Vec<PathBuf>) -> Option<PathBuf> {
    if found.len() == 1 { found.pop() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_found_beside_within_and_around_a_place_and_never_guessed_among_several() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        let format = at("sensors").join(layout::format().as_str());
        std::fs::create_dir_all(format.parent().unwrap()).unwrap();
        std::fs::write(&format, "{}").unwrap();
        std::fs::create_dir_all(at("sensors/hive/box")).unwrap();
        for near in ["sensros", "Sensors", "sensors/hive/box", "sensors/none", "."] {
            assert_eq!(to_folder(&at(near)), Some(at("sensors")), "{near}");
        }
        assert_eq!(to_folder(&at("weather")), None);
        assert_eq!(to_folder(&at("weather/sensors")), None);
        let other = at("other").join(layout::format().as_str());
        std::fs::create_dir_all(other.parent().unwrap()).unwrap();
        std::fs::write(other, "{}").unwrap();
        assert_eq!(to_folder(home.path()), None);
        assert_eq!(to_uri("s3://sensors"), None);
    }
}
