//! What a client has said with `USE` and `SET`. It travels with every request, so that any coordinator serves any
//! call; nothing of it is kept between two.

use std::collections::BTreeMap;

use apiary_core::{BoxName, HiveName};

use crate::{Result, Settings};

/// The state of a session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Session {
    /// The hive that names without one belong to.
    pub hive: Option<HiveName>,
    /// The box that bare names belong to.
    pub box_name: Option<BoxName>,
    /// What `SET` changed.
    pub settings: Settings,
}

impl Session {
    /// Reads a session from its parts, empty names standing for none. Fails on bad names and unknown settings.
    pub fn from_parts(
        hive: &str,
        box_name: &str,
        settings: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self> {
        let mut session = Self::default();
        if !hive.is_empty() {
            session.hive = Some(HiveName::new(hive)?);
        }
        if !box_name.is_empty() {
            session.box_name = Some(BoxName::new(box_name)?);
        }
        for (name, value) in settings {
            session.settings.set(&name, &value)?;
        }
        Ok(session)
    }

    /// The hive that names without one belong to: the one in use, or the default one.
    #[must_use]
    pub fn hive_used(&self) -> HiveName {
        self.hive.clone().unwrap_or_default()
    }

    /// The box that bare names belong to: the one in use, or the default one of the hive.
    #[must_use]
    pub fn box_used(&self) -> BoxName {
        self.box_name.clone().unwrap_or_default()
    }

    /// The parts again: hive, box, settings.
    #[must_use]
    pub fn to_parts(&self) -> (String, String, BTreeMap<String, String>) {
        let hive = self.hive.as_ref().map(ToString::to_string).unwrap_or_default();
        let box_name = self.box_name.as_ref().map(ToString::to_string).unwrap_or_default();
        (hive, box_name, self.settings.to_map())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_reads_its_own_parts() {
        let settings = [("execution".to_owned(), "board".to_owned())];
        let session = Session::from_parts("demo", "sensors", settings).unwrap();
        let (hive, box_name, settings) = session.to_parts();
        assert_eq!((hive.as_str(), box_name.as_str()), ("demo", "sensors"));
        assert_eq!(Session::from_parts(&hive, &box_name, settings).unwrap(), session);
    }

    #[test]
    fn a_session_that_uses_nothing_uses_the_default() {
        let session = Session::from_parts("", "", []).unwrap();
        assert_eq!((session.hive_used().as_str(), session.box_used().as_str()), ("main", "main"));
        let session = Session::from_parts("demo", "", []).unwrap();
        assert_eq!((session.hive_used().as_str(), session.box_used().as_str()), ("demo", "main"));
    }

    #[test]
    fn a_session_with_a_bad_name_is_refused() {
        assert!(Session::from_parts("a/b", "", []).is_err());
        assert!(Session::from_parts("", "", [("x".to_owned(), "y".to_owned())]).is_err());
    }
}
