//! Why a command failed, and how that is told: `error: what`, the place if there is one, `hint: what to type next`.

use std::{io, process::ExitCode};

use apiary_bucket::BucketError;
use apiary_core::ErrorKind;
use apiary_ingest::IngestError;
use apiary_node::NodeError;
use apiary_proto::ClientError;
use apiary_swarm::SwarmError;
use arrow::error::ArrowError;

use crate::terminal::{Ink, Terminal};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum CliError {
    /// A colony answered with an error, could not be reached, or could not be started here.
    #[error("{}", .0.message)]
    Client(#[from] ClientError),
    /// A node in this process could not be.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The bucket refused.
    #[error(transparent)]
    Bucket(#[from] BucketError),
    /// A file to import was not what it seemed.
    #[error(transparent)]
    Ingest(#[from] IngestError),
    /// The task board could not be read.
    #[error(transparent)]
    Board(#[from] SwarmError),
    /// Rows could not be written as text.
    #[error("cannot write the rows: {0}")]
    Rows(#[from] ArrowError),
    /// The local machine refused.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was tried, with the name of the object.
        what: String,
        /// What the machine said.
        source: io::Error,
    },
    /// The command cannot be followed.
    #[error("{message}")]
    Refused {
        /// Decides the exit code.
        kind: ErrorKind,
        /// What and why.
        message: String,
        /// What to type next.
        hint: Option<String>,
    },
    /// Ctrl-C.
    #[error("interrupted")]
    Interrupted,
    /// Ctrl-C while something was being written to this frame.
    #[error("interrupted; whether the file that was under way is in {0} is not known")]
    InterruptedWrite(String),
}

impl CliError {
    /// A local failure of something that was tried: "create /x".
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    /// A command that makes no sense as typed.
    pub(crate) fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Refused { kind: ErrorKind::InvalidInput, message: message.into(), hint: Some(hint.into()) }
    }

    /// Something that must never happen.
    pub(crate) fn defect(message: impl Into<String>) -> Self {
        let hint = Some("this is a defect of apiary: please report it".to_owned());
        Self::Refused { kind: ErrorKind::Internal, message: message.into(), hint }
    }

    /// The kind, which decides the exit code.
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Self::Client(error) => error.kind,
            Self::Node(error) => error.kind(),
            Self::Bucket(error) => error.kind(),
            Self::Ingest(error) => error.kind(),
            Self::Board(error) => error.kind(),
            Self::Rows(_) => ErrorKind::Internal,
            Self::Io { .. } => ErrorKind::Storage,
            Self::Refused { kind, .. } => *kind,
            Self::Interrupted | Self::InterruptedWrite(_) => ErrorKind::Cancelled,
        }
    }

    /// What to type next.
    fn hint(&self) -> Option<String> {
        match self {
            Self::Client(error) => error.hint.clone().filter(|hint| !hint.is_empty()),
            Self::Node(error) => error.hint(),
            Self::Bucket(error) => error.hint(),
            Self::Ingest(error) => error.hint(),
            Self::Board(error) => error.hint(),
            Self::Refused { hint, .. } => hint.clone(),
            Self::InterruptedWrite(frame) => Some(format!("look before you import it again: apiary history {frame}")),
            _ => None,
        }
    }

    /// Tells the person and returns the exit code: 1 for what went wrong, 2 for what cannot be asked, 130 for Ctrl-C.
    pub(crate) fn tell(&self, terminal: &Terminal) -> ExitCode {
        terminal.note(render(&self.to_string(), self.hint().as_deref(), |ink, text| terminal.paint(ink, text)));
        ExitCode::from(self.kind().exit_code())
    }
}

/// `error: headline`, the message's further lines as they are (a caret under the SQL), `hint: …`.
fn render(message: &str, hint: Option<&str>, paint: impl Fn(Ink, &str) -> String) -> String {
    let (headline, place) = message.split_once('\n').unwrap_or((message, ""));
    let mut text = format!("{} {}", paint(Ink::Red, "error:"), headline.trim_end());
    if !place.trim().is_empty() {
        text.push('\n');
        text.push_str(place.trim_matches('\n').trim_end());
    }
    if let Some(hint) = hint {
        text.push('\n');
        text.push_str(&format!("{} {}", paint(Ink::Yellow, "hint:"), hint.trim()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(message: &str, hint: Option<&str>) -> String {
        render(message, hint, |_, text| text.to_owned())
    }

    #[test]
    fn an_error_is_one_line_when_there_is_no_more_to_say() {
        assert_eq!(plain("no such hive 'x'", None), "error: no such hive 'x'");
    }

    #[test]
    fn the_caret_stays_under_its_column_and_the_hint_comes_last() {
        let message = "expected an expression\n  select from x\n         ^\n";
        assert_eq!(
            plain(message, Some("name a column")),
            "error: expected an expression\n  select from x\n         ^\nhint: name a column"
        );
    }

    #[test]
    fn usage_errors_leave_with_2_and_interruptions_with_130() {
        assert_eq!(CliError::usage("a", "b").kind().exit_code(), 2);
        assert_eq!(CliError::Interrupted.kind().exit_code(), 130);
        let write = CliError::InterruptedWrite("h.b.t".to_owned());
        assert_eq!(write.kind().exit_code(), 130);
        assert!(write.to_string().contains("not known") && write.hint().is_some_and(|hint| hint.contains("h.b.t")));
    }

    #[test]
    fn an_error_is_told_on_standard_error_alone() {
        let (terminal, out, err) = Terminal::captured();
        let _ = CliError::usage("a file and a text", "leave one out").tell(&terminal);
        assert_eq!((out.text().as_str(), err.text().as_str()), ("", "error: a file and a text\nhint: leave one out\n"));
    }
}
