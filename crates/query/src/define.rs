//! Which hive, box or frame a statement means that creates, drops or renames: names made whole by the session, and
//! checked. What is done about it is the caller's: nothing in here writes.

use apiary_core::{BoxName, FrameName, FramePath, HiveName, NameError};
use apiary_ledger::LedgerError;

use crate::{FrameRef, Named, QueryError, Rename, Result, Session, names, system::SYSTEM_BOX};

/// A hive, a box or a frame by its whole name, there or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A hive.
    Hive(HiveName),
    /// A box.
    Box(HiveName, BoxName),
    /// A frame.
    Frame(FramePath),
}

impl Place {
    /// Whether something new may have this name: the system frames' box is nobody's.
    pub fn may_be_new(&self) -> Result<()> {
        match self {
            Self::Box(_, name) if name.folded() == SYSTEM_BOX => {
                let why = "the system frames are in it; SHOW QUERIES and docs/sql.md tell of them";
                Err(NameError::Shape { what: "box", name: name.to_string(), why }.into())
            }
            _ => Ok(()),
        }
    }
}

impl Named {
    /// What it means in `session`. `sql` is for the picture in errors.
    pub fn place(&self, session: &Session, sql: &str) -> Result<Place> {
        match self {
            Self::Hive(hive) => name(sql, hive, HiveName::new).map(Place::Hive),
            Self::Box { hive, box_name } => {
                let hive =
                    hive.as_deref().map_or_else(|| Ok(session.hive_used()), |hive| name(sql, hive, HiveName::new));
                Ok(Place::Box(hive?, name(sql, box_name, BoxName::new)?))
            }
            Self::Frame(frame) => path(frame, session, sql).map(Place::Frame),
        }
    }

    /// How many parts its whole name has.
    fn depth(&self) -> usize {
        match self {
            Self::Hive(_) => 1,
            Self::Box { .. } => 2,
            Self::Frame(_) => 3,
        }
    }

    /// The last part of it as written.
    fn last(&self) -> &str {
        match self {
            Self::Hive(name) | Self::Box { box_name: name, .. } => name,
            Self::Frame(frame) => frame.0.last().map_or("", String::as_str),
        }
    }

    /// An error of the ledger, with the place of this name in `sql`.
    #[must_use]
    pub fn error(&self, error: LedgerError, sql: &str) -> QueryError {
        let hint = error.hint();
        let whole = match &error {
            LedgerError::NotFound { name, .. }
            | LedgerError::AlreadyExists { name, .. }
            | LedgerError::Taken { name, .. }
            | LedgerError::NotEmpty { name, .. }
            | LedgerError::Changed { name, .. }
            | LedgerError::Dropped { name } => name.as_str(),
            _ => "",
        };
        let picture = names::picture_of_name(sql, self.depth(), whole, self.last());
        QueryError::Run { kind: error.kind(), message: format!("{error}{picture}"), hint }
    }
}

impl Rename {
    /// What is renamed, and to what: both of the same kind.
    pub fn places(&self, session: &Session, sql: &str) -> Result<(Place, Place)> {
        let from = self.named.place(session, sql)?;
        let to = &self.to.0;
        let new = match (&from, &to[..]) {
            (Place::Hive(_), [hive]) => Place::Hive(name(sql, hive, HiveName::new)?),
            (Place::Box(hive, _), [box_name]) => Place::Box(hive.clone(), name(sql, box_name, BoxName::new)?),
            (Place::Box(hive, _), [of, box_name]) => {
                if name(sql, of, HiveName::new)?.folded() != hive.folded() {
                    let message = format!("a box cannot move to another hive{}", names::picture_of(sql, of));
                    return Err(QueryError::meaning(message, format!("write RENAME TO {box_name}")));
                }
                Place::Box(hive.clone(), name(sql, box_name, BoxName::new)?)
            }
            (Place::Frame(from), [frame]) => {
                Place::Frame(FramePath { frame: name(sql, frame, FrameName::new)?, ..from.clone() })
            }
            (Place::Frame(from), [box_name, frame]) => {
                let (box_name, frame) = (name(sql, box_name, BoxName::new)?, name(sql, frame, FrameName::new)?);
                Place::Frame(FramePath { hive: from.hive.clone(), box_name, frame })
            }
            _ => Place::Frame(path(&self.to, session, sql)?),
        };
        Ok((from, new))
    }
}

/// The session after a rename: what it uses keeps its place under another name.
#[must_use]
pub fn session_after(session: &Session, from: &Place, to: &Place) -> Session {
    let mut session = session.clone();
    let uses = |hive: &HiveName| session.hive.as_ref().is_some_and(|used| used.folded() == hive.folded());
    match (from, to) {
        (Place::Hive(from), Place::Hive(to)) if uses(from) => session.hive = Some(to.clone()),
        (Place::Box(hive, from), Place::Box(_, to))
            if uses(hive) && session.box_name.as_ref().is_some_and(|used| used.folded() == from.folded()) =>
        {
            session.box_name = Some(to.clone());
        }
        _ => {}
    }
    session
}

