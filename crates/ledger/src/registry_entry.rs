//! A registry's entry as bytes: one JSON object on each line, the first the header, each other one change of names.
//!
//! ```text
//! {"apiary":{"format":1,"v":2,"prev":"…","node":"…","txns":[…]},"timestamp":…}
//! {"create":{"frame":{"hive":"…","box":"…","frame":"…","id":"…","folder":"…"}}}
//! {"drop":{"box":{"hive":"…","box":"…"}}}
//! {"rename":{"hive":{"hive":"…","to":"…"}}}
//! ```
//!
//! The changes of one entry happen in their order and all at once. A hive or a box is dropped when it is empty, so an
//! entry that drops one with all that is in it names every frame: nobody loses one unawares. Unknown fields are
//! ignored, unknown verbs and things refuse as newer.

use apiary_bucket::Key;
use apiary_core::{BoxName, FramePath, HiveName, TxnId};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    FrameRecord, LedgerError, Result,
    entry::lines,
    header::{FORMAT, Header, Place, TxnRecord},
    sum::summed,
};

/// A registry's entry.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RegistryEntry {
    pub(crate) header: Header,
    pub(crate) timestamp_ms: i64,
    pub(crate) changes: Vec<Change>,
}

/// One change of names. What this program does not know it cannot leave out, so an unknown change refuses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Change {
    Create(Thing),
    Drop(Thing),
    Rename(Renamed),
}

/// What is created or dropped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Thing {
    Hive {
        hive: HiveName,
    },
    Box {
        hive: HiveName,
        #[serde(rename = "box")]
        box_name: BoxName,
    },
    Frame(FrameRecord),
}

/// What gets another name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Renamed {
    Hive {
        hive: HiveName,
        to: HiveName,
    },
    Box {
        hive: HiveName,
        #[serde(rename = "box")]
        box_name: BoxName,
        to: BoxName,
    },
    Frame {
        #[serde(flatten)]
        frame: FrameRecord,
        to: FramePath,
    },
}

impl Change {
    /// The words of every change that this program knows, as they stand in an entry.
    const VERBS: [&str; 3] = ["create", "drop", "rename"];
    const THINGS: [&str; 3] = ["hive", "box", "frame"];

