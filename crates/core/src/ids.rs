//! Ids: newtypes, so that a query's id never stands where a transaction's belongs.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Clock, Rng};

/// An id that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not a {what}")]
pub struct IdError {
    /// What kind of id was expected.
    pub what: &'static str,
    /// What stood there instead.
    pub text: String,
}

/// A version 7 uuid: ids made later sort later, as far as the clocks agree; nothing depends on that they do.
fn time_ordered(clock: &dyn Clock, rng: &dyn Rng) -> Uuid {
    let mut random = [0u8; 10];
    rng.fill(&mut random);
    let ms = u64::try_from(clock.wall_ms()).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(ms, &random).into_uuid()
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new id.
            #[must_use]
            pub fn new(clock: &dyn Clock, rng: &dyn Rng) -> Self {
                Self(time_ordered(clock, rng))
            }

            /// The id of these bytes.
            #[must_use]
            pub fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }

            /// The uuid inside.
            #[must_use]
            pub fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let uuid = Uuid::parse_str(text).map_err(|_| IdError { what: $what, text: text.to_owned() })?;
                Ok(Self(uuid))
            }
        }
    };
}

uuid_id!(
    /// One execution of one transaction; a retry elsewhere is another execution and has another id.
    TxnId,
    "transaction id"
);
uuid_id!(
    /// One query, named by the client that asks it: asking again with the same id resumes it.
    QueryId,
    "query id"
);
uuid_id!(
    /// One life of a node, from start to stop.
    Incarnation,
    "incarnation"
);

/// A node: its id lives in its data folder and survives restarts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeId(String);

impl NodeId {
    /// Longest node id in bytes: it becomes a part of keys.
    pub const BYTES_MAX: usize = 64;

    /// Checks `text`: lower-case letters, digits and inner hyphens.
    pub fn new(text: impl Into<String>) -> Result<Self, IdError> {
        let text = text.into();
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let valid = !text.is_empty()
            && text.len() <= Self::BYTES_MAX
            && text.chars().all(inner)
            && !text.starts_with('-')
            && !text.ends_with('-');
        if valid { Ok(Self(text)) } else { Err(IdError { what: "node id", text }) }
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl TryFrom<String> for NodeId {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        Self::new(text)
    }
}

impl From<NodeId> for String {
    fn from(id: NodeId) -> Self {
        id.0
    }
}

/// Eight hexadecimal digits that make a frame's folder unique for all time: a frame dropped and created again
/// never meets its old files.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FrameId(String);

impl FrameId {
    /// A new id.
    #[must_use]
    pub fn random(rng: &dyn Rng) -> Self {
        Self(format!("{:08x}", rng.next_u64() >> 32))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for FrameId {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        if text.len() == 8 && text.chars().all(hex) { Ok(Self(text)) } else { Err(IdError { what: "frame id", text }) }
    }
}

impl From<FrameId> for String {
    fn from(id: FrameId) -> Self {
        id.0
    }
}

impl fmt::Display for FrameId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A version of a ledger: 0 is the entry that creates it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(pub u64);

impl Version {
    /// The version after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SeededRng, SystemClock};

    #[test]
    fn an_id_reads_what_it_writes() {
        let id = TxnId::new(&SystemClock, &SeededRng::new(1));
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(TxnId::from_bytes(*id.uuid().as_bytes()), id);
        assert_eq!(id.uuid().get_version_num(), 7);
    }

    #[test]
    fn a_node_id_cannot_be_a_path() {
        for bad in ["", "a/b", "..", "A", "-a", "a-", "ä"] {
            assert!(NodeId::new(bad).is_err(), "{bad}");
        }
        assert!(NodeId::new("pi-3").is_ok());
    }

    #[test]
    fn a_frame_id_is_eight_hex_digits() {
        let id = FrameId::random(&SeededRng::new(9));
        assert_eq!(FrameId::try_from(id.to_string()), Ok(id));
        assert!(FrameId::try_from("xyz".to_owned()).is_err());
    }
}
