//! Names of hives, boxes and frames.
//!
//! A name becomes part of a key, so it is checked once, here, before it becomes anything: Unicode NFC, no
//! separators, no control characters, not made of dots alone, 1 to 255 bytes. Case is kept as written; two names
//! that differ only in case are the same name ([`HiveName::folded`]).

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

/// The hive that names without one belong to, until a session uses another. It needs no making: the first box or
/// frame in it makes it.
pub const DEFAULT_HIVE: &str = "main";

/// The box that bare names belong to, in every hive. It needs no making either.
pub const DEFAULT_BOX: &str = "main";

/// Longest name in bytes: object stores allow keys of 1 024 bytes, and three names plus the rest must fit.
pub const NAME_BYTES_MAX: usize = 255;

/// A name that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Nothing there.
    #[error("a {what} name cannot be empty")]
    Empty {
        /// Hive, box or frame.
        what: &'static str,
    },
    /// Longer than [`NAME_BYTES_MAX`].
    #[error("the {what} name '{name}' has {bytes} bytes; at most {NAME_BYTES_MAX} are allowed")]
    TooLong {
        /// Hive, box or frame.
        what: &'static str,
        /// The start of the name.
        name: String,
        /// Its length.
        bytes: usize,
    },
    /// A character that must not become part of a key.
    #[error("the {what} name '{name}' holds {found:?}; use letters, digits, '_', '-' or spaces")]
    Forbidden {
        /// Hive, box or frame.
        what: &'static str,
        /// The name.
        name: String,
        /// The character.
        found: char,
    },
    /// A name like `..`, or one with a space at an end.
    #[error("'{name}' cannot be a {what} name: {why}")]
    Shape {
        /// Hive, box or frame.
        what: &'static str,
        /// The name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Not three parts.
    #[error("'{0}' is not a frame's path; write hive.box.frame")]
    Path(String),
}

/// A name as names are compared: one spelling of accents (NFC), lower case. Text that can be no name has one, too.
#[must_use]
pub fn fold(name: &str) -> String {
    name.nfc().collect::<String>().to_lowercase().nfc().collect()
}

fn check(what: &'static str, text: &str) -> Result<String, NameError> {
    let name: String = text.nfc().collect();
    if name.is_empty() {
        return Err(NameError::Empty { what });
    }
    if name.len() > NAME_BYTES_MAX {
        let start = name.chars().take(32).collect::<String>() + "…";
        return Err(NameError::TooLong { what, name: start, bytes: name.len() });
    }
    // Dots part hive.box.frame; the others mean something to a store, a shell, a URL or Delta's path encoding.
    let forbidden = |c: &char| c.is_control() || "/\\.:*?\"'<>|%#`$&;=[]{}~^\u{feff}".contains(*c);
    if let Some(found) = name.chars().find(forbidden) {
        return Err(NameError::Forbidden { what, name: name.clone(), found });
    }
    let shape = |why| Err(NameError::Shape { what, name: name.clone(), why });
    if name.trim() != name {
        return shape("it begins or ends with a space");
    }
    if name.starts_with('_') && what == "hive" {
        return shape("a hive cannot begin with '_', which the colony keeps for itself");
    }
    if name.eq_ignore_ascii_case("information_schema") && what == "box" {
        return shape("SQL keeps that name for the list of tables");
    }
    if name.starts_with('-') {
        return shape("it begins with '-'");
    }
    Ok(name)
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks and normalises `text`.
            pub fn new(text: impl AsRef<str>) -> Result<Self, NameError> {
                Ok(Self(check($what, text.as_ref())?))
            }

            /// The name as it was written.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The name as names are compared.
            #[must_use]
            pub fn folded(&self) -> String {
                fold(&self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }
    };
}

name!(
    /// A hive: what other systems call a database.
    HiveName,
    "hive"
);
name!(
    /// A box: what other systems call a schema.
    BoxName,
    "box"
);
name!(
    /// A frame: what other systems call a table.
    FrameName,
    "frame"
);

