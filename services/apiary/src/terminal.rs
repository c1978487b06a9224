//! The two streams to the person: rows go out on standard output, everything else on standard error.
//!
//! This is the only file that touches them. It knows whether a person or a pipe is at the other end, how wide the
//! screen is and whether colour is welcome (a terminal, no `NO_COLOR`), and it notices when a pipe's reader has
//! left (`… | head`): that ends output quietly, it is no error.

use std::{
    fmt::{Arguments, Display},
    io::{self, ErrorKind, IsTerminal, Write},
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// Narrower than this and a table is no table any more.
const WIDTH_MIN: u16 = 20;

/// The person's two streams; cheap to clone.
#[derive(Clone)]
pub(crate) struct Terminal {
    out: Arc<Mutex<dyn Write + Send>>,
    err: Arc<Mutex<dyn Write + Send>>,
    out_is_terminal: bool,
    err_is_terminal: bool,
    colour: bool,
    width: Option<u16>,
    reader_left: Arc<AtomicBool>,
}

impl std::fmt::Debug for Terminal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Terminal").field("width", &self.width).field("colour", &self.colour).finish_non_exhaustive()
    }
}

/// How a piece of text stands out, where colour is welcome.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ink {
    Bold,
    Dim,
    Red,
    Green,
    Yellow,
}

impl Terminal {
    /// The process's own standard streams.
    pub(crate) fn standard() -> Self {
        let (out_is_terminal, err_is_terminal) = (io::stdout().is_terminal(), io::stderr().is_terminal());
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        Self {
            out: Arc::new(Mutex::new(io::BufWriter::with_capacity(64 * 1024, io::stdout()))),
            err: Arc::new(Mutex::new(io::stderr())),
            out_is_terminal,
            err_is_terminal,
            colour: !plain && err_is_terminal && out_is_terminal,
            width: comfy_table::Table::new().width().map(|width| width.max(WIDTH_MIN)),
            reader_left: Arc::default(),
        }
    }

    /// Streams that a test reads afterwards.
    #[cfg(test)]
    pub(crate) fn captured() -> (Self, Captured, Captured) {
        let (out, err) = (Captured::default(), Captured::default());
        let terminal = Self {
            out: Arc::new(Mutex::new(out.clone())),
            err: Arc::new(Mutex::new(err.clone())),
            out_is_terminal: false,
            err_is_terminal: false,
            colour: false,
            width: None,
            reader_left: Arc::default(),
        };
        (terminal, out, err)
    }

    /// Whether rows go to a person.
    pub(crate) fn out_is_terminal(&self) -> bool {
        self.out_is_terminal
    }

    /// Whether messages go to a person.
    pub(crate) fn err_is_terminal(&self) -> bool {
        self.err_is_terminal
    }

    /// Columns on the screen, if rows go to one.
    pub(crate) fn width(&self) -> Option<u16> {
        self.width.filter(|_| self.out_is_terminal)
    }

    /// Whether the reader of standard output is gone, so that writing more is in vain.
    pub(crate) fn reader_left(&self) -> bool {
        self.reader_left.load(Ordering::Relaxed)
    }

    /// Writes a line to standard output and shows it at once. A reader that left is no error.
    pub(crate) fn line(&self, text: impl Display) {
        let mut out = self.rows();
        let _ = writeln!(out, "{text}");
        let _ = out.flush();
    }

    /// Writes a line to standard error; there is nobody left to tell if that fails.
    pub(crate) fn note(&self, text: impl Display) {
        self.note_raw(format_args!("{text}\n"));
    }

    fn note_raw(&self, text: Arguments<'_>) {
        let mut err = self.err.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = err.write_fmt(text);
        let _ = err.flush();
    }

    /// `text` in `ink`, or as it is where colour is not welcome.
    pub(crate) fn paint(&self, ink: Ink, text: impl Display) -> String {
        let code = match ink {
            Ink::Bold => "1",
            Ink::Dim => "2",
            Ink::Red => "31;1",
            Ink::Green => "32",
            Ink::Yellow => "33",
        };
        if self.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_string() }
    }

    /// A writer of rows on standard output.
    pub(crate) fn rows(&self) -> Output {
        Output { sink: Arc::clone(&self.out), reader_left: Arc::clone(&self.reader_left) }
    }

    /// A writer of rows into the file at `path`, created or cut to nothing.
    pub(crate) fn file(path: &Path) -> io::Result<Output> {
        let file = io::BufWriter::with_capacity(256 * 1024, std::fs::File::create(path)?);
        Ok(Output { sink: Arc::new(Mutex::new(file)), reader_left: Arc::default() })
    }
}

/// Where rows go. A broken pipe is remembered, not reported.
pub(crate) struct Output {
    sink: Arc<Mutex<dyn Write + Send>>,
    reader_left: Arc<AtomicBool>,
}

impl std::fmt::Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Output").field("reader_left", &self.reader_left).finish_non_exhaustive()
    }
}

impl Output {
    /// The same place again, for the next result.
    pub(crate) fn again(&self) -> Self {
        Self { sink: Arc::clone(&self.sink), reader_left: Arc::clone(&self.reader_left) }
    }

    fn forgive<T>(&self, result: io::Result<T>, instead: T) -> io::Result<T> {
        match result {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.reader_left.store(true, Ordering::Relaxed);
                Ok(instead)
            }
            other => other,
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.reader_left.load(Ordering::Relaxed) {
            return Ok(bytes.len());
        }
        let result = self.sink.lock().unwrap_or_else(PoisonError::into_inner).write(bytes);
        self.forgive(result, bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.reader_left.load(Ordering::Relaxed) {
            return Ok(());
        }
        let result = self.sink.lock().unwrap_or_else(PoisonError::into_inner).flush();
        self.forgive(result, ())
    }
}

/// What a test wrote.
#[cfg(test)]
#[derive(Debug, Clone, Default)]
pub(crate) struct Captured(Arc<Mutex<Vec<u8>>>);

#[cfg(test)]
impl Captured {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

#[cfg(test)]
impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pipe whose reader has gone.
    struct Gone;

    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(ErrorKind::BrokenPipe.into())
        }
    }

    #[test]
    fn a_reader_that_left_is_no_error_and_is_remembered() {
        let mut output = Output { sink: Arc::new(Mutex::new(Gone)), reader_left: Arc::default() };
        assert!(writeln!(output, "x").is_ok());
        assert!(output.reader_left.load(Ordering::Relaxed));
        assert!(output.flush().is_ok());
    }

    #[test]
    fn colour_stays_away_from_pipes() {
        let (terminal, out, _) = Terminal::captured();
        terminal.line(terminal.paint(Ink::Red, "x"));
        assert_eq!(out.text(), "x\n");
    }
}
