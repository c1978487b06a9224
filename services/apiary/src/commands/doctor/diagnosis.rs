//! What a doctor found, in words for people and in JSON for programs. No bucket in here.

use std::time::Duration;

use apiary_core::units;
use serde_json::{Value, json};

use crate::terminal::Ink;

/// What one finding means for the colony.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Right,
    /// Worth knowing; nothing is at risk.
    Note,
    Wrong,
    Unasked,
}

impl Mark {
    fn word(self) -> &'static str {
        match self {
            Self::Right => "ok",
            Self::Note => "note",
            Self::Wrong => "wrong",
            Self::Unasked => "-",
        }
    }
}

/// One finding.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    mark: Mark,
    what: String,
    found: Option<String>,
    danger: Option<String>,
    advice: Option<String>,
    took: Option<Duration>,
}

impl Line {
    fn of(mark: Mark, what: impl Into<String>) -> Self {
        Self { mark, what: what.into(), found: None, danger: None, advice: None, took: None }
    }

    pub(crate) fn right(what: impl Into<String>) -> Self {
        Self::of(Mark::Right, what)
    }

    pub(crate) fn unasked(what: impl Into<String>) -> Self {
        Self::of(Mark::Unasked, what)
    }

    pub(crate) fn note(what: impl Into<String>, found: impl Into<String>) -> Self {
        Self { found: Some(found.into()), ..Self::of(Mark::Note, what) }
    }

    pub(crate) fn wrong(what: impl Into<String>, found: impl Into<String>) -> Self {
        Self { found: Some(found.into()), ..Self::of(Mark::Wrong, what) }
    }

    pub(crate) fn danger(self, danger: impl Into<String>) -> Self {
        Self { danger: Some(danger.into()), ..self }
    }

    pub(crate) fn advice(self, advice: impl Into<String>) -> Self {
        Self { advice: Some(advice.into()), ..self }
    }

    pub(crate) fn in_time(self, took: Duration) -> Self {
        Self { took: Some(took), ..self }
    }

    fn text(&self, paint: &impl Fn(Ink, &str) -> String) -> String {
        let ink = match self.mark {
            Mark::Right => Ink::Green,
            Mark::Note => Ink::Yellow,
            Mark::Wrong => Ink::Red,
            Mark::Unasked => Ink::Dim,
        };
        let mut text = format!("  {} {}", paint(ink, &format!("{:5}", self.mark.word())), self.what);
        match (&self.found, self.took) {
            (Some(found), _) => text += &format!(": {found}"),
            (None, _) if self.mark == Mark::Unasked => text += ": not asked",
            (None, Some(took)) => text += &paint(Ink::Dim, &format!("   {}", units::duration(took))),
            (None, None) => {}
        }
        for (word, said) in [("means", &self.danger), ("do", &self.advice)] {
            text.extend(said.iter().map(|said| format!("\n        {word}: {said}")));
        }
        text
    }

    fn json(&self) -> Value {
        json!({
            "verdict": if self.mark == Mark::Unasked { "unasked" } else { self.mark.word() },
            "what": self.what,
            "found": self.found,
            "means": self.danger,
            "do": self.advice,
            "ms": self.took.map(|took| took.as_secs_f64() * 1000.0),
        })
    }
}

/// All that was found.
#[derive(Debug)]
pub(crate) struct Diagnosis {
    pub(crate) store: String,
    pub(crate) storage: Vec<Line>,
    /// Empty if there was no use in looking.
    pub(crate) colony: Vec<Line>,
    /// Whether the store could be asked anything at all.
    was_asked: bool,
}

impl Diagnosis {
    pub(crate) fn new(store: &str) -> Self {
        Self { store: store.to_owned(), storage: Vec::new(), colony: Vec::new(), was_asked: true }
    }

    /// Of a store that could not be asked: why not is all there is to say.
    pub(crate) fn unasked(store: &str, why: Line) -> Self {
        Self { storage: vec![why], was_asked: false, ..Self::new(store) }
    }

    /// Whether nothing is wrong and everything was asked.
    pub(crate) fn is_safe(&self) -> bool {
        let fine = |line: &Line| matches!(line.mark, Mark::Right | Mark::Note);
        !self.colony.is_empty() && self.storage.iter().chain(&self.colony).all(fine)
    }

    fn verdict(&self) -> &'static str {
        let is_wrong = |lines: &[Line]| lines.iter().any(|line| line.mark == Mark::Wrong);
        match (is_wrong(&self.storage), is_wrong(&self.colony), self.is_safe()) {
            _ if !self.was_asked => "do not write here: the store could not be asked",
            (true, _, _) => "do not write here: the store does not do what a colony stands on",
            (false, true, _) => "do not write here: the colony in it is damaged, or of another version",
            (false, false, true) => "safe to write",
            (false, false, false) => "do not write here: not everything could be asked",
        }
    }

    /// For people.
    pub(crate) fn text(&self, paint: impl Fn(Ink, &str) -> String) -> String {
        let mut text = format!("storage {}", self.store);
        self.storage.iter().for_each(|line| text += &format!("\n{}", line.text(&paint)));
        if !self.colony.is_empty() {
            text += "\ncolony";
            self.colony.iter().for_each(|line| text += &format!("\n{}", line.text(&paint)));
        }
        let ink = if self.is_safe() { Ink::Green } else { Ink::Red };
        text + &format!("\n{}", paint(ink, self.verdict()))
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        json!({
            "storage": self.store,
            "safe_to_write": self.is_safe(),
            "verdict": self.verdict(),
            "checks": self.storage.iter().map(Line::json).collect::<Vec<_>>(),
            "colony": self.colony.iter().map(Line::json).collect::<Vec<_>>(),
        })
    }
}
