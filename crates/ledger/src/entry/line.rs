//! One line of an entry: one JSON object with one key, the action's name.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, Visitor},
};

use super::{
    Add, Metadata, Protocol, Remove,
    actions::CommitInfo,
    strict::{self, Word},
};

/// An action that is read; boxed where there is one in an entry.
#[derive(Debug)]
pub(super) enum Line {
    CommitInfo(Box<CommitInfo>),
    Protocol(Box<Protocol>),
    Metadata(Box<Metadata>),
    Add(Add),
    Remove(Remove),
    /// `txn` repeats what the header says; others are a newer program's, and what must be understood is a feature.
    Other,
}

impl Line {
    /// Reads a line; the error ends a sentence that names it.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        strict::check(text)?;
        serde_json::from_str(text).map_err(|error| error.to_string())
    }
}

impl<'de> Deserialize<'de> for Line {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(One)
    }
}

struct One;

impl<'de> Visitor<'de> for One {
    type Value = Line;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with one action")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Line, A::Error> {
        let Some(Word(name)) = map.next_key()? else { return Err(A::Error::custom(count(0))) };
        let line = match name.as_ref() {
            "commitInfo" => Line::CommitInfo(map.next_value()?),
            "protocol" => Line::Protocol(map.next_value()?),
            "metaData" => Line::Metadata(map.next_value()?),
            "add" => Line::Add(map.next_value()?),
            "remove" => Line::Remove(map.next_value()?),
            _ => map.next_value::<IgnoredAny>().map(|_| Line::Other)?,
        };
        let mut actions = 1;
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
            actions += 1;
        }
        if actions == 1 { Ok(line) } else { Err(A::Error::custom(count(actions))) }
    }
}

fn count(actions: usize) -> String {
    format!("{actions} actions; each line holds one")
}