impl Default for HiveName {
    /// [`DEFAULT_HIVE`].
    fn default() -> Self {
        Self(DEFAULT_HIVE.to_owned())
    }
}

impl Default for BoxName {
    /// [`DEFAULT_BOX`].
    fn default() -> Self {
        Self(DEFAULT_BOX.to_owned())
    }
}

impl HiveName {
    /// Whether it is the default hive, in any case.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.folded() == DEFAULT_HIVE
    }
}

impl BoxName {
    /// Whether it is the default box, in any case.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.folded() == DEFAULT_BOX
    }
}

/// Where a frame is found: `hive.box.frame`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FramePath {
    /// The hive.
    pub hive: HiveName,
    /// The box in it.
    #[serde(rename = "box")]
    pub box_name: BoxName,
    /// The frame in that.
    pub frame: FrameName,
}

impl FramePath {
    /// Checks the three names.
    pub fn new(hive: &str, box_name: &str, frame: &str) -> Result<Self, NameError> {
        Ok(Self { hive: HiveName::new(hive)?, box_name: BoxName::new(box_name)?, frame: FrameName::new(frame)? })
    }

    /// The path as paths are compared.
    #[must_use]
    pub fn folded(&self) -> String {
        format!("{}.{}.{}", self.hive.folded(), self.box_name.folded(), self.frame.folded())
    }
}

impl fmt::Display for FramePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.hive, self.box_name, self.frame)
    }
}

impl FromStr for FramePath {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.split('.').collect::<Vec<_>>()[..] {
            [hive, box_name, frame] => Self::new(hive, box_name, frame),
            _ => Err(NameError::Path(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_try_to_be_paths_are_refused() {
        for bad in ["", ".", "..", "a/b", "a\\b", "a\0b", " a", "a ", "a.b", "%2e%2e", "-x", &"x".repeat(256)] {
            assert!(FrameName::new(bad).is_err(), "{bad:?}");
            assert!(BoxName::new(bad).is_err() && HiveName::new(bad).is_err(), "{bad:?}");
        }
        for bad in ["c:", "a\nb", "\u{7f}", "a\u{feff}", "~", "a?b", "$(x)", "\u{e9}".repeat(128).as_str()] {
            assert!(FrameName::new(bad).is_err(), "{bad:?}");
        }
        assert!(HiveName::new("_queries").is_err());
    }

    #[test]
    fn ordinary_names_stay_as_written() {
        for good in ["a", "Sensors", "büro 2", "_x", "日本", "temp-2026"] {
            assert_eq!(FrameName::new(good).unwrap().as_str(), good);
        }
    }

    #[test]
    fn a_box_cannot_hide_behind_the_list_of_tables() {
        assert!(BoxName::new("Information_Schema").is_err());
        assert!(FrameName::new("information_schema").is_ok());
    }

    #[test]
    fn two_spellings_of_one_letter_are_one_name() {
        assert_eq!(BoxName::new("e\u{301}").unwrap(), BoxName::new("\u{e9}").unwrap());
        assert_eq!(fold("E\u{301}T\u{c9}"), FrameName::new("\u{e9}t\u{e9}").unwrap().folded());
    }

    #[test]
    fn the_default_names_are_names_in_any_case() {
        assert_eq!(HiveName::new(DEFAULT_HIVE).unwrap(), HiveName::default());
        assert!(HiveName::new("Main").unwrap().is_default() && BoxName::new("MAIN").unwrap().is_default());
        assert!(!BoxName::new("mainly").unwrap().is_default());
    }

    #[test]
    fn a_path_has_three_parts() {
        let path: FramePath = "Analytics.sensors.Temperature".parse().unwrap();
        assert_eq!(path.to_string(), "Analytics.sensors.Temperature");
        assert_eq!(path.folded(), "analytics.sensors.temperature");
        assert!("a.b".parse::<FramePath>().is_err());
    }
}
