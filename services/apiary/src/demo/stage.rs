//! How the demo looks: chapters, sentences, SQL, tables and footers, all indented alike.

use std::{
    fmt::Display,
    sync::atomic::{AtomicUsize, Ordering},
};

use arrow::{array::RecordBatch, datatypes::SchemaRef, error::ArrowError};

use crate::{
    format::{Format, ResultWriter, TableLayout},
    progress::Progress,
    terminal::{Ink, Terminal},
};

/// Everything under a chapter stands this far in.
const INDENT: &str = "   ";
/// Rows of a result that are shown.
const ROWS_SHOWN: usize = 8;

/// Where the demo is told.
#[derive(Debug)]
pub(super) struct Stage {
    terminal: Terminal,
    chapter: AtomicUsize,
}

impl Stage {
    pub(super) fn new(terminal: &Terminal) -> Self {
        Self { terminal: terminal.clone(), chapter: AtomicUsize::new(1) }
    }

    /// The first line.
    pub(super) fn title(&self, text: &str) {
        self.terminal.line(self.terminal.paint(Ink::Bold, text));
    }

    /// A numbered heading.
    pub(super) fn chapter(&self, text: &str) {
        let n = self.chapter.fetch_add(1, Ordering::Relaxed);
        self.blank();
        self.terminal.line(self.terminal.paint(Ink::Bold, format_args!("{n}  {text}")));
    }

    /// A sentence.
    pub(super) fn say(&self, text: impl Display) {
        self.line(text);
    }

    /// A line as it is.
    pub(super) fn line(&self, text: impl Display) {
        self.terminal.line(format_args!("{INDENT}{text}"));
    }

    /// Something that went as promised.
    pub(super) fn good(&self, text: impl Display) {
        self.line(self.terminal.paint(Ink::Green, text));
    }

    /// Something less important.
    pub(super) fn aside(&self, text: impl Display) {
        self.line(self.terminal.paint(Ink::Dim, text));
    }

    pub(super) fn blank(&self) {
        self.terminal.line("");
    }

    /// SQL as it is sent.
    pub(super) fn sql(&self, sql: &str) {
        sql.lines().for_each(|line| self.line(self.terminal.paint(Ink::Yellow, line)));
    }

    /// A result.
    pub(super) fn table(&self, schema: &SchemaRef, batches: &[RecordBatch]) -> Result<(), ArrowError> {
        let width = self.terminal.width().map(|width| width.saturating_sub(INDENT.len() as u16));
        let mut text = Vec::new();
        let layout = TableLayout { width, rows: Some(ROWS_SHOWN) };
        let mut writer = ResultWriter::begin(Format::Table, &mut text, schema, layout)?;
        batches.iter().try_for_each(|batch| writer.write(batch))?;
        writer.finish()?;
        String::from_utf8_lossy(&text).lines().for_each(|line| self.line(line));
        Ok(())
    }

    /// Progress of something that may take a while.
    pub(super) fn progress(&self, what: impl Into<String>, unit: &'static str, total: Option<u64>) -> Progress {
        Progress::counting(&self.terminal, what, unit, total)
    }
}