fn path(frame: &FrameRef, session: &Session, sql: &str) -> Result<FramePath> {
    let (hive, in_box) = (session.hive_used(), session.box_used());
    let parts: Vec<&str> = frame.0.iter().map(String::as_str).collect();
    let [hive, in_box, frame] = match parts[..] {
        [hive, in_box, frame] => [hive, in_box, frame],
        [in_box, frame] => [hive.as_str(), in_box, frame],
        _ => [hive.as_str(), in_box.as_str(), parts.last().copied().unwrap_or_default()],
    };
    Ok(FramePath {
        hive: name(sql, hive, HiveName::new)?,
        box_name: name(sql, in_box, BoxName::new)?,
        frame: name(sql, frame, FrameName::new)?,
    })
}

/// A name checked, with its place if it cannot be one.
fn name<T>(sql: &str, text: &str, new: impl FnOnce(String) -> Result<T, NameError>) -> Result<T> {
    new(text.to_owned()).map_err(|error| {
        let (message, picture) = (error.to_string(), names::picture_of(sql, text));
        QueryError::Meaning { message, picture, hint: None }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Statement, parse};

    fn session(hive: &str, box_name: &str) -> Session {
        Session::from_parts(hive, box_name, []).unwrap()
    }

    fn text(place: &Place) -> String {
        match place {
            Place::Hive(hive) => hive.to_string(),
            Place::Box(hive, box_name) => format!("{hive}.{box_name}"),
            Place::Frame(path) => path.to_string(),
        }
    }

    fn renamed(sql: &str, session: &Session) -> Result<String> {
        let Ok(Statement::Rename(rename)) = parse(sql) else { panic!("{sql}") };
        rename.places(session, sql).map(|(from, to)| format!("{} > {}", text(&from), text(&to)))
    }

    #[test]
    fn names_with_fewer_parts_are_made_whole_by_the_session() {
        let (none, hive, in_box) = (session("", ""), session("h", ""), session("h", "b"));
        for (sql, session, whole) in [
            ("ALTER FRAME t RENAME TO u", &none, "main.main.t > main.main.u"),
            ("ALTER FRAME b.t RENAME TO u", &none, "main.b.t > main.b.u"),
            ("ALTER FRAME t RENAME TO u", &hive, "h.main.t > h.main.u"),
            ("ALTER FRAME t RENAME TO c.u", &in_box, "h.b.t > h.c.u"),
            ("ALTER FRAME x.y.t RENAME TO \"U u\"", &in_box, "x.y.t > x.y.U u"),
            ("ALTER FRAME x.y.t RENAME TO a.b.c", &in_box, "x.y.t > a.b.c"),
            ("ALTER BOX b RENAME TO c", &none, "main.b > main.c"),
            ("ALTER BOX x.b RENAME TO X.c", &in_box, "x.b > x.c"),
            ("ALTER HIVE x RENAME TO y", &in_box, "x > y"),
        ] {
            assert_eq!(renamed(sql, session).unwrap(), whole, "{sql}");
        }
        let error = renamed("ALTER BOX x.b RENAME TO y.b", &none).unwrap_err();
        assert!(error.to_string().contains("cannot move to another hive"), "{error}");
    }

    #[test]
    fn what_can_be_no_name_is_shown_in_its_place() {
        for (name, why) in [
            ("..", "holds '.'"),
            ("a/b", "holds '/'"),
            ("a.b", "holds '.'"),
            (" a", "begins or ends with a space"),
            ("-a", "begins with '-'"),
            ("a\u{1}", "holds '\\u{1}'"),
            (&"x".repeat(256), "256 bytes"),
        ] {
            let sql = format!("DROP FRAME h.b.\"{name}\"");
            let Ok(Statement::Drop(drop)) = parse(&sql) else { panic!("{sql}") };
            let error = drop.named.place(&session("", ""), &sql).unwrap_err().to_string();
            assert!(error.contains(why) && error.ends_with('^'), "{error}");
        }
        let sql = "DROP FRAME h.b.\"\"";
        let Ok(Statement::Drop(drop)) = parse(sql) else { panic!("{sql}") };
        assert!(drop.named.place(&session("", ""), sql).unwrap_err().to_string().contains("cannot be empty"));
    }

    #[test]
    fn a_session_goes_along_with_what_it_renames() {
        let whole = |session: &Session| (session.hive_used().to_string(), session.box_used().to_string());
        let hive = |name: &str| Place::Hive(HiveName::new(name).unwrap());
        let in_box = |name: &str| Place::Box(HiveName::new("H").unwrap(), BoxName::new(name).unwrap());
        let used = session("h", "b");
        assert_eq!(whole(&session_after(&used, &hive("H"), &hive("k"))), ("k".into(), "b".into()));
        assert_eq!(whole(&session_after(&used, &in_box("B"), &in_box("c"))), ("h".into(), "c".into()));
        assert_eq!(session_after(&used, &hive("x"), &hive("y")), used);
        assert_eq!(session_after(&used, &in_box("x"), &in_box("y")), used);
    }
}
