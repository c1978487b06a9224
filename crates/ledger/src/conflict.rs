//! Which transactions may pass which: pure rules over what an entry says it did.
//!
//! | mine ↓ came first → | append | compaction | anything else |
//! |---|---|---|---|
//! | **append** | commit | commit | fail |
//! | **compaction** | commit | commit, if no cell that it rewrites is gone | fail |
//!
//! Anything else is what this version does not write but a newer one may: it fails rather than guesses.

use std::collections::HashSet;

use crate::{Kind, entry::FrameEntry};

/// Whether my transaction may pass an entry that came first; if not, why. `removes` are the paths mine removes.
pub(crate) fn pass(mine: Kind, removes: &HashSet<String>, theirs: &FrameEntry) -> Result<(), String> {
    let version = theirs.header.v;
    if theirs.metadata.is_some() || theirs.protocol.is_some() {
        return Err(format!("version {version} changed the frame itself"));
    }
    let known = [Kind::Append.as_str(), Kind::Compaction.as_str(), Kind::Vacuum.as_str()];
    if let Some(txn) = theirs.header.txns.iter().find(|txn| !known.contains(&txn.kind.as_str())) {
        return Err(format!("version {version} is of a kind that this program does not know: '{}'", txn.kind));
    }
    if let Some(gone) = theirs.removes.iter().find(|remove| removes.contains(&remove.path)) {
        return Err(format!("version {version} removed '{}', which this {} rewrites", gone.path, mine.as_str()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use apiary_core::{SeededRng, SystemClock, TxnId};

    use super::*;
    use crate::{
        entry::Remove,
        header::{Place, TxnRecord},
    };

    fn theirs(kind: &str, removes: &[&str]) -> FrameEntry {
        let id = TxnId::new(&SystemClock, &SeededRng::new(1));
        let record = TxnRecord { id, kind: kind.to_owned(), add: 0, remove: 0, idem: None, digest: None };
        let removes = removes.iter().map(|path| Remove {
            path: (*path).to_owned(),
            deletion_timestamp: 0,
            data_change: false,
            extended_file_metadata: false,
            partition_values: Default::default(),
            size: 0,
            stats: None,
        });
        FrameEntry {
            header: Place::after(None, None, 1).header("n", vec![record]),
            timestamp_ms: 1,
            protocol: None,
            metadata: None,
            adds: vec![],
            removes: removes.collect(),
        }
    }

    fn may_pass(mine: Kind, removes: &[&str], theirs: &FrameEntry) -> bool {
        pass(mine, &removes.iter().map(|path| (*path).to_owned()).collect(), theirs).is_ok()
    }

    #[test]
    fn appends_pass_appends_and_compactions() {
        assert!(may_pass(Kind::Append, &[], &theirs("append", &[])));
        assert!(may_pass(Kind::Append, &[], &theirs("compaction", &["a"])));
    }

    #[test]
    fn compactions_pass_whatever_leaves_their_cells_alone() {
        assert!(may_pass(Kind::Compaction, &["a"], &theirs("append", &[])));
        assert!(may_pass(Kind::Compaction, &["a"], &theirs("compaction", &["b"])));
        assert!(!may_pass(Kind::Compaction, &["a", "b"], &theirs("compaction", &["b"])));
    }

    #[test]
    fn nothing_passes_what_it_does_not_know() {
        for mine in [Kind::Append, Kind::Compaction] {
            assert!(!may_pass(mine, &[], &theirs("overwrite", &[])));
            assert!(!may_pass(mine, &[], &theirs("drop", &[])));
            assert!(may_pass(mine, &[], &theirs("vacuum", &[])));
        }
    }
}