    fn record(&self) -> Option<&FrameRecord> {
        match self {
            Self::Create(Thing::Frame(record)) | Self::Drop(Thing::Frame(record)) => Some(record),
            Self::Rename(Renamed::Frame { frame, .. }) => Some(frame),
            _ => None,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct First {
    apiary: Header,
    timestamp: i64,
}

/// The bytes of an entry. Without changes and with `sealed`, a seal.
pub(crate) fn encode(place: &Place, id: TxnId, node: &str, changes: &[Change], sealed: Option<TxnId>) -> Result<Bytes> {
    let record = TxnRecord { id, kind: "names".to_owned(), add: 0, remove: 0, idem: None, digest: None };
    let mut header = place.header(node, if sealed.is_some() { Vec::new() } else { vec![record] });
    header.sealed.extend(sealed);
    let mut out = Vec::new();
    write(&mut out, &First { apiary: header, timestamp: place.timestamp_ms })?;
    for change in changes {
        write(&mut out, change)?;
    }
    Ok(summed(out))
}

fn write(out: &mut Vec<u8>, line: &impl Serialize) -> Result<()> {
    let written = serde_json::to_writer(&mut *out, line);
    written.map_err(|error| LedgerError::Internal(format!("a registry entry could not be written: {error}")))?;
    out.push(b'\n');
    Ok(())
}

/// Reads an entry; `object` names it in errors.
pub(crate) fn decode(object: &str, body: &[u8]) -> Result<RegistryEntry> {
    let lines = lines(body).map_err(|why| LedgerError::corrupt(object, why))?;
    let bad = |i: usize, error: serde_json::Error| LedgerError::corrupt(object, format!("line {}: {error}", i + 1));
    let first: First = serde_json::from_str(lines[0]).map_err(|error| bad(0, error))?;
    // Before the changes are looked at: what a newer program wrote is newer, not corrupt.
    if first.apiary.format > FORMAT {
        let needs = format!("format {}", first.apiary.format);
        return Err(LedgerError::Newer { object: object.to_owned(), needs });
    }
    let changes = lines.iter().enumerate().skip(1);
    let changes = changes.map(|(i, line)| {
        known(object, i, line)?;
        let change: Change = serde_json::from_str(line).map_err(|error| bad(i, error))?;
        let folder = change.record().map_or("a", |record| record.folder.as_str());
        match Key::parse(folder) {
            Ok(_) if !folder.starts_with('_') => Ok(change),
            _ => Err(LedgerError::corrupt(object, format!("line {}: '{folder}' is no frame's folder", i + 1))),
        }
    });
    let changes = changes.collect::<Result<Vec<Change>>>()?;
    Ok(RegistryEntry { header: first.apiary, timestamp_ms: first.timestamp, changes })
}

/// Refuses a change that only a newer program understands.
fn known(object: &str, i: usize, line: &str) -> Result<()> {
    let corrupt = |why: &str| LedgerError::corrupt(object, format!("line {}: {why}", i + 1));
    let one = |value: &Value| match value.as_object().map(|map| map.iter().collect::<Vec<_>>()).as_deref() {
        Some([(key, value)]) => Ok(((*key).clone(), (*value).clone())),
        _ => Err(corrupt("a change has one verb, and that has one thing")),
    };
    let value: Value = serde_json::from_str(line).map_err(|error| corrupt(&error.to_string()))?;
    let (verb, of) = one(&value)?;
    let newer = |what: String| LedgerError::Newer { object: object.to_owned(), needs: format!("the change '{what}'") };
    if !Change::VERBS.contains(&verb.as_str()) {
        return Err(newer(verb));
    }
    let (thing, _) = one(&of)?;
    if Change::THINGS.contains(&thing.as_str()) { Ok(()) } else { Err(newer(format!("{verb} {thing}"))) }
}

#[cfg(test)]
mod tests {
    use apiary_core::{SeededRng, SystemClock};

    use super::*;

    #[test]
    fn an_entry_reads_what_it_writes() {
        let id = TxnId::new(&SystemClock, &SeededRng::new(1));
        let hive = HiveName::new("a").unwrap();
        let path = FramePath::new("a", "b", "c").unwrap();
        let frame =
            FrameRecord { path, id: "0123abcd".to_owned().try_into().unwrap(), folder: "a/b/c-0123abcd".into() };
        let changes = vec![
            Change::Create(Thing::Hive { hive: hive.clone() }),
            Change::Create(Thing::Box { hive, box_name: BoxName::new("b").unwrap() }),
            Change::Create(Thing::Frame(frame)),
        ];
        let place = Place::after(None, None, 5);
        let body = encode(&place, id, "n", &changes, None).unwrap();
        let entry = decode("o", &body).unwrap();
        assert_eq!((entry.changes, entry.timestamp_ms), (changes, 5));
        let text = String::from_utf8(body.to_vec()).unwrap();
        assert_eq!(
            text.lines().last().unwrap(),
            r#"{"create":{"frame":{"hive":"a","box":"b","frame":"c","id":"0123abcd","folder":"a/b/c-0123abcd"}}}"#
        );
    }

    #[test]
    fn every_change_reads_back_as_it_was_written() {
        let (hive, to) = (HiveName::new("a").unwrap(), HiveName::new("b").unwrap());
        let box_name = BoxName::new("c").unwrap();
        let id = "0123abcd".to_owned().try_into().unwrap();
        let frame = FrameRecord { path: "a.b.c".parse().unwrap(), id, folder: "a/b/c-0123abcd".into() };
        let cases = [
            (Change::Drop(Thing::Hive { hive: hive.clone() }), r#"{"drop":{"hive":{"hive":"a"}}}"#),
            (
                Change::Drop(Thing::Box { hive: hive.clone(), box_name: box_name.clone() }),
                r#"{"drop":{"box":{"hive":"a","box":"c"}}}"#,
            ),
            (
                Change::Drop(Thing::Frame(frame.clone())),
                r#"{"drop":{"frame":{"hive":"a","box":"b","frame":"c","id":"0123abcd","folder":"a/b/c-0123abcd"}}}"#,
            ),
            (Change::Rename(Renamed::Hive { hive: hive.clone(), to }), r#"{"rename":{"hive":{"hive":"a","to":"b"}}}"#),
            (
                Change::Rename(Renamed::Box { hive, box_name, to: BoxName::new("d").unwrap() }),
                r#"{"rename":{"box":{"hive":"a","box":"c","to":"d"}}}"#,
            ),
            (
                Change::Rename(Renamed::Frame { frame, to: "a.b.d".parse().unwrap() }),
                r#"{"rename":{"frame":{"hive":"a","box":"b","frame":"c","id":"0123abcd","folder":"a/b/c-0123abcd","to":{"hive":"a","box":"b","frame":"d"}}}}"#,
            ),
        ];
        for (change, text) in cases {
            assert_eq!(serde_json::to_string(&change).unwrap(), text);
            assert_eq!(decode("o", &with(text)).unwrap().changes, [change]);
        }
    }

    /// An entry with one more line.
    fn with(line: &str) -> Vec<u8> {
        let id = TxnId::new(&SystemClock, &SeededRng::new(1));
        let mut body = encode(&Place::after(None, None, 5), id, "n", &[], None).unwrap().to_vec();
        body.extend_from_slice(line.as_bytes());
        body.push(b'\n');
        body
    }

    #[test]
    fn what_only_a_newer_program_knows_refuses_as_newer() {
        for (line, needs) in [
            (r#"{"melt":{"hive":{"hive":"a"}}}"#, "'melt'"),
            (r#"{"alter":{"frame":{}}}"#, "'alter'"),
            (r#"{"create":{"grant":{"to":"x"}}}"#, "'create grant'"),
        ] {
            let error = decode("the/object", &with(line)).unwrap_err();
            assert_eq!(error.kind(), apiary_core::ErrorKind::Unsupported, "{line}");
            assert!(error.to_string().contains(needs) && error.to_string().contains("the/object"), "{error}");
        }
        // Room for more to be said of what is known.
        assert_eq!(decode("o", &with(r#"{"create":{"hive":{"hive":"a","color":"red"}}}"#)).unwrap().changes.len(), 1);
    }

    #[test]
    fn what_is_no_change_is_corrupt() {
        for line in [
            "{}",
            "[]",
            "7",
            r#"{"create":{}}"#,
            r#"{"create":{"hive":{"hive":"a"}},"drop":{"hive":{"hive":"a"}}}"#,
            r#"{"create":{"hive":{"hive":"a"},"box":{"hive":"a","box":"b"}}}"#,
            r#"{"create":{"hive":{"hive":"a/b"}}}"#,
            r#"{"create":{"hive":{"hive":""}}}"#,
            r#"{"create":{"hive":{"hive":"a","hive":"b"}}}"#,
            r#"{"create":{"frame":{"hive":"a","box":"b","frame":"c","id":"0123abcd","folder":"../x"}}}"#,
            r#"{"create":{"frame":{"hive":"a","box":"b","frame":"c","id":"0123abcd","folder":"_apiary/nodes"}}}"#,
            r#"{"rename":{"hive":{"hive":"a"}}}"#,
            r#"{"create":{"hive":{"hive":"a"}}}{}"#,
        ] {
            let error = decode("the/object", &with(line)).unwrap_err();
            assert_eq!(error.kind(), apiary_core::ErrorKind::Corrupt, "{line}: {error}");
            assert!(error.to_string().contains("the/object"), "{error}");
        }
    }
}
