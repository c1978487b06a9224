//! A registry's entry as bytes: one JSON object on each line, the first the header, each other one change of names.
//!
//! ```text
//! {"apiary":{"format":1,"v":2,"prev":"…","node":"…","txns":[…]},"timestamp":…}
//! {"create":{"frame":{"hive":"…","box":"…","frame":"…","id":"…","folder":"…"}}}
//! ```

use apiary_core::{BoxName, FramePath, HiveName, TxnId};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    FrameRecord, LedgerError, Result,
    entry::lines,
    header::{Header, Place, TxnRecord},
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
    Create(Made),
}

/// What is created.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Made {
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

impl Made {
    /// Its name as names are compared: two things with the same one exclude each other.
    pub(crate) fn folded(&self) -> String {
        match self {
            Self::Hive { hive } => hive.folded(),
            Self::Box { hive, box_name } => format!("{}.{}", hive.folded(), box_name.folded()),
            Self::Frame(FrameRecord { path, .. }) => FramePath::folded(path),
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
    Ok(out.into())
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
    let changes = lines.iter().enumerate().skip(1);
    let changes = changes.map(|(i, line)| serde_json::from_str(line).map_err(|error| bad(i, error)));
    let changes = changes.collect::<Result<Vec<Change>>>()?;
    Ok(RegistryEntry { header: first.apiary, timestamp_ms: first.timestamp, changes })
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
            Change::Create(Made::Hive { hive: hive.clone() }),
            Change::Create(Made::Box { hive, box_name: BoxName::new("b").unwrap() }),
            Change::Create(Made::Frame(frame)),
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
    fn what_is_not_known_refuses() {
        let id = TxnId::new(&SystemClock, &SeededRng::new(1));
        let mut body = encode(&Place::after(None, None, 5), id, "n", &[], None).unwrap().to_vec();
        body.extend_from_slice(b"{\"melt\":{}}\n");
        assert!(decode("the/object", &body).unwrap_err().to_string().contains("the/object"));
    }
}
