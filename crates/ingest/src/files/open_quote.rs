//! A quote in a CSV file that opens and never closes: it would swallow every row behind it into one value, and the
//! CSV reader takes the end of the file for its end. Watched here, so that it is an error and no lost rows.

use std::io::{self, Read};

/// Where the watcher stands in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// A field begins here, the one place where a quote opens.
    FieldStart,
    /// In a field without quotes.
    Plain,
    /// Behind an opening quote.
    Quoted,
    /// Behind a quote in a quoted field: the closing one, or the first of a doubled one.
    QuoteInQuoted,
}

/// Hands bytes through and fails at the end of the text if a quote is open there.
#[derive(Debug)]
pub(super) struct OpenQuote<R> {
    inner: R,
    delimiter: u8,
    at: At,
    line: u64,
    opened_in_line: u64,
}

impl<R> OpenQuote<R> {
    pub(super) fn new(inner: R, delimiter: u8) -> Self {
        Self { inner, delimiter, at: At::FieldStart, line: 1, opened_in_line: 1 }
    }

    fn see(&mut self, byte: u8) {
        self.at = match (self.at, byte) {
            (At::FieldStart, b'"') => {
                self.opened_in_line = self.line;
                At::Quoted
            }
            (At::Quoted, b'"') => At::QuoteInQuoted,
            (At::Quoted, _) | (At::QuoteInQuoted, b'"') => At::Quoted,
            (_, b'\n' | b'\r') => At::FieldStart,
            (_, byte) if byte == self.delimiter => At::FieldStart,
            _ => At::Plain,
        };
        self.line += u64::from(byte == b'\n');
    }
}

impl<R: Read> Read for OpenQuote<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        if read == 0 && !buffer.is_empty() && self.at == At::Quoted {
            let text = format!("the quote that opens in line {} never closes", self.opened_in_line);
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        buffer[..read].iter().for_each(|byte| self.see(*byte));
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end_of(text: &str) -> io::Result<String> {
        let mut read = String::new();
        OpenQuote::new(text.as_bytes(), b',').read_to_string(&mut read).map(|_| read)
    }

    #[test]
    fn an_open_quote_is_told_with_its_line() {
        let error = end_of("a,b\n1,\"x\ny\"\n2,\"z\n3,w\n").unwrap_err();
        assert_eq!(error.to_string(), "the quote that opens in line 4 never closes");
        assert!(end_of("a\n\"x\"\"").is_err());
    }

    #[test]
    fn closed_doubled_and_literal_quotes_pass() {
        for text in ["", "a\n\"x\"", "a,b\r\n\"say \"\"hi\"\"\",\"\"\r\n", "size\n5\" pipe\n", "a\n\"x\"y\"\n"] {
            assert_eq!(end_of(text).unwrap(), text);
        }
    }
}
